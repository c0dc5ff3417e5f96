//! What the tests break a network with: processes that are killed, disks that fail, peers that lie.

pub mod disk;
