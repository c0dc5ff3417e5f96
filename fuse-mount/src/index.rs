//! Names, attributes and places of everything on the drive, by inode.

use holdfast_client::manifest::{Entry, Kind, Manifest, Timestamp};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The inode of the drive's root.
pub const ROOT: u64 = 1;

/// Where an inode's entry is: which object, and which entry of its manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryPlace {
    /// Number of the object, in the order in which they were added.
    pub object: usize,
    /// Number of the entry in its manifest.
    pub entry: usize,
}

/// What an inode is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InodeKind {
    /// A folder.
    Directory,
    /// A regular file of so many bytes.
    File {
        /// Its size.
        size: u64,
    },
    /// A symbolic link and what it says.
    Symlink {
        /// Read by the kernel in the name of whoever follows it.
        target: Vec<u8>,
    },
}

/// One file, folder or link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inode {
    /// The folder that it is in; the root is in itself.
    pub parent: u64,
    /// Its name there.
    pub name: OsString,
    /// What it is.
    pub kind: InodeKind,
    /// Permission bits.
    pub mode: u16,
    /// When it was last changed.
    pub modified: SystemTime,
    /// Where its content is; nothing for the root.
    pub place: Option<EntryPlace>,
    /// What is in it, in the manifest's order.
    children: Vec<u64>,
}

/// Everything on the drive.
#[derive(Clone, Debug)]
pub struct TreeIndex {
    inodes: Vec<Inode>,
    names: HashMap<(u64, OsString), u64>,
    objects: usize,
}

/// Something that cannot be on the drive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// Two objects of one name.
    #[error("there are two objects named `{0}`")]
    Twice(String),
    /// A manifest whose entries name no earlier folder (checked manifests do not).
    #[error("an entry of `{0}` lies in no folder")]
    NoFolder(String),
}

impl TreeIndex {
    /// An empty drive, made at `now`.
    pub fn new(now: SystemTime) -> Self {
        Self {
            inodes: vec![Inode {
                parent: ROOT,
                name: OsString::new(),
                kind: InodeKind::Directory,
                mode: 0o555,
                modified: now,
                place: None,
                children: Vec::new(),
            }],
            names: HashMap::new(),
            objects: 0,
        }
    }

    /// Puts an object under its name into the root; its number is how many were added before.
    ///
    /// # Errors
    /// Another object of that name; then nothing was added.
    pub fn add(&mut self, name: &str, manifest: &Manifest) -> Result<usize, IndexError> {
        if self.names.contains_key(&(ROOT, name.into())) {
            return Err(IndexError::Twice(name.into()));
        }
        let no_folder = || IndexError::NoFolder(name.into());
        let first = self.inodes.len() as u64 + 1;
        let number_of = |entry: u32| first.saturating_add(u64::from(entry));
        if !manifest
            .entries()
            .iter()
            .zip(0u32..)
            .all(|(entry, number)| entry.parent.map_or(number == 0, |parent| parent < number))
        {
            return Err(no_folder());
        }
        for (index, entry) in manifest.entries().iter().enumerate() {
            let (parent, shown) = match entry.parent {
                None => (ROOT, name.into()),
                Some(parent) => (number_of(parent), entry.name.as_os_str().to_owned()),
            };
            let inode = self.inodes.len() as u64 + 1;
            let place = EntryPlace {
                object: self.objects,
                entry: index,
            };
            self.inodes
                .push(inode_of(entry, parent, shown.clone(), place));
            self.names.insert((parent, shown), inode);
            if let Some(folder) = self.get_mut(parent) {
                folder.children.push(inode);
            }
        }
        let number = self.objects;
        self.objects += 1;
        Ok(number)
    }

    /// An inode.
    pub fn get(&self, inode: u64) -> Option<&Inode> {
        self.inodes
            .get(usize::try_from(inode.checked_sub(1)?).ok()?)
    }

