//! Hostile bytes, made of honest ones: the same from the same seed.

use crate::Form;
use crate::cbor::{self, Item};
use rand::seq::SliceRandom;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The longest input that is made by growing.
pub const LARGEST: usize = 256 << 10;
/// One input in so many is grown to [`LARGEST`], or is a bomb of that length.
const GROWN: u32 = 150;
/// Lists in lists in a bomb.
const BOMB_DEPTH: usize = 100_000;

/// Numbers at which counters and limits turn.
const EDGES: [u64; 16] = [
    0,
    1,
    23,
    24,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    1 << 60,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];

/// Words that text decoders trip over.
const WORDS: [&str; 40] = [
    "null",
    "true",
    "{}",
    "[]",
    "\"\"",
    "0",
    "-1",
    "-0",
    "1e400",
    "1.5",
    "+1",
    "01",
    "0x1",
    "18446744073709551615",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "\\u0000",
    "\\ud800",
    "\u{0}",
    "\u{feff}",
    "\u{202e}",
    "ß",
    "İ",
    "\"x\":1,",
    "\"version\":2,",
    "{\"a\":",
    "[[[[",
    "}}",
    ",",
    ":",
    "..",
    "../",
    "/",
    "%00",
    "%zz",
    "?after=",
    "&",
    "\r\n",
    "hold1",
    "THOLD1",
];

/// Makes inputs out of what honest encoders wrote.
#[derive(Debug)]
pub struct Mutator {
    random: ChaCha8Rng,
    form: Form,
    seeds: Vec<Vec<u8>>,
}

