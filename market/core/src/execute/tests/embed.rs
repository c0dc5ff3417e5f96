use super::world::{Case, World, deal_id, group, key_groups, node, roots_of, sector_id};
use crate::challenge;
use crate::message::{Body, EmbedCommit, GroupLayout, GroupRoot, ReplicaCommit};
use crate::query;
use crate::receipt::Tier;
use crate::schedule;
use crate::state::{DealStatus, SectorStatus};
use crate::units::{Amount, Beacon, Height, SectorNumber};
use holdfast_proofs::piece::{SubtreePlacement, group_data_root};
use holdfast_proofs::proof::ProofBytes;
use holdfast_proofs::tree::root_of;

fn change(body: Body, change: impl FnOnce(&mut EmbedCommit)) -> Body {
    let Body::CommitEmbed(mut commit) = body else {
        panic!("a commit");
    };
    change(&mut commit);
    Body::CommitEmbed(commit)
}

fn change_replica(body: Body, change: impl FnOnce(&mut ReplicaCommit)) -> Body {
    let Body::CommitReplica(mut commit) = body else {
        panic!("a commit");
    };
    change(&mut commit);
    Body::CommitReplica(commit)
}

#[test]
fn an_embed_goes_through_its_five_steps() {
    let mut world = World::with_sector();
    let pack = world.accepted(1);
    let deals = [deal_id(pack, 0), deal_id(pack, 1)];
    let layout = world.layout(group(5), &deals);
    let locked = world.provider().locked;
    world.done(0, world.commit_embed(vec![layout.clone()]));
    let deposit = world.rules.parameters.economy.embed_deposit;
    assert_eq!(world.provider().locked.0, locked.0 + deposit.0);
    let embed = world.sector(0).embed.unwrap();
    // The data root is that of the pieces at their places.
    let mut unit = 0;
    let mut placements = Vec::new();
    for index in 0..2 {
        for root in world.piece_roots(index) {
            placements.push(SubtreePlacement {
                root,
                levels: 3,
                unit,
            });
            unit += 1;
        }
    }
    let root = group_data_root(super::world::CLASS, &placements).unwrap();
    assert_eq!(embed.groups[0].data_root, root);
    assert_eq!(embed.groups[0].key_root, key_groups(0)[0][5]);
    assert_eq!(world.deal(&deals[0]).sector, Some(SectorNumber(0)));
    // The factor comes from a beacon that was not known yet.
    world.refused(0, world.commit_replica(5), "before height");
    world.advance(1);
    world.done(0, world.commit_replica(5));
    let prove = Body::ProveEmbed {
        sector: sector_id(0),
        proofs: vec![ProofBytes([0; 192]); 2],
    };
    world.refused(0, prove.clone(), "before height");
    world.advance(1);
    world.refused(1, prove.clone(), "only the worker");
    world.refused(0, prove, "no verifying key");
    world.land_embed();
    let sector = world.sector(0);
    let mut groups = key_groups(0);
    groups[0][5] = node("replica");
    assert_eq!(
        sector.replica_root,
        root_of(&groups.map(|lane| root_of(&lane)))
    );
    assert_eq!(sector.groups, [layout]);
    assert_eq!(world.provider().locked, locked);
    let period = schedule::period_of(&world.rules.parameters, world.height());
    for deal in deals {
        let DealStatus::Proven { sector, from } = world.deal(&deal).status else {
            panic!("proven");
        };
        assert_eq!((sector, from.0), (SectorNumber(0), period.0 + 1));
    }
}

