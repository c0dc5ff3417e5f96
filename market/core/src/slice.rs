//! Bytes of a shard under its BLAKE3 root, without the rest of the shard.
//!
//! The slice is what `bao` calls one, at chunk groups of 16 KiB: the tree's nodes in pre-order,
//! for an inner node above a group the two hashes below it, for a group its bytes; what does not
//! touch the range is left out. The range is rounded out to whole groups, and no length is written:
//! the ledger knows it.

use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};
use std::ops::Range;

/// Bytes of a chunk group.
pub const GROUP_BYTES: u64 = 16 * 1024;

/// Why a slice does not show the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SliceError {
    /// The range is empty or leaves the content.
    #[error("the range is empty or not inside the content")]
    Range,
    /// Too short or too long for the range.
    #[error("the slice has another length than its range takes")]
    Length,
    /// Hashes that do not fit.
    #[error("the slice does not hash to the root")]
    Root,
}

/// What the tree walk needs to know.
struct Walk<'a> {
    range: &'a Range<u64>,
    length: u64,
}

impl Walk<'_> {
    fn checked<'a>(length: u64, range: &'a Range<u64>) -> Result<Walk<'a>, SliceError> {
        if range.start < range.end && range.end <= length {
            Ok(Walk { range, length })
        } else {
            Err(SliceError::Range)
        }
    }

    fn touches(&self, part: &Range<u64>) -> bool {
        // A group's bytes are all shown where any of them is asked for.
        part.start < self.range.end && self.range.start < part.end
    }

    fn is_root(&self, part: &Range<u64>) -> bool {
        part.end - part.start == self.length
    }
}

/// Splits a part of the content above a group as BLAKE3 does.
fn halves(part: &Range<u64>) -> (Range<u64>, Range<u64>) {
    let middle = part.start + left_subtree_len(part.end - part.start);
    (part.start..middle, middle..part.end)
}

fn hash_group(bytes: &[u8], start: u64, is_root: bool) -> ChainingValue {
    if is_root {
        return *blake3::hash(bytes).as_bytes();
    }
    let mut hasher = Hasher::new();
    hasher.set_input_offset(start);
    hasher.update(bytes);
    hasher.finalize_non_root()
}

fn merge(left: &ChainingValue, right: &ChainingValue, is_root: bool) -> ChainingValue {
    if is_root {
        *merge_subtrees_root(left, right, Mode::Hash).as_bytes()
    } else {
        merge_subtrees_non_root(left, right, Mode::Hash)
    }
}

/// Makes the slice of `range` from the whole content.
///
/// # Errors
/// A range that is empty or outside the content.
pub fn encode(content: &[u8], range: &Range<u64>) -> Result<Vec<u8>, SliceError> {
    let walk = Walk::checked(content.len() as u64, range)?;
    let mut slice = Vec::new();
    write_part(&walk, content, &(0..walk.length), &mut slice)?;
    Ok(slice)
}

fn bytes_of<'a>(content: &'a [u8], part: &Range<u64>) -> Result<&'a [u8], SliceError> {
    let place = |at: u64| usize::try_from(at).map_err(|_| SliceError::Range);
    content
        .get(place(part.start)?..place(part.end)?)
        .ok_or(SliceError::Range)
}

fn write_part(
    walk: &Walk<'_>,
    content: &[u8],
    part: &Range<u64>,
    slice: &mut Vec<u8>,
) -> Result<(), SliceError> {
    if !walk.touches(part) {
        return Ok(());
    }
    if part.end - part.start <= GROUP_BYTES {
        slice.extend_from_slice(bytes_of(content, part)?);
        return Ok(());
    }
    let (left, right) = halves(part);
    slice.extend_from_slice(&subtree(content, &left)?);
    slice.extend_from_slice(&subtree(content, &right)?);
    write_part(walk, content, &left, slice)?;
    write_part(walk, content, &right, slice)
}

/// The chaining value of a part that is not the root.
fn subtree(content: &[u8], part: &Range<u64>) -> Result<ChainingValue, SliceError> {
    if part.end - part.start <= GROUP_BYTES {
        return Ok(hash_group(bytes_of(content, part)?, part.start, false));
    }
    let (left, right) = halves(part);
    Ok(merge(
        &subtree(content, &left)?,
        &subtree(content, &right)?,
        false,
    ))
}

