#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::challenge::embed_rho;
use crate::piece::{PieceRoots, PieceShape, SubtreePlacement, SubtreeReader, group_data_root};
use crate::seal::tests::{CLASS, copy, replica, sealed};
use crate::sealed::Reach;
use crate::tree::root_of_groups;
use std::path::Path;

fn group(index: u8) -> Group {
    Group::new(index).unwrap()
}

fn open(dir: &Path) -> Sealed {
    Sealed::open(dir, CLASS, replica()).unwrap()
}

fn bytes(seed: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    crate::node::derive_reader("holdfast test data", &[&[seed]]).fill(&mut bytes);
    bytes
}

/// A group with one piece from a unit on.
fn data(group: Group, seed: u8, unit: u64) -> GroupData {
    let bytes = bytes(seed, 20_000);
    let shape = PieceShape::of(20_000, 4).unwrap();
    let mut data = GroupData::new(CLASS, group);
    for (place, nodes) in (unit..).zip(SubtreeReader::new(&*bytes, &shape)) {
        data.put(place, &nodes.unwrap()).unwrap();
    }
    data
}

/// Stages and embeds one group as the protocol does, and gives its roots.
fn write(sealed: &mut Sealed, data: GroupData) -> EmbeddedRoots {
    let group = data.group;
    let data_root = sealed.stage(data).unwrap();
    let rho = embed_rho(&[3; 32], sealed.key_root(), data_root, group);
    sealed.embed(group, rho).unwrap()
}

fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("groups")).unwrap().count()
}

#[test]
fn the_staged_root_is_the_one_that_the_market_computes_from_the_piece() {
    let dir = copy(false);
    let root = open(dir.path()).stage(data(group(5), 1, 2)).unwrap();
    let roots = PieceRoots::compute(&*bytes(1, 20_000), 20_000, 4).unwrap();
    let placed = (2..).zip(&roots.0);
    let placed = placed.map(|(unit, root)| SubtreePlacement {
        root: *root,
        levels: 3,
        unit,
    });
    assert_eq!(
        root,
        group_data_root(CLASS, &placed.collect::<Vec<_>>()).unwrap()
    );
}

#[test]
fn an_embedded_group_is_its_key_plus_rho_times_its_data() {
    let dir = copy(false);
    let mut sector = open(dir.path());
    let roots = write(&mut sector, data(group(9), 1, 0));
    let before = sealed();
    // Beside the old: what counts is unchanged until the embed is finished.
    assert_eq!(sector.replica_groups(), before.replica_groups());
    for in_group in [0, 1, 511, 700, CLASS.group_nodes() - 1] {
        let position = Position(9 * CLASS.group_nodes() + in_group);
        let shown = sector.embed_opening(position).unwrap();
        let scalar = |node: Node| node.to_scalar::<Native>();
        let sum = scalar(shown.key.leaf) + scalar(shown.rho) * scalar(shown.data.leaf);
        assert_eq!(Node::from_scalar(&sum), shown.replica.leaf);
        assert_eq!(shown.key.root(in_group), roots.key);
        assert_eq!(shown.data.root(in_group), roots.data);
        assert_eq!(shown.replica.root(in_group), roots.replica);
        let old = sector.replica_opening(position, Reach::Group).unwrap();
        assert_eq!(old.leaf, shown.key.leaf);
    }
    assert_eq!(roots.key, before.commitment().key_groups[9]);
    let mut after = before.replica_groups();
    after[9] = roots.replica;
    assert_eq!(sector.replica_groups_after(), after);
    sector.finish_embed().unwrap();
    assert_eq!(sector.replica_groups(), after);
    assert_eq!(sector.replica_root(), root_of_groups(&after));
    assert_eq!(sector.data_root(group(9)), Some(roots.data));
    // 64 replicas and the data of one group; the key and the old replica are gone.
    assert_eq!(files(dir.path()), 65);
    let position = Position(9 * CLASS.group_nodes() + 3);
    assert_eq!(sector.data_opening(position).unwrap().root(3), roots.data);
    assert!(matches!(
        sector.key_opening(position, Reach::Lane),
        Err(SealError::NoData(_))
    ));
}

#[test]
fn a_group_is_rewritten_from_its_kept_data_and_keeps_its_key() {
    let dir = copy(false);
    let mut sector = open(dir.path());
    let first = write(&mut sector, data(group(9), 1, 0));
    sector.finish_embed().unwrap();
    // The piece stays where it was and another one joins it.
    let mut both = data(group(9), 2, 4);
    both.put(0, &sector.data_nodes(group(9)).unwrap()[..1024])
        .unwrap();
    let second = write(&mut sector, both);
    assert_eq!(second.key, first.key);
    assert_ne!(second.replica, first.replica);
    assert_eq!(sector.embedded_roots(group(9)).unwrap(), second);
    sector.finish_embed().unwrap();
    let kept = sector.data_nodes(group(9)).unwrap();
    let mut again = crate::piece::unpack(&kept[..1024]).unwrap();
    again.truncate(20_000);
    assert_eq!(again, bytes(1, 20_000));
}

