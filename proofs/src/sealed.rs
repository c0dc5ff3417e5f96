//! A sealed sector on disk, and the openings that its proofs need.
//!
//! `sector.json` is the one truth: which generation of each group counts, what is staged beside it,
//! and all roots. It is replaced whole, so at any moment a sector is in the state before a step or
//! after it; files that it does not name are removed when the sector is opened. Since both opening
//! and every step remove files, a folder has one handle at a time ([`SealError::InUse`]).
//! Files that are damaged are found and put right by [`damage`].

// Counts of rows, layers and digits: all below 2^32.
#![allow(clippy::cast_possible_truncation)]

pub mod damage;
mod lock;
mod manifest;
mod tree_file;

pub(crate) use lock::FolderLock;
pub use manifest::VERSION;
pub(crate) use manifest::{Embedded, GroupState, Manifest, Staged, sixty_four};
pub(crate) use tree_file::TreeFile;

use crate::crash::crash_point;
use crate::files::{Named, beside, open, read_nodes, remove, sync_parent};
use crate::node::Node;
use crate::poseidon2::hash8_nodes;
use crate::poseidon2::lanes::Row;
use crate::replica::ReplicaId;
use crate::seal::{LayerFile, RowTree, SealCommitment, SealError, columns_path, layer_path};
use crate::sector::{Group, LAYERS, Position, SectorClass};
use crate::tree::{Opening, lanes_of_groups, root_of, root_of_groups, siblings_of};
use std::fs;
use std::path::{Path, PathBuf};

/// How far up an opening reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// To the root of the node's group.
    Group,
    /// To the root of its lane.
    Lane,
    /// To the root of the sector.
    Sector,
}

/// A node's eight labels and their column's path to its lane root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnOpening {
    /// The labels, layer 1 first.
    pub labels: [Node; 8],
    /// The column's path; its leaf is the hash of the labels.
    pub opening: Opening,
}

/// A sealed sector.
#[derive(Debug)]
pub struct Sealed {
    pub(crate) dir: PathBuf,
    pub(crate) manifest: Manifest,
    /// The folder is this handle's alone as long as it lives.
    _lock: FolderLock,
}

impl Sealed {
    /// Opens the sector in `dir` and removes what an unfinished step left behind.
    ///
    /// # Errors
    /// [`SealError::NotSealed`] where there is none, [`SealError::OtherReplica`] where it is not
    /// this one, [`SealError::InUse`] while another handle has it open.
    pub fn open(dir: &Path, class: SectorClass, replica: ReplicaId) -> Result<Self, SealError> {
        Self::open_locked(FolderLock::take(dir)?, dir, class, replica)
    }

    pub(crate) fn open_locked(
        lock: FolderLock,
        dir: &Path,
        class: SectorClass,
        replica: ReplicaId,
    ) -> Result<Self, SealError> {
        let manifest = Manifest::open(dir, class, replica)?;
        let sealed = Sealed {
            dir: dir.into(),
            manifest,
            _lock: lock,
        };
        sealed.remove_unnamed()?;
        Ok(sealed)
    }

    /// Writes the group files of a sector that was just sealed, and then its manifest.
    pub(crate) fn create(
        dir: &Path,
        class: SectorClass,
        replica: ReplicaId,
        commitment: &SealCommitment,
        keys: &[Row],
        tree: &RowTree,
    ) -> Result<(), SealError> {
        let folder = dir.join("groups");
        fs::create_dir_all(&folder).named("create", &folder)?;
        let manifest = Manifest::bare(class, replica, commitment.clone());
        let rows = |level: &[Row], group: Group, count: u64| -> Vec<Node> {
            let (lane, place) = (usize::from(group.index() / 8), u64::from(group.index() % 8));
            let nodes = level
                .iter()
                .skip((place * count) as usize)
                .take(count as usize);
            nodes.filter_map(|row| row.get(lane).copied()).collect()
        };
        for group in Group::all() {
            let mut count = class.group_nodes();
            let mut levels = vec![rows(keys, group, count)];
            for level in &tree.levels {
                count /= 8;
                if count == 0 {
                    break;
                }
                levels.push(rows(level, group, count));
            }
            TreeFile::write(&replica_path(dir, group, 0), &levels)?;
        }
        crash_point("seal.groups");
        manifest.write(dir)
    }

    /// The sector's size.
    pub const fn class(&self) -> SectorClass {
        self.manifest.class
    }

    /// Whose labels it holds.
    pub const fn replica(&self) -> ReplicaId {
        self.manifest.replica
    }

    /// What its seal proof is about.
    pub const fn commitment(&self) -> &SealCommitment {
        &self.manifest.commitment
    }

    /// The root of the keys.
    pub fn key_root(&self) -> Node {
        root_of(&self.manifest.commitment.keys)
    }

    /// The group roots of the replica as it counts now.
    pub fn replica_groups(&self) -> [Node; 64] {
        self.manifest.replica_groups()
    }

    /// The lane roots of the replica as it counts now.
    pub fn replica_lanes(&self) -> [Node; 8] {
        lanes_of_groups(&self.replica_groups())
    }

