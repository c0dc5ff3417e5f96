//! The provider: pieces, sectors, the pipeline, the prover.

pub mod error;
pub mod heal;
pub mod journal;
pub mod keys;
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
pub mod work;
