//! One sector is sealed for all tests of this process; those that change it work on a copy.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::challenge::seal_challenges;
use crate::graph::Parents;
use crate::label::position_element;
use crate::poseidon2::{hash8_nodes, hash16_nodes};
use crate::sealed::Reach;
use crate::sector::Position;
use crate::tree::{Tree, lanes_of_groups, root_of};
use std::sync::OnceLock;
use tempfile::TempDir;

pub(crate) const CLASS: SectorClass = SectorClass::Mib8;
const THREADS: NonZeroUsize = NonZeroUsize::new(2).unwrap();

pub(crate) fn replica() -> ReplicaId {
    ReplicaId(Node::derive(
        "holdfast test",
        &[b"the sealed sector of the tests"],
    ))
}

/// The folder of a sector that was sealed once, which tests only read.
pub(crate) fn sealed_dir() -> &'static Path {
    static SEALED: OnceLock<TempDir> = OnceLock::new();
    let made = SEALED.get_or_init(|| {
        let dir = TempDir::new().unwrap();
        seal(dir.path(), CLASS, replica(), THREADS, &mut |_| {}).unwrap();
        dir
    });
    made.path()
}

/// The sector that was sealed once, which tests only read: one handle for all of them.
pub(crate) fn sealed() -> &'static Sealed {
    static OPEN: OnceLock<Sealed> = OnceLock::new();
    OPEN.get_or_init(|| Sealed::open(sealed_dir(), CLASS, replica()).unwrap())
}

/// A copy to change: the groups alone, or the layers too.
pub(crate) fn copy(layers: bool) -> TempDir {
    let (from, to) = (sealed_dir(), TempDir::new().unwrap());
    std::fs::create_dir(to.path().join("groups")).unwrap();
    for folder in [from.to_owned(), from.join("groups")] {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(from).unwrap();
            let is_group = name.starts_with("groups") || name == Path::new("sector.json");
            if path.is_file() && (layers || is_group) {
                std::fs::copy(&path, to.path().join(name)).unwrap();
            }
        }
    }
    to
}

/// As before the last step of the seal: no manifest, and no copy of it.
fn unseal(dir: &Path) {
    for name in ["sector.json", "sector.copy.json"] {
        std::fs::remove_file(dir.join(name)).unwrap();
    }
}

fn again(dir: &Path) -> (Result<SealCommitment, SealError>, Vec<u64>) {
    let mut reports = Vec::new();
    let result = seal(dir, CLASS, replica(), THREADS, &mut |progress| {
        reports.push(progress.done)
    });
    (result, reports)
}

/// The inputs of a label as the statement of the seal proof has them, read from column openings.
fn inputs(sealed: &Sealed, position: Position, parents: &Parents, layer: usize) -> [Node; 16] {
    let label = |position: Position, layer: usize| match layer {
        0 => Node::ZERO,
        _ => sealed.column_opening(position).unwrap().labels[layer - 1],
    };
    let element = position_element(layer as u32, position.lane(CLASS), position.in_lane(CLASS));
    let mut inputs = [Node::ZERO; 16];
    inputs[0] = replica().node();
    inputs[1] = Node::from_scalar(&bls12_381::Scalar::from(element));
    for (slot, parent) in inputs[2..8].iter_mut().zip(parents.base) {
        *slot = label(parent, layer);
    }
    for (slot, parent) in inputs[8..].iter_mut().zip(parents.expander) {
        *slot = label(parent, layer - 1);
    }
    inputs
}

#[test]
fn challenged_labels_recompute_from_the_parents_that_the_verifier_computes() {
    let sealed = sealed();
    let graph = Graph::new(CLASS);
    let first = Position(5 * CLASS.lane_nodes() + 1);
    let last = Position(CLASS.nodes() - 1);
    let drawn = seal_challenges(&[7; 32], replica(), CLASS, 4);
    for position in drawn.into_iter().chain([first, last]) {
        let shown = sealed.column_opening(position).unwrap();
        let parents = graph.parents(position);
        for layer in 1..=LAYERS {
            let label = hash16_nodes(&inputs(sealed, position, &parents, layer));
            assert_eq!(
                label,
                shown.labels[layer - 1],
                "layer {layer} of {position:?}"
            );
        }
        let lane = position.lane(CLASS).index() as usize;
        let commitment = sealed.commitment();
        assert_eq!(shown.opening.leaf, hash8_nodes(&shown.labels));
        assert_eq!(shown.opening.levels(), CLASS.levels() - 1);
        assert_eq!(
            shown.opening.root(position.in_lane(CLASS)),
            commitment.columns[lane]
        );
        let key = sealed.key_opening(position, Reach::Lane).unwrap();
        assert_eq!(key.leaf, shown.labels[LAYERS - 1]);
        assert_eq!(key.root(position.in_lane(CLASS)), commitment.keys[lane]);
    }
}

