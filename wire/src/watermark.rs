//! How far a database was written, kept beside it.
//!
//! RocksDB replays its log up to the first record that does not read right and takes that for the
//! end: after a power cut it is, since what was not synced was promised to nobody. After a bit that
//! flipped on the disk it is not, and promises would vanish without a word. So whoever writes to a
//! database notes, after every synced write, the number of the last one in a file beside it; a
//! database that opens with a lower one has lost what was acknowledged, and is refused by name.
//!
//! A manifest that is cut short can hide a table of one column and keep the number: so the note says
//! too which manifest the database had and how long it was. A manifest only grows. Where it has grown
//! it is synced before that is noted: the database may be between writing and syncing it, and after
//! a power cut the note must not know of more than there is.
//!
//! The note itself is not synced. After a power cut it may be behind, which refuses nothing that is
//! whole; after a kill it is exact.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The number, the manifest's number and length, and a hash of them.
const LENGTH: usize = 3 * 8 + 8;
/// What a database's file CURRENT holds is a name and a newline.
const CURRENT_LIMIT: u64 = 64;

/// What a watermark's file said when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// There was none: the database is new, or older than the watermark.
    None,
    /// The file was there and does not say anything that can be believed.
    Unreadable,
    /// The database was written so far, at least.
    At(u64),
    /// The database's manifest has lost its end.
    Cut {
        /// The file.
        manifest: PathBuf,
        /// Bytes that it has.
        found: u64,
        /// Bytes that it had.
        noted: u64,
    },
}

/// The file beside a database.
#[derive(Debug)]
pub struct Watermark {
    file: File,
    database: PathBuf,
    /// Number and length of the manifest that was synced last.
    synced: Mutex<Option<(u64, u64)>>,
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
            Ok(()) => parse(&bytes).map_or(Mark::Unreadable, |note| note.of(database)),
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
        if file.metadata()?.len() == 0 {
            // Durable once, so that after a power cut it can be read, however old it is.
            file.write_all_at(&Note::NOTHING.text(), 0)?;
            file.sync_all()?;
        }
        Ok(Self {
            file,
            database: database.to_owned(),
            synced: Mutex::new(None),
        })
    }

    /// Notes that everything up to `number` is durable.
    ///
    /// # Errors
    /// The operating system's.
    pub fn note(&self, number: u64) -> io::Result<()> {
        let (manifest, length) = self.synced_manifest()?.unwrap_or_default();
        let note = Note {
            number,
            manifest,
            length,
        };
        self.file.write_all_at(&note.text(), 0)
    }

    /// Number and length of the database's manifest, all of which is durable; none where it cannot
    /// be told, as while the database puts another in its place.
    fn synced_manifest(&self) -> io::Result<Option<(u64, u64)>> {
        let Some(found) = manifest(&self.database) else {
            return Ok(None);
        };
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if *synced != Some(found) {
            match File::open(manifest_path(&self.database, found.0)) {
                Ok(file) => file.sync_all()?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
            *synced = Some(found);
        }
        Ok(Some(found))
    }
}

fn manifest_path(database: &Path, number: u64) -> PathBuf {
    database.join(format!("MANIFEST-{number:06}"))
}

/// Number and length of the manifest that a database names as its own; none where it cannot be told.
fn manifest(database: &Path) -> Option<(u64, u64)> {
    let current = crate::atomic::read_bounded(&database.join("CURRENT"), CURRENT_LIMIT).ok()?;
    let name = std::str::from_utf8(&current).ok()?.trim_end();
    let number = name.strip_prefix("MANIFEST-")?.parse().ok()?;
    let length = std::fs::metadata(database.join(name)).ok()?.len();
    Some((number, length))
}

struct Note {
    number: u64,
    /// Zero, with no length, where it could not be told.
    manifest: u64,
    length: u64,
}

impl Note {
    const NOTHING: Self = Self {
        number: 0,
        manifest: 0,
        length: 0,
    };

    fn text(&self) -> [u8; LENGTH] {
        let mut text = [0; LENGTH];
        let numbers = [self.number, self.manifest, self.length];
        let hash = hash(numbers);
        let parts = numbers.map(u64::to_le_bytes).into_iter().chain([hash]);
        for (place, part) in text.chunks_exact_mut(8).zip(parts) {
            place.copy_from_slice(&part);
        }
        text
    }

    /// What it says of the database as it is.
    fn of(&self, database: &Path) -> Mark {
        match manifest(database) {
            Some((number, found)) if number == self.manifest && found < self.length => Mark::Cut {
                manifest: manifest_path(database, number),
                found,
                noted: self.length,
            },
            _ => Mark::At(self.number),
        }
    }
}

fn parse(bytes: &[u8; LENGTH]) -> Option<Note> {
    let (parts, _) = bytes.as_chunks::<8>();
    let mut numbers = parts.iter().map(|part| u64::from_le_bytes(*part));
    let note = Note {
        number: numbers.next()?,
        manifest: numbers.next()?,
        length: numbers.next()?,
    };
    (note.text() == *bytes).then_some(note)
}

fn hash(numbers: [u64; 3]) -> [u8; 8] {
    let bytes: Vec<u8> = numbers.into_iter().flat_map(u64::to_le_bytes).collect();
    let hash = blake3::derive_key("holdfast 2026-11 watermark", &bytes);
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
        assert_eq!(Watermark::read(&database), Mark::At(0));
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

    #[test]
    fn a_manifest_that_is_shorter_than_it_was_is_told_and_a_new_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("ledger");
        std::fs::create_dir(&database).unwrap();
        let mark = Watermark::open(&database).unwrap();
        let write = |name: &str, length| {
            std::fs::write(database.join(name), vec![7; length]).unwrap();
            std::fs::write(database.join("CURRENT"), format!("{name}\n")).unwrap();
        };
        write("MANIFEST-000016", 800);
        mark.note(5).unwrap();
        write("MANIFEST-000016", 801);
        assert_eq!(Watermark::read(&database), Mark::At(5));
        write("MANIFEST-000016", 799);
        let cut = Mark::Cut {
            manifest: database.join("MANIFEST-000016"),
            found: 799,
            noted: 800,
        };
        assert_eq!(Watermark::read(&database), cut);
        write("MANIFEST-000017", 10);
        assert_eq!(Watermark::read(&database), Mark::At(5));
    }
}
