//! Embedding: client data into a sealed sector, group by group, `replica = key + rho * data`.
//!
//! 1. [`Sealed::stage`] lays a group's data beside the sector and gives its data root.
//! 2. [`Sealed::embed`] writes the group's key and new replica beside the old, once rho is known.
//! 3. [`Sealed::embed_opening`] opens all three for the proof.
//! 4. [`Sealed::finish_embed`] makes the new groups count, [`Sealed::abandon_embed`] drops them.
//!
//! Until step 4 every deadline is proven from the old bytes, which are removed only by it: finish
//! when the embed proof has been executed *and* no challenge on the old roots is outstanding.
//! Each step is durable when it returns and undone or whole after a crash. An error while the
//! manifest is written leaves open which of the two: its new name may be on the disk and not known
//! to be. The same step may then be taken again, here or after opening anew. Removing what no longer
//! counts is no part of a step: what a step cannot remove, the next one or the next opening does.

// A group's nodes, at most 2^24, fit a usize on every system.
#![allow(clippy::cast_possible_truncation)]

use crate::crash::crash_point;
use crate::node::Node;
use crate::poseidon2::Native;
use crate::seal::SealError;
use crate::sealed::{
    Embedded, GroupState, Manifest, Sealed, Staged, TreeFile, data_path, key_path, replica_path,
};
use crate::sector::{Group, Position, SectorClass, UNIT_NODES};
use crate::tree::{Opening, Tree};
use ff::Field;

/// The plain nodes of one group while they are put together; zeros where nothing is put.
#[derive(Clone, Debug)]
pub struct GroupData {
    group: Group,
    nodes: Vec<Node>,
}

impl GroupData {
    /// A group of zeros.
    pub fn new(class: SectorClass, group: Group) -> Self {
        let nodes = vec![Node::ZERO; class.group_nodes() as usize];
        GroupData { group, nodes }
    }

    /// Which group.
    pub const fn group(&self) -> Group {
        self.group
    }

    /// Its nodes.
    pub(crate) fn into_nodes(self) -> Vec<Node> {
        self.nodes
    }

    /// Puts nodes at a unit, over what lay there.
    ///
    /// # Errors
    /// [`SealError::Placement`] for nodes that are not whole units or leave the group.
    pub fn put(&mut self, unit: u64, nodes: &[Node]) -> Result<(), SealError> {
        let unit_nodes = UNIT_NODES as usize;
        let error = SealError::Placement {
            group: self.group,
            unit,
            nodes: nodes.len(),
            units: self.nodes.len() as u64 / UNIT_NODES,
        };
        let start = usize::try_from(unit)
            .ok()
            .and_then(|unit| unit.checked_mul(unit_nodes));
        let range = start.and_then(|start| Some(start..start.checked_add(nodes.len())?));
        match range.and_then(|range| self.nodes.get_mut(range)) {
            Some(place) if nodes.len().is_multiple_of(unit_nodes) => {
                place.copy_from_slice(nodes);
                Ok(())
            }
            _ => Err(error),
        }
    }
}

/// The roots of a group that was embedded, and the factor that they belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddedRoots {
    /// The group's factor: roots of another one cannot be proven.
    pub rho: Node,
    /// Of its key.
    pub key: Node,
    /// Of its data.
    pub data: Node,
    /// Of its new replica.
    pub replica: Node,
}

/// What an embed proof shows of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedOpening {
    /// The group's factor.
    pub rho: Node,
    /// The key, to the group's key root.
    pub key: Opening,
    /// The data, to the group's data root.
    pub data: Opening,
    /// The new replica, to the group's new root.
    pub replica: Opening,
}

impl Sealed {
    /// Lays a group's data beside the sector, in place of what was staged for it before, and gives
    /// its data root.
    ///
    /// # Errors
    /// [`SealError::NoData`] where the group holds data that is not kept, so that its key is not
    /// known; the file that could not be written.
    pub fn stage(&mut self, data: GroupData) -> Result<Node, SealError> {
        let group = data.group;
        if self.manifest.group(group).embedded.is_some() && !self.keeps_data(group) {
            return Err(SealError::NoData(group));
        }
        let tree = Tree::over(data.nodes);
        let generation = self.manifest.next;
        TreeFile::write(&data_path(&self.dir, group, generation), tree.levels())?;
        crash_point("embed.data");
        let staged = Staged {
            generation,
            data_root: tree.root(),
            written: None,
        };
        let mut next = self.manifest.clone();
        next.staged.insert(group.index(), staged);
        next.next += 1;
        self.commit(next)?;
        Ok(tree.root())
    }

    /// The groups that are staged and their data roots, ascending.
    pub fn staged(&self) -> Vec<(Group, Node)> {
        let staged = self.manifest.staged.iter();
        staged
            .filter_map(|(group, staged)| Some((Group::new(*group)?, staged.data_root)))
            .collect()
    }

