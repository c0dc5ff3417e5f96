use super::world::{World, address, key};
use crate::channel::{Channel, ChannelId, SignedVoucher, Voucher};
use crate::message::Body;
use crate::query;
use crate::units::{Amount, Height, NetworkId, ProviderId};

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
    query::channel(&world.view, PROVIDER, &address(PAYER)).unwrap()
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
    let cases: [(Body, &str); 6] = [
        (of(0, network, |_| {}), "is not signed by"),
        (of(PAYER, NetworkId([9; 32]), |_| {}), "is not signed by"),
        (of(PAYER, network, |id| id.opened = Height(1)), "height"),
        (
            of(PAYER, network, |id| id.provider = ProviderId(7)),
            "no provider 7",
        ),
        (
            of(2, network, |id| id.payer = address(2)),
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
        let after = after.map(address);
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
