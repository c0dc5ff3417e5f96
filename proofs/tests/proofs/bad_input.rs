//! Every kind of file of a sector, damaged in every way, under everything that reads it. What comes of
//! it is an error that names the file, or the same as without the damage: nothing panics, and no
//! proof is given out that does not hold.

#[allow(dead_code)]
#[path = "../../../tests/faults/src/damage.rs"]
mod damage;
mod statements;

use crate::support::{BEACON, CLASS, Proven, SEED, kept, proven};
use damage::Damage;
use holdfast_proofs::challenge::embed_rho;
use holdfast_proofs::embed::{EmbeddedRoots, GroupData};
use holdfast_proofs::node::Node;
use holdfast_proofs::proof::{CircuitId, ProofBytes};
use holdfast_proofs::prove::{ProveError, Workers, prove_embed, prove_seal, prove_spacetime};
use holdfast_proofs::replica::{ReplicaId, ReplicaSeed};
use holdfast_proofs::seal::{SealCommitment, SealError, seal, unseal};
use holdfast_proofs::sealed::Sealed;
use holdfast_proofs::sector::{Group, Position};
use holdfast_proofs::statement::{EmbedChallenge, EmbedStatement, Statement};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What has to come of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Becomes {
    /// An error that names the file.
    Refused,
    /// The same as without it.
    Same,
}
use Becomes::{Refused, Same};

/// One thing that happens to a file, and what has to come of it.
enum Case {
    Damage(Damage, Becomes),
    /// Another file has its place.
    Swapped(PathBuf, Becomes),
}

fn flip(byte: u64, becomes: Becomes) -> Case {
    Case::Damage(Damage::Flip { byte, bit: 3 }, becomes)
}

/// What is done to every file, whatever reads it.
fn cases(swapped_with: PathBuf, swapped: Becomes, becomes: Becomes) -> Vec<Case> {
    let damage = [Damage::Cut(0), Damage::Unreadable, Damage::Gone];
    damage
        .into_iter()
        .map(|damage| Case::Damage(damage, becomes))
        .chain([Case::Swapped(swapped_with, swapped)])
        .collect()
}

/// Does each to a file, lets `run` look at it, and puts the file back. `run` answers how it was
/// refused; where it was not it has made sure that all is as it should be.
fn each(what: &str, path: &Path, cases: Vec<Case>, mut run: impl FnMut() -> Result<(), String>) {
    let name = path.file_name().unwrap().to_str().unwrap();
    let whole = fs::read(path).unwrap();
    for case in cases {
        let (done, becomes) = match case {
            Case::Damage(damage, becomes) => {
                damage.apply(path);
                (damage.to_string(), becomes)
            }
            Case::Swapped(other, becomes) => {
                let other_bytes = fs::read(&other).unwrap();
                assert_ne!(
                    other_bytes,
                    whole,
                    "{name} is no other than {}",
                    other.display()
                );
                fs::write(path, other_bytes).unwrap();
                (format!("swapped with {}", other.display()), becomes)
            }
        };
        let told = format!("{what}: {name} {done}");
        match (run(), becomes) {
            (Ok(()), Same) => {}
            (Err(error), Refused) => {
                assert!(error.contains(path.to_str().unwrap()), "{told}: {error}");
                let ways_out = ["seal the sector again", "a folder of its own", "directory"];
                assert!(
                    ways_out.iter().any(|way| error.contains(way)),
                    "{told}: {error}"
                );
            }
            (found, _) => panic!("{told}: {found:?} and not {becomes:?}"),
        }
        if path.is_dir() {
            fs::remove_dir(path).unwrap();
        }
        fs::write(path, &whole).unwrap();
    }
}

fn replica() -> ReplicaId {
    ReplicaId::derive(&SEED)
}

/// The folder of another sector of the same provider.
fn other() -> PathBuf {
    kept(&ReplicaSeed {
        number: SEED.number + 1,
        ..SEED
    })
}

fn group(index: u8) -> Group {
    Group::new(index).unwrap()
}

/// A copy of the sector as it was sealed, with its layers.
fn sealed_copy() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    damage::copy(&kept(&SEED), folder.path());
    folder
}

fn open(folder: &Path) -> Result<Sealed, SealError> {
    Sealed::open(folder, CLASS, replica())
}

/// The file of a group that counts.
fn group_file(folder: &Path, group: Group, end: &str) -> PathBuf {
    let begin = format!("{:02}-", group.index());
    let mut found = damage::files(&folder.join("groups"));
    found.retain(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(&begin) && name.ends_with(end)
    });
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// A node's bytes in a group's file: its own, a sibling's, and the root of the next unit.
fn under(position: Position) -> [u64; 3] {
    let index = position.in_group(CLASS);
    let unit_root = CLASS.group_nodes() + ((index / 512) ^ 1);
    [index, index ^ 1, unit_root].map(|node| node * 32 + 7)
}

