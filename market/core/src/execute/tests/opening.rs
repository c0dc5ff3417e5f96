use super::world::{World, address, deal_id, offer, shard_bytes};
use crate::message::{Acceptance, Body, PieceOpening};
use crate::slice;
use crate::state::DealStatus;
use crate::units::{Amount, DealId, ProviderId};
use holdfast_proofs::node::Node;
use holdfast_proofs::piece::{PieceRoots, PieceShape, QuadOpening};

const LENGTH: u64 = 20_000;

fn shape(world: &World) -> PieceShape {
    PieceShape::of(LENGTH, world.rules.parameters.piece_levels).unwrap()
}

/// The opening of a quad where the shard is `bytes` and the piece was made of `piece`.
fn opening(world: &World, bytes: &[u8], piece: &[u8], quad: u64) -> PieceOpening {
    let start = quad * 127;
    PieceOpening {
        quad,
        slice: slice::encode(bytes, &(start..(start + 127).min(LENGTH))).unwrap(),
        opening: QuadOpening::read(piece, &shape(world), quad).unwrap(),
    }
}

fn honest(world: &World, quad: u64) -> PieceOpening {
    opening(world, &shard_bytes(0), &shard_bytes(0), quad)
}

/// Shard 0 accepted with the piece roots of bytes that differ in quad 50.
fn lying() -> (World, DealId, Vec<u8>) {
    let mut world = World::with_sector();
    let pack = world.propose(1);
    let id = deal_id(pack, 0);
    let mut piece = shard_bytes(0);
    piece[50 * 127 + 3] ^= 1;
    let levels = world.rules.parameters.piece_levels;
    let roots = PieceRoots::compute(piece.as_slice(), LENGTH, levels).unwrap();
    let deals = vec![Acceptance {
        shard: id,
        piece_roots: roots.0,
    }];
    world.done(
        0,
        Body::AcceptDeals {
            provider: ProviderId(0),
            deals,
        },
    );
    (world, id, piece)
}

#[test]
fn a_mismatch_of_the_two_roots_is_fraud_that_anyone_can_show() {
    let (mut world, id, piece) = lying();
    let submit = |opening| Body::SubmitFraud { deal: id, opening };
    let bytes = shard_bytes(0);
    // Where the bytes agree there is nothing to show.
    world.refused(3, submit(opening(&world, &bytes, &piece, 7)), "no fraud");
    // Bytes of another shard, or a piece of other bytes, show nothing.
    world.refused(
        3,
        submit(opening(&world, &shard_bytes(1), &piece, 50)),
        "the shard root",
    );
    world.refused(
        3,
        submit(opening(&world, &bytes, &bytes, 50)),
        "the piece roots",
    );
    let mut beyond = opening(&world, &bytes, &piece, 50);
    beyond.quad = 10_000;
    world.refused(3, submit(beyond), "the quad");
    let mut shorter = opening(&world, &bytes, &piece, 50);
    shorter.opening.siblings.pop();
    world.refused(3, submit(shorter), "the piece roots");
    let locked = world.deal(&id).locked;
    let (before, finder) = (world.provider(), world.account(3).balance);
    world.done(3, submit(opening(&world, &bytes, &piece, 50)));
    assert!(matches!(world.deal(&id).status, DealStatus::Failed { .. }));
    let after = world.provider();
    assert_eq!(after.record.frauds, 1);
    assert_eq!(before.collateral.0 - after.collateral.0, locked.0);
    assert!(world.account(3).balance.0 + Amount::hold(1).0 / 100 > finder.0);
    world.refused(3, submit(opening(&world, &bytes, &piece, 50)), "is failed");
}

#[test]
fn an_honest_shard_shows_no_fraud_in_any_quad() {
    let mut world = World::with_sector();
    let pack = world.accepted(1);
    let id = deal_id(pack, 0);
    let last = (LENGTH - 1) / 127;
    for quad in [0, 1, 64, 127, 128, 129, last] {
        let body = Body::SubmitFraud {
            deal: id,
            opening: honest(&world, quad),
        };
        world.refused(3, body, "no fraud");
    }
}

