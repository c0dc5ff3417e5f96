//! The provider: pieces, sectors, the pipeline, the prover.

pub mod error;
pub mod journal;
pub mod outbox;
pub mod placement;
pub mod room;
pub mod service;
pub mod shards;
pub mod work;
