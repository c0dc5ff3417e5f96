//! The manifest of a stored object: what its files are called and where their bytes lie.
//!
//! Private: it is encrypted and stored like any content. It is a tree written as a list: entry 0
//! is what was stored, each other one names its folder by a number below its own, so no manifest
//! can name a place outside its object, and reading one needs no recursion.

use crate::stream::{Chunks, ContentKey};
use crate::versioned::{self, Unreadable};
use holdfast_market_core::message::encode;
use holdfast_market_core::units::ByteCount;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

/// The version of manifests that this program writes and reads.
pub const MANIFEST_VERSION: u32 = 1;
/// Bytes of a name, as Linux has it.
const NAME_LIMIT: usize = 255;
/// Bytes of a symbolic link's target, as Linux has it.
const TARGET_LIMIT: usize = 4095;
/// Folders within folders.
const DEPTH_LIMIT: u32 = 1024;

/// One name in a folder: any bytes that Linux takes, so not always text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryName(Vec<u8>);

impl EntryName {
    /// A name, if it is one: 1 to 255 bytes, neither `.` nor `..`, without `/` and NUL.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let fits = !bytes.is_empty() && bytes.len() <= NAME_LIMIT;
        let special = bytes == b"." || bytes == b"..";
        let separated = bytes.contains(&b'/') || bytes.contains(&0);
        (fits && !special && !separated).then(|| Self(bytes.to_vec()))
    }

    /// As the operating system takes it.
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }

    /// As a person reads it; bytes that are no text are replaced.
    pub fn to_text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl fmt::Debug for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_text())
    }
}

impl Serialize for EntryName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for EntryName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = serde_bytes::ByteBuf::deserialize(deserializer)?;
        Self::new(&bytes).ok_or_else(|| serde::de::Error::custom("a name that no folder can hold"))
    }
}

/// When a file was last changed, to the nanosecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp {
    /// Since the Unix epoch; negative before it.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

/// A run of a content's sealed bytes in a pack, whole chunks of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Which of the object's packs.
    pub pack: u32,
    /// From which byte of the pack's ciphertext.
    pub offset: ByteCount,
    /// How many bytes.
    pub length: ByteCount,
}

/// Where sealed bytes lie, and the key that opens them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Random, for this content only.
    pub key: ContentKey,
    /// Its sealed bytes, in order.
    pub extents: Vec<Extent>,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A folder.
    Directory,
    /// A symbolic link, stored as such.
    Symlink {
        /// What it says; it is never followed.
        #[serde(with = "serde_bytes")]
        target: Vec<u8>,
    },
    /// A regular file.
    File {
        /// Plain bytes.
        size: ByteCount,
        /// Where they lie; nothing where the file is empty.
        content: Option<Content>,
    },
}

/// One file, folder or link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The number of its folder's entry; none for the object itself.
    pub parent: Option<u32>,
    /// Its name there.
    pub name: EntryName,
    /// Permission bits (`07777`).
    pub mode: u32,
    /// When it was last changed.
    pub modified: Timestamp,
    /// What it is.
    pub kind: Kind,
}

impl Entry {
    /// Plain bytes of a file; nothing for the rest.
    pub const fn size(&self) -> ByteCount {
        match &self.kind {
            Kind::File { size, .. } => *size,
            _ => ByteCount(0),
        }
    }
}

/// A stored file or tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    version: u32,
    entries: Vec<Entry>,
}

/// Bytes that are no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not the encoding of one.
    #[error("the object's manifest cannot be read: {0}")]
    Malformed(String),
    /// Of a later program.
    #[error("the object's manifest has version {0}; this program reads version 1, use a newer one")]
    Version(u32),
    /// No entries.
    #[error("the object's manifest names nothing")]
    Empty,
    /// An entry that contradicts the others.
    #[error("entry {index} of the object's manifest is refused: {reason}")]
    Entry {
        /// Which.
        index: usize,
        /// Why.
        reason: &'static str,
    },
}

impl Manifest {
    /// A manifest of these entries, if they are a tree.
    ///
    /// # Errors
    /// An entry that contradicts the others.
    pub fn new(entries: Vec<Entry>) -> Result<Self, ManifestError> {
        check(&entries)?;
        Ok(Self {
            version: MANIFEST_VERSION,
            entries,
        })
    }

    /// Its entries: the object first, folders before what is in them.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Its bytes.
    ///
    /// # Errors
    /// A manifest that DAG-CBOR cannot carry.
    pub fn encode(&self) -> Result<Vec<u8>, ManifestError> {
        encode(self).map_err(|error| ManifestError::Malformed(error.to_string()))
    }

