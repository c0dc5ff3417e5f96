//! The columns of the database and the keys in them.

use holdfast_market_core::message::{Undecodable, Unencodable, decode, encode};
use holdfast_market_core::units::{Height, TreeRoot};
use jmt::storage::{Node, NodeKey};
use rocksdb::ColumnFamilyDescriptor;

/// Says which program wrote the folder.
pub const FORMAT_KEY: &[u8] = b"format";
/// Says whose ledger it is.
pub const NETWORK_KEY: &[u8] = b"network";
/// Where the chain stands.
pub const HEAD_KEY: &[u8] = b"head";

/// Before the root of a list of validators that some header names.
const VALIDATORS_KEY: &[u8] = b"validators/";

/// The key of the validators with that root.
pub(super) fn validators_key(root: TreeRoot) -> Vec<u8> {
    [VALIDATORS_KEY, root.as_bytes()].concat()
}

/// A column family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Format, network, head, and every set of validators that a header names.
    Meta,
    /// The ledger's objects under the keys of the core.
    State,
    /// Nodes of the state tree.
    Nodes,
    /// Which nodes are stale, and since when.
    Stale,
    /// Certified blocks by height.
    Blocks,
    /// Outcomes by height.
    Outcomes,
    /// Message id to its place.
    Messages,
    /// One row a span of blocks, for the explorer's charts.
    History,
}

impl Column {
    /// All of them.
    pub const ALL: [Column; 8] = [
        Column::Meta,
        Column::State,
        Column::Nodes,
        Column::Stale,
        Column::Blocks,
        Column::Outcomes,
        Column::Messages,
        Column::History,
    ];

    /// Its name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            // RocksDB always has this one.
            Column::Meta => "default",
            Column::State => "state",
            Column::Nodes => "nodes",
            Column::Stale => "stale",
            Column::Blocks => "blocks",
            Column::Outcomes => "outcomes",
            Column::Messages => "messages",
            Column::History => "history",
        }
    }

    pub(super) fn descriptor(self) -> ColumnFamilyDescriptor {
        ColumnFamilyDescriptor::new(self.name(), super::open::options())
    }
}

/// The key of a height: big-endian, so that the order of keys is the order of heights.
pub fn height_key(height: Height) -> [u8; 8] {
    height.0.to_be_bytes()
}

/// A key just above all keys of heights up to `height`.
pub(super) fn after_key(height: Height) -> Vec<u8> {
    let mut key = height_key(height).to_vec();
    key.push(0);
    key
}

/// The height of a key.
pub fn height_of(key: &[u8]) -> Option<Height> {
    key.try_into().ok().map(u64::from_be_bytes).map(Height)
}

/// The key of a tree node: its version first, so that a height's nodes lie together.
pub fn node_key(key: &NodeKey) -> Result<Vec<u8>, Unencodable> {
    let mut bytes = key.version().to_be_bytes().to_vec();
    bytes.extend(encode(key.nibble_path())?);
    Ok(bytes)
}

/// Reads a tree node as it is stored.
///
/// # Errors
/// Bytes that are not exactly what a node is written as.
pub fn read_node(bytes: &[u8]) -> Result<Node, Undecodable> {
    decode("node of the state tree", bytes)
}

/// The key under which a node is listed as stale.
pub fn stale_key(since: u64, node: &NodeKey) -> Result<Vec<u8>, Unencodable> {
    let mut bytes = since.to_be_bytes().to_vec();
    bytes.extend(node_key(node)?);
    Ok(bytes)
}

/// Since when, and which node's key.
pub fn stale_since(key: &[u8]) -> Option<(u64, &[u8])> {
    let (since, node) = key.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*since), node))
}

/// Where a message stands in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// In which block.
    pub height: Height,
    /// Which of its messages, from 0.
    pub position: u32,
}

impl Place {
    /// As the index stores it.
    pub fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        let (height, position) = bytes.split_at_mut(8);
        height.copy_from_slice(&self.height.0.to_be_bytes());
        position.copy_from_slice(&self.position.to_be_bytes());
        bytes
    }

    /// Reads what the index stores.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (height, position) = bytes.split_first_chunk::<8>()?;
        Some(Place {
            height: Height(u64::from_be_bytes(*height)),
            position: u32::from_be_bytes(position.try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_place_survives_its_encoding_and_a_short_one_is_refused() {
        let place = Place {
            height: Height(7_000_000_000),
            position: 3,
        };
        assert_eq!(Place::from_bytes(&place.to_bytes()), Some(place));
        assert_eq!(Place::from_bytes(&place.to_bytes()[..11]), None);
    }

    #[test]
    fn keys_of_heights_sort_as_heights_do() {
        let mut keys: Vec<_> = [300, 2, 70_000, 255].map(|h| height_key(Height(h))).into();
        keys.sort_unstable();
        let heights: Vec<_> = keys.iter().map(|key| height_of(key).unwrap().0).collect();
        assert_eq!(heights, [2, 255, 300, 70_000]);
    }
}
