//! The command groups, one file each.

pub mod params;