    /// Reads what [`Manifest::encode`] wrote, byte for byte; anything that is no tree is refused.
    ///
    /// # Errors
    /// Bytes that are no manifest, or entries that contradict each other.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let read: Self =
            versioned::read("manifest", MANIFEST_VERSION, bytes).map_err(|error| match error {
                Unreadable::Version(version) => ManifestError::Version(version),
                Unreadable::Malformed(reason) => ManifestError::Malformed(reason),
            })?;
        Self::new(read.entries)
    }

    /// The path of an entry under the object, `/` between names; the object's own name first.
    pub fn path_text(&self, index: usize) -> String {
        let mut names = Vec::new();
        let mut next = self.entries.get(index);
        while let Some(entry) = next {
            names.push(entry.name.to_text());
            next = entry.parent.and_then(|parent| self.entry(parent));
        }
        names.reverse();
        names.join("/")
    }

    fn entry(&self, index: u32) -> Option<&Entry> {
        self.entries.get(usize::try_from(index).ok()?)
    }
}

fn check(entries: &[Entry]) -> Result<(), ManifestError> {
    if entries.is_empty() {
        return Err(ManifestError::Empty);
    }
    let mut depths: Vec<Option<u32>> = Vec::with_capacity(entries.len());
    let mut names = HashSet::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let refuse = |reason| ManifestError::Entry { index, reason };
        let depth = match entry.parent {
            None if index == 0 => 0,
            None => return Err(refuse("it has no folder and is not the object itself")),
            Some(parent) => usize::try_from(parent)
                .ok()
                .and_then(|parent| depths.get(parent).copied())
                .ok_or(refuse("its folder does not come before it"))?
                .ok_or(refuse("it lies in something that is no folder"))?
                .checked_add(1)
                .filter(|depth| *depth <= DEPTH_LIMIT)
                .ok_or(refuse("it lies too deep"))?,
        };
        let folder = matches!(entry.kind, Kind::Directory);
        depths.push(folder.then_some(depth));
        if !names.insert((entry.parent, &entry.name)) {
            return Err(refuse("its folder has another of the same name"));
        }
        check_entry(entry).map_err(refuse)?;
    }
    Ok(())
}

fn check_entry(entry: &Entry) -> Result<(), &'static str> {
    if entry.mode > 0o7777 {
        return Err("its mode has bits that are no permissions");
    }
    if entry.modified.nanos >= 1_000_000_000 {
        return Err("its time has more than a second of nanoseconds");
    }
    match &entry.kind {
        Kind::Directory => Ok(()),
        Kind::Symlink { target } => {
            let fits = !target.is_empty() && target.len() <= TARGET_LIMIT && !target.contains(&0);
            fits.then_some(())
                .ok_or("its link target is none that Linux takes")
        }
        Kind::File { size, content } => check_content(*size, content.as_ref()),
    }
}

fn check_content(size: ByteCount, content: Option<&Content>) -> Result<(), &'static str> {
    let Some(content) = content else {
        return if size.0 == 0 {
            Ok(())
        } else {
            Err("it has bytes and no place where they lie")
        };
    };
    if size.0 == 0 {
        return Err("it is empty and has a place for bytes");
    }
    let chunks = Chunks::of(size).map_err(|_| "it is larger than a stream")?;
    check_extents(chunks, &content.extents)
}