    /// The root of the replica as it counts now: that of the keys until something is embedded.
    pub fn replica_root(&self) -> Node {
        root_of_groups(&self.replica_groups())
    }

    /// The data root of a group, if data is embedded in it.
    pub fn data_root(&self, group: Group) -> Option<Node> {
        Some(self.manifest.group(group).embedded.as_ref()?.data_root)
    }

    /// Whether a group's plain data is kept beside its replica.
    pub fn keeps_data(&self, group: Group) -> bool {
        let embedded = self.manifest.group(group).embedded.as_ref();
        embedded.is_some_and(|embedded| embedded.data_kept)
    }

    /// A node's labels and its column's path to the lane root.
    ///
    /// # Errors
    /// [`SealError::Missing`] after the layers are gone; damage, by its file.
    pub fn column_opening(&self, position: Position) -> Result<ColumnOpening, SealError> {
        let class = self.class();
        self.inside(position)?;
        let lane = usize::from(position.lane(class).index());
        let row = position.in_lane(class);
        let family = row / 8 * 8;
        let mut columns = [[Node::ZERO; 8]; 8];
        for layer in 1..=LAYERS as u32 {
            let path = layer_path(&self.dir, layer);
            let nodes = read_nodes(&open(&path)?, &path, family * 8, 64)?;
            for (column, row) in columns.iter_mut().zip(nodes.chunks_exact(8)) {
                if let (Some(slot), Some(label)) =
                    (column.get_mut(layer as usize - 1), row.get(lane))
                {
                    *slot = *label;
                }
            }
        }
        let labels = columns.get((row % 8) as usize).copied().unwrap_or_default();
        let leaves = columns.map(|labels| hash8_nodes(&labels));
        let mut siblings = vec![siblings_of(&leaves, row % 8)];
        let path = columns_path(&self.dir);
        let file = open(&path)?;
        let (mut start, mut rows, mut place) = (0, class.lane_nodes() / 8, row / 8);
        while rows > 1 {
            let nodes = read_nodes(&file, &path, (start + place / 8 * 8) * 8, 64)?;
            let mut children = nodes.chunks_exact(8).map(|row| row.get(lane).copied());
            let children = std::array::from_fn(|_| children.next().flatten().unwrap_or_default());
            siblings.push(siblings_of(&children, place % 8));
            (start, rows, place) = (start + rows, rows / 8, place / 8);
        }
        let opening = Opening {
            leaf: hash8_nodes(&labels),
            siblings,
        };
        if Some(&opening.root(row)) != self.commitment().columns.get(lane) {
            return Err(SealError::Damaged {
                path: self.blame(row, lane, &leaves)?,
            });
        }
        Ok(ColumnOpening { labels, opening })
    }

    /// The file to blame for a column that does not open: a layer, where the parent that was
    /// stored of its family is another, else the stored tree.
    fn blame(&self, row: u64, lane: usize, leaves: &[Node; 8]) -> Result<PathBuf, SealError> {
        let path = columns_path(&self.dir);
        let file = open(&path)?;
        let stored = read_nodes(&file, &path, row / 8 * 8 + lane as u64, 1)?;
        if stored.first() == Some(&root_of(leaves)) {
            return Ok(path);
        }
        for layer in 1..=LAYERS as u32 {
            let file = LayerFile {
                class: self.class(),
                replica: self.replica(),
                layer,
            };
            // Also one of another replica or under another's name: it is not what was written.
            if file.check(&self.dir).is_err() {
                return Ok(layer_path(&self.dir, layer));
            }
        }
        Ok(path)
    }

    /// Opens a key, while the group holds nothing but its key.
    ///
    /// # Errors
    /// [`SealError::NoData`] where data was embedded since; damage, by its file.
    pub fn key_opening(&self, position: Position, reach: Reach) -> Result<Opening, SealError> {
        let group = self.inside(position)?;
        let state = self.manifest.group(group);
        if state.embedded.is_some() {
            return Err(SealError::NoData(group));
        }
        let path = replica_path(&self.dir, group, state.generation);
        self.opening(&path, &self.commitment().key_groups, position, reach)
    }

    /// Opens a node of the replica as it counts now.
    ///
    /// # Errors
    /// Damage, by its file.
    pub fn replica_opening(&self, position: Position, reach: Reach) -> Result<Opening, SealError> {
        let group = self.inside(position)?;
        let path = replica_path(&self.dir, group, self.manifest.group(group).generation);
        self.opening(&path, &self.replica_groups(), position, reach)
    }

    /// Opens a node of a group's plain data to the group's data root.
    ///
    /// # Errors
    /// [`SealError::NoData`] where none is kept; damage, by its file.
    pub fn data_opening(&self, position: Position) -> Result<Opening, SealError> {
        let group = self.inside(position)?;
        let (path, root) = self.kept_data(group)?;
        self.opening_to(&path, root, position)
    }

    /// Reads the plain data of a group whole and checks it against its root.
    pub(crate) fn data_nodes(&self, group: Group) -> Result<Vec<Node>, SealError> {
        let (path, root) = self.kept_data(group)?;
        TreeFile::open(&path, self.class().group_levels())?.leaves(root)
    }

