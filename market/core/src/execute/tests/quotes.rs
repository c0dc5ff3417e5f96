//! A quote that is accepted never fails for funds: whoever has exactly what [`crate::quote`] says is
//! done, and with a grain less is refused.

use super::world::{CLASS, World, address, deal_id, group, offer};
use crate::block::OutcomeResult;
use crate::message::{Acceptance, Body, DealSetProposal, ProviderOffer};
use crate::query;
use crate::quote;
use crate::units::{Amount, ByteCount, Periods, ProviderId, SectorId, SectorNumber, ShardRoot};
use proptest::prelude::*;

const PROVIDER: ProviderId = ProviderId(0);
/// Who pays here, and where the rest of its tokens go.
const PAYER: usize = 1;
const AWAY: usize = 5;

impl World {
    /// Leaves an account exactly so much.
    fn leave(&mut self, who: usize, amount: Amount) {
        let have = self.account(who).balance;
        self.by_hand(|context| {
            let (from, to) = (address(who), address(AWAY));
            if have > amount {
                context.ledger.debit(&from, Amount(have.0 - amount.0))?;
                context.ledger.credit(&to, Amount(have.0 - amount.0))
            } else {
                context.ledger.debit(&to, Amount(amount.0 - have.0))?;
                context.ledger.credit(&from, Amount(amount.0 - have.0))
            }
        });
    }

    /// What it takes all together, as the quote and the fee say: a grain less is refused, and all of
    /// it suffices and is taken.
    fn costs_exactly(&mut self, who: usize, body: &Body, quoted: Amount) {
        let economy = query::economy(&self.view).unwrap();
        let nonce = self.account(who).nonce;
        let fee = quote::fee(&economy, &self.sign(who, nonce, body.clone()).message).unwrap();
        let before = self.view.clone();
        if quoted > Amount::ZERO {
            self.leave(who, Amount(quoted.0 + fee.0 - 1));
            let OutcomeResult::Refused(why) = self.send(who, body.clone()) else {
                panic!("done for a grain less than {quoted}");
            };
            assert!(why.contains("fund it with 0.000000001 HOLD more"), "{why}");
        }
        self.view = before;
        self.leave(who, Amount(quoted.0 + fee.0));
        assert_eq!(
            self.send(who, body.clone()),
            OutcomeResult::Done,
            "{quoted}"
        );
        assert_eq!(self.account(who).balance, Amount::ZERO);
    }
}

/// Prices from the least to dear, odd ones among them.
fn price() -> impl Strategy<Value = Amount> {
    prop_oneof![
        Just(Amount(100_000_000)),
        (100_000_000u128..3_000_000_000).prop_map(Amount),
    ]
}

fn proposals() -> impl Strategy<Value = DealSetProposal> {
    let terms = proptest::collection::vec((price(), 1u64..2_000), 1..12);
    (terms, any::<u8>(), 1u64..200_000, 0u128..2_000_000_000).prop_map(
        |(terms, k, length, budget)| {
            let world = World::new();
            let mut proposal = world.proposal(1);
            let (shard, n) = (proposal.terms[0].clone(), terms.len() as u8);
            proposal.pack.n = n;
            proposal.pack.k = 1 + k % n;
            proposal.pack.length = ByteCount(length);
            proposal.pack.shard_length = quote::shard_length(proposal.pack.k, ByteCount(length));
            proposal.pack.shard_roots = vec![ShardRoot([1; 32]); terms.len()];
            proposal.repair_threshold = proposal.pack.k;
            proposal.repair_budget = Amount(budget);
            let of = |(price, term)| {
                let mut shard = shard.clone();
                (shard.price, shard.term) = (price, Periods(term));
                shard
            };
            proposal.terms = terms.into_iter().map(of).collect();
            proposal
        },
    )
}

