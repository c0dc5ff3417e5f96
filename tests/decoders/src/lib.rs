//! Every decoder of Holdfast in one table, and what throws hostile bytes at them.
//!
//! A decoder here is a function of bytes that reads them as the program does and, where they are
//! taken, checks the decoder's law: mostly that what was read is written as the very same bytes.
//! [`drive`] calls it with mutations of what the real encoders write, under a bound of memory and of
//! processor time; `tests/fuzz` calls the same functions with inputs that coverage guides.
// What fails here is a test: it says so by a panic.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

pub mod cbor;
pub mod drive;
pub mod meter;
pub mod mutate;

mod answers;
#[cfg(feature = "stores")]
mod audits;
mod client;
mod files;
mod ledger;
mod points;
mod proofs;
mod read;
mod sample;
#[cfg(feature = "stores")]
mod stores;
#[cfg(feature = "stores")]
mod validators;
mod wire;

use std::time::Duration;

/// What came of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Taken; the law was checked.
    Read,
    /// Refused with an error.
    Refused,
}

/// In what language a decoder's bytes are written: the mutations are chosen by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// DAG-CBOR.
    Cbor,
    /// JSON.
    Json,
    /// Text of another kind.
    Text,
    /// A layout of its own.
    Bytes,
}

/// What one call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of memory held at once, whatever the input.
    pub memory: usize,
    /// And so many more for each byte of input.
    pub memory_per_byte: usize,
    /// Processor time, whatever the input.
    pub time: Duration,
    /// And so much more for each byte of input.
    pub time_per_byte: Duration,
}

impl Bounds {
    /// What most decoders keep to. A list that claims to be long is given a mebibyte by `serde`
    /// before its first element is read, and lists lie in lists; an element that takes one byte
    /// takes a hundred in memory. The time is a hundred times what the slowest took, since the
    /// machine may have other work: it is there for work that grows faster than the input.
    pub const USUAL: Self = Self {
        memory: 4 << 20,
        memory_per_byte: 128,
        time: Duration::from_millis(250),
        time_per_byte: Duration::from_micros(5),
    };

    /// For decoders that do arithmetic on curves, or ask a whole process.
    pub const HEAVY: Self = Self {
        memory: 16 << 20,
        memory_per_byte: 128,
        time: Duration::from_secs(4),
        time_per_byte: Duration::from_micros(100),
    };
}

/// One decoder.
#[derive(Clone, Copy)]
pub struct Decoder {
    /// Its name.
    pub name: &'static str,
    /// In what language its bytes are written.
    pub form: Form,
    /// Reads bytes and checks the law; panics where the law does not hold.
    pub decode: fn(&[u8]) -> Answer,
    /// Bytes that it takes, from the real encoders.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// What one call may take.
    pub bounds: Bounds,
    /// Calls in a short run.
    pub calls: u32,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Decoder({})", self.name)
    }
}

/// Calls of most decoders in a short run.
const CALLS: u32 = 2_500;
/// Calls of a decoder that works through files or sockets, or on curves.
const FEW_CALLS: u32 = 500;

/// Every decoder of the program, by name.
pub fn all() -> Vec<Decoder> {
    let mut all = [
        ledger::decoders(),
        proofs::decoders(),
        points::decoders(),
        wire::decoders(),
        answers::decoders(),
        client::decoders(),
        files::decoders(),
    ]
    .concat();
    #[cfg(feature = "stores")]
    all.extend(audits::decoders());
    #[cfg(feature = "stores")]
    all.extend(stores::decoders());
    #[cfg(feature = "stores")]
    all.extend(validators::decoders());
    all.sort_by_key(|decoder| decoder.name);
    all
}

/// The decoder of that name.
pub fn find(name: &str) -> Option<Decoder> {
    all().into_iter().find(|decoder| decoder.name == name)
}