#[test]
fn the_first_node_of_a_lane_hashes_zeros_for_base_parents() {
    let sealed = sealed();
    let position = Position(3 * CLASS.lane_nodes());
    let mut inputs = inputs(sealed, position, &Graph::new(CLASS).parents(position), 2);
    inputs[2..8].fill(Node::ZERO);
    assert_eq!(
        hash16_nodes(&inputs),
        sealed.column_opening(position).unwrap().labels[1]
    );
}

#[test]
fn the_trees_are_those_over_all_the_labels() {
    let sealed = sealed();
    let commitment = sealed.commitment();
    let mut layers = vec![Vec::new(); LAYERS];
    for (layer, rows) in (1u32..).zip(&mut layers) {
        let file = LayerFile {
            class: CLASS,
            replica: replica(),
            layer,
        };
        assert!(read_layer(sealed_dir(), file, rows).unwrap());
    }
    let lane = 6;
    let column = |row: usize| hash8_nodes(&std::array::from_fn(|layer| layers[layer][row][lane]));
    let columns = (0..layers[0].len()).map(column).collect();
    assert_eq!(
        Tree::build(columns).unwrap().root(),
        commitment.columns[lane]
    );
    let keys: Vec<Node> = layers[7].iter().map(|row| row[lane]).collect();
    assert_eq!(Tree::build(keys).unwrap().root(), commitment.keys[lane]);
    assert_eq!(lanes_of_groups(&commitment.key_groups), commitment.keys);
    assert_eq!(sealed.replica_root(), root_of(&commitment.keys));
    assert_eq!(sealed.replica_lanes(), commitment.keys);
}

#[test]
fn openings_reach_the_group_the_lane_and_the_sector() {
    let sealed = sealed();
    let position = Position(CLASS.nodes() / 3);
    let group = sealed.replica_opening(position, Reach::Group).unwrap();
    let index = usize::from(position.group(CLASS).index());
    assert_eq!(
        group.root(position.in_group(CLASS)),
        sealed.replica_groups()[index]
    );
    let lane = sealed.replica_opening(position, Reach::Lane).unwrap();
    assert_eq!(
        lane.root(position.in_lane(CLASS)),
        sealed.replica_lanes()[index / 8]
    );
    let sector = sealed.replica_opening(position, Reach::Sector).unwrap();
    assert_eq!(sector.root(position.0), sealed.replica_root());
    let outside = sealed
        .replica_opening(Position(CLASS.nodes()), Reach::Group)
        .unwrap_err();
    assert!(
        matches!(outside, SealError::OutsideSector { .. }),
        "{outside}"
    );
}

#[test]
fn sealing_again_makes_nothing_and_says_the_same() {
    let dir = copy(false);
    let (result, reports) = again(dir.path());
    assert_eq!(&result.unwrap(), sealed().commitment());
    assert!(reports.is_empty());
}

#[test]
fn a_sector_has_one_handle_and_a_second_is_refused_before_it_removes_anything() {
    let dir = copy(false);
    let first = Sealed::open(dir.path(), CLASS, replica()).unwrap();
    // What a step of the first handle has just written and its manifest is about to name.
    let fresh = dir.path().join("groups/09-1.data");
    std::fs::write(&fresh, b"a step under way").unwrap();
    let refused = |error: SealError| match &error {
        SealError::InUse { dir: named } => {
            assert_eq!(named, dir.path());
            assert!(error.to_string().contains("is in use"), "{error}");
        }
        other => panic!("{other}"),
    };
    refused(Sealed::open(dir.path(), CLASS, replica()).unwrap_err());
    refused(again(dir.path()).0.unwrap_err());
    assert!(fresh.exists());
    drop(first);
    Sealed::open(dir.path(), CLASS, replica()).unwrap();
    assert!(!fresh.exists());
}