/// The bytes of `range`, where `slice` shows them under `root` of a content of that length.
///
/// # Errors
/// A slice that shows nothing of the kind.
pub fn verify(
    root: &[u8; 32],
    length: u64,
    range: &Range<u64>,
    slice: &[u8],
) -> Result<Vec<u8>, SliceError> {
    let walk = Walk::checked(length, range)?;
    let mut rest = slice;
    let mut shown = Vec::new();
    read_part(&walk, &(0..length), root, &mut rest, &mut shown)?;
    if rest.is_empty() {
        Ok(shown)
    } else {
        Err(SliceError::Length)
    }
}

fn read<'a>(rest: &mut &'a [u8], bytes: u64) -> Result<&'a [u8], SliceError> {
    let bytes = usize::try_from(bytes).map_err(|_| SliceError::Length)?;
    let (read, left) = rest.split_at_checked(bytes).ok_or(SliceError::Length)?;
    *rest = left;
    Ok(read)
}

fn read_hash(rest: &mut &[u8]) -> Result<ChainingValue, SliceError> {
    read(rest, 32)?.try_into().map_err(|_| SliceError::Length)
}

/// Recursion is as deep as the tree: at most 50 levels for any 64-bit length.
fn read_part(
    walk: &Walk<'_>,
    part: &Range<u64>,
    expected: &ChainingValue,
    rest: &mut &[u8],
    shown: &mut Vec<u8>,
) -> Result<(), SliceError> {
    if !walk.touches(part) {
        return Ok(());
    }
    let is_root = walk.is_root(part);
    if part.end - part.start <= GROUP_BYTES {
        let bytes = read(rest, part.end - part.start)?;
        if hash_group(bytes, part.start, is_root) != *expected {
            return Err(SliceError::Root);
        }
        let asked = walk.range.start.max(part.start)..walk.range.end.min(part.end);
        let asked = (asked.start - part.start)..(asked.end - part.start);
        shown.extend_from_slice(bytes_of(bytes, &asked)?);
        return Ok(());
    }
    let (left_hash, right_hash) = (read_hash(rest)?, read_hash(rest)?);
    if merge(&left_hash, &right_hash, is_root) != *expected {
        return Err(SliceError::Root);
    }
    let (left, right) = halves(part);
    read_part(walk, &left, &left_hash, rest, shown)?;
    read_part(walk, &right, &right_hash, rest, shown)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation
    )]
    use super::*;

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i / 7 + i % 251) as u8).collect()
    }

    #[test]
    fn slices_of_contents_of_many_lengths_show_their_bytes() {
        for length in [
            1, 127, 1024, 16384, 16385, 32768, 40000, 70000, 163840, 163841,
        ] {
            let content = content(length);
            let root = *blake3::hash(&content).as_bytes();
            let length = length as u64;
            for start in [0, length / 3, length.saturating_sub(127), 16300] {
                let range = start..(start + 127).min(length);
                if range.start >= range.end {
                    continue;
                }
                let slice = encode(&content, &range).unwrap();
                assert!(slice.len() as u64 <= 2 * GROUP_BYTES + 64 * 8);
                let shown = verify(&root, length, &range, &slice).unwrap();
                assert_eq!(shown, content[range.start as usize..range.end as usize]);
            }
        }
    }

    #[test]
    fn a_slice_that_was_touched_anywhere_is_refused() {
        let content = content(70_000);
        let root = *blake3::hash(&content).as_bytes();
        let range = 16_300..16_427;
        let slice = encode(&content, &range).unwrap();
        for place in (0..slice.len()).step_by(97) {
            let mut touched = slice.clone();
            touched[place] ^= 1;
            assert_eq!(
                verify(&root, 70_000, &range, &touched),
                Err(SliceError::Root)
            );
        }
        let longer = [slice.as_slice(), &[0]].concat();
        assert_eq!(
            verify(&root, 70_000, &range, &longer),
            Err(SliceError::Length)
        );
        let shorter = &slice[..slice.len() - 1];
        assert_eq!(
            verify(&root, 70_000, &range, shorter),
            Err(SliceError::Length)
        );
        // A length with another number of groups has another tree.
        assert!(verify(&root, 65_536, &range, &slice).is_err());
        assert!(verify(&root, 150_000, &range, &slice).is_err());
        for range in [5..5, 0..70_001, 69_999..70_001] {
            assert_eq!(
                verify(&root, 70_000, &range, &slice),
                Err(SliceError::Range)
            );
        }
    }
}
