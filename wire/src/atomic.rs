//! Files that are either the old ones or the new ones, whole, at whatever moment the power goes.

use holdfast_proofs::crash::crash_point;
use holdfast_proofs::durable::{above, sync_folder};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file that is being written beside its place, and is nothing until it is whole.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    named: bool,
}

impl NewFile {
    /// Begins the file that is to be at `path`.
    ///
    /// # Errors
    /// The operating system's.
    pub fn create(path: &Path, mode: u32) -> io::Result<Self> {
        let no_name = || io::Error::new(io::ErrorKind::InvalidInput, "the path names no file");
        let name = path.file_name().ok_or_else(no_name)?;
        let mut temporary_name = std::ffi::OsString::from(".");
        temporary_name.push(name);
        temporary_name.push(format!(".{}.new", std::process::id()));
        let temporary = above(path).join(temporary_name);
        // Left over from a process of the same number that was killed: its content is nobody's.
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)?;
        Ok(Self {
            file,
            temporary,
            path: path.to_owned(),
            named: false,
        })
    }

    /// Puts it in its place, durably, whatever was there.
    ///
    /// # Errors
    /// The operating system's; then what was there still is.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        crash_point("atomic.written");
        std::fs::rename(&self.temporary, &self.path)?;
        self.named = true;
        crash_point("atomic.named");
        sync_folder(above(&self.path))
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.named {
            // What cannot be removed is removed by the next who writes there.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Writes `bytes` to `path` with `mode`: a temporary file beside it, synced, renamed over it, and
/// the folder synced.
///
/// # Errors
/// The operating system's.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = NewFile::create(path, mode)?;
    file.write_all(bytes)?;
    file.finish()
}

/// Removes a file whose name is not to come back with a loss of power.
///
/// # Errors
/// The operating system's.
pub fn remove(path: &Path) -> io::Result<()> {
    std::fs::remove_file(path)?;
    sync_folder(above(path))
}

/// Reads a file of at most `limit` bytes; a longer one is refused, not cut.
///
/// # Errors
/// A longer file, or the operating system's.
pub fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let read = File::open(path)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if read as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the file is longer than {limit} bytes"),
        ));
    }
    Ok(bytes)
}
