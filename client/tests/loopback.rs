//! What a client does, on a whole network in this process: storing, being interrupted, being refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[path = "loopback/interrupted.rs"]
mod interrupted;
#[path = "loopback/line.rs"]
mod line;
#[path = "loopback/network.rs"]
mod network;
#[path = "loopback/refused.rs"]
mod refused;
#[path = "loopback/stored.rs"]
mod stored;