    fn get_mut(&mut self, inode: u64) -> Option<&mut Inode> {
        self.inodes
            .get_mut(usize::try_from(inode.checked_sub(1)?).ok()?)
    }

    /// The inode of a name in a folder.
    pub fn lookup(&self, parent: u64, name: &OsStr) -> Option<u64> {
        self.names.get(&(parent, name.to_owned())).copied()
    }

    /// What a folder shows from its `offset`-th line on: `.`, `..`, then its content. Nothing
    /// where the inode is no folder.
    pub fn list(&self, inode: u64, offset: u64) -> Option<Vec<(u64, &Inode, &OsStr)>> {
        let folder = self
            .get(inode)
            .filter(|inode| inode.kind == InodeKind::Directory)?;
        let parent = self.get(folder.parent)?;
        let dots = [
            (inode, folder, OsStr::new(".")),
            (folder.parent, parent, OsStr::new("..")),
        ];
        let children = folder.children.iter().filter_map(|child| {
            let inode = self.get(*child)?;
            Some((*child, inode, inode.name.as_os_str()))
        });
        let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
        Some(dots.into_iter().chain(children).skip(skipped).collect())
    }

    /// How many folders are directly in a folder: its links are two more.
    pub fn folders_in(&self, inode: u64) -> u32 {
        let children = self.get(inode).map(|inode| inode.children.as_slice());
        let folders = children.unwrap_or_default().iter().filter(|child| {
            self.get(**child)
                .is_some_and(|inode| inode.kind == InodeKind::Directory)
        });
        u32::try_from(folders.count()).unwrap_or(u32::MAX - 2)
    }
}

fn inode_of(entry: &Entry, parent: u64, name: OsString, place: EntryPlace) -> Inode {
    // The drive is read-only; its modes say so too.
    let readable = u16::try_from(entry.mode & 0o777).unwrap_or(0) & 0o555;
    Inode {
        parent,
        name,
        kind: match &entry.kind {
            Kind::Directory => InodeKind::Directory,
            Kind::File { size, .. } => InodeKind::File { size: size.0 },
            Kind::Symlink { target } => InodeKind::Symlink {
                target: OsStr::from_bytes(target).as_bytes().to_vec(),
            },
        },
        mode: match entry.kind {
            Kind::Symlink { .. } => 0o777,
            _ => readable,
        },
        modified: time(entry.modified),
        place: Some(place),
        children: Vec::new(),
    }
}

