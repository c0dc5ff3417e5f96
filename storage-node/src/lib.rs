//! The provider: pieces, sectors, the pipeline, the prover.

pub mod bench;
pub mod error;
pub mod heal;
pub mod journal;
pub mod keys;
mod needs;
pub mod node;
pub mod outbox;
pub mod pipeline;
pub mod placement;
pub mod progress;
pub mod prover;
pub mod report;
pub mod room;
pub mod sectors;
pub mod service;
pub mod shards;
pub mod till;
pub mod work;

// The table of every kind of file, by which this crate's tests damage and walk its folders.
#[cfg(test)]
#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]
#[path = "../../tests/faults/src/damage.rs"]
mod damage;
