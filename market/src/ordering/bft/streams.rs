//! Parts of blocks put together again. They come in any order, twice or never, and from anybody:
//! what is kept of strangers is little and goes first.

use super::parts::{Announcement, First, PIECE_BYTES, Part};
use holdfast_market_core::units::{Height, Round};
use std::collections::BTreeMap;

/// Streams whose first part was right, at most.
const MOST_ANNOUNCED: usize = 8;
/// Streams whose first part has not come yet, at most.
const MOST_UNANNOUNCED: usize = 8;
/// Streams of one round, at most.
const MOST_OF_A_ROUND: usize = 4;
/// Pieces that are kept of one of them, at most.
const MOST_AHEAD: usize = 4;

/// A stream's name: its publisher's, and the one that the publisher gave it.
pub type StreamKey = (Vec<u8>, Vec<u8>);

/// A block whose bytes are all there.
#[derive(Debug, PartialEq, Eq)]
pub struct Whole {
    /// What was announced.
    pub first: First,
    /// As many bytes as were announced.
    pub bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct Open {
    first: Option<First>,
    pieces: BTreeMap<u64, Vec<u8>>,
    /// Its place in the order of beginning.
    begun: u64,
}

impl Open {
    fn whole(&self) -> bool {
        let pieces = self
            .first
            .as_ref()
            .and_then(|first| first.announcement.pieces());
        pieces.is_some_and(|pieces| self.pieces.len() == pieces)
    }

    /// Whether a piece of that number and length is one of the announced block.
    fn fits(first: &First, number: u64, length: usize) -> bool {
        let Some(pieces) = first.announcement.pieces() else {
            return false;
        };
        let bytes = usize::try_from(first.announcement.bytes.0).unwrap_or(usize::MAX);
        let last = bytes.saturating_sub(pieces.saturating_sub(1).saturating_mul(PIECE_BYTES));
        match usize::try_from(number) {
            Ok(number) if (1..pieces).contains(&number) => length == PIECE_BYTES,
            Ok(number) if number == pieces => length == last,
            _ => false,
        }
    }
}

/// The streams that are open.
#[derive(Debug, Default)]
pub struct Streams {
    open: BTreeMap<StreamKey, Open>,
    begun: u64,
}

impl Streams {
    /// Takes a part; `is_right` says whether a first part is of one whose turn it is. Gives the
    /// block whose last missing part it was.
    pub fn take(
        &mut self,
        key: StreamKey,
        number: u64,
        part: Part,
        is_right: impl FnOnce(&First) -> bool,
    ) -> Option<Whole> {
        match part {
            Part::First(first) => {
                let known = self.open.get(&key);
                if number != 0 || known.is_some_and(|open| open.first.is_some()) {
                    return None;
                }
                if first.announcement.pieces().is_none() || !is_right(&first) {
                    self.open.remove(&key);
                    return None;
                }
                self.make_place(&key, &first.announcement);
                let begun = self.next();
                let open = self.open.entry(key.clone()).or_default();
                open.begun = begun;
                open.pieces
                    .retain(|number, piece| Open::fits(&first, *number, piece.len()));
                open.first = Some(*first);
                self.make_room(&key);
            }
            Part::Piece(piece) => {
                if number == 0 || piece.len() > PIECE_BYTES {
                    return None;
                }
                if !self.open.contains_key(&key) {
                    let begun = self.next();
                    // A stranger's second stream takes the place of its first.
                    self.open
                        .retain(|other, open| open.first.is_some() || other.0 != key.0);
                    let open = Open {
                        begun,
                        ..Open::default()
                    };
                    self.open.insert(key.clone(), open);
                    self.make_room(&key);
                }
                let open = self.open.get_mut(&key)?;
                let fits = match &open.first {
                    Some(first) => Open::fits(first, number, piece.len()),
                    None => open.pieces.len() < MOST_AHEAD,
                };
                if fits {
                    open.pieces.entry(number).or_insert(piece);
                }
            }
        }
        if !self.open.get(&key)?.whole() {
            return None;
        }
        let open = self.open.remove(&key)?;
        Some(Whole {
            first: open.first?,
            bytes: open.pieces.into_values().flatten().collect(),
        })
    }

    /// Forgets what is announced for heights up to `height`.
    pub fn forget(&mut self, height: Height) {
        self.open.retain(|_, open| {
            let first = open.first.as_ref();
            first.is_none_or(|first| first.announcement.height > height)
        });
    }

