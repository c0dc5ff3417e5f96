//! What both ends of a connection speak and do: identities, QUIC, packs, erasure code, transfer, the ledger's API.

pub mod bao;
pub mod erasure;
pub mod folder;
pub mod keys;
pub mod ledger;
pub mod light;
pub mod network;
pub mod pack;
pub mod protocol;
pub mod quic;
pub mod room;
pub mod transfer;

pub mod atomic;
pub mod watermark;

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