/// Whether the extents are whole chunks and together the sealed content.
pub(crate) fn check_extents(chunks: Chunks, extents: &[Extent]) -> Result<(), &'static str> {
    let chunk = crate::stream::SEALED_CHUNK_BYTES as u64;
    let mut total = 0u64;
    for (index, extent) in extents.iter().enumerate() {
        if extent.length.0 == 0 || extent.offset.0.checked_add(extent.length.0).is_none() {
            return Err("one of its extents has no bytes or no end");
        }
        let last = index + 1 == extents.len();
        if !last && extent.length.0 % chunk != 0 {
            return Err("one of its extents cuts a chunk");
        }
        total = total
            .checked_add(extent.length.0)
            .ok_or("its extents are longer than any content")?;
    }
    if total == chunks.sealed_length().0 {
        Ok(())
    } else {
        Err("its extents are not as long as its content")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn entry(parent: Option<u32>, name: &[u8], kind: Kind) -> Entry {
        Entry {
            parent,
            name: EntryName(name.to_vec()),
            mode: 0o640,
            modified: Timestamp {
                seconds: -3,
                nanos: 999_999_999,
            },
            kind,
        }
    }

    fn empty_file() -> Kind {
        Kind::File {
            size: ByteCount(0),
            content: None,
        }
    }

    fn file(size: u64, extents: Vec<Extent>) -> Kind {
        Kind::File {
            size: ByteCount(size),
            content: Some(Content {
                key: ContentKey::from_bytes([7; 39]),
                extents,
            }),
        }
    }

    fn extent(length: u64) -> Extent {
        Extent {
            pack: 0,
            offset: ByteCount(5),
            length: ByteCount(length),
        }
    }

    fn tree() -> Vec<Entry> {
        vec![
            entry(None, b"photos", Kind::Directory),
            entry(
                Some(0),
                b"a.jpg",
                file(70_000, vec![extent(65_552), extent(4_480)]),
            ),
            entry(Some(0), b"\xff\xfe odd\n", empty_file()),
            entry(Some(0), b"inner", Kind::Directory),
            entry(
                Some(3),
                b"link",
                Kind::Symlink {
                    target: b"../../etc".to_vec(),
                },
            ),
        ]
    }

    #[test]
    fn a_manifest_survives_its_bytes() {
        let manifest = Manifest::new(tree()).unwrap();
        let again = Manifest::decode(&manifest.encode().unwrap()).unwrap();
        assert_eq!(again, manifest);
        assert_eq!(again.path_text(4), "photos/inner/link");
    }

    #[test]
    fn a_name_that_leaves_its_folder_is_refused() {
        for name in [
            &b".."[..],
            b".",
            b"",
            b"a/b",
            b"/etc",
            b"a\0b",
            &[b'x'; 256],
        ] {
            assert!(EntryName::new(name).is_none(), "{name:?}");
            let mut entries = tree();
            entries[1].name = EntryName(name.to_vec());
            let bytes = serde_ipld_dagcbor::to_vec(&Manifest {
                version: 1,
                entries,
            })
            .unwrap();
            assert!(matches!(
                Manifest::decode(&bytes),
                Err(ManifestError::Malformed(_))
            ));
        }
    }

    #[test]
    fn an_entry_under_a_link_or_a_file_is_refused() {
        for parent in [1, 2, 4] {
            let mut entries = tree();
            entries.push(entry(Some(parent), b"x", empty_file()));
            assert!(matches!(
                Manifest::new(entries),
                Err(ManifestError::Entry { index: 5, .. })
            ));
        }
    }

    #[test]
    fn entries_that_contradict_each_other_are_refused() {
        let broken: [fn(&mut Vec<Entry>); 9] = [
            |entries| entries.clear(),
            |entries| entries[3].parent = None,
            |entries| entries[0].parent = Some(0),
            |entries| entries[3].parent = Some(3),
            |entries| entries[4].parent = Some(9),
            |entries| entries[2].name = entries[1].name.clone(),
            |entries| entries[2].mode = 0o10_000,
            |entries| entries[2].modified.nanos = 1_000_000_000,
            |entries| entries[4].kind = Kind::Symlink { target: Vec::new() },
        ];
        for (number, change) in broken.iter().enumerate() {
            let mut entries = tree();
            change(&mut entries);
            assert!(Manifest::new(entries).is_err(), "{number}");
        }
    }

    #[test]
    fn extents_that_do_not_add_up_to_the_file_are_refused() {
        let broken = [
            (70_000, vec![extent(65_552), extent(4_479)]),
            (70_000, vec![extent(65_551), extent(4_481)]),
            (70_000, vec![]),
            (70_000, vec![extent(65_552), extent(4_480), extent(0)]),
            (0, vec![extent(16)]),
            (u64::MAX, vec![extent(u64::MAX)]),
        ];
        for (size, extents) in broken {
            let entries = vec![entry(None, b"f", file(size, extents))];
            assert!(Manifest::new(entries).is_err(), "{size}");
        }
    }

    #[test]
    fn folders_deeper_than_any_disk_has_are_refused() {
        let mut entries = vec![entry(None, b"d", Kind::Directory)];
        for parent in 0..DEPTH_LIMIT {
            entries.push(entry(Some(parent), b"d", Kind::Directory));
        }
        Manifest::new(entries.clone()).unwrap();
        entries.push(entry(Some(DEPTH_LIMIT), b"d", Kind::Directory));
        assert!(Manifest::new(entries).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn changed_bytes_never_panic(at: usize, bit in 0u8..8, cut: usize) {
            let mut bytes = Manifest::new(tree()).unwrap().encode().unwrap();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let _ = Manifest::decode(&bytes);
            let _ = Manifest::decode(&bytes[..cut % bytes.len()]);
        }
    }
}
