//! The client: wallet, objects, packs, placement, transfer, and what became of what was stored.

pub mod catalogue;
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
