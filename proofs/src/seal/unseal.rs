//! Unsealing: the keys of a sealed sector once more, and the data that they hide.
//!
//! Keys are labels of the last layer, so they cost what labelling costs and nothing else: columns
//! and trees are not made. Of the layers on the way only the last finished one stays on the disk,
//! from which an interrupted run goes on.

// The layers are eight, and a group's nodes fit a usize on every system.
#![allow(clippy::cast_possible_truncation)]

use super::labels::make_layer;
use super::layers::{LayerWriter, read_layer};
use super::{LayerFile, STEP, SealError, SealProgress, layer_path, room_for_two};
use crate::durable::{COMMON_MODE, create_folder};
use crate::files::remove;
use crate::graph::Graph;
use crate::node::Node;
use crate::poseidon2::lanes::Row;
use crate::sealed::{FolderLock, Sealed};
use crate::sector::{Group, LAYERS};
use std::path::Path;

/// Takes the plain nodes of a group.
pub type Give<'a> = dyn FnMut(Group, &[Node]) -> Result<(), SealError> + 'a;

/// Regenerates the keys of `sealed` in the folder `dir`, of its own, and gives the plain nodes of
/// every group that holds data, one after the other, each checked against its data root: the roots
/// of the group's pieces hash to it. What is left in `dir` is one layer, for whoever unseals again.
///
/// # Errors
/// Names the file, memory or folder that stands in the way; [`SealError::Damaged`] where a replica
/// or the sector's manifest is not what was written; what `give` refuses.
pub fn unseal(
    sealed: &Sealed,
    dir: &Path,
    progress: &mut dyn FnMut(SealProgress),
    give: &mut Give<'_>,
) -> Result<(), SealError> {
    create_folder(dir, COMMON_MODE).map_err(|source| SealError::Io {
        doing: "create",
        path: dir.into(),
        source,
    })?;
    let _lock = FolderLock::take(dir)?;
    let keys = regenerate(sealed, dir, progress)?;
    let count = sealed.class().group_nodes() as usize;
    for group in Group::all().filter(|group| sealed.data_root(*group).is_some()) {
        let (lane, place) = (
            usize::from(group.index() / 8),
            usize::from(group.index() % 8),
        );
        let rows = keys.iter().skip(place * count).take(count);
        let keys: Vec<Node> = rows.filter_map(|row| row.get(lane).copied()).collect();
        give(group, &sealed.data_under(group, &keys)?.into_leaves())?;
    }
    Ok(())
}

/// The last layer, from the last whole one that is in `dir`.
fn regenerate(
    sealed: &Sealed,
    dir: &Path,
    progress: &mut dyn FnMut(SealProgress),
) -> Result<Vec<Row>, SealError> {
    let class = sealed.class();
    let (mut previous, mut current) = room_for_two(class)?;
    let file = |layer: u32| LayerFile {
        class,
        replica: sealed.replica(),
        layer,
    };
    let total = LAYERS as u64 * class.nodes();
    let mut begun = 0;
    for layer in (1..=LAYERS as u32).rev() {
        if read_layer(dir, file(layer), &mut previous)? {
            begun = layer;
            break;
        }
    }
    let graph = Graph::new(class);
    for layer in begun + 1..=LAYERS as u32 {
        let done = u64::from(layer - 1) * class.nodes();
        let mut writer = LayerWriter::create(dir, file(layer))?;
        let made = make_layer(&graph, file(layer), &previous, &mut current, |row, made| {
            if made.is_multiple_of(STEP) {
                let done = done + 8 * made;
                progress(SealProgress { done, total });
            }
            writer.push(row)
        });
        writer.finish_if(made)?;
        if layer > 1 {
            remove(&layer_path(dir, layer - 1))?;
        }
        std::mem::swap(&mut previous, &mut current);
    }
    progress(SealProgress { done: total, total });
    Ok(previous)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::challenge::embed_rho;
    use crate::embed::GroupData;
    use crate::seal::tests::{CLASS, copy, replica};

    #[test]
    fn every_group_that_holds_data_is_given_back_also_after_an_interruption() {
        let dir = copy(false);
        let mut sector = Sealed::open(dir.path(), CLASS, replica()).unwrap();
        let mut stored = Vec::new();
        for index in [9, 63] {
            let group = Group::new(index).unwrap();
            let mut data = GroupData::new(CLASS, group);
            let nodes: Vec<Node> = (0u64..512)
                .map(|i| Node::derive("holdfast test", &[&[index], &i.to_le_bytes()]))
                .collect();
            data.put(3, &nodes).unwrap();
            let root = sector.stage(data.clone()).unwrap();
            let rho = embed_rho(&[5; 32], sector.key_root(), root, group);
            sector.embed(group, rho).unwrap();
            sector.finish_embed().unwrap();
            sector.close_group(group).unwrap();
            stored.push((group, data.into_nodes()));
        }
        let work = tempfile::tempdir().unwrap();
        let run = || {
            let (mut given, mut done) = (Vec::new(), Vec::new());
            unseal(
                &sector,
                work.path(),
                &mut |progress| done.push((progress.done, progress.total)),
                &mut |group, nodes| {
                    given.push((group, nodes.to_vec()));
                    Ok(())
                },
            )
            .unwrap();
            (given, done)
        };
        let total = LAYERS as u64 * CLASS.nodes();
        let (given, done) = run();
        assert!(given == stored);
        assert!(done.is_sorted() && done.last() == Some(&(total, total)));
        // One layer is left, and the second run needs no other.
        let left: Vec<_> = std::fs::read_dir(work.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("layer"))
            .collect();
        assert_eq!(left, ["layer-8"]);
        let (given, done) = run();
        assert!(given == stored);
        assert_eq!(done, [(total, total)]);
        // A layer that is damaged is made again, from the start where none is left.
        std::fs::write(layer_path(work.path(), 8), "rubbish").unwrap();
        assert!(run().0 == stored);
        // Also the first, of which most can be read and which is made from nothing.
        std::fs::remove_file(layer_path(work.path(), 8)).unwrap();
        let (first, kept) = (layer_path(work.path(), 1), work.path().join("kept"));
        let mut keep = |_| {
            if first.exists() && !kept.exists() {
                std::fs::copy(&first, &kept).unwrap();
            }
        };
        unseal(&sector, work.path(), &mut keep, &mut |_, _| Ok(())).unwrap();
        let mut bytes = std::fs::read(&kept).unwrap();
        let last = CLASS.bytes() as usize - 32;
        bytes[last] ^= 1;
        std::fs::remove_file(layer_path(work.path(), 8)).unwrap();
        std::fs::write(&first, bytes).unwrap();
        assert!(run().0 == stored);
        // Other bytes in a replica are never given as data.
        let path = dir.path().join("groups/63-2.replica");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[77] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let refused = unseal(&sector, work.path(), &mut |_| {}, &mut |_, _| Ok(())).unwrap_err();
        assert!(
            matches!(&refused, SealError::Damaged { path: named } if *named == path),
            "{refused}"
        );
    }
}
