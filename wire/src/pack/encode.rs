//! Coding a pack as a stream: one stripe in memory at a time.

use super::{LayoutError, PackLayout};
use crate::erasure::{CodeError, Coder};
use holdfast_market_core::message::PackHeader;
use holdfast_market_core::units::{Address, ByteCount, ShardRoot};
use std::io::{self, Read};

/// Why a pack was not coded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// It has no layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Its source ended early.
    #[error("the source ended {missing} bytes before its stated length")]
    Short {
        /// How many bytes are missing.
        missing: u64,
    },
    /// Its source goes on.
    #[error("the source is longer than its stated length")]
    Long,
    /// Its source cannot be read.
    #[error("the source cannot be read: {0}")]
    Io(#[from] io::Error),
}

impl From<CodeError> for EncodeError {
    fn from(error: CodeError) -> Self {
        Self::Layout(error.into())
    }
}

/// Reads a pack stripe by stripe and codes each.
#[derive(Debug)]
pub struct StripeEncoder<R> {
    layout: PackLayout,
    coder: Coder,
    source: R,
    stripe: u64,
    left: u64,
}

impl<R: Read> StripeEncoder<R> {
    /// An encoder of `source`, which has exactly the layout's length.
    ///
    /// # Errors
    /// No such code.
    pub fn new(layout: PackLayout, source: R) -> Result<Self, EncodeError> {
        Ok(Self {
            layout,
            coder: Coder::new(layout.k(), layout.n())?,
            source,
            stripe: 0,
            left: layout.length().0,
        })
    }

    /// The n columns of the next stripe; nothing after the last, whose source must have ended.
    ///
    /// # Errors
    /// A source that ends early, goes on, or cannot be read.
    pub fn next_stripe(&mut self) -> Result<Option<Vec<Vec<u8>>>, EncodeError> {
        if self.stripe >= self.layout.stripes() {
            return match self.source.read(&mut [0u8])? {
                0 => Ok(None),
                _ => Err(EncodeError::Long),
            };
        }
        let width = usize::try_from(self.layout.column_length(self.stripe)).unwrap_or(0);
        let mut columns = vec![vec![0u8; width]; usize::from(self.layout.n())];
        for column in columns.iter_mut().take(usize::from(self.layout.k())) {
            let wanted = usize::try_from(self.left).map_or(width, |left| left.min(width));
            let (filled, _padding) = column.split_at_mut(wanted);
            self.source.read_exact(filled).map_err(|error| {
                if error.kind() == io::ErrorKind::UnexpectedEof {
                    EncodeError::Short { missing: self.left }
                } else {
                    EncodeError::Io(error)
                }
            })?;
            self.left = self.left.saturating_sub(wanted as u64);
        }
        self.coder.encode(&mut columns)?;
        self.stripe = self.stripe.saturating_add(1);
        Ok(Some(columns))
    }
}

/// Codes and hashes a pack: the header that names it. Memory is one stripe.
///
/// # Errors
/// No such code, a pack too long, a source of another length or that cannot be read.
pub fn commit(
    owner: Address,
    nonce: u64,
    (k, n): (u8, u8),
    length: ByteCount,
    source: impl Read,
) -> Result<PackHeader, EncodeError> {
    let layout = PackLayout::new(k, n, length)?;
    let mut encoder = StripeEncoder::new(layout, source)?;
    let mut hashers = vec![blake3::Hasher::new(); usize::from(n)];
    while let Some(columns) = encoder.next_stripe()? {
        for (hasher, column) in hashers.iter_mut().zip(&columns) {
            hasher.update(column);
        }
    }
    Ok(PackHeader {
        owner,
        nonce,
        k,
        n,
        length,
        shard_roots: hashers
            .iter()
            .map(|hasher| ShardRoot(*hasher.finalize().as_bytes()))
            .collect(),
        shard_length: layout.shard_length(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation
    )]
    use super::*;
    use crate::pack::COLUMN;

    #[test]
    fn a_source_of_another_length_is_refused() {
        let commit = |stated: u64, source: &[u8]| {
            commit(Address([0; 32]), 0, (2, 4), ByteCount(stated), source)
        };
        assert!(matches!(
            commit(10, &[0; 9]),
            Err(EncodeError::Short { .. })
        ));
        assert!(matches!(commit(10, &[0; 11]), Err(EncodeError::Long)));
        assert!(commit(10, &[0; 10]).is_ok());
        let empty = commit(0, &[]).unwrap();
        assert_eq!(empty.shard_length, ByteCount(0));
        assert_eq!(
            empty.shard_roots,
            vec![ShardRoot(*blake3::hash(b"").as_bytes()); 4]
        );
        assert!(matches!(commit(0, &[1]), Err(EncodeError::Long)));
    }

    #[test]
    fn data_shards_hold_the_packs_bytes_column_by_column() {
        let pack: Vec<u8> = (0..3 * COLUMN + 7).map(|at| (at % 251) as u8).collect();
        let layout = PackLayout::new(2, 3, ByteCount(pack.len() as u64)).unwrap();
        let mut encoder = StripeEncoder::new(layout, pack.as_slice()).unwrap();
        let mut shards = vec![Vec::new(); 3];
        while let Some(columns) = encoder.next_stripe().unwrap() {
            for (shard, column) in shards.iter_mut().zip(columns) {
                shard.extend(column);
            }
        }
        let column = COLUMN as usize;
        assert_eq!(shards[0][..column], pack[..column]);
        assert_eq!(shards[1][..column], pack[column..2 * column]);
        let rest = &pack[2 * column..];
        let width = rest.len().div_ceil(2);
        assert_eq!(shards[0][column..], rest[..width]);
        assert_eq!(
            shards[1][column..column + rest.len() - width],
            rest[width..]
        );
        let header = commit(
            Address([0; 32]),
            0,
            (2, 3),
            layout.length(),
            pack.as_slice(),
        )
        .unwrap();
        for (root, shard) in header.shard_roots.iter().zip(&shards) {
            assert_eq!(root.as_bytes(), blake3::hash(shard).as_bytes());
        }
    }
}