    /// Forgets what is announced for heights below `height`, or for rounds of it below `round`.
    pub fn forget_before(&mut self, height: Height, round: Round) {
        self.open.retain(|_, open| {
            let first = open.first.as_ref().map(|first| &first.announcement);
            first.is_none_or(|one| (one.height, one.round) >= (height, round))
        });
    }

    fn next(&mut self) -> u64 {
        self.begun = self.begun.saturating_add(1);
        self.begun
    }

    /// A publisher has one stream for a round; of all that announce one block for a round few are
    /// put together at once: whoever sends an announcement on has not made it.
    fn make_place(&mut self, key: &StreamKey, one: &Announcement) {
        let same_round = |open: &Open| {
            let first = open.first.as_ref().map(|first| &first.announcement);
            first.is_some_and(|other| (other.height, other.round) == (one.height, one.round))
        };
        self.open
            .retain(|other, open| other.0 != key.0 || other == key || !same_round(open));
        let same: Vec<(u64, StreamKey)> = self
            .open
            .iter()
            .filter(|(_, open)| same_round(open))
            .map(|(key, open)| (open.begun, key.clone()))
            .collect();
        if same.len() >= MOST_OF_A_ROUND
            && let Some((_, newest)) = same.into_iter().max()
        {
            // The first to come stay: the proposer's own parts are there before anybody's copy.
            self.open.remove(&newest);
        }
    }

