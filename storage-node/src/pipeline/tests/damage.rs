//! Damaged files under a node that goes on: found by whoever reads them or by the slow look, put right
//! from other shards, from keys that are made again, and told.

use super::world::{LENGTH, World};
use super::{SECTOR, assert_in_step, embed};
use crate::damage::{self, Damage, Owner};
use crate::error::NodeError;
use crate::journal::SectorRecord;
use crate::report::{NodeReport, REPORT_FILE};
use crate::sectors::{Repair, SectorHandle};
use holdfast_market_core::message::Body;
use holdfast_market_core::schedule;
use holdfast_market_core::state::SectorStatus;
use holdfast_market_core::units::{Blocks, ByteCount, DealId, Height, SectorNumber};
use holdfast_proofs::sector::Group;
use std::path::PathBuf;

fn path(world: &mut World, deal: DealId) -> PathBuf {
    world.node().pipeline.shared.shards.path(deal)
}

/// Whoever reads a shard: a peer that asks for it, an embed, the slow look.
fn read(world: &mut World, deal: DealId) -> Result<Vec<u8>, NodeError> {
    let shared = &world.node().pipeline.shared;
    let record = shared.journal.shard(deal).unwrap().unwrap();
    let receipt = record.receipt.receipt;
    shared
        .shards
        .read_checked(deal, receipt.root, receipt.length)
}

fn handle(world: &mut World) -> SectorHandle {
    let pipeline = &world.node().pipeline;
    let record = pipeline.shared.journal.sector(SECTOR).unwrap().unwrap();
    pipeline.sectors.open(SECTOR, &record).unwrap()
}

fn damaged_groups(world: &mut World) -> Vec<u8> {
    let handle = handle(world);
    let sealed = handle.read();
    let groups = Group::all().filter(|group| sealed.group_damage(*group).any());
    groups.map(|group| group.index()).collect()
}

/// The file of a group that is there now.
fn group_file(world: &World, group: u8, end: &str) -> PathBuf {
    let files = damage::files(&world.data().join("sectors/0/groups"));
    let begin = format!("{group:02}-");
    let mut named = files.into_iter().filter(|file| {
        let name = file.file_name().unwrap().to_str().unwrap();
        name.starts_with(&begin) && name.ends_with(end)
    });
    named.next().unwrap()
}