impl Mutator {
    /// Mutations of `seeds`; the same number gives the same ones.
    pub fn new(number: u64, form: Form, seeds: Vec<Vec<u8>>) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(number),
            form,
            seeds,
        }
    }

    /// The next input.
    pub fn next_input(&mut self) -> Vec<u8> {
        if self.random.gen_ratio(1, GROWN) {
            return self.huge();
        }
        if self.random.gen_ratio(1, 50) {
            let length = self.random.gen_range(0..400);
            return self.noise(length);
        }
        let mut bytes = self.seed();
        for _ in 0..self.random.gen_range(1..=4) {
            let structured = self.random.gen_bool(0.5);
            match self.form {
                Form::Cbor if structured => self.change_item(&mut bytes),
                Form::Json | Form::Text if structured => self.change_text(&mut bytes),
                _ => self.change_bytes(&mut bytes),
            }
        }
        bytes
    }

    fn seed(&mut self) -> Vec<u8> {
        self.seeds
            .choose(&mut self.random)
            .cloned()
            .unwrap_or_default()
    }

    fn noise(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.random.fill_bytes(&mut bytes);
        bytes
    }

    fn edge(&mut self) -> u64 {
        EDGES[self.random.gen_range(0..EDGES.len())]
    }

    /// A place in bytes, their end included.
    fn place(&mut self, bytes: &[u8]) -> usize {
        self.random.gen_range(0..=bytes.len())
    }

    fn span(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.place(bytes);
        let longest = (bytes.len() - start).min(if self.random.gen_bool(0.2) {
            usize::MAX
        } else {
            40
        });
        start..start + self.random.gen_range(0..=longest)
    }

    /// An input that is as long as it may be.
    fn huge(&mut self) -> Vec<u8> {
        let choice = self.random.gen_range(0..6);
        let bytes = self.seed();
        match (choice, self.form) {
            (0, Form::Cbor | Form::Bytes) => vec![0x81; BOMB_DEPTH],
            (0, _) => vec![b'['; BOMB_DEPTH],
            (1, Form::Cbor | Form::Bytes) => b"\xa1\x61a".repeat(BOMB_DEPTH / 3),
            (1, _) => b"{\"a\":".repeat(BOMB_DEPTH / 5),
            (2, _) => self.noise(LARGEST),
            // A slice of an honest input over and over, in its place.
            _ => {
                let span = self.span(&bytes);
                let part = &bytes[span.clone()];
                if part.is_empty() {
                    return [bytes.as_slice(), &vec![0; LARGEST]].concat();
                }
                let times = LARGEST / part.len();
                [
                    &bytes[..span.start],
                    &part.repeat(times),
                    &bytes[span.end..],
                ]
                .concat()
            }
        }
    }

    fn change_bytes(&mut self, bytes: &mut Vec<u8>) {
        match self.random.gen_range(0..11) {
            0 | 1 => {
                if let Some(byte) = bytes.choose_mut(&mut self.random) {
                    *byte ^= 1 << self.random.gen_range(0..8);
                }
            }
            2 => {
                let value = [0, 1, 0x7f, 0x80, 0xff, 0x40, 0xc0, 0xe0][self.random.gen_range(0..8)];
                if let Some(byte) = bytes.choose_mut(&mut self.random) {
                    *byte = value;
                }
            }
            3 => {
                let at = self.place(bytes);
                let length = self.random.gen_range(1..20);
                let noise = self.noise(length);
                bytes.splice(at..at, noise);
            }
            4 => {
                let span = self.span(bytes);
                bytes.drain(span);
            }
            5 => {
                let at = self.place(bytes);
                bytes.truncate(at);
            }
            6 => {
                let span = self.span(bytes);
                let part = bytes[span].to_vec();
                let at = self.place(bytes);
                bytes.splice(at..at, part);
            }
            7 => {
                // The end of another honest input after the beginning of this one.
                let other = self.seed();
                let at = self.place(bytes);
                let from = if self.random.r#gen() {
                    at.min(other.len())
                } else {
                    self.place(&other)
                };
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            8 => self.overwrite_number(bytes),
            9 => {
                let span = self.span(bytes);
                self.random.fill_bytes(&mut bytes[span]);
            }
            _ => {
                // The same place in another honest input.
                let other = self.seed();
                let span = self.span(bytes);
                if let Some(part) = other.get(span.clone()) {
                    bytes[span].copy_from_slice(part);
                }
            }
        }
    }

    /// Puts an extreme number where there may be one.
    fn overwrite_number(&mut self, bytes: &mut [u8]) {
        let number = self.edge();
        let width = [1, 2, 4, 8][self.random.gen_range(0..4)];
        let Some(last) = bytes.len().checked_sub(width) else {
            return;
        };
        let at = self.random.gen_range(0..=last);
        let number = if self.random.r#gen() {
            number.to_le_bytes()[..width].to_vec()
        } else {
            number.to_be_bytes()[8 - width..].to_vec()
        };
        bytes[at..at + width].copy_from_slice(&number);
    }

    /// Changes one item of DAG-CBOR: what it says, how it says it, or where it stands.
    fn change_item(&mut self, bytes: &mut Vec<u8>) {
        let (items, _) = cbor::scan(bytes);
        let Some(item) = items.choose(&mut self.random).copied() else {
            return self.change_bytes(bytes);
        };
        let whole = bytes[item.start..item.end].to_vec();
        let argument = self.edge();
        let new_head = match self.random.gen_range(0..13) {
            // The claim of another length or number; also in more bytes than it needs.
            0 => cbor::head(item.major, argument),
            1 => cbor::long_head(item.major, item.argument),
            2 => cbor::long_head(item.major, argument),
            3 => cbor::head(item.major, item.argument.wrapping_add(1)),
            4 => cbor::head(item.major, item.argument.wrapping_sub(1)),
            // Another kind.
            5 => cbor::head(self.random.gen_range(0..8), item.argument),
            6 => vec![item.major << 5 | 31],
            7 => {
                let tag = [0xc0, 0xc2, 0xd8, 0xdb, 0xf9, 0xfb][self.random.gen_range(0..6)];
                bytes.insert(item.start, tag);
                return;
            }
            8 => return self.swap_with_another(bytes, &items, item),
            9 | 10 => return self.repeat_in_its_list(bytes, &items, item),
            11 => {
                let depth = self.random.gen_range(1..400);
                let bomb = [vec![0x81; depth], whole].concat();
                bytes.splice(item.start..item.end, bomb);
                return;
            }
            _ => {
                bytes.splice(item.start..item.end, [0xf6]);
                return;
            }
        };
        bytes.splice(item.start..item.body, new_head);
    }

    /// Two items change places: keys get out of order, fields get the wrong kind.
    fn swap_with_another(&mut self, bytes: &mut Vec<u8>, items: &[Item], item: Item) {
        let apart = |other: &Item| other.end <= item.start || item.end <= other.start;
        let others: Vec<Item> = items.iter().copied().filter(apart).collect();
        let Some(other) = others.choose(&mut self.random).copied() else {
            return;
        };
        let (first, second) = if other.start < item.start {
            (other, item)
        } else {
            (item, other)
        };
        let swapped = [
            &bytes[second.start..second.end],
            &bytes[first.end..second.start],
            &bytes[first.start..first.end],
        ]
        .concat();
        bytes.splice(first.start..second.end, swapped);
    }

    /// An item once more after itself, and its list says so.
    fn repeat_in_its_list(&mut self, bytes: &mut Vec<u8>, items: &[Item], item: Item) {
        let holds = |list: &&Item| {
            matches!(list.major, 4 | 5) && list.body <= item.start && item.end <= list.end
        };
        let Some(list) = items
            .iter()
            .filter(holds)
            .min_by_key(|list| list.end - list.start)
        else {
            return;
        };
        let times = if self.random.gen_bool(0.1) { 300 } else { 1 };
        let part = bytes[item.start..item.end].to_vec();
        let times = times.min(LARGEST / part.len().max(1));
        bytes.splice(item.end..item.end, part.repeat(times));
        let head = cbor::head(list.major, list.argument.wrapping_add(times as u64));
        bytes.splice(list.start..list.body, head);
    }

    /// Changes a list or an object of a JSON text.
    fn change_brackets(&mut self, bytes: &mut Vec<u8>) {
        let brackets = brackets(bytes);
        let Some(span) = brackets.choose(&mut self.random).cloned() else {
            return self.change_bytes(bytes);
        };
        let old = bytes[span.clone()].to_vec();
        let other = brackets.choose(&mut self.random).cloned().unwrap_or(0..0);
        let new = match self.random.gen_range(0..8) {
            // A field that nobody knows, a field twice, an element twice.
            0 | 1 if old.starts_with(b"{") => {
                let field = match self.random.r#gen() {
                    true => b"\"x\":1,".to_vec(),
                    false => old[1..]
                        .iter()
                        .position(|byte| *byte == b',')
                        .map_or(vec![], |comma| old[1..=comma + 1].to_vec()),
                };
                [b"{", field.as_slice(), &old[1..]].concat()
            }
            0..=2 => [old.as_slice(), b",", &old].concat(),
            3 => b"[]".to_vec(),
            4 => b"{}".to_vec(),
            5 => b"null".to_vec(),
            6 => bytes[other].to_vec(),
            _ => [b"[", old.as_slice(), b"]"].concat(),
        };
        bytes.splice(span, new);
    }

    /// Changes one word of a text.
    fn change_text(&mut self, bytes: &mut Vec<u8>) {
        if self.form == Form::Json && self.random.gen_bool(0.4) {
            return self.change_brackets(bytes);
        }
        let words = words(bytes);
        let word = WORDS[self.random.gen_range(0..WORDS.len())].as_bytes();
        let Some(span) = words.choose(&mut self.random).cloned() else {
            return self.change_bytes(bytes);
        };
        let old = bytes[span.clone()].to_vec();
        let new = match self.random.gen_range(0..8) {
            0 => word.to_vec(),
            1 => [b"\"", word, b"\""].concat(),
            2 => self.edge().to_string().into_bytes(),
            3 => [old.as_slice(), word].concat(),
            4 => [word, old.as_slice()].concat(),
            5 => old.to_ascii_uppercase(),
            6 => {
                // Another word of the same text.
                let other = words.choose(&mut self.random).cloned().unwrap_or(0..0);
                bytes[other].to_vec()
            }
            _ => {
                let depth = self.random.gen_range(1..400);
                [b"[".repeat(depth), old].concat()
            }
        };
        bytes.splice(span, new);
    }
}

