//! The sealed sectors on this disk: one open handle each, shared by whoever proves or writes.
//!
//! Which of them have damaged files is remembered here, by whoever met the damage, until they are
//! put right ([`crate::heal`]).

use crate::error::{NodeError, is_shortage};
use crate::journal::SectorRecord;
use holdfast_market_core::units::SectorNumber;
use holdfast_proofs::durable::{above, sync_folder};
use holdfast_proofs::seal::SealError;
use holdfast_proofs::sealed::{Reach, Sealed};
use holdfast_proofs::sector::Position;
use rand::Rng;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Leaves that are read before a deadline to see whether the sector can be proven.
const SAMPLES: usize = 16;

/// The end of the name of a folder in which a sector is sealed again.
const AGAIN: &str = ".again";

/// What it takes to put a damaged sector right, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Its files have to be read whole first: most damage is put right from what is there.
    Look,
    /// Some of its keys are lost: they are made again by sealing beside.
    Seal,
}

/// The sectors that have damaged files; clones share it.
#[derive(Clone, Debug, Default)]
struct Damaged(Arc<Mutex<BTreeMap<SectorNumber, Repair>>>);

impl Damaged {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<SectorNumber, Repair>> {
        // One insertion or removal at a time: a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Damage was met; what is known of it stays.
    fn met(&self, number: SectorNumber) {
        self.lock().entry(number).or_insert(Repair::Look);
    }
}

/// A shared handle of one sealed sector.
#[derive(Clone, Debug)]
pub struct SectorHandle {
    number: SectorNumber,
    path: PathBuf,
    sealed: Arc<RwLock<Sealed>>,
    damaged: Damaged,
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

    /// A sector's error, with its number and folder. Damage is remembered.
    pub fn error(&self, error: &SealError) -> NodeError {
        self.note(error);
        sector_error(self.number, &self.path, error)
    }

    /// Remembers damage: what was read wrong or could not be read. That something could not be
    /// written, or not be opened for want of the system's means, says nothing of the files.
    pub fn note(&self, error: &SealError) {
        let damage = match error {
            // Also layers: only the seal's proof asks for them, and it needs them.
            SealError::Damaged { .. } | SealError::Missing { .. } => true,
            SealError::Io { doing, source, .. } => {
                matches!(*doing, "open" | "read") && !is_shortage(source)
            }
            _ => false,
        };
        if damage {
            self.damaged.met(self.number);
        }
    }

    /// Which sector.
    pub fn number(&self) -> SectorNumber {
        self.number
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
    damaged: Damaged,
}

impl Sectors {
    /// Sectors under `folder`, each in a folder of its number. One whose repair was interrupted is
    /// damaged until it has been looked at.
    pub fn new(folder: &Path) -> Self {
        let sectors = Self {
            folder: folder.to_owned(),
            open: Mutex::default(),
            damaged: Damaged::default(),
        };
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(AGAIN));
            if let Some(number) = number.and_then(|number| number.parse().ok()) {
                sectors.damaged.met(SectorNumber(number));
            }
        }
        sectors
    }

    /// Where a sector's files are.
    pub fn path(&self, number: SectorNumber) -> PathBuf {
        self.folder.join(number.to_string())
    }

    /// Where a sector's keys are made again while they are needed.
    pub fn beside(&self, number: SectorNumber) -> PathBuf {
        self.folder.join(format!("{number}{AGAIN}"))
    }

    /// The sectors that have damaged files, and what they take.
    pub fn damaged(&self) -> BTreeMap<SectorNumber, Repair> {
        self.damaged.lock().clone()
    }

    /// Whether damage was met in a sector that is not put right yet.
    pub fn is_damaged(&self, number: SectorNumber) -> bool {
        self.damaged.lock().contains_key(&number)
    }

    /// Damage was met in a sector, or what it takes is known now.
    pub fn set_damaged(&self, number: SectorNumber, repair: Repair) {
        self.damaged.lock().insert(number, repair);
    }

    /// A sector's files are whole.
    pub fn mended(&self, number: SectorNumber) {
        self.damaged.lock().remove(&number);
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
            damaged: self.damaged.clone(),
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
        self.mended(number);
        remove_folder(&self.beside(number))?;
        remove_folder(&self.path(number))
    }
}

/// Removes a folder; one that is not there is removed already. A sector's manifest goes first: what
/// is left where this is interrupted is not taken for a sector.
pub(crate) fn remove_folder(path: &Path) -> Result<(), NodeError> {
    for manifest in ["sector.json", "sector.copy.json"] {
        let manifest = path.join(manifest);
        match std::fs::remove_file(&manifest) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(NodeError::file(&manifest)(error));
            }
            _ => {}
        }
    }
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        // Files of another replica that came back would stand in the way of the next one's.
        removed => removed
            .and_then(|()| sync_folder(above(path)))
            .map_err(NodeError::file(path)),
    }
}

pub(crate) fn sector_error(number: SectorNumber, path: &Path, error: &SealError) -> NodeError {
    NodeError::Sector {
        number,
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
