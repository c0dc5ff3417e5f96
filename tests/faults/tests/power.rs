//! Power that is cut at any moment: what was acknowledged is there afterwards, the rest is the old or
//! the new, whole, and the work goes on.
//!
//! Each test works on a disk of its own that stops at a drawn operation, loses what was not synced
//! (all of it, or a drawn part), and is used again. `HOLDFAST_LONG` draws many more moments.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs
)]

#[path = "power/client.rs"]
mod client;
#[path = "power/folders.rs"]
mod folders;
#[path = "power/full.rs"]
mod full;
#[path = "power/market.rs"]
mod market;
#[path = "power/node.rs"]
mod node;
#[path = "power/sector.rs"]
mod sector;

use holdfast_faults::disk::{Disk, Loss};
use holdfast_faults::is_long;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Runs `case` with `short` seeds, or with twenty times as many, each with a disk and a draw.
fn with_seeds(short: u64, mut case: impl FnMut(&Disk, &mut ChaCha8Rng)) {
    for seed in 0..short * if is_long() { 20 } else { 1 } {
        // Shown where the test fails.
        println!("seed {seed}");
        let disk = Disk::mount().unwrap();
        case(&disk, &mut ChaCha8Rng::seed_from_u64(seed));
    }
}

/// One cut in three loses everything, the others a part.
fn loss(draw: &mut ChaCha8Rng) -> Loss {
    match draw.gen_range(0..3) {
        0 => Loss::Everything,
        _ => Loss::Some(draw.r#gen()),
    }
}
