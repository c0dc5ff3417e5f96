//! A whole network on one machine: start it, break it, look at it.