/// What a proof came to: it verifies, or why it was not made.
fn verified(
    proven: &Proven,
    statement: Statement,
    proofs: Result<Vec<ProofBytes>, ProveError>,
) -> Result<(), String> {
    let proofs = proofs.map_err(|error| error.to_string())?;
    assert_eq!(proven.verifier.verify_both(&statement, &proofs), Ok(()));
    Ok(())
}

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(8)
}

#[test]
fn a_seal_that_goes_on_makes_damaged_files_again_and_leaves_anothers_alone() {
    let proven = proven();
    let whole = kept(&SEED);
    let folder = sealed_copy();
    let at = |name: &str| folder.path().join(name);
    let two = NonZeroUsize::new(2).unwrap();
    let expected = SealCommitment {
        columns: proven.seal.0.columns,
        keys: proven.seal.0.keys,
        key_groups: proven.sealed.commitment().key_groups,
    };
    let goes_on = || {
        for manifest in ["sector.json", "sector.copy.json"] {
            let _ = fs::remove_file(at(manifest));
        }
        let sealed = seal(folder.path(), CLASS, replica(), two, &mut |_| {});
        assert_eq!(sealed.map_err(|error| error.to_string())?, expected);
        for name in ["layer-3", "layer-8", "columns", "groups/09-0.replica"] {
            assert!(
                fs::read(at(name)).unwrap() == fs::read(whole.join(name)).unwrap(),
                "{name}"
            );
        }
        Ok(())
    };
    let (layer, id) = (CLASS.bytes(), CLASS.bytes() + 10);
    // The last layer: in its rows, in what says whose it is, without its last byte.
    let mut damaged = cases(other().join("layer-8"), Refused, Same);
    damaged.extend([flip(layer / 2, Same), flip(id, Same)]);
    let cut = Damage::Cut(fs::metadata(at("layer-8")).unwrap().len() - 1);
    damaged.push(Case::Damage(cut, Same));
    // One of this sector under another's name is nobody else's.
    damaged.push(Case::Swapped(whole.join("layer-7"), Same));
    each("resume", &at("layer-8"), damaged, goes_on);
    let first = vec![
        Case::Damage(Damage::Gone, Same),
        Case::Swapped(other().join("layer-3"), Refused),
    ];
    each("resume", &at("layer-3"), first, goes_on);
    for name in ["columns", "groups/09-0.replica"] {
        let damaged = vec![
            Case::Damage(Damage::Unreadable, Same),
            Case::Swapped(other().join(name), Same),
        ];
        each("resume", &at(name), damaged, goes_on);
    }
}

#[test]
fn a_seal_proof_from_damaged_files_is_refused_by_the_files_name() {
    let proven = proven();
    let folder = sealed_copy();
    let statement = &proven.seal.0;
    let parameters = proven.parameters(CircuitId::seal(CLASS, 1));
    let proves = || {
        let sealed = open(folder.path()).unwrap();
        let proofs = prove_seal(&Workers::one(&parameters), &sealed, statement, &mut rng());
        verified(proven, Statement::Seal(statement.clone()), proofs)
    };
    let challenged = statement.challenges[0];
    let (lane, row) = (
        u64::from(challenged.lane(CLASS).index()),
        challenged.in_lane(CLASS),
    );
    let label = row * 256 + lane * 32;
    for name in ["layer-1", "layer-8"] {
        let path = folder.path().join(name);
        let mut damaged = cases(other().join(name), Refused, Refused);
        damaged.push(flip(label + 7, Refused));
        damaged.push(Case::Damage(Damage::Cut(label + 31), Refused));
        // A layer of this very sector, and not the one that the name says.
        damaged.push(Case::Swapped(folder.path().join("layer-4"), Refused));
        each("seal proof", &path, damaged, proves);
    }
    let columns = folder.path().join("columns");
    let mut damaged = cases(other().join("columns"), Refused, Refused);
    damaged.push(flip(((row / 8) ^ 1) * 256 + lane * 32 + 7, Refused));
    each("seal proof", &columns, damaged, proves);
    let keys = group_file(folder.path(), challenged.group(CLASS), ".replica");
    let name = Path::new("groups").join(keys.file_name().unwrap());
    let mut damaged = cases(other().join(name), Refused, Refused);
    damaged.extend(under(challenged).map(|byte| flip(byte, Refused)));
    each("seal proof", &keys, damaged, proves);
}

