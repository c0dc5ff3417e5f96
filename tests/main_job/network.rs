//! A testnet that a test has started with the command line, stopped whatever becomes of the test.

use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A testnet's folder; dropping it stops the network, and prints its logs where the test fails.
pub struct Network {
    pub folder: PathBuf,
}

/// What a command printed and how it ended.
pub struct Answer {
    pub code: Option<i32>,
    pub object: Value,
    pub stderr: String,
}

pub fn holdfast(arguments: &[impl AsRef<OsStr>]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(arguments)
        .env_remove("HOLDFAST_NETWORK")
        .output()
        .unwrap()
}

impl Network {
    /// Runs a command with `--json` on this network.
    pub fn run(&self, arguments: &[&str]) -> Answer {
        let mut all: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        all.extend([
            OsStr::new("--network"),
            self.folder.as_os_str(),
            OsStr::new("--json"),
        ]);
        let output = holdfast(&all);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let object = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{arguments:?} printed no object ({error}): {text}"));
        Answer {
            code: output.status.code(),
            object,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a command that must succeed.
    pub fn done(&self, arguments: &[&str]) -> Value {
        let answer = self.run(arguments);
        assert_eq!(answer.code, Some(0), "{arguments:?}: {}", answer.stderr);
        answer.object
    }

    /// Runs a command that must fail, with one plain sentence and a next step.
    pub fn refused(&self, arguments: &[&str]) -> Answer {
        let answer = self.run(arguments);
        assert!(
            matches!(answer.code, Some(1 | 3 | 4)),
            "{arguments:?} exited with {:?}: {}",
            answer.code,
            answer.stderr
        );
        let lines: Vec<_> = answer.stderr.lines().collect();
        assert!(
            matches!(lines.as_slice(), [error, next] if error.starts_with("error: ") && next.starts_with("next: ")),
            "{arguments:?} does not say one sentence and the next step: {}",
            answer.stderr
        );
        answer
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let down = holdfast(&[
            OsStr::new("testnet"),
            OsStr::new("down"),
            self.folder.as_os_str(),
        ]);
        if std::thread::panicking() {
            print_logs(&self.folder);
        } else {
            assert!(
                down.status.success(),
                "{}",
                String::from_utf8_lossy(&down.stderr)
            );
        }
    }
}

/// The end of each log, so that a failure far away can be understood.
pub fn print_logs(folder: &Path) {
    let Ok(logs) = std::fs::read_dir(folder.join("logs")) else {
        eprintln!("there are no logs in {}", folder.display());
        return;
    };
    for log in logs.flatten() {
        let text = std::fs::read(log.path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        let skip = lines.len().saturating_sub(40);
        eprintln!("--- {}", log.path().display());
        for line in lines.into_iter().skip(skip) {
            eprintln!("{line}");
        }
    }
}
