//! The sealed sectors on this disk: one open handle each, shared by whoever proves or writes.

use crate::error::NodeError;
use crate::journal::SectorRecord;
use holdfast_market_core::units::SectorNumber;
use holdfast_proofs::durable::sync_folder;
use holdfast_proofs::seal::SealError;
use holdfast_proofs::sealed::{Reach, Sealed};
use holdfast_proofs::sector::Position;
use rand::Rng;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Leaves that are read before a deadline to see whether the sector can be proven.
const SAMPLES: usize = 16;

/// A shared handle of one sealed sector.
#[derive(Clone, Debug)]
pub struct SectorHandle {
    number: SectorNumber,
    path: PathBuf,
    sealed: Arc<RwLock<Sealed>>,
}

impl SectorHandle {
    /// For proofs: many at a time.
    pub fn read(&self) -> RwLockReadGuard<'_, Sealed> {
        // Each step of `Sealed` is whole on the disk and in memory, or not taken.
        self.sealed.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For writing groups: alone.
    pub fn write(&self) -> RwLockWriteGuard<'_, Sealed> {
        self.sealed.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A sector's error, with its number and folder.
    pub fn error(&self, error: &SealError) -> NodeError {
        sector_error(self.number, &self.path, error)
    }

    /// Reads a few leaves and their paths, as a deadline would.
    ///
    /// # Errors
    /// What cannot be read, or is damaged.
    pub fn check(&self) -> Result<(), NodeError> {
        let sealed = self.read();
        let nodes = sealed.class().nodes();
        for _ in 0..SAMPLES {
            let position = Position(rand::thread_rng().gen_range(0..nodes));
            sealed
                .replica_opening(position, Reach::Lane)
                .map_err(|error| self.error(&error))?;
        }
        Ok(())
    }
}

/// The folder of sectors.
#[derive(Debug)]
pub struct Sectors {
    folder: PathBuf,
    open: Mutex<BTreeMap<SectorNumber, SectorHandle>>,
}

impl Sectors {
    /// Sectors under `folder`, each in a folder of its number.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            open: Mutex::default(),
        }
    }

    /// Where a sector's files are.
    pub fn path(&self, number: SectorNumber) -> PathBuf {
        self.folder.join(number.to_string())
    }

    /// How many bytes a sector's files have.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn size(&self, number: SectorNumber) -> Result<u64, NodeError> {
        let mut bytes = 0u64;
        let mut folders = vec![self.path(number)];
        while let Some(folder) = folders.pop() {
            let entries = match std::fs::read_dir(&folder) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                entries => entries.map_err(NodeError::file(&folder))?,
            };
            for entry in entries {
                let entry = entry.map_err(NodeError::file(&folder))?;
                // A file may go while it is looked at.
                match entry.metadata() {
                    Ok(found) if found.is_dir() => folders.push(entry.path()),
                    Ok(found) => bytes = bytes.saturating_add(found.len()),
                    Err(_) => {}
                }
            }
        }
        Ok(bytes)
    }

    /// The handle of a sealed sector.
    ///
    /// # Errors
    /// Files that are missing or damaged, by name.
    pub fn open(
        &self,
        number: SectorNumber,
        record: &SectorRecord,
    ) -> Result<SectorHandle, NodeError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = open.get(&number) {
            return Ok(handle.clone());
        }
        let path = self.path(number);
        let sealed = Sealed::open(&path, record.class, record.replica)
            .map_err(|error| sector_error(number, &path, &error))?;
        let handle = SectorHandle {
            number,
            path,
            sealed: Arc::new(RwLock::new(sealed)),
        };
        open.insert(number, handle.clone());
        Ok(handle)
    }

    /// Removes a sector's files.
    ///
    /// # Errors
    /// A disk that refuses.
    pub fn remove(&self, number: SectorNumber) -> Result<(), NodeError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&number);
        let path = self.path(number);
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            // Files of another replica that came back would stand in the way of the next one's.
            removed => removed
                .and_then(|()| sync_folder(&self.folder))
                .map_err(NodeError::file(&path)),
        }
    }
}

pub(crate) fn sector_error(number: SectorNumber, path: &Path, error: &SealError) -> NodeError {
    NodeError::Sector {
        number,
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