#[test]
fn nodes_under_the_piece_root_that_are_no_data_are_fraud() {
    let mut world = World::with_sector();
    let pack = world.propose(1);
    let id = deal_id(pack, 0);
    // A first quad with a node of 255 bits: no bytes pack to it.
    let mut nodes: Vec<Node> = holdfast_proofs::piece::pack(&shard_bytes(0));
    nodes.resize(2 * 512, Node::ZERO);
    let mut high = [0u8; 32];
    high[31] = 0x40;
    nodes[0] = Node::from_bytes(high).unwrap();
    let trees: Vec<_> = nodes
        .chunks(512)
        .map(|part| holdfast_proofs::tree::Tree::build(part.to_vec()).unwrap())
        .collect();
    let piece_roots = trees.iter().map(|tree| tree.root()).collect();
    let deals = vec![Acceptance {
        shard: id,
        piece_roots,
    }];
    world.done(
        0,
        Body::AcceptDeals {
            provider: ProviderId(0),
            deals,
        },
    );
    let mut shown = honest(&world, 0);
    shown.opening = QuadOpening::of(&trees[0], 0).unwrap();
    world.done(
        3,
        Body::SubmitFraud {
            deal: id,
            opening: shown,
        },
    );
}

#[test]
fn a_demanded_opening_is_answered_for_its_deposit() {
    let mut world = World::with_sector();
    let pack = world.accepted(1);
    let id = deal_id(pack, 0);
    let demand = |quad| Body::DemandOpening { deal: id, quad };
    let answer = |opening| Body::AnswerOpening { deal: id, opening };
    world.refused(0, answer(honest(&world, 5)), "without a demand");
    world.refused(2, demand(158), "the quad");
    let unknown = Body::DemandOpening {
        deal: deal_id(pack, 9),
        quad: 0,
    };
    world.refused(2, unknown, "no deal");
    let balance = world.account(2).balance;
    world.done(2, demand(5));
    assert!(balance.0 - world.account(2).balance.0 >= Amount::hold(1).0);
    world.refused(3, demand(5), "exists already");
    world.refused(2, answer(honest(&world, 5)), "only the worker");
    world.refused(0, answer(honest(&world, 6)), "the quad");
    let mut touched = honest(&world, 5);
    touched.slice[40] ^= 1;
    world.refused(0, answer(touched), "the shard root");
    let before = world.account(0).balance;
    world.done(0, answer(honest(&world, 5)));
    assert!(world.account(0).balance > before);
    assert_eq!(world.deal(&id).demand, None);
    world.advance(world.rules.parameters.opening_due.0);
    assert_eq!(world.deal(&id).status, DealStatus::Accepted);
}

#[test]
fn silence_and_a_false_answer_are_fraud() {
    let mut world = World::with_sector();
    let pack = world.accepted(1);
    let id = deal_id(pack, 0);
    world.done(2, Body::DemandOpening { deal: id, quad: 5 });
    let before = world.account(2).balance;
    world.advance(world.rules.parameters.opening_due.0);
    assert!(matches!(world.deal(&id).status, DealStatus::Failed { .. }));
    // The deposit is back, and the finder's share on top.
    assert!(world.account(2).balance.0 > before.0 + Amount::hold(1).0);

    let (mut world, id, piece) = lying();
    world.done(2, Body::DemandOpening { deal: id, quad: 50 });
    let before = world.account(2).balance;
    let opening = opening(&world, &shard_bytes(0), &piece, 50);
    world.done(0, Body::AnswerOpening { deal: id, opening });
    assert!(matches!(world.deal(&id).status, DealStatus::Failed { .. }));
    assert!(world.account(2).balance.0 > before.0 + Amount::hold(1).0);
}

#[test]
fn a_finished_deal_answers_for_its_demand_before_its_collateral_is_free() {
    let (mut world, pack) = World::embedded();
    let id = deal_id(pack, 0);
    for _ in 0..2 {
        world.prove_and_close(0);
    }
    while matches!(world.deal(&id).status, DealStatus::Proven { .. }) {
        if world.deal(&id).demand.is_none() && world.deal(&id).paid.0 == 2 {
            world.done(2, Body::DemandOpening { deal: id, quad: 5 });
        }
        world.prove_and_close(0);
    }
    assert_eq!(world.deal(&id).status, DealStatus::Expired);
    let due = world.deal(&id).demand.unwrap().due;
    world.advance(world.rules.parameters.dispute_window.0 + 1);
    assert!(world.height() < due);
    assert!(world.deal(&id).locked > Amount::ZERO);
    // The sector is proven on; the demand is not answered.
    while world.height() < due {
        let sector = world.sector(0);
        if sector.proven != Some(sector.next) {
            world.prove(0);
        }
        world.advance(1);
    }
    assert!(matches!(world.deal(&id).status, DealStatus::Failed { .. }));
    assert_eq!(world.provider().record.frauds, 1);
    world.advance(3);
}

