//! A second reader of DAG-CBOR, which knows no types: it says where the items of some bytes lie and
//! whether they are in canonical form. What the ledger's decoder takes must please both.

use std::fmt;

/// No object of Holdfast has lists in lists so deep.
const DEPTH_LIMIT: u32 = 128;

/// One item: a number, a string, a list, a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Where its head begins.
    pub start: usize,
    /// Where its head ends.
    pub body: usize,
    /// Where it ends with all that is in it.
    pub end: usize,
    /// 0 unsigned, 1 negative, 2 bytes, 3 text, 4 list, 5 map, 7 simple.
    pub major: u8,
    /// What the head says: the number, the length, the count.
    pub argument: u64,
}

/// Why bytes are not canonical.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// At which byte.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

/// Whether bytes are one canonical item and nothing after it.
///
/// # Errors
/// The first thing that is not.
pub fn check(bytes: &[u8]) -> Result<(), Fault> {
    match scan(bytes) {
        (_, Some(fault)) => Err(fault),
        (_, None) => Ok(()),
    }
}

/// The items of some bytes in the order of their ends, as far as they can be read.
pub fn scan(bytes: &[u8]) -> (Vec<Item>, Option<Fault>) {
    let mut reader = Reader {
        bytes,
        at: 0,
        items: Vec::new(),
    };
    let fault = match reader.item(0) {
        Err(fault) => Some(fault),
        Ok(_) if reader.at < bytes.len() => Some(Fault {
            at: reader.at,
            what: "bytes after the end",
        }),
        Ok(_) => None,
    };
    (reader.items, fault)
}

/// The head of an item of that kind and argument, as short as it can be.
pub fn head(major: u8, argument: u64) -> Vec<u8> {
    let first = |low: u8| major << 5 | low;
    if argument < 24 {
        vec![first(argument as u8)]
    } else if let Ok(small) = u8::try_from(argument) {
        vec![first(24), small]
    } else if let Ok(small) = u16::try_from(argument) {
        [&[first(25)][..], &small.to_be_bytes()].concat()
    } else if let Ok(small) = u32::try_from(argument) {
        [&[first(26)][..], &small.to_be_bytes()].concat()
    } else {
        long_head(major, argument)
    }
}

/// The head of an item in nine bytes, however few would do.
pub fn long_head(major: u8, argument: u64) -> Vec<u8> {
    [&[major << 5 | 27][..], &argument.to_be_bytes()].concat()
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    items: Vec<Item>,
}

impl Reader<'_> {
    fn fault<T>(&self, what: &'static str) -> Result<T, Fault> {
        Err(Fault { at: self.at, what })
    }

    fn take(&mut self, length: u64) -> Result<&[u8], Fault> {
        let end = usize::try_from(length)
            .ok()
            .and_then(|length| self.at.checked_add(length))
            .filter(|end| *end <= self.bytes.len());
        let Some(end) = end else {
            return self.fault("an end before the announced one");
        };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn head(&mut self) -> Result<(u8, u64), Fault> {
        let first = self.take(1)?[0];
        let (major, low) = (first >> 5, first & 31);
        let bytes = match low {
            0..24 => return Ok((major, low.into())),
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => return self.fault("a length that is left open"),
        };
        let argument = self
            .take(bytes)?
            .iter()
            .fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        if major != 7 && head(major, argument).len() as u64 != bytes + 1 {
            return self.fault("a number in more bytes than it needs");
        }
        Ok((major, argument))
    }

    fn item(&mut self, depth: u32) -> Result<Item, Fault> {
        if depth > DEPTH_LIMIT {
            return self.fault("lists in lists too deep");
        }
        let start = self.at;
        let (major, argument) = self.head()?;
        let body = self.at;
        match major {
            0 | 1 => {}
            2 => {
                self.take(argument)?;
            }
            3 => {
                if std::str::from_utf8(self.take(argument)?).is_err() {
                    return self.fault("a text that is none");
                }
            }
            4 => {
                for _ in 0..argument {
                    self.item(depth + 1)?;
                }
            }
            5 => self.map(argument, depth)?,
            7 if self.at == start + 1 && matches!(argument, 20..=22) => {}
            7 => return self.fault("a float or an unknown simple value"),
            _ => return self.fault("a tag"),
        }
        let item = Item {
            start,
            body,
            end: self.at,
            major,
            argument,
        };
        self.items.push(item);
        Ok(item)
    }

    fn map(&mut self, entries: u64, depth: u32) -> Result<(), Fault> {
        let mut last: Option<Item> = None;
        for _ in 0..entries {
            let key = self.item(depth + 1)?;
            if key.major != 3 {
                return self.fault("a key that is no text");
            }
            let order = |item: Item| (item.end - item.body, &self.bytes[item.body..item.end]);
            if last.is_some_and(|last| order(last) >= order(key)) {
                return self.fault("a key out of order or twice");
            }
            last = Some(key);
            self.item(depth + 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_items_are_found_and_their_places_are_right() {
        // {"a": [1, 500], "bb": h'00ff', "ccc": [true, null, -3]}
        let bytes = hex::decode(
            "a361618201".to_owned() + "1901f4" + "626262" + "4200ff" + "6363636383f5f622",
        )
        .unwrap();
        let (items, fault) = scan(&bytes);
        assert_eq!(fault, None);
        assert_eq!(items.len(), 12);
        let all = items.last().unwrap();
        assert_eq!(
            (all.start, all.end, all.major, all.argument),
            (0, bytes.len(), 5, 3)
        );
        assert_eq!(items[2].argument, 500);
    }

    #[test]
    fn what_is_not_canonical_is_named() {
        for (bytes, what) in [
            ("1817", "a number in more bytes than it needs"),
            ("190017", "a number in more bytes than it needs"),
            ("9fff", "a length that is left open"),
            ("5fff", "a length that is left open"),
            ("a2616201616101", "a key out of order or twice"),
            ("a2616101616101", "a key out of order or twice"),
            ("a262626201616101", "a key out of order or twice"),
            ("a10101", "a key that is no text"),
            ("c001", "a tag"),
            ("d82a4100", "a tag"),
            ("f90000", "a float or an unknown simple value"),
            ("fb0000000000000000", "a float or an unknown simple value"),
            ("f7", "a float or an unknown simple value"),
            ("f814", "a float or an unknown simple value"),
            ("0101", "bytes after the end"),
            ("8201", "an end before the announced one"),
            ("9b1000000000000000", "an end before the announced one"),
            ("62ff00", "a text that is none"),
            ("", "an end before the announced one"),
        ] {
            let bytes = hex::decode(bytes).unwrap();
            assert_eq!(check(&bytes).unwrap_err().what, what, "{bytes:02x?}");
        }
        assert!(
            check(&[0x81; 100_000])
                .unwrap_err()
                .what
                .contains("too deep")
        );
    }

    #[test]
    fn a_head_is_as_short_as_it_can_be() {
        for number in [0, 23, 24, 255, 256, 65_535, 65_536, 1 << 32, u64::MAX] {
            assert_eq!(check(&head(0, number)), Ok(()), "{number}");
        }
        assert!(check(&long_head(0, 5)).is_err());
    }
}
