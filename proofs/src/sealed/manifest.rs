//! `sector.json`: what the files of a sector mean.
//!
//! Without it nothing in the folder can be used, so it has a hash of itself and a copy beside it: a
//! file that is damaged is put right from the other when the sector is opened.

// A manifest that was read has exactly 64 groups, and a `Group` is below 64.
#![allow(clippy::indexing_slicing)]

use super::{data_path, key_path, replica_path};
use crate::checked;
use crate::files::{Named, read_bounded, remove, replace};
use crate::node::Node;
use crate::replica::ReplicaId;
use crate::seal::{SealCommitment, SealError};
use crate::sector::{Group, SectorClass};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The layout that this code writes and reads.
pub const VERSION: u32 = 2;

/// More than any manifest has: 64 groups, each with a few roots.
const LONGEST: u64 = 256 << 10;

/// A sector's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    version: u32,
    pub(crate) class: SectorClass,
    pub(crate) replica: ReplicaId,
    pub(crate) commitment: SealCommitment,
    /// All 64, in order.
    groups: Vec<GroupState>,
    /// What an embed under way wrote, by group.
    pub(crate) staged: BTreeMap<u8, Staged>,
    /// The next generation: no two files ever share a name.
    pub(crate) next: u64,
}

/// What a group holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupState {
    pub(crate) generation: u64,
    /// The replica's root.
    pub(crate) root: Node,
    /// None while the replica is the bare key.
    pub(crate) embedded: Option<Embedded>,
}

/// The data in a group: `replica = key + rho * data`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Embedded {
    pub(crate) rho: Node,
    pub(crate) data_root: Node,
    pub(crate) data_kept: bool,
}

/// Data that waits to be embedded, and its replica once it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Staged {
    pub(crate) generation: u64,
    pub(crate) data_root: Node,
    /// The factor and the replica's root.
    pub(crate) written: Option<(Node, Node)>,
}

impl Manifest {
    /// Of a sector that was just sealed: every group is its key.
    pub(crate) fn bare(class: SectorClass, replica: ReplicaId, commitment: SealCommitment) -> Self {
        let bare = |root: &Node| GroupState {
            generation: 0,
            root: *root,
            embedded: None,
        };
        Manifest {
            version: VERSION,
            class,
            replica,
            groups: commitment.key_groups.iter().map(bare).collect(),
            commitment,
            staged: BTreeMap::new(),
            next: 1,
        }
    }

    pub(crate) fn path(dir: &Path) -> PathBuf {
        dir.join("sector.json")
    }

    pub(crate) fn copy_path(dir: &Path) -> PathBuf {
        dir.join("sector.copy.json")
    }

    /// Reads a replica's manifest, or its copy where that one alone is whole and this replica's,
    /// and leaves both whole.
    pub(crate) fn open(
        dir: &Path,
        class: SectorClass,
        replica: ReplicaId,
    ) -> Result<Self, SealError> {
        // One that came from another sector's folder is as good as none, and never copied.
        let read = |path: PathBuf| match Self::read(&path) {
            Ok(Some(found)) if found.class != class || found.replica != replica => {
                Err(SealError::OtherReplica { path })
            }
            read => read,
        };
        match (read(Self::path(dir)), read(Self::copy_path(dir))) {
            (Ok(Some(manifest)), Ok(Some(copy))) if manifest == copy => Ok(manifest),
            (Ok(Some(manifest)), _) => {
                manifest.write_copy(dir);
                Ok(manifest)
            }
            // A copy that a kill left one step behind names files that are gone: it is of no use.
            (Ok(None) | Err(_), Ok(Some(copy)))
                if copy.files(dir).iter().all(|file| file.exists()) =>
            {
                copy.write_to(&Self::path(dir))?;
                Ok(copy)
            }
            // Another replica's folder, which has lost its manifest.
            (Ok(None), Err(error @ SealError::OtherReplica { .. })) => Err(error),
            (Ok(None), _) => Err(SealError::NotSealed { dir: dir.into() }),
            (Err(error), _) => Err(error),
        }
    }

