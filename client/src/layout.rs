//! How contents lie in packs: one after the other, many small ones in one pack, a large one over
//! several, cut between chunks only.

use crate::manifest::Extent;
use crate::stream::{Chunks, SEALED_CHUNK_BYTES};
use crate::words::size;
use holdfast_market_core::units::ByteCount;
use serde::{Deserialize, Serialize};

/// The most that one pack holds, whatever its providers have (PROTOCOL, *From object to deal*).
pub const PACK_LIMIT: ByteCount = ByteCount(64 << 20);

/// A run of chunks of one content, as it lies in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which content, by the number under which it was placed.
    pub content: u32,
    /// From which chunk.
    pub first: u64,
    /// How many.
    pub chunks: u64,
}

/// What one pack holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackPlan {
    /// Bytes of ciphertext.
    pub length: ByteCount,
    /// What lies in it, in order.
    pub parts: Vec<Part>,
}

/// Why something cannot be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// A pack takes less than one chunk.
    #[error("a pack of {} is too small to hold anything", size(*.0))]
    SmallPack(ByteCount),
    /// What must lie in one pack, the list of objects, does not fit into any.
    #[error(
        "the list of all that is stored takes {} and lies in one pack, and the providers that answer have room for packs of {}",
        size(*.length), size(*.capacity)
    )]
    Whole {
        /// How long it is.
        length: ByteCount,
        /// What a pack takes.
        capacity: ByteCount,
    },
    /// More packs than an extent numbers.
    #[error("this needs more packs than one object has")]
    TooMany,
}

/// Packs being filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    capacity: u64,
    packs: Vec<PackPlan>,
}

impl Layout {
    /// Empty packs of `capacity` bytes each.
    ///
    /// # Errors
    /// A capacity below one chunk.
    pub fn new(capacity: ByteCount) -> Result<Self, LayoutError> {
        let capacity = capacity.0.min(PACK_LIMIT.0);
        if capacity < SEALED_CHUNK_BYTES as u64 {
            return Err(LayoutError::SmallPack(ByteCount(capacity)));
        }
        Ok(Self {
            capacity,
            packs: Vec::new(),
        })
    }

    /// Places the sealed chunks of one content after what is there.
    ///
    /// # Errors
    /// More packs than can be numbered.
    pub fn place(&mut self, content: u32, chunks: Chunks) -> Result<Vec<Extent>, LayoutError> {
        let full = SEALED_CHUNK_BYTES as u64;
        let total = chunks.sealed_length().0;
        let mut extents = Vec::new();
        let mut first = 0;
        while first < chunks.count() {
            let placed = first * full;
            let left = total - placed;
            let room = self.room();
            let take = if left <= room {
                chunks.count() - first
            } else {
                room / full
            };
            if take == 0 {
                self.packs.push(PackPlan::default());
                continue;
            }
            let length = left.min(take * full);
            let part = Part {
                content,
                first,
                chunks: take,
            };
            extents.push(self.append(part, length)?);
            first += take;
        }
        Ok(extents)
    }

    /// Reserves `length` bytes at the end of the last pack, where they lie together; a new pack
    /// is begun where they do not fit.
    ///
    /// # Errors
    /// More than a pack takes.
    pub fn reserve_tail(&mut self, length: ByteCount) -> Result<Extent, LayoutError> {
        if length.0 > self.capacity {
            return Err(LayoutError::Whole {
                length,
                capacity: ByteCount(self.capacity),
            });
        }
        if self.room() < length.0 {
            self.packs.push(PackPlan::default());
        }
        let number = self.last_number()?;
        let pack = self.packs.last_mut().ok_or(LayoutError::TooMany)?;
        let offset = pack.length;
        pack.length.0 += length.0;
        Ok(Extent {
            pack: number,
            offset,
            length,
        })
    }

    /// The packs as they were filled.
    pub fn packs(&self) -> &[PackPlan] {
        &self.packs
    }

