//! A whole network on one machine: start it, break it, look at it.
//!
//! A testnet is a folder. It is a network folder (what `--network` takes) and holds besides a data
//! folder for each process, the logs, a wallet with tokens, and `testnet.json`, which says which
//! processes it is. All of them are the same binary, started as a user would start them.

mod command;
pub mod demo;
mod error;
mod genesis;
mod network;
mod parameters;
mod peaks;
mod ports;
mod process;
mod record;
mod tree;
mod view;

pub use command::Commands;
pub use error::TestnetError;
pub use genesis::rules;
pub use network::{Testnet, UpOptions};
pub use parameters::default_folder as parameters_folder;
pub use peaks::Peaks;
pub use process::{STOP_WITH, stop_with_parent};
pub use record::{Layout, ProcessRecord, Record, Role};
pub use tree::{Content, Entry, Tree};
pub use view::{
    AccountLine, DealSetView, DealView, LedgerView, ProcessView, ProviderView, SectorView,
    TestnetView,
};

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
