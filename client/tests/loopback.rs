//! What a client does, on a whole network in this process: storing, being interrupted, being refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

// The table of every kind of file, by which these tests damage and walk real folders.
#[allow(dead_code)]
#[path = "../../tests/faults/src/damage.rs"]
mod damage;
#[path = "loopback/damaged.rs"]
mod damaged;
#[path = "loopback/interrupted.rs"]
mod interrupted;
#[path = "loopback/line.rs"]
mod line;
#[path = "loopback/network.rs"]
mod network;
#[path = "loopback/paid.rs"]
mod paid;
#[path = "loopback/refused.rs"]
mod refused;
#[path = "loopback/renewed.rs"]
mod renewed;
#[path = "loopback/stored.rs"]
mod stored;
