//! How far a database was written, kept beside it.
//!
//! RocksDB replays its log up to the first record that does not read right and takes that for the
//! end: after a power cut it is, since what was not synced was promised to nobody. After a bit that
//! flipped on the disk it is not, and promises would vanish without a word. So whoever writes to a
//! database notes, after every synced write, the number of the last one in a file beside it; a
//! database that opens with a lower one has lost what was acknowledged, and is refused by name.
//!
//! The note itself is not synced. After a power cut it may be behind, which refuses nothing that is
//! whole; after a kill it is exact.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A number and its hash.
const LENGTH: usize = 8 + 8;

/// What a watermark's file said when it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// There was none: the database is new, or older than the watermark.
    None,
    /// The file was there and does not say anything that can be believed.
    Unreadable,
    /// The database was written so far, at least.
    At(u64),
}

/// The file beside a database.
#[derive(Debug)]
pub struct Watermark {
    file: File,
}

impl Watermark {
    /// Where the watermark of a database lies.
    pub fn path_of(database: &Path) -> PathBuf {
        let mut name = database.as_os_str().to_owned();
        name.push(".mark");
        name.into()
    }

    /// What the watermark of a database says.
    pub fn read(database: &Path) -> Mark {
        let file = match File::open(Self::path_of(database)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Mark::None,
            Err(_) => return Mark::Unreadable,
            Ok(file) => file,
        };
        let mut bytes = [0; LENGTH];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => parse(&bytes).map_or(Mark::Unreadable, Mark::At),
            Err(_) => Mark::Unreadable,
        }
    }

    /// Opens the watermark of a database for writing.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open(database: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(Self::path_of(database))?;
        Ok(Self { file })
    }

    /// Notes that everything up to `number` is durable.
    ///
    /// # Errors
    /// The operating system's.
    pub fn note(&self, number: u64) -> io::Result<()> {
        self.file.write_all_at(&text(number), 0)
    }
}

fn text(number: u64) -> [u8; LENGTH] {
    let mut text = [0; LENGTH];
    let (low, high) = text.split_at_mut(8);
    low.copy_from_slice(&number.to_le_bytes());
    high.copy_from_slice(&hash(number));
    text
}

fn parse(bytes: &[u8; LENGTH]) -> Option<u64> {
    let number = u64::from_le_bytes(*bytes.first_chunk()?);
    (text(number) == *bytes).then_some(number)
}

fn hash(number: u64) -> [u8; 8] {
    let hash = blake3::derive_key("holdfast 2026-11 watermark", &number.to_le_bytes());
    hash.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn the_last_number_noted_is_read_and_a_damaged_file_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("node.db");
        assert_eq!(Watermark::read(&database), Mark::None);
        let mark = Watermark::open(&database).unwrap();
        assert_eq!(Watermark::read(&database), Mark::Unreadable);
        for number in [7, u64::MAX, 8] {
            mark.note(number).unwrap();
            assert_eq!(Watermark::read(&database), Mark::At(number));
        }
        let path = Watermark::path_of(&database);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..LENGTH {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(Watermark::read(&database), Mark::Unreadable, "byte {at}");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(Watermark::read(&database), Mark::Unreadable, "cut at {at}");
        }
    }
}
