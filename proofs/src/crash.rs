//! Crash points: named places between two writes, at which a test ends the process.
//!
//! With feature `crash-points`, which only tests have, a process whose environment names a file in
//! [`CRASH_LOG`] sends itself SIGKILL the first time that it reaches each point, and writes the
//! point's name to the file before that. Started again and again with the same file it is killed at
//! each point on its way exactly once. Without the feature, and so in every build that people run, a
//! point is nothing.
//!
//! They are in this crate because it is the lowest of those that write; a test reads the names from
//! the sources, so that no point can be forgotten.

/// The environment variable that names the file of the points passed.
pub const CRASH_LOG: &str = "HOLDFAST_CRASH_LOG";
/// The environment variable that says how the names of the points begin that count; without it all do.
pub const CRASH_ONLY: &str = "HOLDFAST_CRASH_ONLY";

/// A place at which the process may be killed; `name` is its name in all of the workspace.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub fn crash_point(_name: &str) {}

/// A place at which the process may be killed; `name` is its name in all of the workspace.
#[cfg(feature = "crash-points")]
pub fn crash_point(name: &str) {
    killing::reached(name);
}

#[cfg(feature = "crash-points")]
mod killing {
    use rustix::process::{Signal, getpid, kill_process};
    use std::fs::OpenOptions;
    use std::io::Write;
    use std::path::{Path, PathBuf};
    use std::sync::{Mutex, OnceLock, PoisonError};

    static LOG: OnceLock<Option<PathBuf>> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());

    pub(super) fn reached(name: &str) {
        let log = LOG.get_or_init(|| std::env::var_os(super::CRASH_LOG).map(PathBuf::from));
        let Some(log) = log else { return };
        let other = std::env::var(super::CRASH_ONLY).is_ok_and(|only| !name.starts_with(&only));
        if other {
            return;
        }
        // Two threads at two points: one dies of its own, the other with it, unmarked.
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        if !passed(log, name) && mark(log, name) {
            let _ = kill_process(getpid(), Signal::KILL);
            // The signal takes the process down before this ends.
            std::thread::sleep(std::time::Duration::from_secs(3600));
        }
    }

    fn passed(log: &Path, name: &str) -> bool {
        std::fs::read_to_string(log).is_ok_and(|text| text.lines().any(|line| line == name))
    }

    fn mark(log: &Path, name: &str) -> bool {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .and_then(|mut file| file.write_all(format!("{name}\n").as_bytes()))
            .is_ok()
    }
}
