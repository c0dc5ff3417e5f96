//! One handle a folder: the lock that a sector's handle and its sealing hold.

use crate::files::Named;
use crate::seal::SealError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

/// The exclusive lock of a sector's folder; released with its last clone, also by a process that
/// dies.
#[derive(Clone, Debug)]
pub(crate) struct FolderLock {
    _file: Arc<File>,
}

impl FolderLock {
    /// Takes the lock, or says that another handle has it: nobody waits for a sector.
    pub(crate) fn take(dir: &Path) -> Result<Self, SealError> {
        let path = dir.join("lock");
        let opened = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let file = match opened {
            // Only a folder that is not there has no room for the file.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(SealError::NotSealed { dir: dir.into() });
            }
            opened => opened.named("open", &path)?,
        };
        match file.try_lock() {
            Ok(()) => Ok(Self {
                _file: Arc::new(file),
            }),
            Err(TryLockError::WouldBlock) => Err(SealError::InUse { dir: dir.into() }),
            Err(TryLockError::Error(source)) => Err(source).named("lock", &path),
        }
    }
}
