//! The client: wallet, objects, packs, placement, transfer, and what became of what was stored.

pub mod catalogue;
pub mod check;
pub mod error;
pub mod get;
pub mod journal;
pub mod layout;
pub mod listing;
pub mod manifest;
pub mod meter;
pub mod packing;
pub mod placement;
pub mod published;
pub mod put;
pub mod reader;
pub mod receipt;
pub mod renew;
pub mod restore;
pub mod seal;
pub mod session;
pub mod states;
pub mod status;
pub mod stream;
pub mod upload;
mod versioned;
pub mod walk;
pub mod wallet;
pub mod words;

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