fn with_provider(collateral: Amount) -> World {
    let mut world = World::new();
    let body = Body::RegisterProvider {
        worker: address(0),
        offer: offer(),
        collateral,
    };
    world.done(0, body);
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if super::long() { 500 } else { 24 }))]

    #[test]
    fn a_deal_set_takes_what_was_quoted_and_no_grain_more(proposal in proposals()) {
        let mut world = with_provider(Amount::hold(50));
        let quoted = quote::deal_set(&proposal).unwrap();
        world.costs_exactly(PAYER, &Body::ProposeDealSet(proposal), quoted);
    }

    #[test]
    fn a_renewal_takes_what_was_quoted_and_no_grain_more(
        proven in 0u64..3,
        missed in 0u64..2,
        periods in 1u64..60,
        offered in price(),
        accepted in 1u8..3,
        retires in 0u8..6,
    ) {
        let (mut world, pack) = World::embedded();
        if accepted == 1 {
            // A set of which one deal is not accepted is renewed in the other.
            let proposal = world.proposal(9);
            let pack = proposal.pack.id().unwrap();
            world.done(1, Body::ProposeDealSet(proposal));
            world.done(0, world.accept(deal_id(pack, 1)));
        }
        for _ in 0..proven {
            world.prove_and_close(0);
        }
        for _ in 0..missed {
            world.close(0);
        }
        let offer = ProviderOffer { price: offered, ..offer() };
        world.done(0, Body::UpdateProvider { provider: PROVIDER, worker: address(0), offer });
        if retires == 0 {
            world.done(0, Body::Retire { provider: PROVIDER });
        }
        let sets = query::deal_sets_of(&world.view, &address(1)).unwrap();
        for set in sets.iter().filter(|set| accepted == 1 || set.id == pack) {
            let (mut sum, mut kept) = (0, 0);
            for (deal, terms) in set.deals.iter().zip(&set.proposal.terms) {
                let provider = world.provider();
                let quoted = quote::renewal(deal, terms.price, &provider, Periods(periods)).unwrap();
                if let Some(price) = quoted {
                    sum += price.0;
                    kept += 1;
                }
            }
            let renew = |least| Body::RenewDealSet { pack: set.id, periods: Periods(periods), least };
            if kept > 0 {
                world.costs_exactly(PAYER, &renew(kept), Amount(sum));
                world.leave(PAYER, Amount::hold(10));
            }
            if kept < set.proposal.pack.n {
                world.refused(PAYER, renew(kept + 1), "the number of deals that can have");
            }
        }
    }

    #[test]
    fn a_channel_takes_its_deposit_and_no_grain_more(deposits in proptest::collection::vec(1u128..100_000_000_000, 1..4)) {
        let mut world = with_provider(Amount::hold(50));
        for deposit in deposits {
            let deposit = Amount(deposit);
            let body = Body::OpenChannel { provider: PROVIDER, deposit };
            world.costs_exactly(PAYER, &body, deposit);
        }
    }

    #[test]
    fn what_costs_only_its_fee_takes_no_grain_more(version in 1u64..u64::MAX, bytes in 1usize..60) {
        let mut world = World::new();
        let label = "x".repeat(bytes);
        let body = Body::PublishName { label, version, root: vec![1, 0x55, 0, 0], lease: None };
        world.costs_exactly(PAYER, &body, Amount::ZERO);
    }

    #[test]
    fn a_providers_collateral_suffices_as_quoted(sectors in 1u32..4, lengths in proptest::collection::vec(1u64..200_000, 1..6)) {
        let parameters = World::new().rules.parameters;
        let economy = &parameters.economy;
        let least = economy.minimum_collateral.0;
        let sector = quote::sector_collateral(economy, CLASS).unwrap().0 + economy.seal_deposit.0;
        // A sector's lock and deposit beside the least, to the grain.
        for (missing, done) in [(0, true), (1, false)] {
            let mut world = with_provider(Amount(least + sector - missing));
            let result = world.send(0, world.pre_commit(0));
            prop_assert_eq!(result == OutcomeResult::Done, done);
        }
        // What was quoted for several sectors suffices for all of them.
        let all = quote::provider_collateral(&parameters, CLASS, sectors).unwrap();
        let mut world = with_provider(all);
        for number in 0..u64::from(sectors) {
            world.done(0, world.pre_commit(number));
            world.activate(number);
        }
        // And then for deals, to the grain of what is free.
        let mut free = quote::free_collateral(&world.provider()).unwrap().0;
        for (nonce, length) in (0..).zip(lengths) {
            let mut proposal = world.proposal(nonce);
            proposal.pack.length = ByteCount(length);
            proposal.pack.shard_length = ByteCount(length);
            proposal.pack.shard_length = quote::shard_length(1, ByteCount(length));
            let pack = proposal.pack.id().unwrap();
            world.done(1, Body::ProposeDealSet(proposal.clone()));
            let levels = parameters.piece_levels;
            let shape = holdfast_proofs::piece::PieceShape::of(proposal.pack.shard_length.0, levels);
            let acceptance = Acceptance {
                shard: deal_id(pack, 0),
                piece_roots: vec![super::world::node("piece"); shape.unwrap().subtrees().len()],
            };
            let body = Body::AcceptDeals { provider: PROVIDER, deals: vec![acceptance] };
            let locks = quote::deal_collateral(economy, proposal.pack.shard_length).unwrap().0;
            let result = world.send(0, body);
            prop_assert_eq!(result == OutcomeResult::Done, locks <= free);
            if locks <= free {
                free -= locks;
            }
            prop_assert_eq!(quote::free_collateral(&world.provider()).unwrap().0, free);
        }
    }
}

#[test]
fn an_acceptance_takes_the_last_grain_that_is_free() {
    let economy = World::new().rules.parameters.economy;
    let locks = quote::deal_collateral(&economy, ByteCount(20_000)).unwrap();
    for (missing, done) in [(0, true), (1, false)] {
        let mut world = with_provider(Amount::hold(50));
        world.by_hand(|context| {
            let mut provider = context.ledger.provider(PROVIDER)?;
            let rest = Amount(provider.collateral.0 - locks.0 + missing);
            provider.collateral = Amount(locks.0 - missing);
            context.ledger.put_provider(&provider)?;
            context.ledger.credit(&address(0), rest)
        });
        let pack = world.propose(1);
        let result = world.send(0, world.accept(deal_id(pack, 0)));
        assert_eq!(result == OutcomeResult::Done, done, "{result:?}");
    }
}

#[test]
fn an_embed_takes_its_deposit_beside_the_least_collateral() {
    let economy = World::new().rules.parameters.economy;
    let id = SectorId {
        provider: PROVIDER,
        number: SectorNumber(0),
    };
    for (missing, done) in [(0, true), (1, false)] {
        let mut world = World::with_sector();
        let pack = world.accepted(1);
        let layout = world.layout(group(5), &[deal_id(pack, 0), deal_id(pack, 1)]);
        let sector = query::sector(&world.view, id).unwrap().unwrap();
        let need = economy.minimum_collateral.0 + economy.embed_deposit.0 + sector.locked.0;
        let body = Body::WithdrawCollateral {
            provider: PROVIDER,
            amount: Amount(world.provider().collateral.0 - need + missing),
        };
        world.done(0, body);
        let result = world.send(0, world.commit_embed(vec![layout]));
        assert_eq!(result == OutcomeResult::Done, done, "{result:?}");
    }
}
