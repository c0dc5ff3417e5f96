//! Writing a stored object back: into a hidden folder beside the target first, and under its name
//! only when it is whole and on the disk.

use crate::error::ClientError;
use crate::manifest::{Entry, Kind, Manifest, Timestamp};
use filetime::FileTime;
use holdfast_proofs::crash::crash_point;
use holdfast_proofs::durable::{COMMON_MODE, create_folder};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// An object being written back. Dropped before [`Restoration::finish`], it leaves nothing.
#[derive(Debug)]
pub struct Restoration<'a> {
    manifest: &'a Manifest,
    target: PathBuf,
    /// Holds what is written; removed at the end whatever happens.
    workplace: PathBuf,
    /// Held as long as this lives: a workplace that nobody holds is of a process that was killed.
    _held: File,
    /// Where each entry is written, in the workplace.
    paths: Vec<PathBuf>,
    force: bool,
}

impl<'a> Restoration<'a> {
    /// Begins to write the object into `folder`, under its own name; makes its folders.
    ///
    /// # Errors
    /// Something of that name is there and `force` is not given, or the system's refusal.
    pub fn begin(manifest: &'a Manifest, folder: &Path, force: bool) -> Result<Self, ClientError> {
        let name = manifest
            .entries()
            .first()
            .map(|entry| entry.name.as_os_str());
        let name = name.unwrap_or(OsStr::new("object"));
        let target = folder.join(name);
        remove_abandoned(folder);
        if !force && target.symlink_metadata().is_ok() {
            return Err(ClientError::failed(
                format!("{} is there already", target.display()),
                "give another folder with --to, or --force to replace it",
            ));
        }
        create_folder(folder, COMMON_MODE).map_err(ClientError::io(folder))?;
        let (workplace, held) = make_workplace(folder)?;
        crash_point("get.begun");
        let mut restoration = Self {
            manifest,
            target,
            workplace,
            _held: held,
            paths: Vec::with_capacity(manifest.entries().len()),
            force,
        };
        for entry in manifest.entries() {
            restoration.prepare(entry)?;
        }
        Ok(restoration)
    }

    /// Names the place of an entry and makes folders and links. Nothing in the workplace was
    /// made by anybody else, and the manifest is a tree of checked names, so that no path leaves it.
    fn prepare(&mut self, entry: &Entry) -> Result<(), ClientError> {
        let parent = entry
            .parent
            .and_then(|parent| self.paths.get(usize::try_from(parent).ok()?));
        let path = parent
            .unwrap_or(&self.workplace)
            .join(entry.name.as_os_str());
        match &entry.kind {
            Kind::Directory => DirBuilder::new()
                .mode(0o700)
                .create(&path)
                .map_err(ClientError::io(&path))?,
            Kind::Symlink { target } => {
                symlink(OsStr::from_bytes(target), &path).map_err(ClientError::io(&path))?;
            }
            Kind::File { .. } => {}
        }
        self.paths.push(path);
        Ok(())
    }

    /// Where the object will be.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Makes the file of an entry, empty and private until the end.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn create(&self, index: usize) -> Result<(File, PathBuf), ClientError> {
        let path = self.paths.get(index).cloned().unwrap_or_default();
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(ClientError::io(&path))?;
        Ok((file, path))
    }

    /// Sets modes and times, syncs all of it, and puts it under its name.
    ///
    /// # Errors
    /// The system's refusal; then nothing is under the name that was not there before.
    pub fn finish(self) -> Result<PathBuf, ClientError> {
        // Children before their folder: a folder's time changes with what is made in it, and a
        // mode without `w` would bar us from its content.
        for (entry, path) in self.manifest.entries().iter().zip(&self.paths).rev() {
            settle(entry, path).map_err(ClientError::io(path))?;
        }
        crash_point("get.written");
        if let Some(written) = self.paths.first() {
            self.put_in_place(written)?;
        }
        crash_point("get.named");
        Ok(self.target.clone())
    }

    fn put_in_place(&self, written: &Path) -> Result<(), ClientError> {
        let failed = |source| ClientError::Io {
            path: self.target.clone(),
            source,
        };
        let there = self.target.symlink_metadata().is_ok();
        if there && !self.force {
            return Err(ClientError::failed(
                format!(
                    "{} was made by somebody else meanwhile",
                    self.target.display()
                ),
                "give another folder with --to, or --force to replace it",
            ));
        }
        // What is replaced takes the other's place and goes with the workplace: at no moment is
        // there nothing under the name.
        let how = if there {
            RenameFlags::EXCHANGE
        } else {
            RenameFlags::NOREPLACE
        };
        match renameat_with(CWD, written, CWD, &self.target, how) {
            // A file system that knows no such renames: for a moment nothing is under the name.
            Err(Errno::INVAL | Errno::NOSYS) => {
                let replaced = self.workplace.join(".replaced");
                if there {
                    std::fs::rename(&self.target, &replaced).map_err(failed)?;
                }
                if let Err(error) = std::fs::rename(written, &self.target) {
                    if there {
                        std::fs::rename(&replaced, &self.target).map_err(failed)?;
                    }
                    return Err(failed(error));
                }
            }
            renamed => renamed.map_err(|error| failed(error.into()))?,
        }
        let folder = self.target.parent().unwrap_or(Path::new("."));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(ClientError::io(folder))
    }
}

