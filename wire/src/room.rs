//! Whether a disk that refused to write takes writes again.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// The file that is written to see whether writing works.
const TRIAL_FILE: &str = ".trial.new";

/// Whether the disk under `folder` has room for so many bytes and makes a small file durable.
///
/// # Errors
/// Too little room ([`io::ErrorKind::StorageFull`]), or the operating system's refusal.
pub fn check(folder: &Path, bytes: u64) -> io::Result<()> {
    let free = fs4::available_space(folder)?;
    if free < bytes {
        return Err(io::Error::new(
            io::ErrorKind::StorageFull,
            format!("No space left on device: {free} bytes are free and {bytes} are needed"),
        ));
    }
    let path = folder.join(TRIAL_FILE);
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&[0])?;
        file.sync_all()
    });
    let removed = std::fs::remove_file(&path);
    written.and(removed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn there_is_room_for_a_byte_and_not_for_more_than_any_disk_has() {
        let folder = tempfile::tempdir().unwrap();
        check(folder.path(), 1).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let error = check(folder.path(), u64::MAX).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(error.to_string().contains("are needed"), "{error}");
    }
}
