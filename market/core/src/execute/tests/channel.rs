use super::world::{World, address, deal_id, key};
use crate::channel::{Channel, ChannelId, Parties, SignedVoucher, Voucher};
use crate::message::Body;
use crate::query;
use crate::units::{Amount, Height, NetworkId, PackId, ProviderId};

/// The payer. Account 0 owns the provider and is its worker.
const PAYER: usize = 1;
const PROVIDER: ProviderId = ProviderId(0);

fn open(deposit: Amount) -> Body {
    Body::OpenChannel {
        provider: PROVIDER,
        deposit,
    }
}

const CLOSE: Body = Body::CloseChannel { provider: PROVIDER };

fn channel(world: &World) -> Option<Channel> {
    query::channel(&world.view, PROVIDER, &Parties::own(address(PAYER))).unwrap()
}

fn voucher(world: &World, amount: Amount) -> SignedVoucher {
    let channel = channel(world).unwrap().id;
    SignedVoucher::new(
        world.rules.network,
        &key(PAYER),
        Voucher { channel, amount },
    )
    .unwrap()
}

fn redeem(voucher: SignedVoucher) -> Body {
    Body::RedeemVoucher { voucher }
}

fn opened() -> World {
    let mut world = World::new();
    world.register();
    world.done(PAYER, open(Amount::hold(5)));
    world
}

#[test]
fn vouchers_are_cumulative_and_are_paid_once() {
    let mut world = opened();
    let before = world.account(0).balance;
    let first = voucher(&world, Amount::hold(2));
    let body = redeem(first.clone());
    let fee = world.sign(0, 0, body.clone()).message.fee;
    world.done(0, body.clone());
    world.refused(0, body, "above the 2 HOLD that was paid");
    let less = voucher(&world, Amount::hold(1));
    world.refused(0, redeem(less), "above the 2 HOLD that was paid");
    let all = voucher(&world, Amount::hold(5));
    world.done(0, redeem(all));
    let expected = before.0 + Amount::hold(5).0 - 4 * fee.0;
    assert_eq!(world.account(0).balance.0, expected);
    assert_eq!(channel(&world).unwrap().redeemed, Amount::hold(5));
}

#[test]
fn a_voucher_beyond_the_deposit_pays_nothing_until_the_deposit_covers_it() {
    let mut world = opened();
    let beyond = voucher(&world, Amount(Amount::hold(5).0 + 1));
    world.refused(0, redeem(beyond.clone()), "at most the deposit of 5 HOLD");
    let most = voucher(&world, Amount(u128::MAX));
    world.refused(0, redeem(most), "at most the deposit of 5 HOLD");
    assert_eq!(channel(&world).unwrap().redeemed, Amount::ZERO);
    world.done(PAYER, open(Amount(1)));
    world.done(0, redeem(beyond));
}

#[test]
fn a_voucher_that_is_forged_or_of_another_channel_or_network_is_refused() {
    let mut world = opened();
    let good = voucher(&world, Amount::hold(1));
    // Only its provider redeems it.
    world.refused(2, redeem(good.clone()), "only the worker");
    world.refused(PAYER, redeem(good.clone()), "only the worker");
    let of = |signer: usize, network: NetworkId, change: fn(&mut ChannelId)| {
        let mut changed = good.voucher.clone();
        change(&mut changed.channel);
        redeem(SignedVoucher::new(network, &key(signer), changed).unwrap())
    };
    let network = world.rules.network;
    let cases: [(Body, &str); 7] = [
        (of(0, network, |_| {}), "is not signed by"),
        (of(PAYER, NetworkId([9; 32]), |_| {}), "is not signed by"),
        (of(PAYER, network, |id| id.opened = Height(1)), "height"),
        (
            of(PAYER, network, |id| id.provider = ProviderId(7)),
            "no provider 7",
        ),
        (
            of(2, network, |id| {
                (id.payer, id.reader) = (address(2), address(2));
            }),
            "no channel to provider 0",
        ),
        // Who signs for another's deposit without a grant.
        (
            of(2, network, |id| id.reader = address(2)),
            "no channel to provider 0",
        ),
        (
            {
                let mut raised = good.clone();
                raised.voucher.amount = Amount::hold(2);
                redeem(raised)
            },
            "is not signed by",
        ),
    ];
    for (body, reason) in cases {
        world.refused(0, body, reason);
    }
    world.done(0, redeem(good));
}

