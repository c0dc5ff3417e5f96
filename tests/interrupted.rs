//! Whoever starts a demo can end it at any moment, and nothing of it is left running.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A demo with two nodes, on its way: its processes are started and seal.
struct Running {
    demo: Child,
    pids: Vec<u64>,
    /// Kept until the end: the demo's folder lies in it.
    _folder: tempfile::TempDir,
}

impl Running {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, b"to be stored").unwrap();
        let at = folder.path().join("net");
        let demo = Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .args(["testnet", "demo", "--nodes", "2", "--folder"])
            .arg(&at)
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut running = Self {
            demo,
            pids: Vec::new(),
            _folder: folder,
        };
        // The parameters may have to be made first.
        wait(
            "the processes are started",
            Duration::from_secs(240),
            || {
                running.pids = started(&at);
                running.pids.len() == 3
            },
        );
        running
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.demo.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn all_gone(&self) {
        wait("all processes are gone", Duration::from_secs(30), || {
            self.pids.iter().all(|pid| !alive(*pid))
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Where the test has failed; what the demo has started ends with it.
        let _ = self.demo.kill();
        let _ = self.demo.wait();
    }
}

/// The numbers of the processes that the testnet's record names.
fn started(folder: &Path) -> Vec<u64> {
    let Ok(text) = std::fs::read(folder.join("testnet.json")) else {
        return Vec::new();
    };
    let record: Value = serde_json::from_slice(&text).unwrap();
    record["processes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|process| process["process"]["pid"].as_u64())
        .collect()
}

fn alive(pid: u64) -> bool {
    // A killed process whose parent is gone too is soon collected by the system.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .trim()
            .starts_with('Z')
    })
}

fn wait(what: &str, patience: Duration, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + patience;
    while !done() {
        assert!(Instant::now() < until, "not in {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn ctrl_c_stops_everything_that_the_demo_has_started() {
    let mut running = Running::start();
    assert!(running.pids.iter().all(|pid| alive(*pid)));
    running.signal(Signal::INT);
    let status = running.demo.wait().unwrap();
    assert_eq!(status.code(), Some(1));
    running.all_gone();
}

#[test]
fn a_demo_that_is_killed_takes_its_processes_with_it() {
    let mut running = Running::start();
    assert!(running.pids.iter().all(|pid| alive(*pid)));
    running.signal(Signal::KILL);
    running.demo.wait().unwrap();
    running.all_gone();
}