    /// The file and root of a group's plain data.
    pub(crate) fn kept_data(&self, group: Group) -> Result<(PathBuf, Node), SealError> {
        let state = self.manifest.group(group);
        match &state.embedded {
            Some(Embedded {
                data_root,
                data_kept: true,
                ..
            }) => Ok((data_path(&self.dir, group, state.generation), *data_root)),
            _ => Err(SealError::NoData(group)),
        }
    }

    /// An opening to a group root, carried further up as asked.
    fn opening(
        &self,
        path: &Path,
        groups: &[Node; 64],
        position: Position,
        reach: Reach,
    ) -> Result<Opening, SealError> {
        let class = self.class();
        let group = usize::from(position.group(class).index());
        let root = groups.get(group).copied().unwrap_or_default();
        let opening = self.opening_to(path, root, position)?;
        let (lanes, _) = groups.as_chunks::<8>();
        let lane = lanes.get(group / 8).copied().unwrap_or_default();
        Ok(match reach {
            Reach::Group => opening,
            Reach::Lane => opening.extended(position.0, [&lane]),
            Reach::Sector => opening.extended(position.0, [&lane, &lanes_of_groups(groups)]),
        })
    }

    /// An opening in a group's tree, checked against the root that counts.
    pub(crate) fn opening_to(
        &self,
        path: &Path,
        root: Node,
        position: Position,
    ) -> Result<Opening, SealError> {
        let index = position.in_group(self.class());
        let opening = TreeFile::open(path, self.class().group_levels())?.opening(index)?;
        if opening.root(index) == root {
            Ok(opening)
        } else {
            Err(SealError::Damaged { path: path.into() })
        }
    }

    /// Reads the replica of a group whole and checks it against its root.
    pub(crate) fn replica_nodes(&self, group: Group) -> Result<Vec<Node>, SealError> {
        let state = self.manifest.group(group);
        let path = replica_path(&self.dir, group, state.generation);
        TreeFile::open(&path, self.class().group_levels())?.leaves(state.root)
    }

    /// Removes the layers and the columns' trees, once the seal proof is accepted.
    ///
    /// # Errors
    /// Names the file that could not be removed.
    pub fn discard_layers(&self) -> Result<(), SealError> {
        for layer in 1..=LAYERS as u32 {
            remove(&layer_path(&self.dir, layer))?;
            crash_point("seal.layer-discarded");
        }
        remove(&columns_path(&self.dir))?;
        // Nobody would look for files that came back.
        sync_parent(&columns_path(&self.dir))
    }

    /// The group of a position, where it lies in the sector.
    pub(crate) fn inside(&self, position: Position) -> Result<Group, SealError> {
        let class = self.class();
        if position.0 < class.nodes() {
            Ok(position.group(class))
        } else {
            Err(SealError::OutsideSector {
                position: position.0,
                class,
            })
        }
    }

    /// Removes files of groups that the manifest does not name: what a step that did not finish
    /// wrote, or what one that did left to remove.
    pub(crate) fn remove_unnamed(&self) -> Result<(), SealError> {
        remove(&beside(&Manifest::path(&self.dir)))?;
        remove(&beside(&Manifest::copy_path(&self.dir)))?;
        let folder = self.dir.join("groups");
        let named = self.manifest.files(&self.dir);
        let entries = match fs::read_dir(&folder) {
            // Gone with all its files: each of them is damage of its own.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.named("read", &folder)?,
        };
        for entry in entries {
            let path = entry.named("read", &folder)?.path();
            if !named.contains(&path) {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

/// Refuses a folder that has no manifest and groups to which data was embedded: all that sealing
/// itself writes is of generation 0.
pub(crate) fn refuse_embedded(dir: &Path) -> Result<(), SealError> {
    let folder = dir.join("groups");
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.named("read", &folder)?,
    };
    for entry in entries {
        let found = entry.named("read", &folder)?.path();
        let name = found.file_name().and_then(|name| name.to_str());
        let generation = name.and_then(|name| name.split(['-', '.']).nth(1)?.parse::<u64>().ok());
        if generation.is_some_and(|generation| generation > 0) {
            return Err(SealError::ManifestLost {
                manifest: Manifest::path(dir),
                found,
            });
        }
    }
    Ok(())
}

/// Where a group's replica lies.
pub(crate) fn replica_path(dir: &Path, group: Group, generation: u64) -> PathBuf {
    group_path(dir, group, generation, "replica")
}

/// Where a group's plain data lies.
pub(crate) fn data_path(dir: &Path, group: Group, generation: u64) -> PathBuf {
    group_path(dir, group, generation, "data")
}

/// Where a group's key lies while an embed needs it.
pub(crate) fn key_path(dir: &Path, group: Group, generation: u64) -> PathBuf {
    group_path(dir, group, generation, "key")
}

fn group_path(dir: &Path, group: Group, generation: u64, what: &str) -> PathBuf {
    dir.join("groups")
        .join(format!("{:02}-{generation}.{what}", group.index()))
}
