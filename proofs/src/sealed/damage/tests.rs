#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use crate::challenge::embed_rho;
use crate::seal::tests::{CLASS, copy, replica, sealed};
use crate::sealed::Reach;
use crate::sector::{Position, UNIT_NODES};

const EMBEDDED: u8 = 9;
const BARE: u8 = 30;

fn group(index: u8) -> Group {
    Group::new(index).unwrap()
}

fn data() -> GroupData {
    let nodes: Vec<Node> = (0..2 * UNIT_NODES)
        .map(|i| Node::derive("holdfast test damage", &[&i.to_le_bytes()]))
        .collect();
    let mut data = GroupData::new(CLASS, group(EMBEDDED));
    data.put(3, &nodes).unwrap();
    data
}

/// A sector with data in one of its groups.
fn sector() -> (tempfile::TempDir, Sealed) {
    let dir = copy(false);
    let mut sector = Sealed::open(dir.path(), CLASS, replica()).unwrap();
    let root = sector.stage(data()).unwrap();
    let rho = embed_rho(&[3; 32], sector.key_root(), root, group(EMBEDDED));
    sector.embed(group(EMBEDDED), rho).unwrap();
    sector.finish_embed().unwrap();
    (dir, sector)
}

/// Flips a bit of each place, cuts, removes and puts a folder there: what reads wrong, short, not
/// at all.
fn each_damage(path: &Path, mut then: impl FnMut(&str)) {
    let whole = std::fs::read(path).unwrap();
    let leaves = usize::try_from(CLASS.group_nodes()).unwrap() * 32;
    for at in [0, leaves / 2 + 5, leaves - 1, leaves + 32, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(path, bytes).unwrap();
        then(&format!("bit at {at}"));
    }
    for length in [0, whole.len() / 2, whole.len() - 1] {
        std::fs::write(path, &whole[..length]).unwrap();
        then(&format!("cut at {length}"));
    }
    std::fs::remove_file(path).unwrap();
    then("removed");
    std::fs::remove_file(path).unwrap();
    std::fs::create_dir(path).unwrap();
    then("a folder in its place");
    assert_eq!(std::fs::read(path).unwrap(), whole);
}

#[test]
fn a_damaged_replica_is_found_and_written_again_from_the_same_keys() {
    let (dir, sector) = sector();
    let roots = sector.replica_groups();
    for (index, file) in [(BARE, "30-0.replica"), (EMBEDDED, "09-1.replica")] {
        let path = dir.path().join("groups").join(file);
        assert_eq!(sector.group_damage(group(index)), GroupDamage::default());
        each_damage(&path, |what| {
            let damage = sector.group_damage(group(index));
            assert!(damage.replica && !damage.data, "{what}: {damage:?}");
            if sector.restore_trees(group(index)).unwrap().any() {
                sector.restore_replica(group(index), sealed()).unwrap();
            }
            assert!(!sector.group_damage(group(index)).any(), "{what}");
        });
    }
    assert_eq!(sector.replica_groups(), roots);
    let position = Position(9 * CLASS.group_nodes() + 700);
    sector.replica_opening(position, Reach::Sector).unwrap();
}

#[test]
fn damaged_data_is_found_and_written_again_from_its_pieces_and_other_data_is_refused() {
    let (dir, sector) = sector();
    let path = dir.path().join("groups/09-1.data");
    each_damage(&path, |what| {
        let damage = sector.group_damage(group(EMBEDDED));
        assert!(damage.data && !damage.replica, "{what}: {damage:?}");
        if sector.restore_trees(group(EMBEDDED)).unwrap().data {
            let zeros = GroupData::new(CLASS, group(EMBEDDED));
            let refused = sector.restore_group_data(zeros).unwrap_err();
            assert!(matches!(refused, SealError::Damaged { .. }), "{refused}");
            // Without its data the replica cannot be had again either, and that is said.
            let refused = sector.restore_replica(group(EMBEDDED), sealed());
            assert!(refused.unwrap_err().to_string().contains("09-1.data"));
            sector.restore_group_data(data()).unwrap();
        }
        assert!(!sector.group_damage(group(EMBEDDED)).any(), "{what}");
    });
}