#[test]
fn an_embed_commitment_with_any_field_wrong_is_refused() {
    let mut world = World::with_sector();
    world.prove_and_close(0);
    let pack = world.accepted(1);
    let other = world.propose(2);
    let deals = [deal_id(pack, 0), deal_id(pack, 1)];
    let good = world.commit_embed(vec![world.layout(group(5), &deals)]);
    world.refused(1, good.clone(), "only the worker");
    let cases: Vec<Case<EmbedCommit>> = vec![
        (|c| c.sector = sector_id(4), "no sector 0/4"),
        (|c| c.groups.clear(), "the number of groups"),
        (
            |c| c.groups.push(c.groups[0].clone()),
            "groups must be listed once",
        ),
        (
            |c| c.groups[0].group = group(13),
            "the lanes of the written groups",
        ),
        (|c| c.keys.lanes[7] = c.keys.lanes[6], "the key roots"),
        (
            |c| c.keys.groups[0].roots[7] = c.keys.groups[0].roots[6],
            "the key roots",
        ),
        (|c| c.keys.groups.clear(), "the lanes of the written groups"),
        (|c| c.groups[0].subtrees.truncate(3), "0 for subtree 1"),
        (|c| c.groups[0].subtrees[0].subtree = 1, "for subtree"),
        (|c| c.groups[0].subtrees[0].subtree = 9, "for subtree 0"),
        (|c| c.groups[0].subtrees[0].levels = 4, "a subtree's levels"),
        (
            |c| c.groups[0].subtrees[1].unit = 0,
            "ascending order of place",
        ),
        (|c| c.groups[0].subtrees[3].unit = 8, "outside its group"),
        (|c| c.groups[0].subtrees[0].deal.shard.0 = 7, "no deal"),
    ];
    for (spoil, reason) in cases {
        world.refused(0, change(good.clone(), spoil), reason);
    }
    let unaccepted = world.layout(group(5), &[deal_id(other, 0)]);
    world.refused(0, world.commit_embed(vec![unaccepted]), "is proposed");
    let twice = vec![
        world.layout(group(5), &deals),
        world.layout(group(6), &deals[..1]),
    ];
    world.refused(0, world.commit_embed(twice), "2 for subtree 0");
    world.done(0, good.clone());
    world.refused(0, good, "an embed of sector 0/0 exists already");
}

#[test]
fn hot_and_cold_pieces_never_share_a_group() {
    let mut world = World::with_sector();
    let mut proposal = world.proposal(1);
    proposal.terms[1].tier = Tier::Cold;
    let pack = proposal.pack.id().unwrap();
    world.done(1, Body::ProposeDealSet(proposal));
    let deals = [deal_id(pack, 0), deal_id(pack, 1)];
    for deal in deals {
        world.done(0, world.accept(deal));
    }
    let mixed = world.layout(group(5), &deals);
    world.refused(0, world.commit_embed(vec![mixed]), "hot and cold");
    let apart = vec![
        world.layout(group(5), &deals[..1]),
        world.layout(group(6), &deals[1..]),
    ];
    world.done(0, world.commit_embed(apart));
}

#[test]
fn a_rewritten_group_keeps_its_live_pieces_and_lets_go_of_expired_ones() {
    let (mut world, pack) = World::embedded();
    let old = [deal_id(pack, 0), deal_id(pack, 1)];
    let next = world.accepted(2);
    let new = deal_id(next, 0);
    let rewrite = |world: &World, layout: GroupLayout| world.commit_embed(vec![layout]);
    let without = world.layout(group(5), &[old[0], new]);
    let body = rewrite(&world, without);
    world.refused(0, body, "0 for subtree 0");
    let moved = vec![
        world.layout(group(5), &[old[0], new]),
        world.layout(group(6), &[old[1]]),
    ];
    let body = world.commit_embed(moved);
    world.done(0, body);
    world.done(
        0,
        Body::TerminateSector {
            sector: sector_id(0),
        },
    );
    assert_eq!(world.deal(&new).status, DealStatus::Accepted);
    assert_eq!(world.deal(&new).sector, None);
    assert!(matches!(
        world.deal(&old[0]).status,
        DealStatus::Failed { .. }
    ));
    // In a new sector the accepted one can be embedded, the failed ones cannot.
    world.done(0, world.pre_commit(1));
    world.activate(1);
    let commit = |deals: &[crate::units::DealId]| {
        change(
            world.commit_embed(vec![world.layout(group(5), deals)]),
            |commit| {
                commit.sector = sector_id(1);
                commit.keys = roots_of(&key_groups(1), &[0]);
            },
        )
    };
    let (bad, good) = (commit(&[new, old[0]]), commit(&[new]));
    world.refused(0, bad, "is failed");
    world.done(0, good);
}

#[test]
fn a_deal_is_in_one_embed_at_a_time() {
    let mut world = World::with_sector();
    world.done(0, world.pre_commit(1));
    world.activate(1);
    let pack = world.accepted(1);
    let deal = deal_id(pack, 0);
    let layout = world.layout(group(5), &[deal]);
    let elsewhere = change(world.commit_embed(vec![layout.clone()]), |commit| {
        commit.sector = sector_id(1);
        commit.keys = roots_of(&key_groups(1), &[0]);
    });
    world.done(0, world.commit_embed(vec![layout]));
    world.refused(0, elsewhere, "in another sector");
}

