//! Deals that run longer.

use super::world::{World, address, deal_id, offer};
use crate::message::{Body, ProviderOffer};
use crate::quote::{self, MAX_TERM};
use crate::state::DealStatus;
use crate::units::{Amount, PackId, Periods, ProviderId};

fn renew(pack: PackId, periods: u64, least: u8) -> Body {
    Body::RenewDealSet {
        pack,
        periods: Periods(periods),
        least,
    }
}

fn reprice(price: Amount) -> Body {
    Body::UpdateProvider {
        provider: ProviderId(0),
        worker: address(0),
        offer: ProviderOffer { price, ..offer() },
    }
}

/// What a message of account 1 takes beside its fee.
fn taken(world: &mut World, body: Body) -> u128 {
    let before = world.account(1);
    let fee = world.sign(1, before.nonce, body.clone()).message.fee;
    world.done(1, body);
    before.balance.0 - fee.0 - world.account(1).balance.0
}

const TOO_FEW: &str = "the number of deals that can have so many periods left";

#[test]
fn a_renewed_deal_runs_for_as_long_as_was_asked_at_its_own_price() {
    let (mut world, pack) = World::embedded();
    let id = deal_id(pack, 0);
    while world.deal(&id).paid == Periods(0) {
        world.prove_and_close(0);
    }
    // One of three periods is over; with five more to come it has six in all.
    let before = world.deal(&id);
    let price = taken(&mut world, renew(pack, 5, 2));
    let deal = world.deal(&id);
    assert_eq!((deal.term, deal.left()), (Periods(6), Periods(5)));
    let more = quote::shard_escrow(Amount::hold(1), deal.length, Periods(3)).unwrap();
    assert_eq!(deal.escrow.0, before.escrow.0 + more.0);
    assert_eq!(price, 2 * more.0);
    while world.deal(&id).status != DealStatus::Expired {
        world.prove_and_close(0);
    }
    let deal = world.deal(&id);
    assert_eq!((deal.paid, deal.refunded), (Periods(6), Periods(0)));
    assert_eq!((deal.escrow, deal.left()), (Amount::ZERO, Periods(0)));
    world.refused(1, renew(pack, 1, 1), TOO_FEW);
}

#[test]
fn the_same_renewal_twice_is_paid_once() {
    let (mut world, pack) = World::embedded();
    assert_ne!(taken(&mut world, renew(pack, 9, 2)), 0);
    assert_eq!(taken(&mut world, renew(pack, 9, 2)), 0);
    assert_eq!(taken(&mut world, renew(pack, 4, 2)), 0);
    assert_eq!(world.deal(&deal_id(pack, 1)).term, Periods(9));
}

#[test]
fn what_is_taken_is_what_was_quoted() {
    let (mut world, pack) = World::embedded();
    let (price, provider) = (Amount::hold(1), world.provider());
    let quoted = [0, 1].map(|shard| {
        let deal = world.deal(&deal_id(pack, shard));
        let quoted = quote::renewal(&deal, price, &provider, Periods(7)).unwrap();
        quoted.unwrap().0
    });
    assert_eq!(
        taken(&mut world, renew(pack, 7, 2)),
        quoted.iter().sum::<u128>()
    );
}

#[test]
fn nobody_is_held_to_a_price_that_it_offers_no_longer() {
    let (mut world, pack) = World::embedded();
    world.done(0, reprice(Amount(Amount::hold(1).0 + 1)));
    world.refused(1, renew(pack, 4, 1), TOO_FEW);
    world.done(0, reprice(Amount::hold(1)));
    world.done(1, renew(pack, 4, 2));
    world.done(
        0,
        Body::Retire {
            provider: ProviderId(0),
        },
    );
    world.refused(1, renew(pack, 5, 1), TOO_FEW);
    // What it has sold it keeps.
    assert_eq!(taken(&mut world, renew(pack, 4, 2)), 0);
}

#[test]
fn a_renewal_with_any_field_wrong_is_refused() {
    let (mut world, pack) = World::embedded();
    world.refused(2, renew(pack, 4, 1), "only the owner");
    world.refused(1, renew(PackId([9; 32]), 4, 1), "no deal set");
    world.refused(1, renew(pack, 0, 1), "the number of periods");
    world.refused(1, renew(pack, MAX_TERM.0 + 1, 1), "the number of periods");
    world.refused(1, renew(pack, 4, 0), "the least number of deals");
    world.refused(1, renew(pack, 4, 3), "the least number of deals");
    let all = world.account(1).balance;
    world.done(
        1,
        Body::Transfer {
            to: address(2),
            amount: Amount(all.0 - Amount::hold(1).0 / 100),
        },
    );
    world.refused(1, renew(pack, MAX_TERM.0, 1), "fund it");
}

#[test]
fn where_too_few_can_be_renewed_none_is() {
    let mut world = World::with_sector();
    let pack = world.propose(1);
    world.done(0, world.accept(deal_id(pack, 0)));
    world.refused(1, renew(pack, 4, 2), TOO_FEW);
    assert_eq!(world.deal(&deal_id(pack, 0)).term, Periods(3));
    world.done(1, renew(pack, 4, 1));
    assert_eq!(world.deal(&deal_id(pack, 0)).term, Periods(4));
    assert_eq!(world.deal(&deal_id(pack, 1)).term, Periods(3));
}