    fn room(&self) -> u64 {
        self.packs
            .last()
            .map_or(0, |pack| self.capacity.saturating_sub(pack.length.0))
    }

    fn last_number(&self) -> Result<u32, LayoutError> {
        let last = self
            .packs
            .len()
            .checked_sub(1)
            .ok_or(LayoutError::TooMany)?;
        u32::try_from(last).map_err(|_| LayoutError::TooMany)
    }

    fn append(&mut self, part: Part, length: u64) -> Result<Extent, LayoutError> {
        let number = self.last_number()?;
        let pack = self.packs.last_mut().ok_or(LayoutError::TooMany)?;
        let offset = pack.length;
        pack.length.0 += length;
        pack.parts.push(part);
        Ok(Extent {
            pack: number,
            offset,
            length: ByteCount(length),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::manifest::check_extents;
    use proptest::prelude::*;

    const CHUNK: u64 = SEALED_CHUNK_BYTES as u64;

    fn chunks(plain: u64) -> Chunks {
        Chunks::of(ByteCount(plain)).unwrap()
    }

    #[test]
    fn small_contents_share_a_pack() {
        let mut layout = Layout::new(PACK_LIMIT).unwrap();
        for content in 0..200 {
            layout.place(content, chunks(1000)).unwrap();
        }
        assert_eq!(layout.packs().len(), 1);
        assert_eq!(layout.packs()[0].length.0, 200 * 1016);
        assert_eq!(layout.packs()[0].parts.len(), 200);
    }

    #[test]
    fn a_large_content_spans_packs_between_chunks() {
        let mut layout = Layout::new(ByteCount(3 * CHUNK + 100)).unwrap();
        layout.place(0, chunks(10)).unwrap();
        let extents = layout.place(1, chunks(7 * 65_536)).unwrap();
        let lengths: Vec<u64> = extents
            .iter()
            .map(|extent| extent.length.0 / CHUNK)
            .collect();
        assert_eq!(lengths, [3, 3, 1]);
        check_extents(chunks(7 * 65_536), &extents).unwrap();
    }

    #[test]
    fn a_tail_lies_in_one_pack_or_is_refused() {
        let mut layout = Layout::new(ByteCount(2 * CHUNK)).unwrap();
        layout.place(0, chunks(65_536)).unwrap();
        let tail = layout.reserve_tail(ByteCount(CHUNK)).unwrap();
        assert_eq!((tail.pack, tail.offset.0), (0, CHUNK));
        let tail = layout.reserve_tail(ByteCount(1)).unwrap();
        assert_eq!((tail.pack, tail.offset.0), (1, 0));
        assert!(matches!(
            layout.reserve_tail(ByteCount(2 * CHUNK + 1)),
            Err(LayoutError::Whole { .. })
        ));
    }

    #[test]
    fn a_pack_without_room_for_a_chunk_is_refused() {
        assert!(Layout::new(ByteCount(CHUNK - 1)).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn nothing_overlaps_and_nothing_is_left_out(
            capacity in CHUNK..6 * CHUNK,
            sizes in prop::collection::vec(0u64..400_000, 1..40),
        ) {
            let mut layout = Layout::new(ByteCount(capacity)).unwrap();
            let mut filled: Vec<u64> = Vec::new();
            for (content, size) in (0..).zip(&sizes) {
                let extents = layout.place(content, chunks(*size)).unwrap();
                prop_assert_eq!(check_extents(chunks(*size), &extents), Ok(()));
                for extent in extents {
                    let pack = extent.pack as usize;
                    filled.resize(filled.len().max(pack + 1), 0);
                    prop_assert_eq!(filled[pack], extent.offset.0);
                    filled[pack] += extent.length.0;
                    prop_assert!(filled[pack] <= capacity);
                }
            }
            let lengths: Vec<u64> = layout.packs().iter().map(|pack| pack.length.0).collect();
            prop_assert_eq!(filled, lengths);
        }
    }
}