#[test]
fn a_replica_commitment_with_any_field_wrong_is_refused() {
    let mut world = World::with_sector();
    world.refused(
        0,
        world.commit_replica(5),
        "an embed whose replica is not committed",
    );
    let pack = world.accepted(1);
    world.done(
        0,
        world.commit_embed(vec![world.layout(group(5), &[deal_id(pack, 0)])]),
    );
    world.advance(2);
    let good = world.commit_replica(5);
    world.refused(1, good.clone(), "only the worker");
    let cases: Vec<Case<ReplicaCommit>> = vec![
        (|c| c.after.clear(), "the list of groups"),
        (|c| c.after[0].group = group(6), "the list of groups"),
        (
            |c| {
                c.after.push(GroupRoot {
                    group: group(6),
                    root: node("x"),
                })
            },
            "the list of groups",
        ),
        (
            |c| c.before.lanes[0] = c.before.lanes[1],
            "the replica roots",
        ),
        (
            |c| c.before.groups[0].roots[0] = c.before.groups[0].roots[1],
            "the replica roots",
        ),
        (
            |c| c.before.groups.clear(),
            "the lanes of the written groups",
        ),
    ];
    for (spoil, reason) in cases {
        world.refused(0, change_replica(good.clone(), spoil), reason);
    }
    world.done(0, good.clone());
    world.refused(0, good, "an embed whose replica is not committed");
}

#[test]
fn an_embed_that_goes_no_further_burns_its_deposit() {
    for step in 0..2 {
        let mut world = World::with_sector();
        let pack = world.accepted(1);
        let deal = deal_id(pack, 0);
        world.done(0, world.commit_embed(vec![world.layout(group(5), &[deal])]));
        if step == 1 {
            world.advance(2);
            world.done(0, world.commit_replica(5));
        }
        let before = world.provider();
        let due = schedule::embed_due(&world.rules.parameters, &world.sector(0).embed.unwrap());
        world.advance_to(Height(due.0 - 1));
        assert!(world.sector(0).embed.is_some());
        world.advance(1);
        assert!(world.sector(0).embed.is_none());
        let fine = world.provider().record.fined.0 - before.record.fined.0;
        assert!(fine >= world.rules.parameters.economy.embed_deposit.0);
        assert_eq!(world.deal(&deal).sector, None);
        assert_eq!(world.deal(&deal).status, DealStatus::Accepted);
    }
}

fn lands_inside_a_window(blocks: u64) {
    let mut world = World::with_sector();
    let pack = world.accepted(1);
    let window =
        |world: &World| schedule::next_window(&world.rules.parameters, &world.sector(0)).unwrap();
    // The whole embed before the window's challenge: the new roots are challenged.
    let (period, span) = window(&world);
    world.advance_to(Height(span.open.0.saturating_sub(4)).max(world.height()));
    world.done(
        0,
        world.commit_embed(vec![world.layout(group(5), &[deal_id(pack, 0)])]),
    );
    world.advance(2);
    world.done(0, world.commit_replica(5));
    world.advance_to(Height(span.open.0 + blocks));
    let before = world.sector(0).replica_lanes;
    world.land_embed();
    let sector = world.sector(0);
    assert_ne!(sector.replica_lanes, before);
    assert_eq!(challenge::spacetime_lanes(&sector, period), before);
    let beacon = Beacon([1; 32]);
    let statement = challenge::spacetime_statement(&sector, period, &beacon);
    assert_eq!(statement.lanes, before);
    world.prove_and_close(0);
    let sector = world.sector(0);
    assert_eq!(sector.window, None);
    assert_eq!(
        challenge::spacetime_lanes(&sector, sector.next),
        sector.replica_lanes
    );
}

#[test]
fn an_embed_that_lands_inside_a_window_leaves_the_old_roots_challenged() {
    lands_inside_a_window(1);
}

#[test]
fn an_embed_in_the_first_block_of_a_window_comes_after_its_challenge() {
    lands_inside_a_window(0);
}

