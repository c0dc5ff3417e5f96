//! The drive: stored objects as a read-only file system.
//!
//! [`index::TreeIndex`] is what the file system knows: names, attributes and places, built from
//! manifests and tested as such. [`drive::Drive`] answers the kernel from it and reads contents
//! through the client's verified, cached, ranged reader.

pub mod drive;
pub mod index;
pub mod mount;
