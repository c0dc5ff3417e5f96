//! Files that are either the old ones or the new ones, whole, at whatever moment the power goes.

use holdfast_proofs::crash::crash_point;
use holdfast_proofs::durable::{Unfinished, above, sync_folder};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes `bytes` to `path` with `mode`: a temporary file beside it, synced, renamed over it, and
/// the folder synced.
///
/// # Errors
/// The operating system's.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let no_name = || io::Error::new(io::ErrorKind::InvalidInput, "the path names no file");
    let name = path.file_name().ok_or_else(no_name)?;
    let parent = above(path);
    let mut temporary_name = std::ffi::OsString::from(".");
    temporary_name.push(name);
    temporary_name.push(format!(".{}.new", std::process::id()));
    let temporary = parent.join(temporary_name);
    // Left over from a process of the same number that was killed: its content is nobody's.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)?;
    let unfinished = Unfinished(&temporary);
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    crash_point("atomic.written");
    std::fs::rename(&temporary, path)?;
    unfinished.finished();
    crash_point("atomic.named");
    sync_folder(parent)
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
