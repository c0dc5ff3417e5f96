//! Sealing: the eight layers of labels, the trees over their columns and over the keys.
//!
//! Two layers are in memory and every finished layer is on disk, so a process that is killed loses
//! the layer it was at and nothing before. Memory is twice the sector's size, and disk nine times
//! until [`discard_layers`](crate::sealed::Sealed::discard_layers).
//!
//! The eight lanes of a layer advance together, node by node: each node hashes its own
//! predecessor, so that one sector's labels keep one core busy. `threads` serve columns and trees.

// The layers are eight.
#![allow(clippy::cast_possible_truncation)]

mod columns;
mod labels;
mod layers;
mod prefetch;
mod unseal;

pub(crate) use columns::{RowTree, columns_path};
pub(crate) use layers::{LayerFile, layer_path};
pub use unseal::unseal;

use crate::crash::crash_point;
use crate::durable::{COMMON_MODE, create_folder};
use crate::graph::Graph;
use crate::node::Node;
use crate::poseidon2::lanes::Row;
use crate::replica::ReplicaId;
use crate::sealed::{FolderLock, Sealed, refuse_embedded};
use crate::sector::{Group, LAYERS, SectorClass};
use labels::make_layer;
use layers::{LayerWriter, read_layer};
use serde::{Deserialize, Serialize};
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// Why a sector could not be sealed, opened, or changed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The system refused something.
    #[error("cannot {doing} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file does not hold what was written.
    #[error(
        "{path} is damaged: it does not hold what was written; seal the sector again, or restore the file from a copy",
        path = path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A file that was written is not there.
    #[error(
        "{path} is missing; seal the sector again, or restore the file from a copy",
        path = path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The folder belongs to another replica.
    #[error(
        "{path} belongs to another replica or class; take it to where it belongs, or give each sector a folder of its own",
        path = path.display()
    )]
    OtherReplica {
        /// The file that says so.
        path: PathBuf,
    },
    /// Another program's layout.
    #[error(
        "{path} has version {found} and this program reads another; use the program that wrote it",
        path = path.display()
    )]
    OtherVersion {
        /// The file that says so.
        path: PathBuf,
        /// The version that it has.
        found: u64,
    },
    /// Two layers do not fit in memory.
    #[error(
        "sealing a sector of {class} needs {needed} bytes of memory (and {disk} of disk), and {available} are available; end other programs, or choose a smaller class",
        disk = Needs::of(*class).disk
    )]
    Memory {
        /// Of which class.
        class: SectorClass,
        /// What sealing takes.
        needed: u64,
        /// What there is.
        available: u64,
    },
    /// Threads could not be started.
    #[error("cannot start the threads that hash trees: {0}")]
    Threads(String),
    /// Another handle has the sector open.
    #[error(
        "the sector in {dir} is in use; end the process that has it open first, since only one at a time may change its files",
        dir = dir.display()
    )]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// Data was embedded, and the file that says where it lies is gone.
    #[error(
        "{found} holds embedded data, and {manifest}, which says what it is, is missing; restore that file from a copy, or move the folder away to seal another replica",
        found = found.display(),
        manifest = manifest.display()
    )]
    ManifestLost {
        /// The file that is missing.
        manifest: PathBuf,
        /// A file that sealing would take for rubbish.
        found: PathBuf,
    },
    /// There is no finished sector in the folder.
    #[error("{dir} holds no sealed sector; seal it first", dir = dir.display())]
    NotSealed {
        /// The folder.
        dir: PathBuf,
    },
    /// No such node.
    #[error("node {position} lies outside a sector of {class}")]
    OutsideSector {
        /// The node.
        position: u64,
        /// The sector's class.
        class: SectorClass,
    },
    /// Data that does not lie in the group at whole units.
    #[error(
        "{nodes} nodes at unit {unit} do not fit in group {}: data comes in units of 512 nodes, and the group has {units}",
        .group.index()
    )]
    Placement {
        /// The group.
        group: Group,
        /// Where the data should start.
        unit: u64,
        /// How many nodes.
        nodes: usize,
        /// Units in the group.
        units: u64,
    },
    /// An embed needs the plain data of a group that has none.
    #[error("the plain data of group {} is not kept, so its key is not known; restore the data first", .0.index())]
    NoData(Group),
    /// A step of an embed before the one that it needs.
    #[error("group {} has no staged data; stage it before embedding", .0.index())]
    NotStaged(Group),
    /// The embed is not complete.
    #[error("group {} is staged but not embedded; embed every staged group, or abandon", .0.index())]
    NotEmbedded(Group),
}

/// What the seal proof is about, and what every later proof refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealCommitment {
    /// Lane roots of the tree over columns.
    pub columns: [Node; 8],
    /// Lane roots of the tree over keys.
    pub keys: [Node; 8],
    /// Group roots of the tree over keys, all 64.
    #[serde(with = "crate::sealed::sixty_four")]
    pub key_groups: [Node; 64],
}

/// How far sealing is. The unit is one node: of a layer, or of the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealProgress {
    /// Nodes done, those of an earlier run included.
    pub done: u64,
    /// Nodes in all: eight layers and the columns.
    pub total: u64,
}

/// What sealing a sector takes, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Two layers, and what trees and files take beside them.
    pub memory: u64,
    /// Eight layers, the columns' trees, and the sector.
    pub disk: u64,
}