#[test]
fn a_folder_that_is_being_sealed_is_refused() {
    let dir = TempDir::new().unwrap();
    let mut refused = 0;
    let stop = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        seal(dir.path(), CLASS, replica(), THREADS, &mut |_| {
            let error = Sealed::open(dir.path(), CLASS, replica()).unwrap_err();
            assert!(matches!(error, SealError::InUse { .. }), "{error}");
            refused += 1;
            std::panic::resume_unwind(Box::new("seen enough"));
        })
    }));
    assert_eq!(stop.unwrap_err().downcast_ref(), Some(&"seen enough"));
    assert_eq!(refused, 1);
    // Whoever sealed is gone, however it ended, and its lock with it.
    let error = Sealed::open(dir.path(), CLASS, replica()).unwrap_err();
    assert!(matches!(error, SealError::NotSealed { .. }), "{error}");
}

#[test]
fn sealing_over_embedded_data_whose_manifest_is_lost_is_refused() {
    let dir = copy(false);
    let manifest = dir.path().join("sector.json");
    std::fs::remove_file(&manifest).unwrap();
    let embedded = dir.path().join("groups/50-3.replica");
    std::fs::rename(dir.path().join("groups/50-0.replica"), &embedded).unwrap();
    let error = again(dir.path()).0.unwrap_err();
    assert!(error.to_string().contains("50-3.replica"), "{error}");
    assert!(error.to_string().contains("sector.json"), "{error}");
    match error {
        SealError::ManifestLost {
            manifest: missing,
            found,
        } => assert_eq!((missing, found), (manifest, embedded.clone())),
        other => panic!("{other}"),
    }
    assert!(embedded.exists());
    assert!(!dir.path().join("layer-1").exists());
}

#[test]
fn a_seal_that_was_cut_short_resumes_after_its_last_full_layer() {
    let dir = copy(true);
    // As a kill during layer 8 leaves it: no sector yet, a layer cut off, one still being written.
    unseal(dir.path());
    std::fs::remove_file(dir.path().join("columns")).unwrap();
    std::fs::remove_dir_all(dir.path().join("groups")).unwrap();
    let last = layer_path(dir.path(), 8);
    std::fs::OpenOptions::new()
        .write(true)
        .open(&last)
        .unwrap()
        .set_len(1_000_000)
        .unwrap();
    std::fs::write(dir.path().join("layer-8.tmp"), b"half a layer").unwrap();
    let (result, reports) = again(dir.path());
    assert_eq!(&result.unwrap(), sealed().commitment());
    // Seven layers are read, one report each; the eighth is made.
    assert_eq!(
        reports[..7],
        [1, 2, 3, 4, 5, 6, 7].map(|layer| layer * CLASS.nodes())
    );
    assert_eq!(reports[7], 7 * CLASS.nodes() + 8 * STEP);
    assert_eq!(*reports.last().unwrap(), 9 * CLASS.nodes());
    assert!(reports.is_sorted());
    assert!(!dir.path().join("layer-8.tmp").exists());
}

fn flip(path: &Path, at: u64) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[usize::try_from(at).unwrap()] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_layer_is_named_and_made_again() {
    let dir = copy(true);
    let position = Position(2 * CLASS.lane_nodes() + 1234);
    let damaged = layer_path(dir.path(), 8);
    flip(&damaged, 1234 * 256 + 2 * 32);
    let changed = Sealed::open(dir.path(), CLASS, replica()).unwrap();
    match changed.column_opening(position).unwrap_err() {
        SealError::Damaged { path } => assert_eq!(path, damaged),
        other => panic!("{other}"),
    }
    drop(changed);
    // With the manifest gone the sector is not sealed, and the layer is found out and made anew.
    unseal(dir.path());
    let (result, reports) = again(dir.path());
    assert_eq!(&result.unwrap(), sealed().commitment());
    assert_eq!(reports[7], 7 * CLASS.nodes() + 8 * STEP);
    let repaired = Sealed::open(dir.path(), CLASS, replica()).unwrap();
    assert_eq!(
        repaired.column_opening(position).unwrap(),
        sealed().column_opening(position).unwrap()
    );
}