    /// Of strangers' streams the oldest go; of announced ones those that are needed last.
    fn make_room(&mut self, newest: &StreamKey) {
        let strangers = self.open.iter().filter(|(_, open)| open.first.is_none());
        if strangers.clone().count() > MOST_UNANNOUNCED
            && let Some(key) = strangers
                .filter(|(key, _)| *key != newest)
                .min_by_key(|(_, open)| open.begun)
                .map(|(key, _)| key.clone())
        {
            self.open.remove(&key);
        }
        let place = |open: &Open| -> Option<(Height, Round, u64)> {
            let announcement = &open.first.as_ref()?.announcement;
            Some((announcement.height, announcement.round, open.begun))
        };
        let announced = self.open.iter().filter(|(_, open)| open.first.is_some());
        if announced.clone().count() > MOST_ANNOUNCED
            && let Some(key) = announced
                .max_by_key(|(_, open)| place(open))
                .map(|(key, _)| key.clone())
        {
            self.open.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::super::parts::{LONGEST_BLOCK, cut};
    use super::*;
    use holdfast_market_core::units::{Address, BlockId, ByteCount, Signature};
    use rand_chacha::ChaCha8Rng;
    use rand_core::{RngCore, SeedableRng};

    fn first(height: u64, round: u32, bytes: usize) -> First {
        First {
            announcement: Announcement {
                height: Height(height),
                round: Round(round),
                valid_round: None,
                block: BlockId([1; 32]),
                bytes: ByteCount(bytes as u64),
                proposer: Address([2; 32]),
            },
            signature: Signature([3; 64]),
            built: Signature([4; 64]),
        }
    }

    fn block(bytes: usize) -> Vec<u8> {
        let mut content = vec![0; bytes];
        ChaCha8Rng::seed_from_u64(bytes as u64).fill_bytes(&mut content);
        content
    }

    fn key(publisher: u8, stream: u8) -> StreamKey {
        (vec![publisher], vec![stream])
    }

    #[test]
    fn parts_in_any_order_and_twice_are_the_block_again() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for bytes in [
            1,
            PIECE_BYTES - 1,
            PIECE_BYTES,
            PIECE_BYTES + 1,
            3 * PIECE_BYTES,
        ] {
            let content = block(bytes);
            for _ in 0..20 {
                let mut parts: Vec<_> = cut(first(5, 0, bytes), &content).collect();
                parts.extend(parts.clone());
                for index in (1..parts.len()).rev() {
                    let other = random.next_u32() as usize % (index + 1);
                    parts.swap(index, other);
                }
                let mut streams = Streams::default();
                let whole = parts
                    .into_iter()
                    .find_map(|(number, part)| streams.take(key(1, 1), number, part, |_| true));
                assert_eq!(whole.unwrap().bytes, content);
            }
        }
    }

    #[test]
    fn a_block_without_one_of_its_parts_is_never_whole() {
        let content = block(2 * PIECE_BYTES + 7);
        for missing in 0..4 {
            let mut streams = Streams::default();
            for (number, part) in cut(first(5, 0, content.len()), &content) {
                if number != missing {
                    assert_eq!(streams.take(key(1, 1), number, part, |_| true), None);
                }
            }
        }
    }

    #[test]
    fn what_is_announced_by_a_stranger_or_longer_than_any_block_is_not_kept() {
        let mut streams = Streams::default();
        let mut take = |first: First, right| {
            let part = Part::First(Box::new(first));
            let whole = streams.take(key(1, 1), 0, part, |_| right);
            assert_eq!(whole, None);
            streams.open.len()
        };
        assert_eq!(take(first(5, 0, 10), false), 0);
        assert_eq!(take(first(5, 0, 0), true), 0);
        assert_eq!(take(first(5, 0, LONGEST_BLOCK + 1), true), 0);
        assert_eq!(take(first(5, 0, LONGEST_BLOCK), true), 1);
    }

    #[test]
    fn a_thousand_publishers_take_no_more_room_than_few_and_do_not_drive_out_what_is_announced() {
        let content = block(PIECE_BYTES + 9);
        let mut parts = cut(first(5, 0, content.len()), &content);
        let mut streams = Streams::default();
        let (number, part) = parts.next().unwrap();
        streams.take(key(1, 1), number, part, |_| true);
        for publisher in 0..1000u32 {
            for number in 1..20u8 {
                let stream = (publisher.to_le_bytes().to_vec(), vec![number]);
                let piece = Part::Piece(vec![7; 100]);
                assert_eq!(streams.take(stream, number.into(), piece, |_| true), None);
            }
        }
        let strangers = streams.open.values().filter(|open| open.first.is_none());
        assert!(strangers.clone().count() <= MOST_UNANNOUNCED);
        assert!(
            strangers
                .clone()
                .all(|open| open.pieces.len() <= MOST_AHEAD)
        );
        let whole =
            parts.find_map(|(number, part)| streams.take(key(1, 1), number, part, |_| true));
        assert_eq!(whole.unwrap().bytes, content);
    }

    #[test]
    fn of_announced_blocks_those_of_the_nearest_rounds_stay() {
        let mut streams = Streams::default();
        for round in (0..30u8).rev() {
            let part = Part::First(Box::new(first(5, round.into(), 10)));
            streams.take(key(1, round), 0, part, |_| true);
        }
        let mut rounds: Vec<u32> = streams
            .open
            .values()
            .map(|open| open.first.as_ref().unwrap().announcement.round.0)
            .collect();
        rounds.sort_unstable();
        assert_eq!(rounds, [0, 1, 2, 3, 4, 5, 6, 7]);
        streams.forget(Height(5));
        assert!(streams.open.is_empty());
    }

    #[test]
    fn copies_of_an_announcement_do_not_drive_out_the_first_and_past_rounds_are_forgotten() {
        let content = block(PIECE_BYTES + 9);
        let parts: Vec<_> = cut(first(5, 3, content.len()), &content).collect();
        let mut streams = Streams::default();
        let (number, part) = parts[0].clone();
        streams.take(key(1, 1), number, part.clone(), |_| true);
        for publisher in 2..200 {
            for stream in 0..3 {
                streams.take(key(publisher, stream), number, part.clone(), |_| true);
            }
        }
        assert!(streams.open.len() <= MOST_OF_A_ROUND);
        for round in 0..3u8 {
            let old = Part::First(Box::new(first(5, round.into(), 10)));
            streams.take(key(9, 50 + round), 0, old, |_| true);
        }
        streams.forget_before(Height(5), Round(3));
        let rounds = |open: &Open| open.first.as_ref().unwrap().announcement.round;
        assert!(streams.open.values().all(|open| rounds(open) == Round(3)));
        let mut rest = parts.into_iter().skip(1);
        let whole = rest.find_map(|(number, part)| streams.take(key(1, 1), number, part, |_| true));
        assert_eq!(whole.unwrap().bytes, content);
    }

    #[test]
    fn pieces_of_another_length_or_number_than_announced_are_not_taken() {
        let content = block(PIECE_BYTES + 9);
        let parts: Vec<_> = cut(first(5, 0, content.len()), &content).collect();
        let mut streams = Streams::default();
        // Before the announcement too.
        for (number, length) in [(1, 9), (2, PIECE_BYTES), (3, 1)] {
            let piece = Part::Piece(vec![0; length]);
            streams.take(key(1, 1), number, piece, |_| true);
        }
        for (number, part) in &parts[..2] {
            streams.take(key(1, 1), *number, part.clone(), |_| true);
        }
        for (number, length) in [(2, 8), (2, 10), (3, 9), (0, 9)] {
            let piece = Part::Piece(vec![0; length]);
            assert_eq!(streams.take(key(1, 1), number, piece, |_| true), None);
        }
        let (number, part) = parts[2].clone();
        let whole = streams.take(key(1, 1), number, part, |_| true);
        assert_eq!(whole.unwrap().bytes, content);
    }
}
