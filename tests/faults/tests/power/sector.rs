//! A sector: each layer, the seal and each step of an embed is durable when it returns.

use super::{loss, with_seeds};
use holdfast_faults::disk::{Disk, Loss};
use holdfast_proofs::embed::GroupData;
use holdfast_proofs::node::Node;
use holdfast_proofs::replica::{ReplicaId, ReplicaSeed};
use holdfast_proofs::seal::{SealCommitment, SealError, seal};
use holdfast_proofs::sealed::{Reach, Sealed};
use holdfast_proofs::sector::{Group, Position, SectorClass};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;

const CLASS: SectorClass = SectorClass::Mib8;
const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();

fn replica() -> ReplicaId {
    ReplicaId::derive(&ReplicaSeed {
        network: [1; 32],
        class: CLASS,
        provider: 7,
        number: 0,
        ticket: [2; 32],
    })
}

/// A sector that was sealed once, without its layers, and what its seal proof is about.
fn sealed_once() -> &'static (TempDir, SealCommitment) {
    static SEALED: OnceLock<(TempDir, SealCommitment)> = OnceLock::new();
    SEALED.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let commitment = seal(folder.path(), CLASS, replica(), TWO, &mut |_| {}).unwrap();
        let sealed = Sealed::open(folder.path(), CLASS, replica()).unwrap();
        sealed.discard_layers().unwrap();
        (folder, commitment)
    })
}

fn sealed() -> &'static Path {
    sealed_once().0.path()
}

/// Copies a sector's files.
fn copy(from: &Path, to: &Path) {
    for folder in ["", "groups"] {
        std::fs::create_dir_all(to.join(folder)).unwrap();
        for entry in std::fs::read_dir(from.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let copied = to.join(folder).join(path.file_name().unwrap());
                std::fs::write(&copied, std::fs::read(&path).unwrap()).unwrap();
                std::fs::File::open(&copied).unwrap().sync_all().unwrap();
            }
        }
    }
}

/// The sealed sector on the disk, all of it durable.
fn copy_to(disk: &Disk) -> PathBuf {
    let dir = disk.path().join("sector");
    copy(sealed(), &dir);
    for folder in ["sector/groups", "sector", ""] {
        let folder = std::fs::File::open(disk.path().join(folder)).unwrap();
        folder.sync_all().unwrap();
    }
    dir
}

/// The same sector on a disk that does not fail, to see what a step leads to.
struct Shadow {
    folder: TempDir,
    sealed: Option<Sealed>,
}

impl Shadow {
    fn of(dir: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("sector");
        copy(dir, &inside);
        let sealed = Sealed::open(&inside, CLASS, replica()).unwrap();
        Self {
            folder,
            sealed: Some(sealed),
        }
    }

    fn step(&mut self, mut draw: ChaCha8Rng) -> State {
        assert!(self.folder.path().exists());
        let sealed = self.sealed.as_mut().unwrap();
        step(sealed, &mut draw).unwrap();
        State::of(sealed)
    }
}

/// All that a sector says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    replica: Vec<Node>,
    data: Vec<Option<Node>>,
    kept: Vec<bool>,
    staged: Vec<(Group, Node)>,
    after: Vec<Node>,
}

impl State {
    fn of(sealed: &Sealed) -> Self {
        let groups: Vec<Group> = Group::all().collect();
        Self {
            replica: sealed.replica_groups().to_vec(),
            data: groups.iter().map(|one| sealed.data_root(*one)).collect(),
            kept: groups.iter().map(|one| sealed.keeps_data(*one)).collect(),
            staged: sealed.staged(),
            after: sealed.replica_groups_after().to_vec(),
        }
    }
}

fn group(draw: &mut ChaCha8Rng) -> Group {
    Group::new(draw.gen_range(0..3)).unwrap()
}

/// One step of an embed, drawn; a step that does not fit the state is refused and changes nothing.
fn step(sealed: &mut Sealed, draw: &mut ChaCha8Rng) -> Result<(), SealError> {
    let group = group(draw);
    let done = match draw.gen_range(0..8) {
        0..=2 => {
            let mut data = GroupData::new(CLASS, group);
            let node = Node::from_bytes({
                let mut bytes = [0; 32];
                bytes[0] = draw.r#gen();
                bytes
            });
            data.put(draw.gen_range(0..8), &[node.unwrap(); 512])
                .unwrap();
            sealed.stage(data).map(drop)
        }
        3..=4 => {
            let staged: Vec<Group> = sealed.staged().into_iter().map(|(one, _)| one).collect();
            let Some(group) = staged.choose(draw) else {
                return Ok(());
            };
            let rho = Node::from_bytes([draw.gen_range(1..9); 32]).unwrap();
            sealed.embed(*group, rho).map(drop)
        }
        5..=6 => sealed.finish_embed(),
        _ => sealed.abandon_embed(),
    };
    match done {
        Err(SealError::Io { .. }) => done,
        // Not embedded, no data: refused.
        _ => Ok(()),
    }
}

