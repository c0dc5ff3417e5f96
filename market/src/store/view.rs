//! Reads of the state and of its tree.

use super::columns;
use holdfast_market_core::view::{ReadView, ViewError};
use jmt::storage::{LeafNode, Node, NodeKey, TreeReader};
use jmt::{KeyHash, OwnedValue, Version};
use rocksdb::{ColumnFamily, DB, Direction, IteratorMode, ReadOptions, SnapshotWithThreadMode};

/// The state at one moment: what is committed later does not show in it.
pub struct StateView<'a> {
    snapshot: SnapshotWithThreadMode<'a, DB>,
    state: &'a ColumnFamily,
}

impl<'a> StateView<'a> {
    pub(super) fn new(db: &'a DB, state: &'a ColumnFamily) -> Self {
        Self {
            snapshot: db.snapshot(),
            state,
        }
    }
}

/// The end of the keys that begin with `prefix`: the next string of that length, if any.
fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

impl ReadView for StateView<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        self.snapshot
            .get_cf(self.state, key)
            .map_err(|error| ViewError(error.to_string()))
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, ViewError> {
        let mut options = ReadOptions::default();
        if let Some(end) = end_of(prefix) {
            options.set_iterate_upper_bound(end);
        }
        let start = match after {
            Some(after) if after >= prefix => after,
            _ => prefix,
        };
        let mut found = Vec::new();
        let entries = self.snapshot.iterator_cf_opt(
            self.state,
            options,
            IteratorMode::From(start, Direction::Forward),
        );
        for entry in entries {
            if found.len() >= limit {
                break;
            }
            let (key, value) = entry.map_err(|error| ViewError(error.to_string()))?;
            if after.is_some_and(|after| key.as_ref() <= after) {
                continue;
            }
            found.push((key.into_vec(), value.into_vec()));
        }
        Ok(found)
    }
}

/// The nodes of the state tree, read straight from the database. Values are not kept beside them:
/// the state column has them.
pub struct TreeNodes<'a> {
    db: &'a DB,
    nodes: &'a ColumnFamily,
    value: Option<Vec<u8>>,
}

impl<'a> TreeNodes<'a> {
    pub(super) fn new(db: &'a DB, nodes: &'a ColumnFamily) -> Self {
        Self {
            db,
            nodes,
            value: None,
        }
    }

    /// The same, to prove a key whose value at the head is `value`.
    pub fn with_value(self, value: Option<Vec<u8>>) -> Self {
        Self { value, ..self }
    }
}

impl TreeReader for TreeNodes<'_> {
    fn get_node_option(&self, node_key: &NodeKey) -> anyhow::Result<Option<Node>> {
        let Some(bytes) = self.db.get_cf(self.nodes, columns::node_key(node_key)?)? else {
            return Ok(None);
        };
        Ok(Some(columns::read_node(&bytes)?))
    }

    fn get_value_option(&self, _: Version, _: KeyHash) -> anyhow::Result<Option<OwnedValue>> {
        Ok(self.value.clone())
    }

    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        anyhow::bail!("the state tree is never restored from a snapshot here")
    }
}
