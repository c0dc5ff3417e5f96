//! The client: wallet, objects, packs, placement, transfer, and what became of what was stored.

pub mod catalogue;
pub mod layout;
pub mod manifest;
pub mod seal;
pub mod stream;
pub mod walk;
