//! Which bytes of which shards make a range of a pack.

use super::{COLUMN, PackLayout};
use crate::protocol::ByteRange;

/// Stripes that are read at once: 512 KiB of each shard.
const STRIPES_AT_ONCE: u64 = 8;

/// A part of a range that is read at once: the same bytes of several shards.
///
/// It is either one stripe, of which some data columns are wanted, or several whole ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Which bytes of each shard.
    pub shard: ByteRange,
    /// The first and last data column that hold wanted bytes.
    pub columns: (u8, u8),
    /// Where the wanted bytes lie in the pack.
    pub pack: ByteRange,
    /// The first stripe.
    first: u64,
}

impl PackLayout {
    /// The segments that make a range of the pack, in order; none for what lies beyond its end.
    pub fn segments(&self, range: ByteRange) -> Vec<Segment> {
        let end = range.end.min(self.length);
        let mut at = range.start;
        let mut segments = Vec::new();
        while at < end {
            let segment = self.segment(at, end);
            // Always forward: a segment holds at least the byte at `at`.
            at = segment.pack.end.max(at.saturating_add(1));
            segments.push(segment);
        }
        segments
    }

    /// The segment that begins at byte `at` of the pack and ends at most at `end`.
    fn segment(&self, at: u64, end: u64) -> Segment {
        let stripe_bytes = self.stripe_bytes();
        let first = at.checked_div(stripe_bytes).unwrap_or(0);
        let stripe_start = first.saturating_mul(stripe_bytes);
        let stripe_end = stripe_start.saturating_add(stripe_bytes).min(self.length);
        let shard_start = first.saturating_mul(COLUMN);
        let whole = at == stripe_start && end >= stripe_end;
        if whole {
            let wanted = end.saturating_sub(at);
            // The pack's last stripe counts as whole where the range reaches the pack's end.
            let mut stripes = wanted.checked_div(stripe_bytes).unwrap_or(0);
            if end == self.length {
                stripes = wanted.div_ceil(stripe_bytes);
            }
            let stripes = stripes.clamp(1, STRIPES_AT_ONCE);
            let last = first.saturating_add(stripes).saturating_sub(1);
            let shard_end = last
                .saturating_mul(COLUMN)
                .saturating_add(self.column_length(last));
            return Segment {
                shard: ByteRange {
                    start: shard_start,
                    end: shard_end,
                },
                columns: (0, self.k.saturating_sub(1)),
                pack: ByteRange {
                    start: at,
                    end: first
                        .saturating_add(stripes)
                        .saturating_mul(stripe_bytes)
                        .min(self.length),
                },
                first,
            };
        }
        let end = end.min(stripe_end);
        let width = self.column_length(first).max(1);
        let (low, high) = (
            at.saturating_sub(stripe_start),
            end.saturating_sub(stripe_start),
        );
        let column = |offset: u64| u8::try_from(offset / width).unwrap_or(u8::MAX);
        let columns = (column(low), column(high.saturating_sub(1)));
        // Within one column only its wanted bytes are read; across columns, all of each.
        let (from, to) = if columns.0 == columns.1 {
            let start = low % width;
            (start, start.saturating_add(high.saturating_sub(low)))
        } else {
            (0, width)
        };
        Segment {
            shard: ByteRange {
                start: shard_start.saturating_add(from),
                end: shard_start.saturating_add(to),
            },
            columns,
            pack: ByteRange { start: at, end },
            first,
        }
    }