/// A time that this machine cannot hold becomes the epoch.
fn time(stamp: Timestamp) -> SystemTime {
    let nanos = Duration::from_nanos(u64::from(stamp.nanos));
    let seconds = Duration::from_secs(stamp.seconds.unsigned_abs());
    let whole = if stamp.seconds < 0 {
        UNIX_EPOCH.checked_sub(seconds)
    } else {
        UNIX_EPOCH.checked_add(seconds)
    };
    whole
        .and_then(|whole| whole.checked_add(nanos))
        .unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use holdfast_client::manifest::EntryName;
    use holdfast_market_core::units::ByteCount;

    fn entry(parent: Option<u32>, name: &[u8], mode: u32, kind: Kind) -> Entry {
        Entry {
            parent,
            name: EntryName::new(name).unwrap(),
            mode,
            modified: Timestamp {
                seconds: -2,
                nanos: 5,
            },
            kind,
        }
    }

    fn empty() -> Kind {
        Kind::File {
            size: ByteCount(0),
            content: None,
        }
    }

    fn drive() -> TreeIndex {
        let tree = Manifest::new(vec![
            entry(None, b"photos", 0o755, Kind::Directory),
            entry(Some(0), b"inner", 0o700, Kind::Directory),
            entry(Some(0), b"\xff odd", 0o640, empty()),
            entry(
                Some(1),
                b"link",
                0o777,
                Kind::Symlink {
                    target: b"../a".to_vec(),
                },
            ),
        ]);
        let file = Manifest::new(vec![entry(None, b"note.txt", 0o4755, empty())]);
        let mut index = TreeIndex::new(UNIX_EPOCH);
        assert_eq!(index.add("holiday", &tree.unwrap()).unwrap(), 0);
        assert_eq!(index.add("note.txt", &file.unwrap()).unwrap(), 1);
        index
    }

    fn walk(index: &TreeIndex, path: &[&[u8]]) -> Option<u64> {
        path.iter().try_fold(ROOT, |inode, name| {
            index.lookup(inode, OsStr::from_bytes(name))
        })
    }

    fn names(index: &TreeIndex, inode: u64, offset: u64) -> Vec<&[u8]> {
        let listed = index.list(inode, offset).unwrap();
        listed
            .into_iter()
            .map(|(_, _, name)| name.as_bytes())
            .collect()
    }

    #[test]
    fn objects_lie_in_the_root_under_the_names_that_their_owner_gave() {
        let index = drive();
        assert_eq!(
            names(&index, ROOT, 0),
            [&b"."[..], b"..", b"holiday", b"note.txt"]
        );
        assert!(walk(&index, &[b"photos"]).is_none());
        let link = walk(&index, &[b"holiday", b"inner", b"link"]).unwrap();
        let place = EntryPlace {
            object: 0,
            entry: 3,
        };
        assert_eq!(index.get(link).unwrap().place, Some(place));
        let note = walk(&index, &[b"note.txt"]).unwrap();
        assert_eq!(index.get(note).unwrap().place.unwrap().object, 1);
    }

    #[test]
    fn a_folder_is_listed_from_any_line_on() {
        let index = drive();
        let folder = walk(&index, &[b"holiday"]).unwrap();
        let all = names(&index, folder, 0);
        assert_eq!(all, [&b"."[..], b"..", b"inner", b"\xff odd"]);
        for offset in 0..6u64 {
            let from = usize::try_from(offset).unwrap().min(all.len());
            assert_eq!(names(&index, folder, offset), all[from..]);
        }
        assert_eq!(index.list(folder, 1).unwrap()[0].0, ROOT);
        assert_eq!((index.folders_in(ROOT), index.folders_in(folder)), (1, 1));
    }

    #[test]
    fn what_is_no_folder_is_not_listed_and_has_no_names_in_it() {
        let index = drive();
        let note = walk(&index, &[b"note.txt"]).unwrap();
        assert!(index.list(note, 0).is_none());
        assert!(index.lookup(note, OsStr::new("x")).is_none());
        for missing in [0, 99, u64::MAX] {
            assert!(index.get(missing).is_none() && index.list(missing, 0).is_none());
        }
    }

    #[test]
    fn attributes_are_the_stored_ones_without_the_right_to_write() {
        let index = drive();
        let mode = |path: &[&[u8]]| index.get(walk(&index, path).unwrap()).unwrap().mode;
        assert_eq!(mode(&[b"holiday"]), 0o555);
        assert_eq!(mode(&[b"holiday", b"inner"]), 0o500);
        assert_eq!(mode(&[b"note.txt"]), 0o555);
        let odd = index
            .get(walk(&index, &[b"holiday", b"\xff odd"]).unwrap())
            .unwrap();
        let before = UNIX_EPOCH - Duration::from_secs(2) + Duration::from_nanos(5);
        assert_eq!((odd.mode, odd.modified), (0o440, before));
    }

    #[test]
    fn two_objects_of_one_name_are_refused_and_the_first_stays() {
        let mut index = drive();
        let file = Manifest::new(vec![entry(None, b"x", 0o644, empty())]).unwrap();
        assert_eq!(
            index.add("holiday", &file),
            Err(IndexError::Twice("holiday".into()))
        );
        assert_eq!(names(&index, ROOT, 2), [&b"holiday"[..], b"note.txt"]);
        assert_eq!(index.add("x", &file), Ok(2));
    }
}