#[test]
fn an_abandoned_embed_leaves_the_sector_as_it_was() {
    let dir = copy(false);
    let mut sector = open(dir.path());
    write(&mut sector, data(group(9), 1, 0));
    write(&mut sector, data(group(10), 1, 0));
    assert_eq!(sector.staged().len(), 2);
    sector.abandon_embed().unwrap();
    assert_eq!(sector.manifest.replica_groups(), sealed().replica_groups());
    assert!(sector.staged().is_empty());
    assert_eq!(files(dir.path()), 64);
}

#[test]
fn a_kill_between_the_steps_leaves_the_state_before_or_after() {
    let dir = copy(false);
    let mut sector = open(dir.path());
    let data_root = sector.stage(data(group(9), 1, 0)).unwrap();
    let rho = embed_rho(&[3; 32], sector.key_root(), data_root, group(9));
    // Killed while embedding: files of it are there, whole or half, and the manifest is the old.
    let staged = std::fs::read(dir.path().join("sector.json")).unwrap();
    let roots = sector.embed(group(9), rho).unwrap();
    drop(sector);
    std::fs::write(dir.path().join("sector.json"), staged).unwrap();
    std::fs::write(dir.path().join("sector.json.tmp"), b"{\"version\"").unwrap();
    std::fs::write(dir.path().join("groups/09-7.key.tmp"), b"half").unwrap();
    let mut sector = open(dir.path());
    assert_eq!(sector.staged(), [(group(9), data_root)]);
    assert!(matches!(
        sector.embedded_roots(group(9)),
        Err(SealError::NotEmbedded(_))
    ));
    assert_eq!(files(dir.path()), 65);
    assert!(!dir.path().join("sector.json.tmp").exists());
    assert_eq!(sector.embed(group(9), rho).unwrap(), roots);
    // Killed after the manifest of a finished embed, before the old bytes were removed.
    let old = std::fs::read(dir.path().join("groups/09-0.replica")).unwrap();
    sector.finish_embed().unwrap();
    drop(sector);
    std::fs::write(dir.path().join("groups/09-0.replica"), old).unwrap();
    let sector = open(dir.path());
    assert_eq!(sector.replica_groups()[9], roots.replica);
    assert_eq!(files(dir.path()), 65);
}

#[test]
fn a_closed_group_is_restored_from_the_same_keys() {
    let dir = copy(false);
    let mut sector = open(dir.path());
    let roots = write(&mut sector, data(group(9), 1, 0));
    sector.finish_embed().unwrap();
    sector.close_group(group(9)).unwrap();
    assert!(!sector.keeps_data(group(9)));
    assert!(matches!(
        sector.data_nodes(group(9)),
        Err(SealError::NoData(_))
    ));
    let refused = sector.stage(data(group(9), 2, 0)).unwrap_err();
    assert!(matches!(refused, SealError::NoData(_)), "{refused}");
    assert!(matches!(
        sector.restore_data(group(8), sealed()),
        Err(SealError::NoData(_))
    ));
    sector.restore_data(group(9), sealed()).unwrap();
    assert_eq!(
        sector
            .data_opening(Position(9 * CLASS.group_nodes()))
            .unwrap()
            .root(0),
        roots.data
    );
}

#[test]
fn another_factor_takes_new_files_and_the_roots_say_which_factor_is_theirs() {
    let dir = copy(false);
    let mut sector = open(dir.path());
    let data_root = sector.stage(data(group(9), 1, 0)).unwrap();
    let [one, two] =
        [1, 2].map(|beacon| embed_rho(&[beacon; 32], sector.key_root(), data_root, group(9)));
    let first = sector.embed(group(9), one).unwrap();
    assert_eq!(first.rho, one);
    let path = |name: &str| dir.path().join("groups").join(name);
    let manifest = std::fs::read(dir.path().join("sector.json")).unwrap();
    let written =
        ["09-1.replica", "09-1.data", "09-1.key"].map(|name| (name, std::fs::read(path(name))));
    let second = sector.embed(group(9), two).unwrap();
    assert_eq!((second.rho, second.data), (two, first.data));
    assert_ne!(second.replica, first.replica);
    assert_eq!(sector.embedded_roots(group(9)).unwrap(), second);
    let position = Position(9 * CLASS.group_nodes() + 700);
    let shown = sector.embed_opening(position).unwrap();
    assert_eq!(shown.rho, two);
    assert_eq!(shown.replica.root(700), second.replica);
    assert!(!path("09-1.replica").exists());
    assert!(path("09-2.replica").exists());
    // The same factor again is the same replica under the same names.
    assert_eq!(sector.embed(group(9), two).unwrap(), second);
    assert!(path("09-2.replica").exists());
    // As a kill before the second manifest leaves it: what the first one names is as it was.
    drop(sector);
    std::fs::write(dir.path().join("sector.json"), manifest).unwrap();
    for (name, bytes) in written {
        std::fs::write(path(name), bytes.unwrap()).unwrap();
    }
    let mut sector = open(dir.path());
    assert!(!path("09-2.replica").exists());
    assert_eq!(sector.embedded_roots(group(9)).unwrap(), first);
    assert_eq!(
        sector.embed_opening(position).unwrap().replica.root(700),
        first.replica
    );
    assert_eq!(sector.embed(group(9), two).unwrap(), second);
    sector.finish_embed().unwrap();
    assert_eq!(sector.replica_groups()[9], second.replica);
    assert_eq!(sector.data_root(group(9)), Some(data_root));
    assert_eq!(files(dir.path()), 65);
}