/// Data for a group.
fn data(group: Group) -> GroupData {
    let nodes: Vec<Node> = (0..1024u64)
        .map(|i| Node::derive("holdfast test bad input", &[&i.to_le_bytes()]))
        .collect();
    let mut data = GroupData::new(CLASS, group);
    data.put(1, &nodes).unwrap();
    data
}

#[test]
fn an_embed_from_damaged_files_is_refused_by_the_files_name_and_so_is_its_proof() {
    let proven = proven();
    let folder = sealed_copy();
    let group = group(33);
    let foreign = other().join("groups/33-0.replica");
    let write = |sealed: &mut Sealed| -> Result<EmbeddedRoots, SealError> {
        let (_, data_root) = sealed.staged()[0];
        let rho = embed_rho(&BEACON, sealed.key_root(), data_root, group);
        sealed.embed(group, rho)
    };
    let damaged = || {
        let mut damaged = cases(foreign.clone(), Refused, Refused);
        damaged.extend([0, CLASS.group_nodes() * 16].map(|byte| flip(byte, Refused)));
        damaged.push(Case::Damage(
            Damage::Cut(CLASS.group_nodes() * 32 - 1),
            Refused,
        ));
        damaged
    };
    let writes = || {
        let mut sealed = open(folder.path()).unwrap();
        let staged = sealed.staged();
        let written = write(&mut sealed).map_err(|error| error.to_string());
        assert_eq!(sealed.staged(), staged);
        written.map(drop)
    };
    open(folder.path()).unwrap().stage(data(group)).unwrap();
    // Of a group that holds its key alone, and of one that is written over.
    for rewritten in [false, true] {
        let files = damage::files(&folder.path().join("groups"));
        let read = files.iter().filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("33-")
        });
        let read: Vec<_> = read.collect();
        assert_eq!(read.len(), if rewritten { 3 } else { 2 });
        for file in read {
            each("embed", file, damaged(), writes);
        }
        let mut sealed = open(folder.path()).unwrap();
        write(&mut sealed).unwrap();
        if !rewritten {
            sealed.finish_embed().unwrap();
            sealed.stage(data(group)).unwrap();
        }
    }
    let roots = open(folder.path()).unwrap().embedded_roots(group).unwrap();
    let challenged =
        [700, 4095].map(|index| Position(u64::from(group.index()) * CLASS.group_nodes() + index));
    let statement = EmbedStatement {
        class: CLASS,
        challenges: challenged
            .map(|position| challenge(position, &roots))
            .into(),
    };
    let parameters = proven.parameters(CircuitId::embed(CLASS, 2));
    let proves = || {
        let sealed = open(folder.path()).unwrap();
        let proofs = prove_embed(&Workers::one(&parameters), &sealed, &statement, &mut rng());
        verified(proven, Statement::Embed(statement.clone()), proofs)
    };
    proves().unwrap();
    for end in [".key", ".data", ".replica"] {
        let mut files = damage::files(&folder.path().join("groups"));
        files.retain(|path| path.to_str().unwrap().ends_with(end));
        files.retain(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("33-")
        });
        // The newest of its kind; the old ones count until the embed is finished.
        let newest = files.pop().unwrap();
        let mut damaged = cases(foreign.clone(), Refused, Refused);
        damaged.extend(under(challenged[1]).map(|byte| flip(byte, Refused)));
        each("embed proof", &newest, damaged, proves);
        for old in files {
            each(
                "embed proof",
                &old,
                vec![Case::Damage(Damage::Cut(0), Same)],
                proves,
            );
        }
    }
}

fn challenge(position: Position, roots: &EmbeddedRoots) -> EmbedChallenge {
    EmbedChallenge {
        position,
        rho: roots.rho,
        key_root: roots.key,
        data_root: roots.data,
        replica_root: roots.replica,
    }
}

#[test]
fn a_replica_that_changed_by_one_bit_under_a_challenged_leaf_is_not_proven() {
    let proven = proven();
    let folder = tempfile::tempdir().unwrap();
    damage::copy(&proven.folder, folder.path());
    let statement = &proven.spacetime.0;
    let parameters = proven.parameters(CircuitId::spacetime(CLASS));
    let proves = || {
        let sealed = open(folder.path()).unwrap();
        let proofs = prove_spacetime(&Workers::one(&parameters), &sealed, statement, &mut rng());
        verified(proven, Statement::Spacetime(statement.clone()), proofs)
    };
    for challenged in [statement.challenges[0], statement.challenges[15]] {
        let path = group_file(folder.path(), challenged.group(CLASS), ".replica");
        let foreign = group_file(&other(), challenged.group(CLASS), ".replica");
        let mut damaged = cases(foreign, Refused, Refused);
        damaged.extend(under(challenged).map(|byte| flip(byte, Refused)));
        each("spacetime proof", &path, damaged, proves);
    }
    // Nothing that is not challenged is read: what is damaged there shows at another deadline.
    let data = group_file(folder.path(), group(9), ".data");
    each(
        "spacetime proof",
        &data,
        vec![Case::Damage(Damage::Gone, Same)],
        proves,
    );
}