#[test]
fn another_worker_cannot_answer() {
    let (mut world, id, _) = lying();
    world.done(
        0,
        Body::UpdateProvider {
            provider: ProviderId(0),
            worker: address(4),
            offer: offer(),
        },
    );
    world.done(2, Body::DemandOpening { deal: id, quad: 1 });
    let body = Body::AnswerOpening {
        deal: id,
        opening: honest(&world, 1),
    };
    world.refused(0, body, "only the worker");
}

#[test]
fn an_answer_after_its_height_is_too_late_though_nothing_was_worked_off_yet() {
    let mut world = World::with_sector();
    let pack = world.accepted(1);
    let id = deal_id(pack, 0);
    world.done(2, Body::DemandOpening { deal: id, quad: 5 });
    let due = world.deal(&id).demand.unwrap().due;
    world.by_hand(|context| {
        let opening = super::super::due::Due::Opening(id);
        context.unschedule(opening, due);
        context.schedule(opening, due.after(crate::units::Blocks(5)));
        Ok(())
    });
    world.advance_to(due);
    let opening = honest(&world, 5);
    world.refused(
        0,
        Body::AnswerOpening { deal: id, opening },
        "was due by height",
    );
    world.advance(4);
    assert!(matches!(world.deal(&id).status, DealStatus::Failed { .. }));
}

/// Once a provider that demanded an opening of itself again and again kept everybody else's out.
#[test]
fn a_providers_own_demands_keep_no_other_out_and_cost_it() {
    let (mut world, id, piece) = lying();
    let demand = |quad| Body::DemandOpening { deal: id, quad };
    let agreeing = |world: &World, quad| Body::AnswerOpening {
        deal: id,
        opening: opening(world, &shard_bytes(0), &piece, quad),
    };
    world.done(0, demand(7));
    let first = world.deal(&id).demand.unwrap().due;
    // The client's comes behind it, with a height of its own.
    let client = world.account(2).balance;
    world.done(2, demand(50));
    world.advance_to(crate::units::Height(first.0 - 1));
    let burnt = crate::query::supply(&world.view).unwrap().burnt;
    world.block(vec![(0, agreeing(&world, 7)), (0, demand(8))]);
    let burnt = crate::query::supply(&world.view).unwrap().burnt.0 - burnt.0;
    assert!(burnt > Amount::hold(1).0 / 2, "{burnt}");
    // Now the client's is to be answered, and it cannot be.
    let next = world.deal(&id).demand.unwrap();
    assert_eq!((next.quad, next.by), (50, address(2)));
    assert!(next.due > first && next.due.0 <= first.0 + 6);
    let own = world.account(0).balance;
    world.advance_to(next.due);
    assert!(matches!(world.deal(&id).status, DealStatus::Failed { .. }));
    assert_eq!(world.provider().record.frauds, 1);
    // Both deposits are back, the finder's share with the client's.
    assert!(world.account(2).balance.0 > client.0 - Amount::hold(1).0 / 100);
    assert!(world.account(0).balance.0 >= own.0 + Amount::hold(1).0);
}

#[test]
fn an_honest_provider_answers_many_demands_one_after_the_other() {
    let mut world = World::with_sector();
    let pack = world.accepted(1);
    let id = deal_id(pack, 0);
    let demands = (0..65).map(|quad| (2, Body::DemandOpening { deal: id, quad }));
    let outcomes = world.block(demands.collect());
    let done = crate::block::OutcomeResult::Done;
    assert!(outcomes[..64].iter().all(|outcome| outcome.result == done));
    assert_ne!(outcomes[64].result, done);
    // One every six blocks is in time.
    for quad in 0..8 {
        let opening = honest(&world, quad);
        world.done(0, Body::AnswerOpening { deal: id, opening });
        world.advance(5);
    }
    assert_eq!(world.deal(&id).status, DealStatus::Accepted);
    assert_eq!(world.deal(&id).demand.unwrap().quad, 8);
}
