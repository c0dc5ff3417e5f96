//! What the tests break a network with: processes that are killed, disks that fail, peers that lie.
// What breaks a network for a test fails by failing the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

pub mod clock;
pub mod damage;
// Apart from it, because other crates' tests take the table in as a file.
#[cfg(test)]
#[path = "damage/tests.rs"]
mod damage_tests;
pub mod disk;
pub mod figures;
pub mod network;
pub mod points;
#[cfg(test)]
mod threats;

/// Whether the longer form of the tests was asked for: `HOLDFAST_LONG` is set, and not to nothing.
pub fn is_long() -> bool {
    std::env::var_os("HOLDFAST_LONG").is_some_and(|value| !value.is_empty())
}
