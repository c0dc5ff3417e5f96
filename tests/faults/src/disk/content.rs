//! A file's bytes, as they are now and as they are durable.

use rand::Rng;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The unit in which content is kept, counted and lost.
pub const BLOCK_BYTES: u64 = 4096;
const BLOCK: usize = 4096;

type Block = Arc<[u8; BLOCK]>;

/// Bytes with holes, which read as zeros.
#[derive(Clone, Default)]
struct Image {
    length: u64,
    blocks: Vec<Option<Block>>,
}

impl Image {
    fn get(&self, index: usize) -> Option<&Block> {
        self.blocks.get(index).and_then(Option::as_ref)
    }

    fn set(&mut self, index: usize, block: Option<Block>) {
        if self.blocks.len() <= index {
            if block.is_none() {
                return;
            }
            self.blocks.resize(index + 1, None);
        }
        if let Some(place) = self.blocks.get_mut(index) {
            *place = block;
        }
    }

    /// The block, made where there is a hole; one that is shared is copied.
    fn make(&mut self, index: usize) -> Option<&mut [u8; BLOCK]> {
        if self.blocks.len() <= index {
            self.blocks.resize(index + 1, None);
        }
        let place = self.blocks.get_mut(index)?;
        Some(Arc::make_mut(
            place.get_or_insert_with(|| Arc::new([0; BLOCK])),
        ))
    }
}

/// One file.
#[derive(Clone, Default)]
pub(super) struct Content {
    now: Image,
    durable: Image,
    /// Blocks that a sync would make durable.
    unsynced: BTreeSet<usize>,
    /// Blocks of `now` that are no holes.
    allocated: u64,
}

/// The blocks that `size` bytes at `offset` touch: index, where in the block, how many bytes.
fn pieces(offset: u64, size: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let end = start.saturating_add(size);
    let mut at = start;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let within = at % BLOCK;
        let count = (BLOCK - within).min(end - at);
        let piece = (at / BLOCK, within, count);
        at += count;
        Some(piece)
    })
}

impl Content {
    pub(super) fn length(&self) -> u64 {
        self.now.length
    }

    /// How many blocks it takes up.
    pub(super) fn allocated(&self) -> u64 {
        self.allocated
    }

    pub(super) fn read(&self, offset: u64, size: usize) -> Vec<u8> {
        let left = self.now.length.saturating_sub(offset);
        let size = size.min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut bytes = Vec::with_capacity(size);
        for (index, within, count) in pieces(offset, size) {
            let block = self.now.get(index);
            match block.and_then(|block| block.get(within..within + count)) {
                Some(piece) => bytes.extend_from_slice(piece),
                None => bytes.resize(bytes.len() + count, 0),
            }
        }
        bytes
    }

    /// Writes as much as fits into `room` more blocks, and says how much that was.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8], room: u64) -> usize {
        let mut room = room;
        let mut rest = bytes;
        for (index, within, count) in pieces(offset, bytes.len()) {
            if self.now.get(index).is_none() {
                let Some(less) = room.checked_sub(1) else {
                    break;
                };
                room = less;
                self.allocated += 1;
            }
            let Some((piece, tail)) = rest.split_at_checked(count) else {
                break;
            };
            let place = self.now.make(index);
            if let Some(place) = place.and_then(|block| block.get_mut(within..within + count)) {
                place.copy_from_slice(piece);
            }
            self.unsynced.insert(index);
            rest = tail;
        }
        let written = bytes.len() - rest.len();
        if written > 0 {
            self.now.length = self.now.length.max(offset + written as u64);
        }
        written
    }

    pub(super) fn set_length(&mut self, length: u64) {
        if length < self.now.length {
            let whole = usize::try_from(length.div_ceil(BLOCK_BYTES)).unwrap_or(usize::MAX);
            for index in whole..self.now.blocks.len().max(self.durable.blocks.len()) {
                self.drop_block(index);
            }
            self.now.blocks.truncate(whole);
            self.zero(length, length.next_multiple_of(BLOCK_BYTES));
        }
        self.now.length = length;
    }

    /// Makes a hole.
    pub(super) fn punch(&mut self, from: u64, to: u64) {
        self.zero(from, to.min(self.now.length));
    }

    fn zero(&mut self, from: u64, to: u64) {
        let size = usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
        for (index, within, count) in pieces(from, size) {
            if count == BLOCK {
                self.drop_block(index);
            } else if self.now.get(index).is_some() {
                let place = self.now.make(index);
                if let Some(place) = place.and_then(|block| block.get_mut(within..within + count)) {
                    place.fill(0);
                }
                self.unsynced.insert(index);
            }
        }
    }

    fn drop_block(&mut self, index: usize) {
        if self.now.get(index).is_some() {
            self.allocated -= 1;
            self.now.set(index, None);
        }
        self.unsynced.insert(index);
    }

    /// Makes what is now durable.
    pub(super) fn sync(&mut self) {
        for index in std::mem::take(&mut self.unsynced) {
            self.durable.set(index, self.now.get(index).cloned());
        }
        self.durable.length = self.now.length;
    }

    /// Forgets that anything had to be made durable, and makes nothing durable.
    pub(super) fn fail_sync(&mut self) {
        self.unsynced.clear();
    }

    /// Gives up what is now: nobody can read it any more. What is durable stays until the name's
    /// removal is durable too.
    pub(super) fn let_go(&mut self) {
        self.now = Image {
            length: self.durable.length,
            ..Image::default()
        };
        self.unsynced.clear();
        self.allocated = 0;
    }

    /// What is left without power: what is durable, and of what was not synced the parts that
    /// `draw` keeps.
    pub(super) fn after_power_loss(&self, draw: Option<&mut impl Rng>) -> Self {
        let mut left = self.durable.clone();
        if let Some(draw) = draw {
            // One file was written back almost whole, another hardly.
            let chance = draw.gen_range(0.0..=1.0);
            for index in &self.unsynced {
                if draw.gen_bool(chance) {
                    left.set(*index, self.now.get(*index).cloned());
                }
            }
            if self.now.length != left.length && draw.gen_bool(0.5) {
                left.length = self.now.length;
            }
        }
        let mut content = Self {
            allocated: 0,
            now: left,
            ..Self::default()
        };
        content.end_at_length();
        content.allocated = content.now.blocks.iter().flatten().count() as u64;
        content.durable = content.now.clone();
        content
    }

    /// Beyond a file's end there is nothing, also in its last block.
    fn end_at_length(&mut self) {
        let length = self.now.length;
        let whole = usize::try_from(length.div_ceil(BLOCK_BYTES)).unwrap_or(usize::MAX);
        self.now.blocks.truncate(whole);
        self.zero(length, length.next_multiple_of(BLOCK_BYTES));
        self.unsynced.clear();
    }
}