impl Drop for Restoration<'_> {
    fn drop(&mut self) {
        remove_workplace(&self.workplace);
    }
}

/// How a workplace's name begins.
const WORKPLACE: &str = ".holdfast-get-";

/// A new private folder beside the target, held: on the same file system, so that a rename suffices.
fn make_workplace(folder: &Path) -> Result<(PathBuf, File), ClientError> {
    let mut name = OsString::from(WORKPLACE);
    name.push(format!("{:016x}", rand::random::<u64>()));
    let path = folder.join(name);
    DirBuilder::new()
        .mode(0o700)
        .create(&path)
        .map_err(ClientError::io(&path))?;
    let held = File::open(&path).map_err(ClientError::io(&path))?;
    // Nobody else knows the folder yet, but for one who removes what is abandoned.
    held.try_lock()
        .map_err(|error| ClientError::io(&path)(error.into()))?;
    Ok((path, held))
}

/// Removes the workplaces that processes which were killed have left in `folder`.
fn remove_abandoned(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().as_bytes();
        let is_folder = path.symlink_metadata().is_ok_and(|found| found.is_dir());
        if is_folder
            && name.starts_with(WORKPLACE.as_bytes())
            && File::open(&path).is_ok_and(|folder| folder.try_lock().is_ok())
        {
            tracing::info!(path = %path.display(), "what an interrupted get left is removed");
            remove_workplace(&path);
        }
    }
}

/// Removes a workplace, whatever modes the folders in it have by now.
fn remove_workplace(workplace: &Path) {
    open_folders(workplace);
    if let Err(error) = std::fs::remove_dir_all(workplace) {
        tracing::warn!(path = %workplace.display(), %error, "a temporary folder was left");
    }
}

/// Folders that have lost their `w` already could not be emptied.
fn open_folders(folder: &Path) {
    let _ = std::fs::set_permissions(folder, Permissions::from_mode(0o700));
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_folders(&entry.path());
        }
    }
}

fn settle(entry: &Entry, path: &Path) -> std::io::Result<()> {
    let time = file_time(entry.modified);
    if matches!(entry.kind, Kind::Symlink { .. }) {
        return filetime::set_symlink_file_times(path, time, time);
    }
    let opened = File::open(path)?;
    opened.set_permissions(Permissions::from_mode(entry.mode))?;
    filetime::set_file_handle_times(&opened, Some(time), Some(time))?;
    opened.sync_all()
}