/// Goes on until the slow look has taken its next step.
async fn look_further(world: &mut World) {
    let period = world.ledger().rules.parameters.period;
    let to = world.height().after(Blocks(period.0 / 16));
    while world.height() < to {
        world.mine();
        world.settle().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_whose_file_is_damaged_is_rebuilt_from_others_of_its_pack() {
    let mut world = World::sealed().await;
    world.serve();
    let deals @ [first, second] = world.funded(11).await;
    let whole = std::fs::read(path(&mut world, first)).unwrap();

    // Before its piece is hashed: it is found then, and accepted when it is whole again.
    let file = path(&mut world, first);
    Damage::Flip { byte: 777, bit: 3 }.apply(&file);
    for _ in 0..2 {
        world.until_posted("AcceptDeals").await;
        world.mine();
        world.settle().await;
        world.mine();
    }
    world.settle().await;
    assert_eq!(std::fs::read(&file).unwrap(), whole);
    let healed = world.healed();
    assert!(healed[0].contains(&first.to_string()), "{healed:?}");
    assert!(healed[0].contains("BLAKE3"), "{healed:?}");
    for deal in deals {
        let status = world.deal(deal).status;
        assert_eq!(status, holdfast_market_core::state::DealStatus::Accepted);
    }

    // When an opening is demanded: it is answered all the same.
    Damage::Cut(100).apply(&file);
    world.client_sends(Body::DemandOpening {
        deal: first,
        quad: 3,
    });
    world.mine();
    world.until_posted("AnswerOpening").await;
    world.mine();
    assert_eq!(world.deal(first).demand, None);
    assert_eq!(world.provider().record.frauds, 0);

    // By whoever reads it, whatever happened to it.
    for (number, damage) in (0..).zip(Damage::all(whole.len() as u64, 3, 21)) {
        let deal = deals[number % 2];
        let file = path(&mut world, deal);
        if damage == Damage::Unreadable {
            continue;
        }
        damage.apply(&file);
        let error = read(&mut world, deal).unwrap_err().to_string();
        assert!(error.contains(&deal.to_string()), "{damage}: {error}");
        world.settle().await;
        assert_eq!(read(&mut world, deal).unwrap(), whole, "{damage}");
        assert!(world.healed().last().unwrap().contains(&deal.to_string()));
    }
    assert_eq!(world.node().pipeline.shared.shards.damaged(), []);

    // By nobody: the slow look comes to it.
    let file = path(&mut world, second);
    Damage::Flip { byte: 5, bit: 0 }.apply(&file);
    for _ in 0..2 {
        look_further(&mut world).await;
    }
    assert_eq!(std::fs::read(&file).unwrap(), whole);
    assert_eq!(whole.len(), LENGTH);
    let report = NodeReport::read(&world.data().join(REPORT_FILE)).unwrap();
    assert_eq!(report.healed, world.healed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_of_which_too_few_others_can_be_read_is_told_and_tried_again() {
    let mut world = World::sealed().await;
    world.serve();
    let [first, second] = world.funded(12).await;
    let whole = read(&mut world, first).unwrap();
    for deal in [first, second] {
        let file = path(&mut world, deal);
        std::fs::write(file, b"neither of the two").unwrap();
        read(&mut world, deal).unwrap_err();
    }
    world.settle().await;
    let report = NodeReport::read(&world.data().join(REPORT_FILE)).unwrap();
    for deal in [first, second] {
        let troubles = report.troubles.iter();
        let told = troubles.filter(|trouble| trouble.contains(&deal.to_string()));
        let told: Vec<_> = told.cloned().collect();
        assert!(
            told.iter().any(|text| text.contains("is damaged")),
            "{told:?}"
        );
        let tried = "cannot be rebuilt now: 1 shards are needed and 0 could be read";
        assert!(told.iter().any(|text| text.contains(tried)), "{told:?}");
    }
    // One comes back, from a copy: the other one with it.
    let file = path(&mut world, second);
    std::fs::write(file, &whole).unwrap();
    for _ in 0..5 {
        world.mine();
        world.settle().await;
    }
    assert_eq!(read(&mut world, first).unwrap(), whole);
    assert_eq!(world.node().pipeline.shared.shards.damaged(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sector_with_damaged_groups_is_put_right_and_misses_no_deadline() {
    let mut world = World::sealed().await;
    world.serve();
    world.funded(13).await;
    world.until_posted("AcceptDeals").await;
    world.mine();
    embed(&mut world).await;
    let held = world.sector().groups[0].group.index();
    let bare = if held == 40 { 41 } else { 40 };

    // Data alone comes back from its shards, inner nodes from their leaves: nothing is sealed.
    let data = group_file(&world, held, ".data");
    let whole = std::fs::read(&data).unwrap();
    Damage::Cut(0).apply(&data);
    let replica = group_file(&world, bare, ".replica");
    let last = std::fs::metadata(&replica).unwrap().len() - 1;
    Damage::Flip { byte: last, bit: 0 }.apply(&replica);
    assert_eq!(damaged_groups(&mut world).len(), 2);
    world.node().pipeline.scrub.group = (SECTOR, held.wrapping_sub(1));
    look_further(&mut world).await;
    assert_eq!(damaged_groups(&mut world), [0; 0]);
    assert_eq!(std::fs::read(&data).unwrap(), whole);
    assert!(
        world.healed()[0].contains("were put right"),
        "{:?}",
        world.healed()
    );

    // A replica with its data, one without any, and one that is gone: the keys are made again.
    let begun = world.height();
    for (group, end, damage) in [
        (held, ".replica", Damage::Flip { byte: 999, bit: 7 }),
        (held, ".data", Damage::Cut(50_000)),
        (bare, ".replica", Damage::Cut(131_072)),
        (63, ".replica", Damage::Gone),
    ] {
        damage.apply(&group_file(&world, group, end));
    }
    world.node().pipeline.scrub.group = (SECTOR, held.wrapping_sub(1));
    look_further(&mut world).await;
    assert_eq!(damaged_groups(&mut world), [0; 0]);
    assert_in_step(&mut world);
    let healed = world.healed();
    assert!(
        healed.last().unwrap().contains("sealed again beside"),
        "{healed:?}"
    );
    assert!(!world.data().join("sectors/0.again").exists());
    assert!(world.height() < begun.after(Blocks(30)));
    assert_eq!(
        damage::unknown(Owner::Node, &world.data()),
        Vec::<PathBuf>::new()
    );

    // Its next deadline is proven.
    let parameters = world.ledger().rules.parameters.clone();
    let (period, window) = schedule::next_window(&parameters, &world.sector()).unwrap();
    world.mine_to(window.open);
    world.settle().await;
    assert_eq!(world.posted(), ["ProveSpacetime"]);
    world.mine();
    world.mine_to(window.close);
    let sector = world.sector();
    assert!(matches!(sector.status, SectorStatus::Active { .. }));
    assert_eq!(sector.proven, Some(period));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sector_that_is_still_damaged_before_its_deadline_is_declared_and_recovers() {
    let mut world = World::sealed().await;
    let parameters = world.ledger().rules.parameters.clone();
    let (_, window) = schedule::next_window(&parameters, &world.sector()).unwrap();
    let last = schedule::last_choice(&parameters, window);
    world.mine_to(Height(last.0 - 4));
    // A single leaf: sixteen samples would hardly meet it.
    let file = group_file(&world, 17, ".replica");
    Damage::Flip { byte: 64, bit: 1 }.apply(&file);
    world
        .node()
        .pipeline
        .sectors
        .set_damaged(SECTOR, Repair::Look);
    let height = world.height();
    world.node().pipeline.tick(height).await;
    assert_eq!(world.posted(), ["DeclareFault"]);
    world.settle().await;
    assert_eq!(damaged_groups(&mut world), [0; 0]);
    world.mine();
    assert_eq!(
        world.sector().status,
        SectorStatus::Faulty { recovering: false }
    );
    world.until_posted("Recover").await;
    world.mine();
    world.mine_to(window.open);
    world.settle().await;
    assert_eq!(world.posted(), ["ProveSpacetime"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_that_are_damaged_before_their_seal_is_proven_are_sealed_again() {
    if std::env::var_os("HOLDFAST_LONG").is_none_or(|value| value.is_empty()) {
        // It seals twice; the same files are damaged and had again in the proofs' own tests.
        return;
    }
    let mut world = World::new(1).await;
    world.mine();
    world.start();
    for step in ["RegisterProvider", "Transfer", "PreCommitSector"] {
        world.until_posted(step).await;
        world.mine();
    }
    let sector = world.data().join("sectors/0");
    for (file, damage) in [("layer-3", Damage::Cut(4096)), ("columns", Damage::Gone)] {
        damage.apply(&sector.join(file));
    }
    std::fs::copy(sector.join("layer-2"), sector.join("layer-6")).unwrap();
    world.until_posted("ProveSeal").await;
    world.mine();
    world.settle().await;
    assert!(matches!(world.sector().status, SectorStatus::Active { .. }));
    let healed = world.healed();
    assert!(healed[0].contains("sealed again beside"), "{healed:?}");
    assert!(!world.data().join("sectors/0.again").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sector_that_cannot_be_opened_is_named_and_keeps_no_other_from_its_next_step() {
    let mut world = World::sealed().await;
    let journal = &world.node().pipeline.shared.journal;
    let record = journal.sector(SECTOR).unwrap().unwrap();
    let undone = SectorRecord {
        discarded: false,
        ..record
    };
    journal.put_sector(SECTOR, &undone).unwrap();
    world.kill();
    let folder = world.data().join("sectors/0");
    for manifest in ["sector.json", "sector.copy.json"] {
        Damage::Cut(99).apply(&folder.join(manifest));
    }
    world.sectors = 2;
    world.start();
    world.settle().await;
    let trouble = world.trouble("sectors");
    for part in ["sector 0 in", "sectors/0/sector.json is damaged"] {
        assert!(trouble.contains(part), "{trouble}");
    }
    let journal = &world.node().pipeline.shared.journal;
    let next = journal.sector(SectorNumber(1)).unwrap().unwrap();
    assert!(next.sealed);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embed_whose_files_are_damaged_is_written_again_and_proven() {
    let mut world = World::sealed().await;
    world.serve();
    let deals = world.funded(14).await;
    world.until_posted("AcceptDeals").await;
    world.mine();
    world.until_posted("CommitReplica").await;
    let files = damage::files(&world.data().join("sectors/0/groups"));
    let key = files
        .iter()
        .find(|file| file.extension().is_some_and(|end| end == "key"))
        .unwrap();
    let whole = std::fs::read(key).unwrap();
    assert_eq!(
        damage::unknown(Owner::Node, &world.data()),
        Vec::<PathBuf>::new()
    );
    // Its roots, every one: whatever is challenged does not open.
    for level in 0..whole.len() / 32 {
        let byte = level as u64 * 32;
        if level % 512 == 0 || level >= 4096 {
            Damage::Flip { byte, bit: 0 }.apply(key);
        }
    }
    world.mine();
    world.until_posted("ProveEmbed").await;
    world.mine();
    world.settle().await;
    for deal in deals {
        let status = world.deal(deal).status;
        let proven = matches!(
            status,
            holdfast_market_core::state::DealStatus::Proven { .. }
        );
        assert!(proven, "{status:?}");
    }
    let healed = world.healed();
    assert!(healed[0].contains("embed under way"), "{healed:?}");
    assert_in_step(&mut world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_report_stops_nobody_and_is_told() {
    let mut world = World::sealed().await;
    let file = world.data().join(REPORT_FILE);
    let whole = NodeReport::read(&file).unwrap();
    let folder = world.data().join("copy");
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(&file, folder.join(REPORT_FILE)).unwrap();
    damage::each(
        &folder,
        std::path::Path::new(REPORT_FILE),
        30,
        22,
        |folder, damage| {
            let read = NodeReport::read(&folder.join(REPORT_FILE));
            let read = read.map_err(|error| error.to_string());
            assert!(damage::assert_named_or_same(
                read,
                &whole,
                REPORT_FILE,
                &damage
            ));
        },
    );
    // The node writes it anew; where it cannot, it says so and goes on.
    std::fs::write(&file, b"").unwrap();
    world.settle().await;
    NodeReport::read(&file).unwrap();
    Damage::Unreadable.apply(&file);
    world.settle().await;
    assert!(world.trouble("report").contains(REPORT_FILE));
    world.funded(15).await;
    world.until_posted("AcceptDeals").await;
    std::fs::remove_dir(&file).unwrap();
    world.settle().await;
    NodeReport::read(&file).unwrap();
    assert_eq!(world.trouble("report"), "");
    assert!(world.node().pipeline.shared.room.free() > ByteCount(0));
}
