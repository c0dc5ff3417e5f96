//! Proof of replication and of spacetime: Poseidon2, the graph, sealing, embedding, circuits.
//!
//! Verifying is always compiled and is pure Rust; the feature `prove` adds sealing, embedding and
//! proving. Nothing here knows a network, a clock or a ledger.

pub mod bytes;
pub mod challenge;
pub mod checked;
#[cfg(feature = "prove")]
pub mod circuit;
pub mod crash;
pub mod durable;
#[cfg(feature = "prove")]
pub mod embed;
#[cfg(feature = "prove")]
mod files;
pub mod graph;
mod groth16;
pub mod keys;
pub mod label;
#[cfg(feature = "prove")]
pub mod measure;
pub mod node;
pub mod packing;
#[cfg(feature = "prove")]
pub mod params;
pub mod piece;
pub mod poseidon2;
pub mod proof;
#[cfg(feature = "prove")]
pub mod prove;
pub mod replica;
#[cfg(feature = "prove")]
pub mod seal;
#[cfg(feature = "prove")]
pub mod sealed;
pub mod sector;
pub mod statement;
pub mod tree;
pub mod verify;

// The table of every kind of file, by which this crate's tests damage and walk its folders.
#[cfg(all(test, feature = "prove"))]
#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]
#[path = "../../tests/faults/src/damage.rs"]
mod damage;
