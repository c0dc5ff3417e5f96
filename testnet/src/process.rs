//! Processes: started in a group of their own, known by number *and* start time, so that a number
//! that the system has given to another process is never signalled.

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::process::Stdio;
use tokio::process::{Child, Command};

/// The environment variable that carries the number of the process with which a child ends.
pub const STOP_WITH: &str = "HOLDFAST_STOP_WITH";

/// A process of a testnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The system's number for it.
    pub pid: u32,
    /// When it started, in the kernel's ticks since boot.
    pub started: u64,
}

impl ProcessId {
    /// The process of that number, as it is now.
    pub fn of(pid: u32) -> Option<Self> {
        Some(Self {
            pid,
            started: stat(pid)?.started,
        })
    }

    /// Whether this very process still runs.
    pub fn alive(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started == self.started && !stat.ended)
    }

    /// Sends a signal to this very process; false where it is gone.
    pub fn signal(&self, signal: Signal) -> bool {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        self.alive() && pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
    }
}

struct Stat {
    started: u64,
    ended: bool,
}

/// Reads `/proc/PID/stat`: the state is its third field, the start time its twenty-second. The
/// second is the command's name in parentheses, which may hold anything.
fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    Some(Stat {
        ended: matches!(state, "Z" | "X"),
        started: fields.nth(18)?.parse().ok()?,
    })
}

/// The most memory that a process has held so far, in bytes.
pub fn memory_peak(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    kib.checked_mul(1024)
}

/// Starts a command in a process group of its own, so that a Ctrl-C meant for this process does not
/// reach it. With `stop_with_us` the kernel ends it when this process ends, however that comes.
pub(crate) fn command(
    binary: &Path,
    arguments: &[impl AsRef<OsStr>],
    stop_with_us: bool,
) -> Command {
    let mut command = Command::new(binary);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .process_group(0);
    if stop_with_us {
        command.env(STOP_WITH, std::process::id().to_string());
    } else {
        command.env_remove(STOP_WITH);
    }
    command
}

/// Starts a process that serves; what it prints goes to the end of `log`.
pub(crate) fn serve(
    binary: &Path,
    arguments: &[impl AsRef<OsStr>],
    log: &Path,
    stop_with_us: bool,
) -> io::Result<Child> {
    let out: File = OpenOptions::new().create(true).append(true).open(log)?;
    let err = out.try_clone()?;
    command(binary, arguments, stop_with_us)
        .stdout(out)
        .stderr(err)
        .spawn()
}

/// Called first in every process: where [`STOP_WITH`] names the process that started this one, this
/// one is ended with it, also when that one is killed. Without it, nothing is done.
pub fn stop_with_parent() {
    let Some(parent) = std::env::var(STOP_WITH).ok() else {
        return;
    };
    let set = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let gone =
        || rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string()) != Some(parent);
    // The parent may have ended before the line above.
    if set.is_err() || gone() {
        std::process::exit(1);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_process_is_known_by_number_and_start_time() {
        let mut child = command(Path::new("sleep"), &["60"], false).spawn().unwrap();
        let id = ProcessId::of(child.id().unwrap()).unwrap();
        let earlier = ProcessId {
            started: id.started - 1,
            ..id
        };
        assert!(id.alive());
        assert!(!earlier.alive());
        assert!(!earlier.signal(Signal::KILL));
        assert!(memory_peak(id.pid).unwrap() > 0);
        assert!(id.signal(Signal::KILL));
        // Not yet waited for, it is a zombie: it holds its number, and is not alive.
        while id.alive() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        child.wait().await.unwrap();
        assert!(!id.signal(Signal::KILL));
    }
}
