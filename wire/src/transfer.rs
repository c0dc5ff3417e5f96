//! Moving shards: what a node does with a put or a get, and what a client does to store a pack and
//! to read it back. Whoever lies or fails is named, and gone around.

pub mod assist;
pub mod fetch;
pub mod openings;
pub mod purse;
pub mod put;
pub mod rebuild;
pub mod receive;
pub mod send;
mod spread;

pub use assist::assist;
pub use fetch::{FetchError, Fetcher, ShardSource};
pub use openings::{piece_openings, send_openings};
pub use purse::{Purse, PurseError};
pub use put::{PutError, PutPlan, PutTarget, assisted_put, direct_put};
pub use rebuild::{RebuildError, rebuild_shard};
pub use receive::{ReceiveError, receive_shard};
pub use send::{SendShardError, send_shard};

use holdfast_market_core::units::{ProviderId, ShardIndex};

/// What one peer did wrong with one shard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("provider {provider} (shard {shard}): {}{reason}", by_word_of(told_by.as_ref()))]
pub struct PeerFault {
    /// Who.
    pub provider: ProviderId,
    /// Which shard was asked of it.
    pub shard: ShardIndex,
    /// Whether it gave wrong bytes or signed something else, rather than nothing in time.
    pub lied: bool,
    /// In one sentence.
    pub reason: String,
    /// The assisting node that says so, where it was not seen here: it may be the one that failed,
    /// or lies.
    pub told_by: Option<ProviderId>,
}

fn by_word_of(assistant: Option<&ProviderId>) -> String {
    assistant.map_or_else(String::new, |assistant| {
        format!("by what provider {assistant} says, which assisted: ")
    })
}

/// Faults in one line, the first few of them.
fn list(faults: &[PeerFault]) -> String {
    let shown: Vec<String> = faults.iter().take(8).map(ToString::to_string).collect();
    let more = faults.len().saturating_sub(shown.len());
    match (shown.is_empty(), more) {
        (true, _) => "no provider was left to ask".into(),
        (false, 0) => shown.join("; "),
        (false, more) => format!("{}; and {more} more", shown.join("; ")),
    }
}