    /// Writes the key and the new replica of a staged group beside the old. A group that is written
    /// with another factor already is written into new files.
    ///
    /// # Errors
    /// [`SealError::NotStaged`]; damage to the old replica or to its data, by the file.
    pub fn embed(&mut self, group: Group, rho: Node) -> Result<EmbeddedRoots, SealError> {
        let staged = self.staged_group(group)?.clone();
        let data_file = data_path(&self.dir, group, staged.generation);
        let levels = self.class().group_levels();
        let data = TreeFile::open(&data_file, levels)?.leaves(staged.data_root)?;
        let key = Tree::over(self.key_nodes(group)?);
        let expected = self.key_group_root(group);
        if key.root() != expected {
            let generation = self.manifest.group(group).generation;
            return Err(SealError::Damaged {
                path: replica_path(&self.dir, group, generation),
            });
        }
        let mut next = self.manifest.clone();
        // Until the manifest says otherwise, the files that it calls written stay as they are.
        let another = |(written, _)| written != rho;
        let generation = if staged.written.is_some_and(another) {
            let generation = next.next;
            next.next += 1;
            let data = Tree::over(data.clone());
            TreeFile::write(&data_path(&self.dir, group, generation), data.levels())?;
            generation
        } else {
            staged.generation
        };
        let keys = key.levels().first().map_or(&[][..], Vec::as_slice);
        let replica = Tree::over(combine(keys, &data, rho.to_scalar()));
        TreeFile::write(&key_path(&self.dir, group, generation), key.levels())?;
        crash_point("embed.key");
        TreeFile::write(
            &replica_path(&self.dir, group, generation),
            replica.levels(),
        )?;
        crash_point("embed.replica");
        let written = Staged {
            generation,
            data_root: staged.data_root,
            written: Some((rho, replica.root())),
        };
        next.staged.insert(group.index(), written);
        self.commit(next)?;
        Ok(EmbeddedRoots {
            rho,
            key: expected,
            data: staged.data_root,
            replica: replica.root(),
        })
    }

    /// The roots of a staged group, once it is embedded.
    ///
    /// # Errors
    /// [`SealError::NotStaged`] or [`SealError::NotEmbedded`].
    pub fn embedded_roots(&self, group: Group) -> Result<EmbeddedRoots, SealError> {
        let (staged, (rho, replica)) = self.written_group(group)?;
        Ok(EmbeddedRoots {
            rho,
            key: self.key_group_root(group),
            data: staged.data_root,
            replica,
        })
    }

    /// The replica's group roots as they will be once the embed under way is finished.
    pub fn replica_groups_after(&self) -> [Node; 64] {
        let mut roots = self.replica_groups();
        for (group, staged) in &self.manifest.staged {
            if let (Some(root), Some((_, new))) =
                (roots.get_mut(usize::from(*group)), staged.written)
            {
                *root = new;
            }
        }
        roots
    }

    /// Opens a node of a group that is embedded and not finished, for the embed proof.
    ///
    /// # Errors
    /// [`SealError::NotStaged`] or [`SealError::NotEmbedded`]; damage, by the file.
    pub fn embed_opening(&self, position: Position) -> Result<EmbedOpening, SealError> {
        let group = self.inside(position)?;
        let (staged, (rho, root)) = self.written_group(group)?;
        let generation = staged.generation;
        let at = |path: std::path::PathBuf, root| self.opening_to(&path, root, position);
        Ok(EmbedOpening {
            rho,
            key: at(
                key_path(&self.dir, group, generation),
                self.key_group_root(group),
            )?,
            data: at(data_path(&self.dir, group, generation), staged.data_root)?,
            replica: at(replica_path(&self.dir, group, generation), root)?,
        })
    }

    /// Makes the embedded groups count and removes the old bytes.
    ///
    /// # Errors
    /// [`SealError::NotEmbedded`] where a staged group is not embedded: nothing has changed then.
    pub fn finish_embed(&mut self) -> Result<(), SealError> {
        let mut next = self.manifest.clone();
        for (group, staged) in std::mem::take(&mut next.staged) {
            let Some(group) = Group::new(group) else {
                continue;
            };
            let (rho, root) = staged.written.ok_or(SealError::NotEmbedded(group))?;
            let embedded = Embedded {
                rho,
                data_root: staged.data_root,
                data_kept: true,
            };
            *next.group_mut(group) = GroupState {
                generation: staged.generation,
                root,
                embedded: Some(embedded),
            };
        }
        self.commit(next)
    }

    /// Drops what is staged or embedded and not finished; the sector is as it was.
    ///
    /// # Errors
    /// Names the file that could not be written.
    pub fn abandon_embed(&mut self) -> Result<(), SealError> {
        let mut next = self.manifest.clone();
        next.staged.clear();
        self.commit(next)
    }

