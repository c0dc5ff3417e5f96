//! The ledger's pure core: messages, state, rules.
//!
//! No clock, no I/O, no async and no randomness of its own: a block and a read view go in, writes
//! and receipts come out, the same on every machine.

pub mod admit;
pub mod audit;
pub mod beacon;
pub mod block;
pub mod build;
pub mod challenge;
pub mod channel;
pub mod equivocation;
pub mod execute;
pub mod facts;
pub mod finality;
pub mod genesis;
pub mod governance;
pub mod keys;
mod ledger;
pub mod light;
pub mod list;
pub mod message;
pub mod opening;
pub mod parameters;
pub mod proven;
pub mod query;
pub mod quote;
pub mod receipt;
pub mod refusal;
pub mod rules;
pub mod schedule;
pub mod slice;
pub mod stake;
pub mod state;
pub mod tree;
pub mod units;
pub mod view;