#[test]
fn a_closing_channel_can_be_redeemed_from_until_its_window_ends_and_the_rest_goes_back() {
    let mut world = opened();
    let last = voucher(&world, Amount::hold(2));
    world.refused(2, CLOSE, "no channel to provider 0");
    world.done(PAYER, CLOSE);
    let closed = world.height();
    world.refused(PAYER, CLOSE, "closes at height");
    world.refused(PAYER, open(Amount::hold(1)), "closes at height");
    let end = channel(&world).unwrap().closing.unwrap();
    assert_eq!(end, closed.after(world.rules.parameters.dispute_window));
    world.advance_to(Height(end.0 - 1));
    let before = world.account(PAYER).balance;
    // The last block of the window still pays, and then gives back.
    world.done(0, redeem(last.clone()));
    assert_eq!(world.height(), end);
    assert_eq!(channel(&world), None);
    assert_eq!(world.account(PAYER).balance.0, before.0 + Amount::hold(3).0);
    world.refused(0, redeem(last.clone()), "no channel to provider 0");
    assert!(
        query::channels_of(&world.view, &address(PAYER), None, 9)
            .unwrap()
            .is_empty()
    );
    // A channel that is opened anew owes nothing of what the one before owed.
    world.done(PAYER, open(Amount::hold(5)));
    world.refused(0, redeem(last), "the channel's height");
}

#[test]
fn a_channel_takes_a_deposit_that_is_there_to_a_provider_that_is_there() {
    let mut world = World::new();
    world.refused(PAYER, open(Amount::hold(1)), "no provider 0");
    world.register();
    world.refused(PAYER, open(Amount::ZERO), "the deposit is empty");
    world.refused(PAYER, open(Amount(u128::MAX)), "fund it with");
    world.done(PAYER, open(Amount::hold(1)));
    world.refused(PAYER, open(Amount(u128::MAX)), "beyond the numbers");
    world.done(2, open(Amount::hold(3)));
    let to = |after: Option<usize>| {
        let after = after.map(|payer| Parties::own(address(payer)));
        query::channels_to(&world.view, PROVIDER, after.as_ref(), 9).unwrap()
    };
    let all = to(None);
    assert_eq!(all.len(), 2);
    let mut payers = [address(PAYER), address(2)];
    payers.sort_unstable();
    assert_eq!([all[0].id.payer, all[1].id.payer], payers);
    let first = if payers[0] == address(PAYER) {
        PAYER
    } else {
        2
    };
    assert_eq!(to(Some(first)), all[1..]);
    assert_eq!(
        query::channels_of(&world.view, &address(2), None, 9)
            .unwrap()
            .len(),
        1
    );
}

/// Whom a budget is for.
const READER: usize = 3;

fn attach(pack: PackId, deposit: Amount, until: u64) -> Body {
    Body::AttachReadBudget {
        pack,
        reader: address(READER),
        deposit,
        providers: 2,
        until: Height(until),
    }
}

fn revoke(providers: &[u64]) -> Body {
    Body::RevokeGrant {
        reader: address(READER),
        providers: providers.iter().copied().map(ProviderId).collect(),
    }
}

fn granted(world: &World, provider: u64) -> Option<Channel> {
    let parties = Parties {
        payer: address(PAYER),
        reader: address(READER),
    };
    query::channel(&world.view, ProviderId(provider), &parties).unwrap()
}

fn granted_voucher(world: &World, provider: u64, amount: Amount, signer: usize) -> Body {
    let channel = granted(world, provider).unwrap().id;
    let voucher = Voucher { channel, amount };
    redeem(SignedVoucher::new(world.rules.network, &key(signer), voucher).unwrap())
}

/// A pack of account 1, a shard of it at provider 0 and the other at provider 1 of account 2.
fn held_by_two() -> (World, PackId) {
    let mut world = World::with_sector();
    world.join(2);
    let mut proposal = world.proposal(1);
    proposal.terms[1].provider = ProviderId(1);
    let pack = proposal.pack.id().unwrap();
    world.done(PAYER, Body::ProposeDealSet(proposal));
    world.refused(PAYER, attach(pack, Amount::hold(1), 99), "held by nobody");
    world.done(0, world.accept(deal_id(pack, 0)));
    world.done(2, world.accept_by(ProviderId(1), deal_id(pack, 1)));
    (world, pack)
}

#[test]
fn a_granted_budget_pays_for_what_its_reader_signs_at_each_provider_and_for_no_more() {
    let (mut world, pack) = held_by_two();
    let before = world.account(PAYER);
    let body = attach(pack, Amount::hold(5), 90);
    let fee = world.sign(PAYER, before.nonce, body.clone()).message.fee;
    world.done(PAYER, body);
    let taken = before.balance.0 - world.account(PAYER).balance.0;
    assert_eq!(taken, fee.0 + 2 * Amount::hold(5).0);
    // What one provider is paid is not there twice: the other has its own.
    let of = |world: &World, provider, amount| {
        granted_voucher(world, provider, Amount::hold(amount), READER)
    };
    world.done(0, of(&world, 0, 5));
    world.done(2, of(&world, 1, 3));
    world.refused(0, of(&world, 0, 6), "at most the deposit of 5 HOLD");
    // The payer does not sign on it, and the reader has no say beyond it.
    let by_payer = granted_voucher(&world, 1, Amount::hold(4), PAYER);
    world.refused(2, by_payer, "is not signed by");
    world.refused(READER, CLOSE, "no channel to provider 0");
    world.refused(2, of(&world, 0, 5), "only the worker");
    // A channel of the payer's own is another, also to the same provider.
    world.done(PAYER, open(Amount::hold(1)));
    assert_eq!(channel(&world).unwrap().deposit, Amount::hold(1));
    assert_eq!(granted(&world, 0).unwrap().deposit, Amount::hold(5));
    let all = query::channels_of(&world.view, &address(PAYER), None, 9).unwrap();
    assert_eq!(all.len(), 3);
    let after = (all[0].id.provider, all[0].id.reader);
    let rest = query::channels_of(&world.view, &address(PAYER), Some(after), 9).unwrap();
    assert_eq!(rest, all[1..]);
}

