//! Damage on this disk: looked for, and put right by the node itself.
//!
//! Whoever meets a damaged file says so where the file belongs ([`crate::shards::ShardStore`],
//! [`crate::sectors::Sectors`]); a slow look at everything finds what nobody meets. From there the
//! pipeline puts right one thing at a time: a shard from k others of its pack, a group's data from
//! its shards, a replica from its keys, which the same replica id gives again when it is sealed
//! beside. Nothing is taken for right that does not hash to the root that was promised. What cannot
//! be put right now is told in the report, tried again, and declared before it costs.

mod scrub;
mod sectors;
mod shards;

pub use scrub::Scrub;
pub use shards::rebuild;

use crate::error::NodeError;
use crate::pipeline::{Pipeline, View};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Sentences that are kept for the report.
const REMEMBERED: usize = 16;

/// What was put right lately; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Healed(Arc<Mutex<VecDeque<String>>>);

impl Healed {
    /// Says what was put right: here, and in the log.
    pub(crate) fn say(&self, sentence: String) {
        tracing::info!("{sentence}");
        let mut healed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if healed.len() >= REMEMBERED {
            healed.pop_front();
        }
        healed.push_back(sentence);
    }

    /// The last sentences, oldest first.
    pub fn list(&self) -> Vec<String> {
        let healed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        healed.iter().cloned().collect()
    }
}

impl Pipeline {
    /// Looks a little further for damage, and begins to put right what was found.
    pub(crate) fn heal(&mut self, view: &View) -> Result<(), NodeError> {
        // Sectors first: a damaged one is declared again and again, a shard can wait.
        let sectors = self.heal_sectors(view);
        let shards = self.heal_shards(view);
        // Last: looking for more waits while something known is put right.
        let scrub = self.look_further(view);
        shards.and(sectors).and(scrub)
    }
}