fn file_time(time: Timestamp) -> FileTime {
    FileTime::from_unix_time(time.seconds, time.nanos)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::manifest::EntryName;
    use crate::walk::{FoundKind, Source};
    use holdfast_market_core::units::ByteCount;
    use std::io::Write;

    fn manifest(source: &Source) -> Manifest {
        let entries = source.found.iter().map(|found| Entry {
            parent: found.parent,
            name: found.name.clone(),
            mode: found.mode,
            modified: found.modified,
            kind: match &found.kind {
                FoundKind::Directory => Kind::Directory,
                FoundKind::Symlink { target } => Kind::Symlink {
                    target: target.clone(),
                },
                FoundKind::File { .. } => Kind::File {
                    size: ByteCount(0),
                    content: None,
                },
            },
        });
        Manifest::new(entries.collect()).unwrap()
    }

    fn files(manifest: &Manifest) -> Vec<usize> {
        let is_file = |entry: &Entry| matches!(entry.kind, Kind::File { .. });
        let entries = manifest.entries().iter().enumerate();
        entries
            .filter(|(_, entry)| is_file(entry))
            .map(|(index, _)| index)
            .collect()
    }

    fn names_in(folder: &Path) -> Vec<OsString> {
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    }

    fn tree(folder: &Path) -> PathBuf {
        let root = folder.join("tree");
        std::fs::create_dir_all(root.join("inner/empty")).unwrap();
        std::fs::write(root.join(OsStr::from_bytes(b"odd \xff\n")), "").unwrap();
        std::fs::write(root.join("inner/script"), "").unwrap();
        symlink("../../../etc/passwd", root.join("inner/link")).unwrap();
        let time = FileTime::from_unix_time(-5, 123_456_789);
        filetime::set_symlink_file_times(root.join("inner/link"), time, time).unwrap();
        for (path, mode) in [
            ("inner/script", 0o751),
            ("inner/empty", 0o500),
            ("inner", 0o555),
        ] {
            let path = root.join(path);
            filetime::set_file_mtime(&path, FileTime::from_unix_time(1_000, 7)).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
        root
    }

    #[test]
    fn names_modes_times_links_and_empty_folders_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let source = Source::walk(&tree(folder.path())).unwrap();
        let manifest = manifest(&source);
        let to = folder.path().join("restored");
        let restoration = Restoration::begin(&manifest, &to, false).unwrap();
        for index in files(&manifest) {
            restoration.create(index).unwrap();
        }
        let target = restoration.finish().unwrap();
        let again = Source::walk(&target).unwrap();
        assert_eq!(again.found, source.found);
        assert_eq!(names_in(&to), ["tree"]);
    }

    #[test]
    fn an_existing_target_is_refused_without_force_and_replaced_whole_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let source = Source::walk(&tree(folder.path())).unwrap();
        let manifest = manifest(&source);
        let to = folder.path().join("to");
        std::fs::create_dir_all(to.join("tree/old")).unwrap();
        let error = Restoration::begin(&manifest, &to, false).unwrap_err();
        assert!(error.to_string().contains("tree is there already"));
        assert!(to.join("tree/old").exists());
        let restoration = Restoration::begin(&manifest, &to, true).unwrap();
        for index in files(&manifest) {
            restoration.create(index).unwrap();
        }
        restoration.finish().unwrap();
        assert!(!to.join("tree/old").exists());
        assert!(to.join("tree/inner/empty").exists());
        assert_eq!(names_in(&to), ["tree"]);
    }

    #[test]
    fn what_is_given_up_halfway_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let source = Source::walk(&tree(folder.path())).unwrap();
        let manifest = manifest(&source);
        let to = folder.path().join("to");
        let restoration = Restoration::begin(&manifest, &to, false).unwrap();
        let (mut file, _) = restoration.create(files(&manifest)[0]).unwrap();
        file.write_all(b"half").unwrap();
        drop(restoration);
        assert!(names_in(&to).is_empty());
    }

    #[test]
    fn what_a_killed_get_left_is_removed_by_the_next_and_what_a_living_one_has_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let source = Source::walk(&tree(folder.path())).unwrap();
        let manifest = manifest(&source);
        let to = folder.path().join("restored");
        let living = Restoration::begin(&manifest, &to, false).unwrap();
        // As a killed process leaves it: unlocked, with folders that nobody may write.
        let left = to.join(".holdfast-get-0123456789abcdef");
        std::fs::create_dir_all(left.join("tree/inner")).unwrap();
        std::fs::write(left.join("tree/inner/half"), "ha").unwrap();
        for path in ["tree/inner", "tree"] {
            std::fs::set_permissions(left.join(path), Permissions::from_mode(0o555)).unwrap();
        }
        std::fs::write(to.join(".holdfast-get-mine"), "a file of somebody's").unwrap();
        let next = Restoration::begin(&manifest, &to, false).unwrap();
        assert!(!left.exists());
        assert!(living.workplace.exists() && next.workplace.exists());
        for index in files(&manifest) {
            living.create(index).unwrap();
        }
        living.finish().unwrap();
        drop(next);
        assert_eq!(names_in(&to), [".holdfast-get-mine", "tree"]);
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        let named = |parent, name: &[u8], kind| Entry {
            parent,
            name: EntryName::new(name).unwrap(),
            mode: 0o644,
            modified: Timestamp {
                seconds: 0,
                nanos: 0,
            },
            kind,
        };
        let link = Kind::Symlink {
            target: outside.as_os_str().as_bytes().to_vec(),
        };
        let file = Kind::File {
            size: ByteCount(0),
            content: None,
        };
        let entries = vec![
            named(None, b"tree", Kind::Directory),
            named(Some(0), b"escape", link),
            named(Some(1), b"file", file),
        ];
        assert!(Manifest::new(entries).is_err());
        assert!(names_in(&outside).is_empty());
    }
}