#[test]
fn a_granted_budget_ends_by_itself_after_a_dispute_window_and_goes_back_to_who_paid_it() {
    let (mut world, pack) = held_by_two();
    let until = world.height().0 + 20;
    world.done(PAYER, attach(pack, Amount::hold(2), until));
    // Added to, it ends at the later of both heights.
    world.done(PAYER, attach(pack, Amount::hold(1), until - 5));
    assert_eq!(granted(&world, 1).unwrap().until, Some(Height(until)));
    world.done(PAYER, attach(pack, Amount::hold(1), until + 3));
    let until = until + 3;
    world.advance_to(Height(until - 1));
    assert_eq!(granted(&world, 0).unwrap().closing, None);
    let last = granted_voucher(&world, 0, Amount::hold(1), READER);
    world.advance(1);
    let end = until + world.rules.parameters.dispute_window.0;
    assert_eq!(granted(&world, 0).unwrap().closing, Some(Height(end)));
    world.refused(
        PAYER,
        attach(pack, Amount::hold(1), end + 9),
        "closes at height",
    );
    world.refused(PAYER, revoke(&[0]), "closes at height");
    world.advance_to(Height(end - 1));
    let before = world.account(PAYER).balance;
    world.done(0, last.clone());
    assert_eq!((granted(&world, 0), granted(&world, 1)), (None, None));
    let back = world.account(PAYER).balance.0 - before.0;
    assert_eq!(back, Amount::hold(3 + 4).0);
    world.refused(0, last, "no channel to provider 0");
}

#[test]
fn a_revoked_grant_is_redeemed_from_until_its_window_ends() {
    let (mut world, pack) = held_by_two();
    world.done(PAYER, attach(pack, Amount::hold(2), 999));
    world.refused(READER, revoke(&[0]), "no channel to provider 0");
    world.refused(PAYER, revoke(&[]), "the number of providers");
    let many: Vec<u64> = (0..65).collect();
    world.refused(PAYER, revoke(&many), "the number of providers");
    world.refused(PAYER, revoke(&[1, 0]), "providers");
    world.refused(PAYER, revoke(&[0, 0]), "providers");
    world.refused(PAYER, revoke(&[0, 7]), "no channel to provider 7");
    world.done(PAYER, revoke(&[0]));
    // One that closes already does not keep the other open.
    world.done(PAYER, revoke(&[0, 1]));
    world.refused(PAYER, revoke(&[0, 1]), "closes at height");
    let voucher = granted_voucher(&world, 1, Amount::hold(2), READER);
    world.done(2, voucher);
    let before = world.account(PAYER).balance;
    world.advance(world.rules.parameters.dispute_window.0);
    assert_eq!((granted(&world, 0), granted(&world, 1)), (None, None));
    assert_eq!(world.account(PAYER).balance.0, before.0 + Amount::hold(2).0);
    // Nothing of it is due any more at the height that was said first.
    world.advance_to(Height(1_005));
}

#[test]
fn a_budget_with_any_field_wrong_is_refused() {
    let (mut world, pack) = held_by_two();
    let one = Amount::hold(1);
    world.refused(PAYER, attach(PackId([9; 32]), one, 99), "no deal set");
    world.refused(
        PAYER,
        attach(pack, Amount::ZERO, 99),
        "the deposit for each",
    );
    let least = world.rules.parameters.economy.minimum_fee;
    let less = Amount(least.0 - 1);
    world.refused(PAYER, attach(pack, less, 99), "the deposit for each");
    world.refused(PAYER, attach(pack, Amount(u128::MAX), 99), "fund it with");
    let most = world.account(PAYER).balance;
    // Enough for one provider and not for both: neither has it.
    world.refused(
        PAYER,
        attach(pack, Amount(most.0 * 2 / 3), 99),
        "fund it with",
    );
    let now = world.height().0 + 1;
    world.refused(PAYER, attach(pack, one, now), "the budget was due");
    world.refused(READER, attach(pack, one, 99), "the reader");
    for (number, why) in [
        (0, "the number of providers that are paid for"),
        (1, "at most the 1 that are paid for"),
        (65, "the number of providers that are paid for"),
    ] {
        let mut body = attach(pack, one, 99);
        if let Body::AttachReadBudget { providers, .. } = &mut body {
            *providers = number;
        }
        world.refused(PAYER, body, why);
    }
    // Whoever likes pays for a public pack.
    world.done(4, attach(pack, one, u64::MAX));
    assert_eq!(granted(&world, 0), None);
}
