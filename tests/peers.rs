//! Peers that lie and peers that flood, each against the real other side: the honest side goes
//! around them, says so, and loses at most what the protocol states.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[path = "peers/assisting.rs"]
mod assisting;
#[path = "peers/flooding.rs"]
mod flooding;
#[path = "../client/tests/loopback/network.rs"]
mod network;
#[path = "../wire/tests/transfer/nodes.rs"]
mod nodes;
#[path = "peers/overdrawing.rs"]
mod overdrawing;
#[path = "peers/promising.rs"]
mod promising;
#[path = "peers/reading.rs"]
mod reading;
#[path = "peers/stranger.rs"]
mod stranger;

use holdfast_faults::figures;
use std::collections::BTreeSet;
use std::sync::Mutex;

/// Rows of the list that were gone through in this run.
static ROWS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A lying or flooding peer of the list was met, and what must hold did.
fn met(row: impl Into<String>) {
    let mut rows = ROWS.lock().unwrap();
    rows.insert(row.into());
    let conditions = "kinds of lying and flooding peers, each against the real other side";
    figures::record("lying_peers", rows.len() as f64, "kinds", conditions);
}
