//! SIGKILL at any moment: at every crash point of the sources in turn, and at random.
//!
//! What must hold afterwards is always the same: nothing that was signed for is lost, no message is
//! sent twice to ill effect, nobody is fined, every deal is proven and paid, and an audit passes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[path = "../client/tests/loopback/network.rs"]
mod loopback;
#[path = "crashes/points.rs"]
mod points;
#[path = "crashes/random.rs"]
mod random;
#[path = "crashes/state.rs"]
mod state;
#[path = "peers/stranger.rs"]
mod stranger;
#[path = "crashes/testnet.rs"]
mod testnet;
#[path = "crashes/trouble.rs"]
mod trouble;
#[path = "crashes/validators.rs"]
mod validators;

use std::path::Path;
use tokio::sync::{Mutex, MutexGuard};

/// The binary under test.
fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_holdfast"))
}

/// One network at a time: two would make each other late on a small machine.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

/// Bytes that no compressor and no accident makes; the same every time.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let key = blake3::hash(&seed.to_le_bytes());
    blake3::Hasher::new_keyed(key.as_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}
