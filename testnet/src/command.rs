//! Commands of the same binary, run as a user would run them, their `--json` answer read.

use crate::error::{TestnetError, at};
use crate::peaks::Peaks;
use crate::process;
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::process::Stdio;

/// Runs commands of the binary.
#[derive(Clone, Debug)]
pub struct Commands {
    /// The `holdfast` binary.
    pub binary: PathBuf,
    /// Where their peak memory is noted.
    pub peaks: Peaks,
}

impl Commands {
    /// Runs `holdfast ARGUMENTS --json` to its end and answers the object that it prints. The
    /// command ends with this process.
    ///
    /// # Errors
    /// A command that cannot be started, fails, or prints no JSON.
    pub async fn run(&self, arguments: &[impl AsRef<OsStr>]) -> Result<Value, TestnetError> {
        let mut all: Vec<OsString> = arguments
            .iter()
            .map(|argument| argument.as_ref().to_owned())
            .collect();
        all.push("--json".into());
        let child = process::command(&self.binary, &all, true)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(at(&self.binary))?;
        let words: Vec<_> = arguments
            .iter()
            .map(|word| word.as_ref().to_string_lossy().into_owned())
            .collect();
        if let Some(pid) = child.id() {
            // `wallet init`, `put`: the words before the first path or flag.
            let name: Vec<_> = words
                .iter()
                .map(String::as_str)
                .take(2)
                .take_while(|word| !word.starts_with('-') && !word.contains(['/', '.']))
                .collect();
            self.peaks.watch(&name.join(" "), pid);
        }
        let output = child.wait_with_output().await.map_err(at(&self.binary))?;
        let failed = |reason: String, next: String| TestnetError::Command {
            command: words.join(" "),
            reason,
            next,
        };
        let printed: Result<Value, _> = serde_json::from_slice(&output.stdout);
        match printed {
            Ok(value) if output.status.success() => Ok(value),
            Ok(value) if value.get("error").is_some_and(Value::is_string) => {
                let text = |key: &str| {
                    value
                        .get(key)
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .to_owned()
                };
                Err(failed(text("error"), text("next")))
            }
            _ => {
                let said = String::from_utf8_lossy(&output.stderr);
                let reason = if output.status.success() {
                    format!(
                        "it printed no JSON object: {}",
                        last_lines(&String::from_utf8_lossy(&output.stdout), 3)
                    )
                } else {
                    format!("{} ({})", last_lines(&said, 3), output.status)
                };
                Err(failed(reason, String::new()))
            }
        }
    }
}

/// The last lines of a text that are not empty, as one line.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let skip = lines.len().saturating_sub(count);
    lines
        .into_iter()
        .skip(skip)
        .map(str::trim)
        .collect::<Vec<_>>()
        .join(" | ")
}

/// The last lines of a log file; what cannot be read is said.
pub(crate) fn log_end(path: &std::path::Path, count: usize) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let read = || -> io::Result<String> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(4096)))?;
        let mut end = Vec::new();
        file.take(4096).read_to_end(&mut end)?;
        Ok(String::from_utf8_lossy(&end).into_owned())
    };
    match read() {
        Ok(text) => last_lines(&text, count),
        Err(error) => format!("(its log cannot be read: {error})"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::damage;

    #[test]
    fn the_end_of_a_log_is_told_as_it_is_and_one_that_cannot_be_read_is_said_to_be() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("logs");
        std::fs::create_dir(&logs).unwrap();
        std::fs::write(logs.join("market.log"), "one\ntwo\n").unwrap();
        damage::each(
            &logs,
            std::path::Path::new("market.log"),
            8,
            19,
            |folder, damage| {
                let end = log_end(&folder.join("market.log"), 2);
                let unreadable =
                    matches!(damage, damage::Damage::Unreadable | damage::Damage::Gone);
                assert_eq!(
                    end.starts_with("(its log cannot be read"),
                    unreadable,
                    "{end}"
                );
            },
        );
    }
}
