//! A wall clock that a test sets, for real processes: `libfaketime` stands before the system's.
//!
//! Only what tells the time of day is changed; what measures durations is not, as when somebody, or a
//! time server, sets a machine's clock.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where Debian's package `faketime` puts it, under the folder of the machine's architecture.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// A clock that several processes read.
pub struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// A clock that goes as the system's until it is set; it lives in `folder`.
    pub fn new(folder: &Path) -> Self {
        let libraries = std::fs::read_dir("/usr/lib").unwrap();
        let library = libraries
            .map(|entry| entry.unwrap().path().join(LIBRARY))
            .find(|path| path.exists())
            .expect("the package `faketime` is installed");
        let clock = Self {
            library,
            file: folder.join("clock"),
        };
        clock.set(0);
        clock
    }

    /// Sets it so many seconds before or after the system's.
    pub fn set(&self, seconds: i64) {
        let beside = self.file.with_extension("new");
        std::fs::write(&beside, format!("{seconds:+}\n")).unwrap();
        std::fs::rename(&beside, &self.file).unwrap();
    }

    /// What a process's environment needs to read it.
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        let pairs = [
            ("LD_PRELOAD", self.library.as_os_str()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.as_os_str()),
            ("FAKETIME_NO_CACHE", "1".as_ref()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".as_ref()),
            ("NO_FAKE_STAT", "1".as_ref()),
        ];
        pairs
            .map(|(name, value)| (name.into(), value.into()))
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::time::{SystemTime, UNIX_EPOCH};

    fn told(clock: &Clock) -> i64 {
        let output = Command::new("date")
            .arg("+%s")
            .envs(clock.environment())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.trim().parse().unwrap()
    }

    #[test]
    fn processes_read_the_clock_that_was_set() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::new(folder.path());
        for seconds in [0, 3600, -3600] {
            clock.set(seconds);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let off = told(&clock) - now.as_secs() as i64 - seconds;
            assert!((0..60).contains(&off), "{off}");
        }
    }
}
