//! The ledger's pure core: messages, state, rules.
//!
//! No clock, no I/O, no async and no randomness of its own: a block and a read view go in, writes
//! and receipts come out, the same on every machine.

pub mod block;
pub mod genesis;
pub mod message;
pub mod parameters;
pub mod receipt;
pub mod state;
pub mod units;
