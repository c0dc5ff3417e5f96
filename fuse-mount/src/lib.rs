//! The drive: stored objects as a file system.