#[test]
fn a_group_stays_open_while_a_rewrite_of_it_is_staged() {
    let dir = copy(false);
    let mut sector = open(dir.path());
    write(&mut sector, data(group(9), 1, 0));
    sector.finish_embed().unwrap();
    let data_root = sector.stage(data(group(9), 2, 0)).unwrap();
    let refused = sector.close_group(group(9)).unwrap_err();
    assert!(
        matches!(refused, SealError::NotEmbedded(named) if named == group(9)),
        "{refused}"
    );
    assert!(sector.keeps_data(group(9)));
    let rho = embed_rho(&[4; 32], sector.key_root(), data_root, group(9));
    let roots = sector.embed(group(9), rho).unwrap();
    // Written, the rewrite needs the old data no more; and other groups never held it up.
    sector.close_group(group(8)).unwrap();
    sector.close_group(group(9)).unwrap();
    sector.finish_embed().unwrap();
    assert_eq!(sector.replica_groups()[9], roots.replica);
    assert!(sector.keeps_data(group(9)));
}

#[test]
fn what_cannot_be_removed_does_not_undo_a_step_and_is_named_when_opening() {
    let dir = copy(false);
    let mut sector = open(dir.path());
    // A folder where a file of an older generation would lie: no one may remove it as a file.
    let stuck = dir.path().join("groups/09-7.replica");
    std::fs::create_dir(&stuck).unwrap();
    let roots = write(&mut sector, data(group(9), 1, 0));
    sector.finish_embed().unwrap();
    assert_eq!(sector.replica_groups()[9], roots.replica);
    drop(sector);
    match Sealed::open(dir.path(), CLASS, replica()).unwrap_err() {
        SealError::Io { path, .. } => assert_eq!(path, stuck),
        other => panic!("{other}"),
    }
    std::fs::remove_dir(&stuck).unwrap();
    assert_eq!(open(dir.path()).replica_groups()[9], roots.replica);
}

#[test]
fn steps_out_of_order_are_refused() {
    let dir = copy(false);
    let mut sector = open(dir.path());
    let one = Node::from_scalar(&bls12_381::Scalar::from(1));
    assert!(matches!(
        sector.embed(group(1), one),
        Err(SealError::NotStaged(_))
    ));
    let position = Position(CLASS.group_nodes());
    assert!(matches!(
        sector.embed_opening(position),
        Err(SealError::NotStaged(_))
    ));
    sector.stage(data(group(1), 1, 0)).unwrap();
    assert!(matches!(
        sector.embed_opening(position),
        Err(SealError::NotEmbedded(_))
    ));
    assert!(matches!(
        sector.finish_embed(),
        Err(SealError::NotEmbedded(_))
    ));
    assert_eq!(sector.staged().len(), 1);
}

#[test]
fn data_that_does_not_fit_is_refused() {
    let mut data = GroupData::new(CLASS, group(1));
    for (unit, nodes) in [(8, 512), (7, 1024), (0, 511), (u64::MAX, 512)] {
        let error = data.put(unit, &vec![Node::ZERO; nodes]).unwrap_err();
        assert!(matches!(error, SealError::Placement { .. }), "{error}");
    }
    data.put(7, &[Node::ZERO; 512]).unwrap();
}

#[test]
fn a_damaged_replica_is_named_before_its_key_is_used() {
    let dir = copy(false);
    let path = dir.path().join("groups/09-0.replica");
    let mut replica = std::fs::read(&path).unwrap();
    replica[0] ^= 1;
    std::fs::write(&path, replica).unwrap();
    let mut sector = open(dir.path());
    let data_root = sector.stage(data(group(9), 1, 0)).unwrap();
    match sector.embed(group(9), data_root).unwrap_err() {
        SealError::Damaged { path: named } => assert_eq!(named, path),
        other => panic!("{other}"),
    }
}