/// Where the lists and objects of a JSON text lie.
fn brackets(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let (mut found, mut open) = (Vec::new(), Vec::new());
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in bytes.iter().enumerate() {
        match (quoted, byte) {
            _ if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => quoted = !quoted,
            (false, b'[' | b'{') => open.push(at),
            (false, b']' | b'}') => found.extend(open.pop().map(|start| start..at + 1)),
            _ => {}
        }
    }
    found
}

/// Where the words of a text lie: runs of letters and digits.
fn words(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, byte) in bytes.iter().chain([&0]).enumerate() {
        match (start, byte.is_ascii_alphanumeric()) {
            (None, true) => start = Some(at),
            (Some(from), false) => {
                words.push(from..at);
                start = None;
            }
            _ => {}
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_makes_the_same_inputs() {
        let seeds = vec![vec![0xa1, 0x61, 0x61, 0x01], vec![0x82, 0x01, 0x02]];
        let inputs = |number| {
            let mut mutator = Mutator::new(number, Form::Cbor, seeds.clone());
            (0..500).map(|_| mutator.next_input()).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
    }

    #[test]
    fn an_item_that_is_repeated_is_counted_by_its_list() {
        let mut mutator = Mutator::new(3, Form::Cbor, vec![]);
        let mut bytes = vec![0x82, 0x01, 0x02];
        let (items, _) = cbor::scan(&bytes);
        mutator.repeat_in_its_list(&mut bytes, &items, items[1]);
        assert_eq!(cbor::check(&bytes), Ok(()));
        assert!(bytes.len() > 3);
    }
}