#[test]
fn unsealing_makes_damaged_layers_again_and_gives_nothing_from_a_damaged_replica() {
    let proven = proven();
    let (folder, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    damage::copy(&proven.folder, folder.path());
    let layers =
        ["layer-7", "layer-8"].map(|name| (kept(&SEED).join(name), work.path().join(name)));
    let gives = || {
        for (from, to) in &layers {
            if !to.exists() {
                fs::copy(from, to).unwrap();
            }
        }
        let sealed = open(folder.path()).unwrap();
        let mut given = Vec::new();
        unseal(&sealed, work.path(), &mut |_| {}, &mut |group, nodes| {
            given.push((group, nodes.len()));
            Ok(())
        })
        .map_err(|error| error.to_string())?;
        // Each was compared with its root before it was given.
        let whole = CLASS.group_nodes() as usize;
        assert_eq!(given, [(group(9), whole), (group(50), whole)]);
        Ok(())
    };
    gives().unwrap();
    // As it lies there when it is resumed; the layer before it is there as well.
    let (_, last) = &layers[1];
    let mut damaged = cases(other().join("layer-8"), Refused, Same);
    damaged.retain(|case| !matches!(case, Case::Damage(Damage::Gone, _)));
    damaged.extend([flip(12_345, Same), flip(CLASS.bytes() + 10, Same)]);
    each("unseal", last, damaged, gives);
    let replica = group_file(folder.path(), group(9), ".replica");
    let mut damaged = cases(other().join("groups/09-0.replica"), Refused, Refused);
    damaged.push(flip(77, Refused));
    each("unseal", &replica, damaged, gives);
    let data = group_file(folder.path(), group(9), ".data");
    each(
        "unseal",
        &data,
        vec![Case::Damage(Damage::Cut(0), Same)],
        gives,
    );
}

#[test]
fn a_manifest_of_another_sector_is_never_taken_and_never_copied() {
    let proven = proven();
    let folder = tempfile::tempdir().unwrap();
    damage::copy(&proven.folder, folder.path());
    let at = |name: &str| folder.path().join(name);
    let roots = proven.sealed.replica_groups();
    let (manifest, copy) = (at("sector.json"), at("sector.copy.json"));
    let whole = fs::read(&manifest).unwrap();
    let opens = || {
        let sealed = open(folder.path()).map_err(|error| error.to_string())?;
        assert_eq!(sealed.replica_groups(), roots);
        drop(sealed);
        for path in [&manifest, &copy] {
            assert!(fs::read(path).unwrap() == whole, "{}", path.display());
        }
        Ok(())
    };
    for path in [&manifest, &copy] {
        let mut damaged = cases(other().join("sector.json"), Same, Same);
        damaged.extend([flip(40, Same), flip(whole.len() as u64 - 2, Same)]);
        each("open", path, damaged, opens);
    }
    // Both: nothing is left to go by, and nothing is changed.
    let foreign = fs::read(other().join("sector.json")).unwrap();
    fs::write(&copy, &foreign).unwrap();
    let files = damage::files(folder.path());
    let swapped = vec![Case::Swapped(other().join("sector.json"), Refused)];
    each("open", &manifest, swapped, || {
        let refused = open(folder.path()).map(drop);
        assert!(matches!(refused, Err(SealError::OtherReplica { .. })));
        assert!(fs::read(&copy).unwrap() == foreign);
        assert_eq!(damage::files(folder.path()), files);
        refused.map_err(|error| error.to_string())
    });
    // Without a manifest of its own the folder is another's still, and nothing is sealed over it.
    fs::remove_file(&manifest).unwrap();
    let two = NonZeroUsize::new(2).unwrap();
    let refused = seal(folder.path(), CLASS, replica(), two, &mut |_| {}).unwrap_err();
    assert!(matches!(refused, SealError::OtherReplica { path } if path == copy));
    fs::write(&manifest, &whole).unwrap();
    let lock = vec![
        Case::Damage(Damage::Unreadable, Refused),
        Case::Damage(Damage::Gone, Same),
    ];
    each("open", &at("lock"), lock, opens);
}