    /// The manifest in a file; none where there is no file.
    fn read(path: &Path) -> Result<Option<Self>, SealError> {
        let bytes = match read_bounded(path, LONGEST) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                return Err(SealError::Damaged { path: path.into() });
            }
            other => other.named("read", path)?,
        };
        let damaged = || SealError::Damaged { path: path.into() };
        let text = checked::without_check_or_old(&bytes).ok_or_else(damaged)?;
        let value: serde_json::Value = serde_json::from_slice(&text).map_err(|_| damaged())?;
        let version = value.get("version").and_then(serde_json::Value::as_u64);
        if let Some(found) = version.filter(|version| *version != u64::from(VERSION)) {
            let path = path.into();
            return Err(SealError::OtherVersion { path, found });
        }
        let manifest: Manifest = serde_json::from_value(value).map_err(|_| damaged())?;
        let whole = manifest.groups.len() == 64
            && manifest
                .staged
                .keys()
                .all(|group| Group::new(*group).is_some());
        if whole {
            Ok(Some(manifest))
        } else {
            Err(damaged())
        }
    }

    /// Writes the manifest, which is the step, and then its copy.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), SealError> {
        self.write_to(&Self::path(dir))?;
        self.write_copy(dir);
        Ok(())
    }

    fn write_copy(&self, dir: &Path) {
        let copy = Self::copy_path(dir);
        if self.write_to(&copy).is_err() {
            // The step is taken. Without a copy the next opening makes one; an old one would lie.
            let _ = remove(&copy);
        }
    }

    fn write_to(&self, path: &Path) -> Result<(), SealError> {
        replace(path, |writer| {
            let text = serde_json::to_vec_pretty(self).map_err(std::io::Error::other);
            text.and_then(|text| writer.write_all(&checked::with_check(&text)))
                .named("write", path)
        })
    }

    /// A group's state. A manifest has all 64, so there is one.
    pub(crate) fn group(&self, group: Group) -> &GroupState {
        &self.groups[usize::from(group.index())]
    }

    pub(crate) fn group_mut(&mut self, group: Group) -> &mut GroupState {
        &mut self.groups[usize::from(group.index())]
    }

    /// The same state but for whether a group's data is kept.
    pub(crate) fn with_data_kept(&self, group: Group, kept: bool) -> Self {
        let mut next = self.clone();
        if let Some(embedded) = &mut next.group_mut(group).embedded {
            embedded.data_kept = kept;
        }
        next
    }

    pub(crate) fn replica_groups(&self) -> [Node; 64] {
        std::array::from_fn(|group| self.groups[group].root)
    }

    /// Every file of a group that the manifest names.
    pub(crate) fn files(&self, dir: &Path) -> BTreeSet<PathBuf> {
        let mut files = BTreeSet::new();
        for (group, state) in Group::all().zip(&self.groups) {
            files.insert(replica_path(dir, group, state.generation));
            if state
                .embedded
                .as_ref()
                .is_some_and(|embedded| embedded.data_kept)
            {
                files.insert(data_path(dir, group, state.generation));
            }
        }
        for (group, staged) in &self.staged {
            let Some(group) = Group::new(*group) else {
                continue;
            };
            files.insert(data_path(dir, group, staged.generation));
            if staged.written.is_some() {
                files.insert(replica_path(dir, group, staged.generation));
                files.insert(key_path(dir, group, staged.generation));
            }
        }
        files
    }
}

/// Serde for the 64 roots of groups, an array longer than serde knows.
pub(crate) mod sixty_four {
    use crate::node::Node;
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::{Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        roots: &[Node; 64],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        roots.as_slice().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[Node; 64], D::Error> {
        let roots = Vec::<Node>::deserialize(deserializer)?;
        let count = roots.len();
        roots
            .try_into()
            .map_err(|_| D::Error::invalid_length(count, &"64 group roots"))
    }
}