    /// Puts a segment's wanted bytes together from its data columns: `columns` has, for each data
    /// shard, the bytes of [`Segment::shard`], where they were wanted.
    ///
    /// Nothing is returned where a wanted column is missing or of another length.
    pub fn assemble(&self, segment: &Segment, columns: &[Option<Vec<u8>>]) -> Option<Vec<u8>> {
        let wanted = usize::try_from(segment.pack.length().0).ok()?;
        let mut bytes = Vec::with_capacity(wanted);
        let (first, last) = segment.columns;
        let mut stripe = segment.first;
        let mut at = segment.shard.start;
        while at < segment.shard.end {
            let stripe_start = stripe.saturating_mul(COLUMN);
            let stripe_end = stripe_start.saturating_add(self.column_length(stripe));
            let end = stripe_end.min(segment.shard.end);
            let low = usize::try_from(at.checked_sub(segment.shard.start)?).ok()?;
            let high = usize::try_from(end.checked_sub(segment.shard.start)?).ok()?;
            for column in first..=last {
                let column = columns.get(usize::from(column))?.as_ref()?;
                bytes.extend_from_slice(column.get(low..high)?);
            }
            if end <= at {
                return None;
            }
            at = end;
            stripe = stripe.saturating_add(1);
        }
        // Across columns of one stripe the wanted bytes begin and end inside a column.
        let skip = if first == last {
            0
        } else {
            let width = self.column_length(segment.first);
            let start = segment
                .first
                .saturating_mul(self.stripe_bytes())
                .saturating_add(u64::from(first).saturating_mul(width));
            usize::try_from(segment.pack.start.checked_sub(start)?).ok()?
        };
        bytes.drain(..skip.min(bytes.len()));
        if bytes.len() < wanted {
            return None;
        }
        bytes.truncate(wanted);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation
    )]
    use super::*;
    use crate::pack::encode::StripeEncoder;
    use holdfast_market_core::units::ByteCount;
    use proptest::prelude::*;

    fn pack(length: u64) -> Vec<u8> {
        (0..length)
            .map(|at| (at ^ at >> 8 ^ at >> 13) as u8)
            .collect()
    }

    fn shards(layout: PackLayout, pack: &[u8]) -> Vec<Vec<u8>> {
        let mut encoder = StripeEncoder::new(layout, pack).unwrap();
        let mut shards = vec![Vec::new(); layout.n().into()];
        while let Some(columns) = encoder.next_stripe().unwrap() {
            for (shard, column) in shards.iter_mut().zip(columns) {
                shard.extend(column);
            }
        }
        shards
    }

    fn read(layout: PackLayout, shards: &[Vec<u8>], range: ByteRange) -> Vec<u8> {
        let mut bytes = Vec::new();
        for segment in layout.segments(range) {
            let (start, end) = (segment.shard.start as usize, segment.shard.end as usize);
            let wanted = segment.columns.0..=segment.columns.1;
            let columns: Vec<_> = (0..layout.k())
                .map(|index| {
                    wanted
                        .contains(&index)
                        .then(|| shards[usize::from(index)][start..end].to_vec())
                })
                .collect();
            bytes.extend(layout.assemble(&segment, &columns).unwrap());
        }
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn any_range_is_the_naive_slice(
            k in 1u8..7,
            length in prop_oneof![0u64..64, 0u64..(6 * COLUMN), 0u64..(20 * COLUMN)],
            start in 0.0f64..1.1, span in prop_oneof![0.0f64..0.01, 0.0f64..1.2],
        ) {
            let layout = PackLayout::new(k, k + 1, ByteCount(length)).unwrap();
            let pack = pack(length);
            let shards = shards(layout, &pack);
            let start = (start * length as f64) as u64;
            let end = start + (span * length as f64) as u64;
            let expected = &pack[start.min(length) as usize..end.min(length) as usize];
            let read = read(layout, &shards, ByteRange { start, end });
            prop_assert!(read == expected);
        }
    }

    #[test]
    fn ranges_that_touch_an_edge_are_the_naive_slice() {
        let length = 2 * 3 * COLUMN + 1000;
        let layout = PackLayout::new(3, 4, ByteCount(length)).unwrap();
        let pack = pack(length);
        let shards = shards(layout, &pack);
        let stripe = 3 * COLUMN;
        let edges = [
            0,
            1,
            COLUMN - 1,
            COLUMN,
            COLUMN + 1,
            stripe - 1,
            stripe,
            stripe + 1,
            2 * stripe,
            2 * stripe + 333,
            2 * stripe + 334,
            2 * stripe + 335,
            length - 1,
            length,
        ];
        for start in edges {
            for end in edges.into_iter().filter(|end| *end >= start) {
                let read = read(layout, &shards, ByteRange { start, end });
                assert!(read == pack[start as usize..end as usize], "{start}..{end}");
            }
        }
    }

    #[test]
    fn a_small_range_reads_one_column_only() {
        let layout = PackLayout::new(3, 6, ByteCount(10 * 3 * COLUMN)).unwrap();
        let segments = layout.segments(ByteRange {
            start: COLUMN + 10,
            end: COLUMN + 20,
        });
        assert_eq!(segments.len(), 1);
        assert_eq!(segments[0].columns, (1, 1));
        assert_eq!(segments[0].shard, ByteRange { start: 10, end: 20 });
    }
}