#[test]
fn inner_nodes_are_written_again_from_the_leaves_alone() {
    let (dir, sector) = sector();
    let path = dir.path().join("groups/30-0.replica");
    let whole = std::fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(sector.group_damage(group(BARE)).replica);
    assert!(!sector.restore_trees(group(BARE)).unwrap().any());
    assert_eq!(std::fs::read(&path).unwrap(), whole);
}

#[test]
fn a_folder_of_groups_that_is_gone_comes_back_group_by_group() {
    let (dir, sector) = sector();
    drop(sector);
    std::fs::remove_dir_all(dir.path().join("groups")).unwrap();
    let sector = Sealed::open(dir.path(), CLASS, replica()).unwrap();
    sector.restore_group_data(data()).unwrap();
    for group in Group::all() {
        assert!(sector.group_damage(group).replica);
        sector.restore_replica(group, sealed()).unwrap();
    }
    assert!(!Group::all().any(|group| sector.group_damage(group).any()));
}

#[test]
fn staged_files_that_are_damaged_are_found() {
    let dir = copy(false);
    let mut sector = Sealed::open(dir.path(), CLASS, replica()).unwrap();
    assert!(!sector.staged_damage());
    let root = sector.stage(data()).unwrap();
    let rho = embed_rho(&[3; 32], sector.key_root(), root, group(EMBEDDED));
    sector.embed(group(EMBEDDED), rho).unwrap();
    assert!(!sector.staged_damage());
    for file in ["09-1.data", "09-1.key", "09-1.replica"] {
        let path = dir.path().join("groups").join(file);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[1..]).unwrap();
        assert!(sector.staged_damage(), "{file}");
        std::fs::write(&path, &whole).unwrap();
    }
    assert!(!sector.staged_damage());
}

#[test]
fn a_manifest_that_is_damaged_or_gone_comes_back_from_its_copy_and_the_copy_from_it() {
    let (dir, sector) = sector();
    let roots = sector.replica_groups();
    drop(sector);
    let manifest = Manifest::path(dir.path());
    let copy = Manifest::copy_path(dir.path());
    let whole = std::fs::read(&manifest).unwrap();
    assert_eq!(std::fs::read(&copy).unwrap(), whole);
    let generation = whole
        .windows(15)
        .position(|window| window == b"\"generation\": 1")
        .unwrap();
    for path in [&manifest, &copy] {
        // The one bit that would make another file count, and have this one removed.
        let mut flipped = whole.clone();
        flipped[generation + 14] ^= 1;
        for bytes in [Some(&flipped[..]), Some(&whole[1..]), Some(b""), None] {
            match bytes {
                Some(bytes) => std::fs::write(path, bytes).unwrap(),
                None => std::fs::remove_file(path).unwrap(),
            }
            let sector = Sealed::open(dir.path(), CLASS, replica()).unwrap();
            assert_eq!(sector.replica_groups(), roots);
            assert!(!sector.group_damage(group(EMBEDDED)).any());
            assert_eq!(std::fs::read(path).unwrap(), whole);
        }
    }
    for path in [&manifest, &copy] {
        std::fs::write(path, &whole[..whole.len() / 2]).unwrap();
    }
    let error = Sealed::open(dir.path(), CLASS, replica()).unwrap_err();
    assert!(
        error.to_string().contains("sector.json is damaged"),
        "{error}"
    );
    // Nothing was removed meanwhile.
    assert!(dir.path().join("groups/09-1.replica").exists());
}

#[test]
fn layers_and_columns_come_back_from_a_seal_beside() {
    let (dir, beside) = (copy(true), copy(true));
    let sector = Sealed::open(dir.path(), CLASS, replica()).unwrap();
    let position = Position(2 * CLASS.lane_nodes() + 1234);
    let opening = sector.column_opening(position).unwrap();
    // Cut, another one under its name, and a folder.
    std::fs::write(layer_path(dir.path(), 5), b"").unwrap();
    let second = std::fs::read(layer_path(dir.path(), 2)).unwrap();
    std::fs::write(layer_path(dir.path(), 3), second).unwrap();
    for path in [layer_path(dir.path(), 7), columns_path(dir.path())] {
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
    }
    sector.column_opening(position).unwrap_err();
    let resealed = Sealed::open(beside.path(), CLASS, replica()).unwrap();
    sector.restore_layers(&resealed).unwrap();
    assert_eq!(sector.column_opening(position).unwrap(), opening);
    assert!(!layer_path(beside.path(), 5).exists());
}