#[test]
fn damage_to_trees_and_replicas_is_named() {
    let dir = copy(true);
    let position = Position(CLASS.lane_nodes() + 99);
    let row = position.in_lane(CLASS);
    let columns = dir.path().join("columns");
    flip(&columns, ((row ^ 8) / 8) * 256 + 32);
    let group = crate::sealed::replica_path(dir.path(), position.group(CLASS), 0);
    flip(&group, (position.in_group(CLASS) ^ 1) * 32);
    let changed = Sealed::open(dir.path(), CLASS, replica()).unwrap();
    match changed.column_opening(position).unwrap_err() {
        SealError::Damaged { path } => assert_eq!(path, columns),
        other => panic!("{other}"),
    }
    match changed
        .replica_opening(position, Reach::Sector)
        .unwrap_err()
    {
        SealError::Damaged { path } => assert_eq!(path, group),
        other => panic!("{other}"),
    }
}

#[test]
fn a_folder_of_another_replica_is_refused() {
    let other = ReplicaId(Node::ZERO);
    let dir = copy(true);
    let error = Sealed::open(dir.path(), CLASS, other).unwrap_err();
    assert!(matches!(error, SealError::OtherReplica { .. }), "{error}");
    unseal(dir.path());
    let error = seal(dir.path(), CLASS, other, THREADS, &mut |_| {}).unwrap_err();
    assert!(matches!(error, SealError::OtherReplica { .. }), "{error}");
}

#[test]
fn a_folder_of_another_version_is_refused_by_its_version() {
    let dir = copy(false);
    let path = dir.path().join("sector.json");
    let text = crate::checked::without_check_or_old(&std::fs::read(&path).unwrap()).unwrap();
    let text = String::from_utf8(text).unwrap();
    let later = text.replacen("\"version\": 2", "\"version\": 7", 1);
    assert_ne!(later, text);
    std::fs::write(&path, crate::checked::with_check(later.as_bytes())).unwrap();
    let error = Sealed::open(dir.path(), CLASS, replica()).unwrap_err();
    assert!(
        matches!(error, SealError::OtherVersion { found: 7, .. }),
        "{error}"
    );
}

#[test]
fn a_class_that_does_not_fit_in_memory_is_refused_with_what_it_takes_and_nothing_is_begun() {
    let needs = Needs::of(CLASS);
    assert!(needs.memory > 2 * CLASS.bytes() && needs.disk > 9 * CLASS.bytes());
    Needs::fit_in(CLASS, needs.memory).unwrap();
    let text = Needs::fit_in(CLASS, needs.memory - 1)
        .unwrap_err()
        .to_string();
    for number in [needs.memory, needs.disk, needs.memory - 1] {
        assert!(text.contains(&number.to_string()), "{number}: {text}");
    }
    assert!(text.contains("choose a smaller class"), "{text}");
    // The largest class, on a machine that is smaller.
    let dir = TempDir::new().unwrap();
    if check_memory(SectorClass::Gib32, &[]).is_err() {
        let refused = seal(
            dir.path(),
            SectorClass::Gib32,
            replica(),
            THREADS,
            &mut |_| panic!("it has begun"),
        );
        assert!(matches!(
            refused,
            Err(SealError::Memory {
                class: SectorClass::Gib32,
                ..
            })
        ));
    }
}

#[test]
fn a_sector_that_is_not_there_or_not_readable_is_refused() {
    let dir = TempDir::new().unwrap();
    let error = Sealed::open(dir.path(), CLASS, replica()).unwrap_err();
    assert!(matches!(error, SealError::NotSealed { .. }), "{error}");
    for text in ["", "{}", "[]"] {
        std::fs::write(dir.path().join("sector.json"), text).unwrap();
        let error = Sealed::open(dir.path(), CLASS, replica()).unwrap_err();
        assert!(matches!(error, SealError::Damaged { .. }), "{error}");
    }
    let file = dir.path().join("sector.json").join("below a file");
    let error = seal(&file, CLASS, replica(), THREADS, &mut |_| {}).unwrap_err();
    assert!(matches!(error, SealError::Io { .. }), "{error}");
}

#[test]
fn discarded_layers_leave_the_replica_provable() {
    let dir = copy(true);
    let discarded = Sealed::open(dir.path(), CLASS, replica()).unwrap();
    discarded.discard_layers().unwrap();
    discarded.discard_layers().unwrap();
    let position = Position(77);
    let error = discarded.column_opening(position).unwrap_err();
    assert!(
        matches!(&error, SealError::Missing { path } if *path == layer_path(dir.path(), 1)),
        "{error}"
    );
    let opening = discarded.replica_opening(position, Reach::Sector).unwrap();
    assert_eq!(opening.root(77), discarded.replica_root());
}
