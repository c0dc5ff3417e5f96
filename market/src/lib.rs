//! The market process: store, ordering, API and explorer.
//!
//! `ledger` is the house's middle: the rules of `holdfast-market-core` over the database, driven by
//! an ordering engine on one side and asked by the API on the other.

pub mod api;
pub mod audit;
pub mod current;
mod explorer;
pub mod forward;
pub mod headers;
pub mod history;
pub mod ledger;
mod listing;
pub mod mempool;
pub mod ordering;
pub mod run;
pub mod server;
pub mod store;
#[cfg(test)]
mod testing;
pub mod validator;

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
