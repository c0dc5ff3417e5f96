//! The pipeline against a ledger with the real rules and real proofs: what the node does next,
//! given its journal and what the ledger shows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[path = "../../tests/service/http.rs"]
mod http;
mod ledger;
mod world;

mod damage;

use crate::journal::SectorRecord;
use crate::work::{Lane, Work};
use holdfast_market_core::message::Body;
use holdfast_market_core::quote;
use holdfast_market_core::schedule;
use holdfast_market_core::state::{DealStatus, SectorStatus};
use holdfast_market_core::units::{Amount, Blocks, ByteCount, Height, Periods, SectorNumber};
use holdfast_proofs::replica::ReplicaId;
use holdfast_proofs::tree::root_of;
use std::num::NonZeroUsize;
use world::{CLASS, World, deals_of};

const SECTOR: SectorNumber = SectorNumber(0);

/// Accept, commit, write, prove: until the deals of the world's only set are proven.
async fn embed(world: &mut World) {
    for step in ["CommitReplica", "ProveEmbed"] {
        world.until_posted(step).await;
        world.mine();
    }
    world.settle().await;
}

/// What lies on the disk is what the ledger holds, and nothing is half done.
fn assert_in_step(world: &mut World) {
    let sector = world.sector();
    let node = world.node();
    let record = node
        .pipeline
        .shared
        .journal
        .sector(SECTOR)
        .unwrap()
        .unwrap();
    assert_eq!(record.embed, None);
    let handle = node.pipeline.sectors.open(SECTOR, &record).unwrap();
    let sealed = handle.read();
    assert!(sealed.staged().is_empty());
    assert_eq!(sealed.replica_lanes(), sector.replica_lanes);
    assert_eq!(root_of(&sealed.replica_lanes()), sector.replica_root);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sector_is_sealed_and_proven_though_the_node_ends_after_every_step() {
    // The steps themselves are those of `world::seal`.
    let mut world = World::sealed().await;
    assert!(matches!(world.sector().status, SectorStatus::Active { .. }));
    let journal = &world.node().pipeline.shared.journal;
    let record = journal.sector(SECTOR).unwrap().unwrap();
    assert!(record.sealed && record.discarded);
    assert_eq!(record.seal_proofs, None);
    assert!(!world.data().join("sectors/0/layer-1").exists());
    assert_in_step(&mut world);
}

#[tokio::test(flavor = "multi_thread")]
async fn sectors_are_sealed_side_by_side_and_no_more_than_there_are_places() {
    let mut world = World::new(3).await;
    world.mine();
    world.start();
    let places = NonZeroUsize::MIN.saturating_add(1);
    world.node().pipeline.work = Work::new(places);
    world.until_posted("RegisterProvider").await;
    world.mine();
    let height = world.height();
    let node = world.node();
    for _ in 0..3 {
        node.pipeline.tick(height).await;
    }
    assert_eq!(node.pipeline.work.running(Lane::Seal), ["seal 0", "seal 1"]);
    let sealing = node.sealing();
    world.settle().await;
    let records = world.node().pipeline.shared.journal.sectors().unwrap();
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|(_, record)| record.sealed));
    assert!(sealing.borrow().is_empty());
    world.until_posted("PreCommitSector").await;
    let commits = world
        .posted()
        .into_iter()
        .filter(|kind| kind == "PreCommitSector");
    assert_eq!(commits.count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn deals_are_proven_though_the_node_ends_after_every_step() {
    let mut world = World::sealed().await;
    let deals = world.funded(1).await;
    for step in ["AcceptDeals", "CommitEmbed", "CommitReplica", "ProveEmbed"] {
        world.until_posted(step).await;
        world.ends_after_sending(step).await;
    }
    world.settle().await;
    for deal in deals {
        let status = world.deal(deal).status;
        assert!(
            matches!(status, DealStatus::Proven { sector, .. } if sector == SECTOR),
            "{status:?}"
        );
    }
    // One embed took both.
    assert_eq!(world.sector().groups.len(), 1);
    assert_in_step(&mut world);
    assert_eq!(world.posted(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embed_that_came_too_late_is_begun_anew() {
    let mut world = World::sealed().await;
    let deals = world.funded(2).await;
    world.until_posted("CommitReplica").await;
    let parameters = world.ledger().rules.parameters.clone();
    let embed_of = |world: &World| world.sector().embed;
    let late = embed_of(&world).unwrap();
    let due = schedule::embed_due(&parameters, &late);
    // No block takes it in time, so that the ledger gives the embed up.
    while world.height() <= due {
        world.mine_without("CommitReplica");
    }
    assert_eq!(embed_of(&world), None);
    assert_eq!(world.provider().record.fined, late.deposit);
    world.settle().await;
    // What was written is dropped, the deposit that burnt is filled up, and the same deals are
    // committed again.
    assert_in_step(&mut world);
    assert_eq!(world.posted(), ["AddCollateral", "CommitEmbed"]);
    embed(&mut world).await;
    for deal in deals {
        assert!(matches!(world.deal(deal).status, DealStatus::Proven { .. }));
    }
    assert_in_step(&mut world);
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_whose_deal_set_is_not_funded_in_time_are_dropped_and_others_stay() {
    let mut world = World::sealed().await;
    let free = world.node().pipeline.shared.room.free();
    let unfunded = world.put(3).await;
    let fund_by = unfunded.terms[0].fund_by;
    let funded = world.put(4).await;
    let files = |world: &mut World| {
        let shards = &world.node().pipeline.shared.shards;
        std::fs::read_dir(shards.folder()).unwrap().count()
    };
    assert_eq!(files(&mut world), 4);
    world.client_sends(Body::ProposeDealSet(funded.clone()));
    world.until_posted("AcceptDeals").await;
    world.mine();
    embed(&mut world).await;
    // A deal set may be in a block until that height: until then every byte is kept.
    world.mine_to(fund_by.after(Blocks(5)));
    world.settle().await;
    assert_eq!(files(&mut world), 4);
    world.mine();
    world.settle().await;
    assert_eq!(files(&mut world), 2);
    let shared = world.node().pipeline.shared.clone();
    for deal in deals_of(&unfunded) {
        assert_eq!(shared.journal.shard(deal).unwrap(), None);
        assert!(!shared.shards.path(deal).exists());
    }
    for deal in deals_of(&funded) {
        assert!(shared.journal.shard(deal).unwrap().is_some());
    }
    // Two pieces of 60,000 bytes, in units of 16,256.
    assert_eq!(shared.room.free(), ByteCount(free.0 - 2 * 4 * 16_256));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deal_on_other_terms_than_the_receipts_is_not_accepted() {
    let mut world = World::sealed().await;
    let mut proposal = world.put(5).await;
    for terms in &mut proposal.terms {
        terms.price = Amount::hold(3);
    }
    let deals = deals_of(&proposal);
    world.client_sends(Body::ProposeDealSet(proposal));
    world.mine();
    world.settle().await;
    assert_eq!(world.posted(), [""; 0]);
    assert_eq!(world.deal(deals[0]).status, DealStatus::Proposed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sector_that_cannot_be_read_is_declared_faulty_and_recovers_when_it_can() {
    let mut world = World::sealed().await;
    let parameters = world.ledger().rules.parameters.clone();
    let (period, window) = schedule::next_window(&parameters, &world.sector()).unwrap();
    let last = schedule::last_choice(&parameters, window);
    let groups = world.data().join("sectors/0/groups");
    let away = world.data().join("away");
    std::fs::rename(&groups, &away).unwrap();
    // Nor can the node make them again where a file is in the way.
    std::fs::write(&groups, "").unwrap();
    world.mine_to(Height(last.0 - 6));
    world.settle().await;
    // Nobody looks so long before the deadline.
    assert_eq!(world.posted(), [""; 0]);
    world.mine_to(Height(last.0 - 4));
    world.settle().await;
    assert_eq!(world.posted(), ["DeclareFault"]);
    assert!(world.trouble("deadlines").contains("sectors/0"));
    world.mine();
    world.settle().await;
    let faulty = |recovering| SectorStatus::Faulty { recovering };
    assert_eq!(world.sector().status, faulty(false));
    // Nothing is promised on what cannot be read.
    assert_eq!(world.node().pipeline.shared.room.free(), ByteCount(0));
    assert_eq!(world.posted(), [""; 0]);

    std::fs::remove_file(&groups).unwrap();
    std::fs::rename(&away, &groups).unwrap();
    world.until_posted("Recover").await;
    assert_eq!(world.posted(), ["Recover"]);
    world.mine();
    assert_eq!(world.sector().status, faulty(true));
    world.mine_to(window.open);
    world.settle().await;
    assert_eq!(world.posted(), ["ProveSpacetime"]);
    world.mine();
    world.mine_to(window.close);
    let sector = world.sector();
    assert!(matches!(sector.status, SectorStatus::Active { .. }));
    assert_eq!(sector.proven, Some(period));
    assert_eq!(sector.faults.0, 0);
    world.settle().await;
    assert_eq!(world.trouble("deadlines"), "");
    assert!(world.node().pipeline.shared.room.free() > ByteCount(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn openings_demanded_on_the_ledger_are_answered_one_after_the_other() {
    let mut world = World::sealed().await;
    let [first, second] = world.funded(6).await;
    world.until_posted("AcceptDeals").await;
    world.mine();
    for (deal, quad) in [(first, 3), (first, 471), (second, 0)] {
        world.client_sends(Body::DemandOpening { deal, quad });
    }
    world.mine();
    assert_eq!(world.deal(first).demand.unwrap().quad, 3);
    // The second shard's file is away: that is said, and does not keep the first one waiting.
    let path = world.node().pipeline.shared.shards.path(second);
    let away = world.data().join("away");
    std::fs::rename(&path, &away).unwrap();
    world.until_posted("AnswerOpening").await;
    assert!(world.trouble("openings").contains(&second.to_string()));
    world.ends_after_sending("AnswerOpening").await;
    assert_eq!(world.deal(first).demand.unwrap().quad, 471);
    std::fs::rename(&away, &path).unwrap();
    world.settle().await;
    assert_eq!(world.ids("AnswerOpening").len(), 2);
    world.mine();
    world.settle().await;
    for deal in [first, second] {
        assert_eq!(world.deal(deal).demand, None);
    }
    assert_eq!(world.provider().record.frauds, 0);
    assert_eq!(world.trouble("openings"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_whose_ticket_is_too_old_is_given_up() {
    let mut world = World::new(0).await;
    world.mine();
    world.start();
    for step in ["RegisterProvider", "Transfer"] {
        world.until_posted(step).await;
        world.mine();
    }
    let ticket = world.height();
    let replica = ReplicaId(holdfast_proofs::node::Node::derive("test", &[]));
    let mut record = SectorRecord::new(CLASS, ticket, replica);
    record.sealed = true;
    let folder = world.data().join("sectors/0");
    std::fs::create_dir_all(&folder).unwrap();
    let journal = &world.node().pipeline.shared.journal;
    journal.put_sector(SECTOR, &record).unwrap();
    let age = world.ledger().rules.parameters.ticket_age;
    world.mine_to(Height(ticket.after(age).0 - 2));
    world.settle().await;
    let journal = &world.node().pipeline.shared.journal;
    assert_eq!(journal.sector(SECTOR).unwrap(), None);
    assert!(!folder.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_is_registered_funded_and_kept_as_it_should_be() {
    let mut world = World::new(0).await;
    world.mine();
    world.start();
    world.until_posted("RegisterProvider").await;
    world.mine();
    let provider = world.provider();
    world.until_posted("Transfer").await;
    world.mine();
    world.settle().await;
    assert_eq!(world.posted(), [""; 0]);
    // Another price is an offer that the ledger is told of.
    world.kill();
    world.price = Amount::hold(2);
    world.start();
    world.settle().await;
    world.mine();
    assert_eq!(world.provider().offer.price, Amount::hold(2));
    // More sectors take more collateral.
    let height = world.height();
    let pipeline = &mut world.node().pipeline;
    pipeline.goal.sectors = 8;
    let view = pipeline.read_view(height).await.unwrap();
    pipeline.keep_account(&view).await.unwrap();
    assert_eq!(world.posted(), ["AddCollateral"]);
    world.mine();
    let parameters = world.ledger().rules.parameters.clone();
    let needed = quote::provider_collateral(&parameters, CLASS, 8).unwrap();
    assert!(needed > provider.collateral);
    assert_eq!(world.provider().collateral, needed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_keeps_its_word_and_takes_its_collateral_home() {
    let mut world = World::sealed().await;
    let deals = world.funded(1).await;
    let before = world.provider().record.fined;
    world.kill();
    world.retire = true;
    world.start();
    world.until_posted("Retire").await;
    world.ends_after_sending("Retire").await;
    assert!(world.provider().retiring.is_some());
    world.settle().await;
    // What is signed for is stored all the same; nothing new is.
    let refusal = world.refuses_a_shard(2).await;
    assert!(refusal.contains("leaving the network"), "{refusal}");
    // Four periods, and until what answers for the deals is free.
    let end = Height(world.height().0 + 2_000);
    while !world.posted().contains(&"WithdrawCollateral".into()) {
        assert!(world.height() < end, "{:?}", world.provider());
        world.mine();
        world.settle().await;
    }
    let paid = deals.map(|deal| world.deal(deal).paid);
    assert_eq!(paid, [Periods(4); 2]);
    world.ends_after_sending("WithdrawCollateral").await;
    let provider = world.provider();
    assert_eq!(provider.locked, Amount::ZERO);
    assert_eq!(provider.record.fined, before);
    assert_eq!(provider.collateral, Amount::ZERO);
    // Nothing of the sector is left on the disk, and none is sealed in its place.
    let sectors = std::fs::read_dir(world.data().join("sectors")).unwrap();
    assert_eq!(sectors.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_cannot_register_is_told_what_is_missing() {
    let mut world = World::new(0).await;
    world.mine();
    world.start();
    let poor = ed25519_dalek::SigningKey::from_bytes(&[3; 32]);
    world.node().pipeline.owner = poor.clone();
    world.settle().await;
    assert_eq!(world.posted(), [""; 0]);
    let trouble = world.trouble("account");
    let address = crate::keys::address(&poor);
    assert!(trouble.contains(&address.to_string()), "{trouble}");
    assert!(trouble.contains("send it the rest"), "{trouble}");
    world.client_sends(Body::Transfer {
        to: address,
        amount: Amount::hold(100),
    });
    world.mine();
    world.settle().await;
    assert_eq!(world.trouble("account"), "");
    assert_eq!(world.posted(), ["RegisterProvider"]);
}
