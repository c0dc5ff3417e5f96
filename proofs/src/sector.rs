//! The sector: everything in it is eight (DESIGN, section 2).
//!
//! A sector of class c has 8^levels nodes. Its top octary digit is the **lane**, its top two are
//! the **group**; a node's index in its lane is all the digits but the top one.

use serde::{Deserialize, Serialize};

/// Lanes in a sector, and children of a tree node.
pub const ARITY: usize = 8;
/// Groups in a sector.
pub const GROUPS: usize = 64;
/// Layers of the stacked graph.
pub const LAYERS: usize = 8;
/// Bytes of one node.
pub const NODE_BYTES: u64 = 32;
/// Nodes of the smallest aligned subtree that a piece is made of (8^3, 16 KiB).
pub const UNIT_NODES: u64 = 512;
/// Levels of that subtree.
pub const UNIT_LEVELS: u32 = 3;
/// Bytes of data that one unit holds: 127 bytes in every four nodes.
pub const UNIT_DATA_BYTES: u64 = UNIT_NODES / 4 * 127;

/// A size of sector: 8^6 to 8^10 nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SectorClass {
    /// 8^6 nodes, for development networks.
    #[serde(rename = "8MiB")]
    Mib8,
    /// 8^7 nodes.
    #[serde(rename = "64MiB")]
    Mib64,
    /// 8^8 nodes.
    #[serde(rename = "512MiB")]
    Mib512,
    /// 8^9 nodes, the home default where memory allows.
    #[serde(rename = "4GiB")]
    Gib4,
    /// 8^10 nodes.
    #[serde(rename = "32GiB")]
    Gib32,
}

impl SectorClass {
    /// Every class, smallest first.
    pub const ALL: [SectorClass; 5] = [
        Self::Mib8,
        Self::Mib64,
        Self::Mib512,
        Self::Gib4,
        Self::Gib32,
    ];

    /// Levels of the octary tree over the sector: the nodes are 8 to this power.
    pub const fn levels(self) -> u32 {
        match self {
            Self::Mib8 => 6,
            Self::Mib64 => 7,
            Self::Mib512 => 8,
            Self::Gib4 => 9,
            Self::Gib32 => 10,
        }
    }

    /// Nodes in the sector.
    pub const fn nodes(self) -> u64 {
        1 << (3 * self.levels())
    }

    /// Nodes in one lane: an eighth.
    pub const fn lane_nodes(self) -> u64 {
        self.nodes() / 8
    }

    /// Nodes in one group: a sixty-fourth.
    pub const fn group_nodes(self) -> u64 {
        self.nodes() / 64
    }

    /// Levels of the tree over one group.
    pub const fn group_levels(self) -> u32 {
        self.levels() - 2
    }

    /// Units of [`UNIT_NODES`] in one group.
    pub const fn group_units(self) -> u64 {
        self.group_nodes() / UNIT_NODES
    }

    /// Bytes of the sector on disk.
    pub const fn bytes(self) -> u64 {
        self.nodes() * NODE_BYTES
    }

    /// Bytes of client data that the sector can hold.
    pub const fn data_bytes(self) -> u64 {
        self.nodes() / 4 * 127
    }

    /// The name used on command lines and in files, for example `8MiB`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mib8 => "8MiB",
            Self::Mib64 => "64MiB",
            Self::Mib512 => "512MiB",
            Self::Gib4 => "4GiB",
            Self::Gib32 => "32GiB",
        }
    }
}

impl std::fmt::Display for SectorClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for SectorClass {
    type Err = UnknownClass;

    fn from_str(text: &str) -> Result<Self, UnknownClass> {
        Self::ALL
            .into_iter()
            .find(|class| class.name() == text)
            .ok_or_else(|| UnknownClass(text.into()))
    }
}

/// A name that is no sector class.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a sector class; the classes are 8MiB, 64MiB, 512MiB, 4GiB and 32GiB")]
pub struct UnknownClass(String);

/// A group of a sector: its top two octary digits, 0 to 63. Group g lies in lane g / 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Group(u8);

impl Group {
    /// The group of that index, where there is one.
    pub const fn new(index: u8) -> Option<Self> {
        if (index as usize) < GROUPS {
            Some(Group(index))
        } else {
            None
        }
    }

    /// Every group, in order.
    pub fn all() -> impl Iterator<Item = Group> {
        (0..64).map(Group)
    }

    /// The index, 0 to 63.
    pub const fn index(self) -> u8 {
        self.0
    }

    /// The lane that the group lies in.
    pub const fn lane(self) -> Lane {
        Lane(self.0 / 8)
    }
}

impl<'de> Deserialize<'de> for Group {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let index = u8::deserialize(deserializer)?;
        Group::new(index).ok_or_else(|| serde::de::Error::custom("a group's index is below 64"))
    }
}

/// A lane of a sector: its top octary digit, 0 to 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Lane(u8);

impl Lane {
    /// The lane of that index, where there is one.
    pub const fn new(index: u8) -> Option<Self> {
        if (index as usize) < ARITY {
            Some(Lane(index))
        } else {
            None
        }
    }

    /// Every lane, in order.
    pub fn all() -> impl Iterator<Item = Lane> {
        (0..8).map(Lane)
    }

    /// The index, 0 to 7.
    pub const fn index(self) -> u8 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Lane {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let index = u8::deserialize(deserializer)?;
        Lane::new(index).ok_or_else(|| serde::de::Error::custom("a lane's index is below 8"))
    }
}

/// A node's place in a sector: its index in lane-major order, below the class's number of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position(pub u64);

impl Position {
    /// The lane, for a position inside the class.
    pub const fn lane(self, class: SectorClass) -> Lane {
        Lane(((self.0 / class.lane_nodes()) & 7) as u8)
    }

    /// The index in the lane.
    pub const fn in_lane(self, class: SectorClass) -> u64 {
        self.0 % class.lane_nodes()
    }

    /// The group, for a position inside the class.
    pub const fn group(self, class: SectorClass) -> Group {
        Group(((self.0 / class.group_nodes()) & 63) as u8)
    }

    /// The index in the group.
    pub const fn in_group(self, class: SectorClass) -> u64 {
        self.0 % class.group_nodes()
    }
}
