//! Damage to a sector's files: found by reading them whole, put right from what is left.
//!
//! Every file of a group can be had again: inner nodes from its leaves, a replica from its key and
//! its data, data from its shards or from key and replica, keys and layers by sealing the same
//! replica id once more in a folder beside. Nothing is written that does not hash to the root that
//! the manifest has, so putting right changes no root.

use super::{Embedded, Manifest, Sealed, TreeFile, data_path, replica_path};
use crate::embed::{GroupData, combine};
use crate::files::{Named, give_name, sync_parent};
use crate::node::Node;
use crate::seal::{LayerFile, SealError, columns_path, layer_path};
use crate::sector::{Group, LAYERS};
use crate::tree::Tree;
use std::path::Path;

/// Which files of a group do not hold what was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupDamage {
    /// Its replica.
    pub replica: bool,
    /// Its plain data, which is kept beside.
    pub data: bool,
}

impl GroupDamage {
    /// Whether there is any.
    pub const fn any(self) -> bool {
        self.replica || self.data
    }
}

impl Sealed {
    /// Reads a group's files whole. What cannot be read is damaged like what reads wrong.
    pub fn group_damage(&self, group: Group) -> GroupDamage {
        let state = self.manifest.group(group);
        let replica = replica_path(&self.dir, group, state.generation);
        let data = match &state.embedded {
            Some(Embedded {
                data_root,
                data_kept: true,
                ..
            }) => {
                let path = data_path(&self.dir, group, state.generation);
                self.check_tree(&path, *data_root).is_err()
            }
            _ => false,
        };
        GroupDamage {
            replica: self.check_tree(&replica, state.root).is_err(),
            data,
        }
    }

    /// Whether a file of an embed that is under way does not hold what was written. Such an embed
    /// is put right by writing it again.
    pub fn staged_damage(&self) -> bool {
        let staged = self.manifest.staged.iter();
        let mut groups = staged.filter_map(|(group, staged)| Some((Group::new(*group)?, staged)));
        groups.any(|(group, staged)| {
            let generation = staged.generation;
            let data = data_path(&self.dir, group, generation);
            let written = staged.written.is_some_and(|(_, root)| {
                let replica = replica_path(&self.dir, group, generation);
                let key = super::key_path(&self.dir, group, generation);
                self.check_tree(&replica, root).is_err()
                    || self.check_tree(&key, self.key_group_root(group)).is_err()
            });
            written || self.check_tree(&data, staged.data_root).is_err()
        })
    }

    fn check_tree(&self, path: &Path, root: Node) -> Result<(), SealError> {
        TreeFile::open(path, self.class().group_levels())?.check(root)
    }

    /// Puts right the files of a group whose leaves are whole; answers what is damaged still.
    ///
    /// # Errors
    /// Names the file that could not be written.
    pub fn restore_trees(&self, group: Group) -> Result<GroupDamage, SealError> {
        let damage = self.group_damage(group);
        let state = self.manifest.group(group);
        let mut left = damage;
        if damage.replica {
            let path = replica_path(&self.dir, group, state.generation);
            left.replica = !self.restore_tree(&path, state.root)?;
        }
        if let (true, Some(embedded)) = (damage.data, &state.embedded) {
            let path = data_path(&self.dir, group, state.generation);
            left.data = !self.restore_tree(&path, embedded.data_root)?;
        }
        Ok(left)
    }

    fn restore_tree(&self, path: &Path, root: Node) -> Result<bool, SealError> {
        let leaves =
            TreeFile::open(path, self.class().group_levels()).and_then(|file| file.leaves(root));
        match leaves {
            Ok(leaves) => self.write_tree(path, &Tree::over(leaves)).map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Writes a group's plain data again, put together from its pieces.
    ///
    /// # Errors
    /// [`SealError::NoData`] where none is kept; [`SealError::Damaged`] where these are other data
    /// than the group's; the file that could not be written.
    pub fn restore_group_data(&self, data: GroupData) -> Result<(), SealError> {
        let group = data.group();
        let (path, root) = self.kept_data(group)?;
        let tree = Tree::over(data.into_nodes());
        if tree.root() != root {
            return Err(SealError::Damaged { path });
        }
        self.write_tree(&path, &tree)
    }

    /// Writes a group's replica again, from the keys of the same replica sealed in another folder
    /// and the group's data, where it holds any.
    ///
    /// # Errors
    /// [`SealError::OtherReplica`] for other keys; [`SealError::NoData`] where the data is not kept;
    /// damage to the data, by its file; the file that could not be written.
    pub fn restore_replica(&self, group: Group, resealed: &Sealed) -> Result<(), SealError> {
        self.same_keys(resealed)?;
        let state = self.manifest.group(group);
        let keys = resealed.replica_nodes(group)?;
        let leaves = match &state.embedded {
            None => keys,
            Some(embedded) => {
                let data = self.data_nodes(group)?;
                combine(&keys, &data, embedded.rho.to_scalar())
            }
        };
        let path = replica_path(&self.dir, group, state.generation);
        let tree = Tree::over(leaves);
        if tree.root() != state.root {
            return Err(SealError::Damaged {
                path: Manifest::path(&self.dir),
            });
        }
        self.write_tree(&path, &tree)
    }

    /// Takes layers and columns over from the same replica sealed in another folder, which has them
    /// no more then.
    ///
    /// # Errors
    /// [`SealError::OtherReplica`] for another one; the file that could not be moved.
    pub fn restore_layers(&self, resealed: &Sealed) -> Result<(), SealError> {
        self.same_keys(resealed)?;
        for layer in 1..=LAYERS as u32 {
            let file = LayerFile {
                class: self.class(),
                replica: self.replica(),
                layer,
            };
            // Whole here: as it was, or moved before this was interrupted.
            if file.check(&self.dir).is_ok() {
                continue;
            }
            file.check(&resealed.dir)?;
            let from = layer_path(&resealed.dir, layer);
            give_name(&from, &layer_path(&self.dir, layer))?;
        }
        let from = columns_path(&resealed.dir);
        let to = columns_path(&self.dir);
        // Where it is not there it was moved before this was interrupted; the proof finds out whether
        // it is whole.
        if from.exists() || !to.is_file() {
            give_name(&from, &to)?;
        }
        sync_parent(&to)
    }

    fn same_keys(&self, resealed: &Sealed) -> Result<(), SealError> {
        if resealed.commitment() == self.commitment() && resealed.class() == self.class() {
            return Ok(());
        }
        Err(SealError::OtherReplica {
            path: resealed.dir.clone(),
        })
    }

    fn write_tree(&self, path: &Path, tree: &Tree) -> Result<(), SealError> {
        let folder = self.dir.join("groups");
        std::fs::create_dir_all(&folder).named("create", &folder)?;
        TreeFile::write(path, tree.levels())
    }
}

#[cfg(test)]
mod tests;
