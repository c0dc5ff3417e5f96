//! `holdfast testnet up` and `down`, killed at each of their points.

use super::{alone, binary};
use holdfast_faults::network::{Answer, Running, dying};
use holdfast_faults::points;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

/// Runs a testnet command until it is done; it dies at each of its own points on the way.
fn done_at_last(arguments: &[&OsStr], log: &Path) -> (Answer, usize) {
    for kills in 0..30 {
        let answer = Running::begin(binary(), arguments, &dying(log, Some("testnet."))).wait();
        if answer.status.signal() != Some(9) {
            assert!(answer.status.success(), "{}", answer.said);
            return (answer, kills);
        }
    }
    panic!("{arguments:?} dies again and again");
}

/// What a testnet's commands have started ends with the test, however that ends.
struct Down(std::path::PathBuf);

impl Drop for Down {
    fn drop(&mut self) {
        let words = [
            OsStr::new("testnet"),
            OsStr::new("down"),
            self.0.as_os_str(),
        ];
        Running::begin(binary(), &words, &[]).wait();
    }
}

/// Processes whose command line names the folder.
fn running_on(folder: &Path) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers
        .filter(|number| {
            let line = std::fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.contains(folder.to_str().unwrap()) && line.contains("run")
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_testnet_whose_start_and_stop_are_killed_is_started_and_stopped_by_the_same_commands() {
    let _alone = alone().await;
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("net");
    let _down = Down(at.clone());
    let log = folder.path().join("points");
    let words = |words: &[&'static str]| -> Vec<&'static OsStr> {
        words.iter().map(|word| OsStr::new(*word)).collect()
    };
    let mut up = words(&["testnet", "up", "--nodes", "2"]);
    up.push(at.as_os_str());
    let mut down = words(&["testnet", "down"]);
    down.push(at.as_os_str());
    let mut kills = 0;

    // Killed after a process was started, `up` says that it runs: `down` stops it, and `up` goes on.
    for _ in 0..30 {
        let answer = Running::begin(binary(), &up, &dying(&log, Some("testnet."))).wait();
        if answer.status.success() {
            break;
        }
        if answer.status.signal() == Some(9) {
            kills += 1;
            continue;
        }
        // Or that its port is taken, where the process has not taken its folder yet.
        kills += done_at_last(&down, &log).1;
        assert_eq!(running_on(&at), Vec::<u32>::new());
    }
    assert_eq!(running_on(&at).len(), 3);
    let (stopped, more) = done_at_last(&down, &log);
    kills += more;
    assert_eq!(running_on(&at), Vec::<u32>::new(), "{}", stopped.object);

    let text = std::fs::read_to_string(&log).unwrap();
    let passed: BTreeSet<&str> = text.lines().collect();
    let all = points::all(Path::new(env!("CARGO_MANIFEST_DIR")));
    let missing: Vec<_> = all
        .iter()
        .filter(|point| point.text().starts_with("testnet."))
        .filter(|point| !passed.iter().any(|name| point.matches(name)))
        .collect();
    assert!(missing.is_empty(), "no command was killed at {missing:?}");
    assert_eq!(passed.len(), kills);
}
