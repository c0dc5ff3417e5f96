//! Trees over rows: the eight lanes side by side, so that eight hashes are one step.

// The layers are eight.
#![allow(clippy::cast_possible_truncation)]

use super::layers::LayerReader;
use super::{LayerFile, SealError};
use crate::files::{Named, replace, write_nodes};
use crate::node::Node;
use crate::poseidon2::lanes::{Row, hash8_lanes, hash8_two};
use crate::replica::ReplicaId;
use crate::sector::{LAYERS, SectorClass};
use rayon::prelude::*;
use std::path::Path;

/// The inner levels of the eight lane trees: `levels[0]` are the parents of the leaves, the last
/// is the one row of lane roots.
#[derive(Debug)]
pub(crate) struct RowTree {
    pub(crate) levels: Vec<Vec<Row>>,
}

impl RowTree {
    /// Over leaves whose rows are a power of eight, at least 64.
    pub(crate) fn over(leaves: &[Row]) -> Self {
        Self::above(parents(leaves))
    }

    fn above(first: Vec<Row>) -> Self {
        let mut levels = vec![first];
        while let Some(level) = levels.last()
            && level.len() > 1
        {
            let next = parents(level);
            levels.push(next);
        }
        RowTree { levels }
    }

    /// The roots of the lanes.
    pub(crate) fn lanes(&self) -> Row {
        let top = self.levels.last().and_then(|level| level.first());
        top.copied().unwrap_or_default()
    }

    /// The roots of the groups: eight rows below the top, and lane after lane.
    pub(crate) fn groups(&self) -> [Node; 64] {
        let mut groups = [Node::ZERO; 64];
        let below = self.levels.iter().rev().nth(1);
        for (in_lane, row) in below.into_iter().flatten().enumerate() {
            for (lane, root) in row.iter().enumerate() {
                if let Some(slot) = groups.get_mut(8 * lane + in_lane) {
                    *slot = *root;
                }
            }
        }
        groups
    }
}

/// In place of a row that is not there; none is missing.
const NO_ROW: Row = [Node::ZERO; 8];

/// Hashes so many families of rows, two at a time.
fn families_of<'a>(count: usize, family: impl Fn(usize) -> [&'a Row; 8] + Sync) -> Vec<Row> {
    let twos = (0..count / 2).into_par_iter();
    let mut hashes: Vec<Row> = twos
        .flat_map_iter(|two| hash8_two([family(2 * two), family(2 * two + 1)]))
        .collect();
    if !count.is_multiple_of(2) {
        hashes.push(hash8_lanes(&family(count - 1).map(|row| *row)));
    }
    hashes
}

fn parents(rows: &[Row]) -> Vec<Row> {
    let (families, _) = rows.as_chunks::<8>();
    families_of(families.len(), |family| {
        families
            .get(family)
            .map_or([&NO_ROW; 8], |rows| rows.each_ref())
    })
}

/// Hashes the columns of all layers, stores the inner levels of their trees in `dir/columns`, and
/// returns the lane roots. The columns themselves are cheap to make again from the layers.
pub(crate) fn commit(
    dir: &Path,
    class: SectorClass,
    replica: ReplicaId,
    pool: &rayon::ThreadPool,
    report: &mut dyn FnMut(u64),
) -> Result<Row, SealError> {
    const ROWS: usize = 512;
    let mut readers = (1..=LAYERS as u32)
        .map(|layer| {
            LayerReader::open(
                dir,
                LayerFile {
                    class,
                    replica,
                    layer,
                },
            )
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut first: Vec<Row> = Vec::new();
    let mut done = 0;
    while done < class.lane_nodes() {
        let layers = readers
            .iter_mut()
            .map(|reader| reader.rows(ROWS))
            .collect::<Result<Vec<_>, _>>()?;
        let columns = pool.install(|| {
            families_of(ROWS, |row| {
                let mut labels = layers.iter().map(|layer| layer.get(row));
                std::array::from_fn(|_| labels.next().flatten().unwrap_or(&NO_ROW))
            })
        });
        first.extend(pool.install(|| parents(&columns)));
        done += ROWS as u64;
        report(8 * done);
    }
    let tree = pool.install(|| RowTree::above(first));
    let path = columns_path(dir);
    replace(&path, |writer| {
        let nodes = tree.levels.iter().flatten().flatten();
        write_nodes(writer, nodes).named("write", &path)
    })?;
    Ok(tree.lanes())
}

/// Where the columns' trees lie.
pub(crate) fn columns_path(dir: &Path) -> std::path::PathBuf {
    dir.join("columns")
}
