//! Mounting, and unmounting again.

use crate::drive::Drive;
use crate::index::TreeIndex;
use fuser::{BackgroundSession, Config, MountOption};
use holdfast_client::catalogue::Catalogue;
use holdfast_client::reader::OpenObject;
use holdfast_client::session::Session;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::runtime::Handle;

/// Why nothing was mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// No folder to mount on.
    #[error("{path} is no folder to mount on: {source}")]
    Place {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It has something in it, which would be hidden.
    #[error("{0} is not empty; give an empty folder, what is in it would be hidden")]
    NotEmpty(PathBuf),
    /// None of the objects can be read.
    #[error("none of the {0} stored objects can be read now; `holdfast status` says why")]
    Nothing(usize),
    /// The system refuses.
    #[error(
        "{path} cannot be mounted: {source}; see whether the package fuse3 is installed and /dev/fuse can be opened"
    )]
    Refused {
        /// Where.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

/// A mounted drive; it is unmounted when this is dropped.
pub struct Mounted {
    session: BackgroundSession,
    objects: usize,
    skipped: Vec<String>,
}

impl Mounted {
    /// How many objects are on it.
    pub fn objects(&self) -> usize {
        self.objects
    }

    /// The names of those that could not be read.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// Whether somebody else has unmounted it.
    pub fn is_over(&self) -> bool {
        self.session.guard.is_finished()
    }

    /// Unmounts.
    ///
    /// # Errors
    /// The system's refusal, for example because a file on it is open.
    pub fn unmount(self) -> io::Result<()> {
        self.session.umount_and_join()
    }
}

/// Mounts what the catalogue lists on an empty folder, read-only. What is stored later is not on
/// it; an object that cannot be read now is left out by name.
///
/// # Errors
/// A folder that cannot be mounted on, or nothing that can be read.
pub async fn mount(
    session: &Session,
    catalogue: &Catalogue,
    folder: &Path,
) -> Result<Mounted, MountError> {
    let owner = check_folder(folder)?;
    let mut index = TreeIndex::new(SystemTime::now());
    let mut objects = Vec::new();
    let mut skipped = Vec::new();
    for record in catalogue.objects() {
        let opened = OpenObject::open(session, record).await;
        let added = opened
            .map_err(|error| error.to_string())
            .and_then(|object| {
                index
                    .add(&record.name, &object.manifest)
                    .map_err(|error| error.to_string())?;
                Ok(object)
            });
        match added {
            Ok(object) => objects.push(Arc::new(object)),
            Err(error) => {
                tracing::warn!(%error, name = record.name, "an object is not on the drive");
                skipped.push(record.name.clone());
            }
        }
    }
    if objects.is_empty() && !skipped.is_empty() {
        return Err(MountError::Nothing(skipped.len()));
    }
    let count = objects.len();
    let drive = Drive::new(index, objects, Handle::current(), owner);
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::RO,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::DefaultPermissions,
        MountOption::FSName("holdfast".into()),
        MountOption::Subtype("holdfast".into()),
    ];
    let session =
        fuser::spawn_mount(drive, folder, &config).map_err(|source| MountError::Refused {
            path: folder.to_owned(),
            source,
        })?;
    Ok(Mounted {
        session,
        objects: count,
        skipped,
    })
}

/// An empty folder, and whose everything on the drive is: the user's who mounts.
fn check_folder(folder: &Path) -> Result<(u32, u32), MountError> {
    let refused = |source| MountError::Place {
        path: folder.to_owned(),
        source,
    };
    let mut entries = std::fs::read_dir(folder).map_err(refused)?;
    if entries.next().is_some() {
        return Err(MountError::NotEmpty(folder.to_owned()));
    }
    // This process's own entry belongs to the user that it runs as.
    let process = std::fs::metadata("/proc/self").map_err(refused)?;
    Ok((process.uid(), process.gid()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_folder_with_something_in_it_or_none_at_all_is_not_mounted_on() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check_folder(folder.path()).is_ok());
        std::fs::write(folder.path().join("x"), "").unwrap();
        let error = check_folder(folder.path()).unwrap_err();
        assert!(error.to_string().contains("is not empty"));
        let missing = folder.path().join("missing");
        assert!(matches!(
            check_folder(&missing),
            Err(MountError::Place { .. })
        ));
    }
}