#[test]
fn each_step_of_an_embed_survives_a_loss_of_power_at_any_moment() {
    with_seeds(10, |disk, draw| {
        let dir = copy_to(disk);
        let open = || Sealed::open(&dir, CLASS, replica());
        let mut state = State::of(&open().unwrap());
        let mut shadow = Shadow::of(&dir);
        for _ in 0..4 {
            let mut tried = None;
            disk.stop_after(draw.gen_range(1..60));
            if let Ok(mut sealed) = open() {
                assert_eq!(State::of(&sealed), state);
                for _ in 0..draw.gen_range(1..12) {
                    let after = shadow.step(draw.clone());
                    match step(&mut sealed, draw) {
                        Ok(()) => state = after,
                        Err(_) => {
                            tried = Some(after);
                            break;
                        }
                    }
                }
            }
            disk.cut_power(loss(draw));
            let sealed = open().unwrap();
            let found = State::of(&sealed);
            assert!(
                found == state || Some(&found) == tried.as_ref(),
                "neither before the step nor after it"
            );
            openings(&sealed, draw);
            drop(sealed);
            if found == state && tried.is_some() {
                shadow = Shadow::of(&dir);
            }
            state = found;
        }
    });
}

/// Every file that counts is there and is what the manifest says.
fn openings(sealed: &Sealed, draw: &mut ChaCha8Rng) {
    for group in Group::all() {
        let inside = draw.gen_range(0..CLASS.group_nodes());
        let position = Position(u64::from(group.index()) * CLASS.group_nodes() + inside);
        sealed.replica_opening(position, Reach::Sector).unwrap();
    }
    for (group, _) in sealed.staged() {
        let position = Position(u64::from(group.index()) * CLASS.group_nodes());
        if sealed.embedded_roots(group).is_ok() {
            sealed.embed_opening(position).unwrap();
        }
    }
}

#[test]
fn a_seal_that_power_was_cut_from_goes_on_and_is_there_once_it_was_said_to_be_done() {
    with_seeds(1, |disk, draw| {
        let dir = disk.path().join("sectors/0");
        let mut stops = 0;
        let commitment = loop {
            // A layer is some eight writes; the groups at the end are three hundred changes.
            disk.stop_after(draw.gen_range(20..120) + stops * 60);
            let done = seal(&dir, CLASS, replica(), TWO, &mut |_| {});
            match done {
                Ok(commitment) => break commitment,
                Err(_) => stops += 1,
            }
            disk.cut_power(loss(draw));
        };
        disk.cut_power(Loss::Everything);
        assert!(stops > 1, "{stops} stops");
        let sealed = Sealed::open(&dir, CLASS, replica()).unwrap();
        assert_eq!(sealed.commitment(), &commitment);
        openings(&sealed, draw);
        let mut there = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..20 {
            let position = Position(there.gen_range(0..CLASS.nodes()));
            sealed.column_opening(position).unwrap();
        }
        // The same as without a cut.
        assert_eq!(&sealed_once().1, &commitment);
    });
}

#[test]
fn a_seal_on_a_full_disk_names_the_file_leaves_no_half_of_one_and_goes_on_when_there_is_room() {
    let disk = Disk::mount().unwrap();
    let dir = disk.path().join("sectors/0");
    let layer = CLASS.bytes();
    // Room for the first layer and a half.
    disk.limit(layer + layer / 2);
    let error = seal(&dir, CLASS, replica(), TWO, &mut |_| {}).unwrap_err();
    let sentence = error.to_string();
    assert!(
        sentence.contains("layer-2") && sentence.contains("No space left"),
        "{sentence}"
    );
    let names: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        names.iter().all(|name| !name.ends_with(".tmp")),
        "{names:?}"
    );
    assert!(names.contains(&"layer-1".into()), "{names:?}");
    disk.no_limit();
    // Layers that are there are not made again.
    let mut first = None;
    let done = seal(&dir, CLASS, replica(), TWO, &mut |progress| {
        first.get_or_insert(progress.done);
    });
    assert_eq!(first, Some(CLASS.nodes()));
    assert_eq!(&sealed_once().1, &done.unwrap());
}

#[test]
fn an_embed_on_a_full_disk_fails_by_name_keeps_what_counts_and_goes_on_when_there_is_room() {
    let disk = Disk::mount().unwrap();
    let dir = copy_to(&disk);
    let mut sealed = Sealed::open(&dir, CLASS, replica()).unwrap();
    let group = Group::new(0).unwrap();
    let before = State::of(&sealed);
    disk.limit(disk.used() + 20 * 4096);
    let error = sealed.stage(GroupData::new(CLASS, group)).unwrap_err();
    assert!(error.to_string().contains("No space left"), "{error}");
    assert_eq!(State::of(&sealed), before);
    disk.limit(disk.used() + 60 * 4096);
    sealed.stage(GroupData::new(CLASS, group)).unwrap();
    let rho = Node::from_bytes([3; 32]).unwrap();
    let error = sealed.embed(group, rho).unwrap_err();
    assert!(error.to_string().contains("No space left"), "{error}");
    let left = std::fs::read_dir(dir.join("groups")).unwrap();
    let half = left
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".tmp"));
    assert_eq!(half.count(), 0);
    disk.no_limit();
    sealed.embed(group, rho).unwrap();
    sealed.finish_embed().unwrap();
    openings(&sealed, &mut ChaCha8Rng::seed_from_u64(1));
}