impl Needs {
    /// Memory beside two layers.
    const BESIDE: u64 = 64 << 20;

    /// Of a class.
    pub const fn of(class: SectorClass) -> Self {
        let bytes = class.bytes();
        Self {
            // The trees over the keys and the columns: an eighth and a seventh of an eighth each,
            // while one layer is left.
            memory: 2 * bytes + Self::BESIDE,
            disk: 9 * bytes + bytes / 4 + Self::BESIDE,
        }
    }

    /// Whether so much memory does.
    fn fit_in(class: SectorClass, available: u64) -> Result<(), SealError> {
        let needed = Self::of(class).memory;
        match needed <= available {
            true => Ok(()),
            false => Err(SealError::Memory {
                class,
                needed,
                available,
            }),
        }
    }
}

/// Nodes of one lane between two calls of the progress callback.
const STEP: u64 = 4096;

/// Seals a sector into `dir`, or finishes what an earlier run began there.
///
/// # Errors
/// Names the file, memory or replica that stands in the way; [`SealError::InUse`] while another
/// handle has the folder, [`SealError::ManifestLost`] where sealing would remove embedded data.
pub fn seal(
    dir: &Path,
    class: SectorClass,
    replica: ReplicaId,
    threads: NonZeroUsize,
    progress: &mut dyn FnMut(SealProgress),
) -> Result<SealCommitment, SealError> {
    create_folder(dir, COMMON_MODE).map_err(|source| SealError::Io {
        doing: "create",
        path: dir.into(),
        source,
    })?;
    // Held until the sector is whole.
    let lock = FolderLock::take(dir)?;
    match Sealed::open_locked(lock.clone(), dir, class, replica) {
        Err(SealError::NotSealed { .. }) => {}
        other => return other.map(|sealed| sealed.commitment().clone()),
    }
    refuse_embedded(dir)?;
    let total = (LAYERS as u64 + 1) * class.nodes();
    let mut report = |done: u64| progress(SealProgress { done, total });
    let last = make_layers(dir, class, replica, &mut report)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads.get())
        .build()
        .map_err(|error| SealError::Threads(error.to_string()))?;
    let keys = pool.install(|| RowTree::over(&last));
    let columns = columns::commit(dir, class, replica, &pool, &mut |done| {
        report(LAYERS as u64 * class.nodes() + done);
    })?;
    crash_point("seal.columns");
    let commitment = SealCommitment {
        columns,
        keys: keys.lanes(),
        key_groups: keys.groups(),
    };
    Sealed::create(dir, class, replica, &commitment, &last, &keys)?;
    crash_point("seal.commitment");
    Ok(commitment)
}

/// Makes the layers that are not there yet and returns the last one.
fn make_layers(
    dir: &Path,
    class: SectorClass,
    replica: ReplicaId,
    report: &mut dyn FnMut(u64),
) -> Result<Vec<Row>, SealError> {
    let (mut previous, mut current) = room_for_two(class)?;
    let graph = Graph::new(class);
    let mut whole = true;
    for layer in 1..=LAYERS as u32 {
        let done = u64::from(layer - 1) * class.nodes();
        let file = LayerFile {
            class,
            replica,
            layer,
        };
        // Layers count up to the first that is missing or damaged; those after it are made anew.
        whole = whole && read_layer(dir, file, &mut current)?;
        if !whole {
            let mut writer = LayerWriter::create(dir, file)?;
            let made = make_layer(&graph, file, &previous, &mut current, |row, made| {
                if made.is_multiple_of(STEP) {
                    report(done + 8 * made);
                }
                writer.push(row)
            });
            writer.finish_if(made)?;
        }
        report(done + class.nodes());
        std::mem::swap(&mut previous, &mut current);
    }
    Ok(previous)
}

/// Whether the system has the memory that sealing takes, beside sectors that this process is sealing: what
/// it only promises would be taken from somebody, perhaps from this process, hours later.
///
/// # Errors
/// [`SealError::Memory`], with what is needed and what there is.
pub fn check_memory(class: SectorClass, beside: &[SectorClass]) -> Result<(), SealError> {
    // A system that does not say what it has refuses what it has not.
    let free = crate::measure::memory_available().unwrap_or(u64::MAX);
    // What the others need and have not taken yet is not free.
    let needed = beside.iter().map(|class| Needs::of(*class).memory);
    let needed = needed.fold(0, u64::saturating_add);
    let taken = crate::measure::memory_taken().unwrap_or(0);
    Needs::fit_in(class, free.saturating_sub(needed.saturating_sub(taken)))
}

/// Memory for two layers.
fn room_for_two(class: SectorClass) -> Result<(Vec<Row>, Vec<Row>), SealError> {
    check_memory(class, &[])?;
    let memory = || SealError::Memory {
        class,
        needed: Needs::of(class).memory,
        available: crate::measure::memory_available().unwrap_or(0),
    };
    let rows = usize::try_from(class.lane_nodes()).map_err(|_| memory())?;
    let mut layers = (Vec::new(), Vec::new());
    layers.0.try_reserve_exact(rows).map_err(|_| memory())?;
    layers.1.try_reserve_exact(rows).map_err(|_| memory())?;
    Ok(layers)
}

#[cfg(test)]
pub(crate) mod tests;