    /// Closes a group: removes its plain data and keeps the replica, which it can be had back from
    /// only by sealing again.
    ///
    /// # Errors
    /// [`SealError::NotEmbedded`] while a rewrite of the group is staged, which needs the data for
    /// its key; names the file that could not be written.
    pub fn close_group(&mut self, group: Group) -> Result<(), SealError> {
        let staged = self.manifest.staged.get(&group.index());
        if staged.is_some_and(|staged| staged.written.is_none()) {
            return Err(SealError::NotEmbedded(group));
        }
        self.commit(self.manifest.with_data_kept(group, false))
    }

    /// Restores a closed group's plain data: `data = (replica - key) / rho`, with the keys of the
    /// same replica sealed again in another folder.
    ///
    /// # Errors
    /// [`SealError::OtherReplica`] for other keys, [`SealError::NoData`] where nothing was
    /// embedded; damage, by its file.
    pub fn restore_data(&mut self, group: Group, resealed: &Sealed) -> Result<(), SealError> {
        if resealed.commitment() != self.commitment() || resealed.class() != self.class() {
            return Err(SealError::OtherReplica {
                path: resealed.dir.clone(),
            });
        }
        let generation = self.manifest.group(group).generation;
        let tree = self.data_under(group, &resealed.key_nodes(group)?)?;
        TreeFile::write(&data_path(&self.dir, group, generation), tree.levels())?;
        self.commit(self.manifest.with_data_kept(group, true))
    }

    /// The tree over a group's data, from its replica and its keys: `(replica - key) / rho`.
    ///
    /// # Errors
    /// [`SealError::NoData`] where nothing was embedded; [`SealError::Damaged`] where that is not
    /// the data that was, by the replica's file.
    pub(crate) fn data_under(&self, group: Group, keys: &[Node]) -> Result<Tree, SealError> {
        let state = self.manifest.group(group);
        let embedded = state.embedded.as_ref().ok_or(SealError::NoData(group))?;
        let rho: Option<Native> = embedded.rho.to_scalar::<Native>().invert().into();
        // A factor of zero would have left no data in the replica to restore.
        let inverse = rho.ok_or(SealError::NoData(group))?;
        let replica = self.replica_nodes(group)?;
        let data = replica.iter().zip(keys).map(|(replica, key)| {
            let difference = replica.to_scalar::<Native>() - key.to_scalar::<Native>();
            Node::from_scalar(&(difference * inverse))
        });
        match Tree::build(data.collect()) {
            Ok(tree) if tree.root() == embedded.data_root => Ok(tree),
            _ => Err(SealError::Damaged {
                path: replica_path(&self.dir, group, state.generation),
            }),
        }
    }

    /// The keys of a group: its replica, less rho times its data.
    fn key_nodes(&self, group: Group) -> Result<Vec<Node>, SealError> {
        let replica = self.replica_nodes(group)?;
        let Some(embedded) = &self.manifest.group(group).embedded else {
            return Ok(replica);
        };
        Ok(combine(
            &replica,
            &self.data_nodes(group)?,
            -embedded.rho.to_scalar::<Native>(),
        ))
    }

    pub(crate) fn key_group_root(&self, group: Group) -> Node {
        let roots = &self.commitment().key_groups;
        roots
            .get(usize::from(group.index()))
            .copied()
            .unwrap_or_default()
    }

    fn staged_group(&self, group: Group) -> Result<&Staged, SealError> {
        self.manifest
            .staged
            .get(&group.index())
            .ok_or(SealError::NotStaged(group))
    }

    fn written_group(&self, group: Group) -> Result<(&Staged, (Node, Node)), SealError> {
        let staged = self.staged_group(group)?;
        Ok((staged, staged.written.ok_or(SealError::NotEmbedded(group))?))
    }

    /// Makes a state durable, takes it on, and removes the files that it no longer names, as far as
    /// the system lets it: the step is taken by then. The next commit tries again, and opening the
    /// sector reports by name what still cannot be removed.
    fn commit(&mut self, next: Manifest) -> Result<(), SealError> {
        next.write(&self.dir)?;
        crash_point("embed.manifest");
        self.manifest = next;
        let _ = self.remove_unnamed();
        Ok(())
    }
}

/// `base + factor * data`, node by node.
pub(crate) fn combine(base: &[Node], data: &[Node], factor: Native) -> Vec<Node> {
    let combined = |(base, data): (&Node, &Node)| {
        let data = data.to_scalar::<Native>();
        Node::from_scalar(&(base.to_scalar::<Native>() + factor * data))
    };
    base.iter().zip(data).map(combined).collect()
}

#[cfg(test)]
mod tests;
