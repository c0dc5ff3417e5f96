//! A disk that fails: a file system of the test's own, in memory, under which a real node, market or
//! wallet lives, with the power cut, with no room left, with reads and writes that fail.
//!
//! It is mounted from threads of the test's process, passes every read and write through (the kernel
//! keeps no data, no names and no attributes), and knows at each moment what is *durable*.
//!
//! **What POSIX promises.** `fsync` and `fdatasync` of a file make its content and length durable.
//! `fsync` of a directory makes the names made, changed and removed in it durable. `rename` is seen
//! whole or not at all. Nothing else is promised: not that a synced file has a durable name, not
//! that names become durable in the order of their making across directories, not that a block that
//! was not synced is either the old or the new whole.
//!
//! **What this disk does.** Exactly that, pessimistically: a file's content is durable as of its last
//! sync, a directory's names as of the directory's last sync. A rename from one directory to another
//! is one step of both, as on a file system with a journal, and a sync of either makes it durable
//! with all that came before it in both. [`Loss::Everything`] loses whatever was not synced.
//! [`Loss::Some`] is what a disk does that had begun to write back by itself: each unsynced block of
//! a file is the old or the new one by the draw of a seed, so is a file's length, and of each
//! directory's unsynced changes the first ones stay, in order. Blocks (4 KiB) are never torn.
//!
//! **A sync that fails** does as Linux does: what it should have made durable counts as clean
//! afterwards, reads show it, the next sync succeeds without it, and it is gone when the power is.
//!
//! Modes and times are not part of the model; they are kept as they are.

mod content;
mod faults;
mod model;
mod names;
mod serve;
#[cfg(test)]
mod tests;

pub use content::BLOCK_BYTES;
pub use model::Counts;

use faults::Act;
use fuser::{BackgroundSession, Config, MountOption};
use model::Model;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What goes with the power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Whatever was not synced.
    Everything,
    /// A part of it, drawn from this seed.
    Some(u64),
}

/// Why there is no disk.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// No folder to mount on.
    #[error("no folder to mount the test's disk on could be made: {0}")]
    Place(io::Error),
    /// The system does not mount it.
    #[error(
        "the test's disk cannot be mounted: {0}; these tests need /dev/fuse, and a user who is not root needs the package fuse3"
    )]
    Mount(io::Error),
}

/// The model, shared by the threads that serve it and the test that breaks it.
#[derive(Clone)]
struct Shared(Arc<Mutex<Model>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Model> {
        // A panic in the model fails the test that caused it by an answer that never comes; what
        // other threads still ask is answered from what there is.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A mounted disk; it is unmounted when this is dropped.
pub struct Disk {
    model: Shared,
    session: Option<BackgroundSession>,
    place: tempfile::TempDir,
}

impl Disk {
    /// Mounts an empty disk without a limit.
    ///
    /// # Errors
    /// There is no place for it, or the system does not mount it.
    pub fn mount() -> Result<Self, DiskError> {
        let place = tempfile::Builder::new()
            .prefix("holdfast-disk-")
            .tempdir()
            .map_err(DiskError::Place)?;
        let model = Shared(Arc::new(Mutex::new(Model::new())));
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::RW,
            MountOption::NoSuid,
            MountOption::NoDev,
            MountOption::DefaultPermissions,
            MountOption::FSName("holdfast-test-disk".into()),
        ];
        let served = serve::Served::new(model.clone());
        let session =
            fuser::spawn_mount(served, place.path(), &config).map_err(DiskError::Mount)?;
        Ok(Self {
            model,
            session: Some(session),
            place,
        })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// Cuts the power and gives it back: what was not durable is lost as `loss` says, everything
    /// that was open is closed, and the disk serves what is left. Whoever used it should have been
    /// killed before, or see nothing but errors since [`Disk::stop_after`].
    pub fn cut_power(&self, loss: Loss) {
        self.model.lock().cut_power(loss);
    }

    /// Lets so many more changing operations pass (writes, syncs, names made or removed); the one
    /// after them and whatever is asked later fails, as if the disk had been pulled out, until
    /// [`Disk::cut_power`].
    pub fn stop_after(&self, operations: u64) {
        self.model.lock().stop_after(Some(operations));
    }

    /// Takes [`Disk::stop_after`] back where it has not come to pass.
    pub fn go_on(&self) {
        self.model.lock().stop_after(None);
    }

    /// Whether the disk has stopped.
    pub fn is_stopped(&self) -> bool {
        self.model.lock().is_stopped()
    }

    /// Gives the disk room for so many bytes, of which [`Disk::used`] are taken already: beyond it
    /// there is "no space left on device".
    pub fn limit(&self, bytes: u64) {
        self.model.lock().limit = Some(bytes);
    }

    /// Takes the limit away.
    pub fn no_limit(&self) {
        self.model.lock().limit = None;
    }

    /// Bytes that are taken: whole blocks of content, and one for each file and folder.
    pub fn used(&self) -> u64 {
        self.model.lock().used()
    }

    /// Reads of files whose path on the disk fits `pattern` (`*` stands for any run of characters)
    /// fail with an input/output error.
    pub fn fail_reads(&self, pattern: &str) {
        self.model.lock().faults.add(Act::Read, pattern);
    }

    /// Writes to such files fail with an input/output error, and change nothing.
    pub fn fail_writes(&self, pattern: &str) {
        self.model.lock().faults.add(Act::Write, pattern);
    }

    /// Syncs of such files and folders fail with an input/output error. What they should have made
    /// durable never is, unless it is written again.
    pub fn fail_syncs(&self, pattern: &str) {
        self.model.lock().faults.add(Act::Sync, pattern);
    }

    /// Ends every failure of reads, writes and syncs.
    pub fn heal(&self) {
        self.model.lock().faults.clear();
    }

    /// What has been done on it since it was mounted.
    pub fn counts(&self) -> Counts {
        self.model.lock().counts
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whoever still uses it gets errors from here on and lets go.
        self.model.lock().stop_after(Some(0));
        let Some(session) = self.session.take() else {
            return;
        };
        let place = self.place.path();
        // A file that is still open keeps an ordinary unmount from succeeding; then the name goes
        // now and the rest when the file is closed, and the threads end then.
        let (plain, lazy) = (["-u", "-q"], ["-u", "-q", "-z"]);
        let gone = unmounts("umount", &[], place)
            || unmounts("fusermount3", &plain, place)
            || unmounts("umount", &["-l"], place)
            || unmounts("fusermount3", &lazy, place);
        if !gone {
            eprintln!("the test's disk stays mounted on {}", place.display());
        }
        drop(session);
    }
}

fn unmounts(program: &str, arguments: &[&str], place: &Path) -> bool {
    Command::new(program)
        .args(arguments)
        .arg(place)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