#[test]
fn an_embed_statement_covers_every_piece_and_its_groups_roots() {
    let mut world = World::with_sector();
    let pack = world.accepted(1);
    let deals = [deal_id(pack, 0), deal_id(pack, 1)];
    world.done(0, world.commit_embed(vec![world.layout(group(5), &deals)]));
    let parameters = world.rules.parameters.clone();
    let sector = world.sector(0);
    let embed = sector.embed.clone().unwrap();
    let (rho, drawn) = (Beacon([1; 32]), Beacon([2; 32]));
    let statement = |embed: &crate::state::Embed, rho: &Beacon, drawn: &Beacon| {
        challenge::embed_statement(&parameters, &sector, embed, rho, drawn)
    };
    assert!(statement(&embed, &rho, &drawn).is_err());
    world.advance(2);
    world.done(0, world.commit_replica(5));
    let sector = world.sector(0);
    let embed = sector.embed.clone().unwrap();
    let one = statement(&embed, &rho, &drawn).unwrap();
    assert_eq!(
        one.challenges.len() % parameters.embed_challenges_per_proof as usize,
        0
    );
    assert!(one.challenges.len() >= (parameters.embed_challenges + 2) as usize);
    for challenge in &one.challenges {
        assert_eq!(challenge.position.group(sector.class), group(5));
        assert_eq!(challenge.key_root, embed.groups[0].key_root);
        assert_eq!(challenge.data_root, embed.groups[0].data_root);
        assert_eq!(challenge.replica_root, node("replica"));
    }
    assert_ne!(statement(&embed, &drawn, &drawn).unwrap(), one);
    assert_ne!(statement(&embed, &rho, &rho).unwrap(), one);
}

#[test]
fn a_faulty_sector_begins_no_embed() {
    let mut world = World::with_sector();
    let pack = world.accepted(1);
    world.close(0);
    assert!(matches!(
        world.sector(0).status,
        SectorStatus::Faulty { .. }
    ));
    let body = world.commit_embed(vec![world.layout(group(5), &[deal_id(pack, 0)])]);
    world.refused(0, body, "is faulty; this needs active");
    let supply = query::supply(&world.view).unwrap();
    assert!(supply.burnt > Amount::ZERO);
}

#[test]
fn a_sector_takes_so_many_deals_and_the_smallest_weighs_as_a_unit() {
    let mut world = World::new();
    world.register();
    let mut body = world.pre_commit(0);
    if let Body::PreCommitSector(commit) = &mut body {
        commit.class = holdfast_proofs::sector::SectorClass::Mib64;
    }
    world.done(0, body);
    world.activate(0);
    let mut layouts = Vec::new();
    for index in 0..9 {
        if world.sector(0).proven != Some(world.sector(0).next) {
            world.prove(0);
        }
        let mut proposal = world.proposal(index.into());
        proposal.pack.n = 64;
        proposal.pack.length = crate::units::ByteCount(1);
        proposal.pack.shard_length = proposal.pack.length;
        proposal.pack.shard_roots = vec![proposal.pack.shard_roots[0]; 64];
        proposal.terms = vec![proposal.terms[0].clone(); 64];
        let pack = proposal.pack.id().unwrap();
        world.done(1, Body::ProposeDealSet(proposal));
        let deals = (0..64).map(|shard| crate::message::Acceptance {
            shard: deal_id(pack, shard),
            piece_roots: vec![node("piece")],
        });
        let body = Body::AcceptDeals {
            provider: crate::units::ProviderId(0),
            deals: deals.collect(),
        };
        world.done(0, body);
        let subtrees = (0..64).map(|shard| crate::message::PlacedSubtree {
            deal: deal_id(pack, shard),
            subtree: 0,
            levels: 3,
            unit: shard.into(),
        });
        layouts.push(GroupLayout {
            group: group(index),
            subtrees: subtrees.collect(),
        });
        let economy = &world.rules.parameters.economy;
        let unit = crate::quote::per_gib(
            economy.deal_collateral_per_gib,
            crate::units::ByteCount(16 * 1024),
        );
        assert_eq!(world.deal(&deal_id(pack, 0)).locked, unit.unwrap());
    }
    let all = world.commit_embed(layouts.clone());
    world.refused(0, all, "the number of deals in the sector");
    layouts.pop();
    world.done(0, world.commit_embed(layouts));
}
