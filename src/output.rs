//! What every command prints, and how it fails: a table or one JSON object on stdout; on stderr
//! one plain sentence and the next step.

use serde::Serialize;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// Where a command's result goes, and in which form.
pub struct Output {
    json: bool,
}

impl Output {
    /// Output as one JSON object (`--json`) or as text for people.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether `--json` was given.
    pub fn json(&self) -> bool {
        self.json
    }

    /// Prints the one result of a command: with `--json` the value itself, otherwise what `text`
    /// makes of it. Reports what becomes of it on the way (`ready …`, progress) belong elsewhere.
    pub fn result<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), CommandError> {
        let text = if self.json {
            serde_json::to_string_pretty(value)?
        } else {
            text(value)
        };
        print_line(&text);
        Ok(())
    }

    /// Prints a line for people on stdout as the work goes on; nothing with `--json`.
    pub fn line(&self, text: impl fmt::Display) {
        if !self.json {
            print_line(&text.to_string());
        }
    }

    /// Prints why a command failed and answers its exit code. With `--json` stdout carries
    /// `{"error", "next"}`, so that whoever reads it always gets one object.
    pub fn fail(&self, error: &CommandError) -> ExitCode {
        if self.json && !error.reported {
            let object = serde_json::json!({ "error": error.sentence, "next": error.next });
            print_line(&object.to_string());
        }
        let mut stderr = std::io::stderr().lock();
        // There is nowhere left to report that stderr itself is closed.
        let sentence = printable(&error.sentence);
        let _ = writeln!(stderr, "{}: {sentence}", paint_error("error"));
        if !error.next.is_empty() {
            let _ = writeln!(stderr, "next: {}", printable(&error.next));
        }
        ExitCode::from(error.kind as u8)
    }
}

/// A reader that closed the pipe has seen enough; that is no failure of the command.
fn print_line(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{}", printable(text));
    let _ = stdout.flush();
}

/// A text in which strangers may have had a word: no control character but the end of a line.
fn printable(text: &str) -> String {
    let shown = |one: char| one == '\n' || !one.is_control();
    text.chars()
        .map(|one| if shown(one) { one } else { '\u{fffd}' })
        .collect()
}

fn paint_error(word: &str) -> String {
    if std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\u{1b}[1;31m{word}\u{1b}[0m")
    } else {
        word.into()
    }
}

/// Sends the log to stderr: warnings, and what the daemons do. `HOLDFAST_LOG` says otherwise, in
/// the syntax of `tracing_subscriber::EnvFilter`.
pub fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("HOLDFAST_LOG").unwrap_or_else(|_| {
        // The engine's network says each second that a market is away.
        tracing_subscriber::EnvFilter::new(
            "warn,holdfast_node=info,holdfast_market=info,arc_malachitebft_network=off,arc_malachitebft_discovery=off",
        )
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

/// Why a command failed; the number is its exit code. Wrong usage is 2, by clap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// It could not be done here.
    Failed = 1,
    /// The network refused it.
    Refused = 3,
    /// What was asked for does not exist.
    NotFound = 4,
}

/// A command's failure: one plain sentence and the next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    kind: FailureKind,
    sentence: String,
    next: String,
    /// Whether the command's own object on stdout says it already.
    reported: bool,
}

impl CommandError {
    /// It could not be done (exit code 1).
    pub fn failed(sentence: impl Into<String>, next: impl Into<String>) -> Self {
        Self::of(FailureKind::Failed, sentence, next)
    }

    /// The network, a provider or its rules refused it (exit code 3).
    pub fn refused(sentence: impl Into<String>, next: impl Into<String>) -> Self {
        Self::of(FailureKind::Refused, sentence, next)
    }

    /// What was asked for does not exist (exit code 4).
    pub fn not_found(sentence: impl Into<String>, next: impl Into<String>) -> Self {
        Self::of(FailureKind::NotFound, sentence, next)
    }

    fn of(kind: FailureKind, sentence: impl Into<String>, next: impl Into<String>) -> Self {
        let (mut sentence, mut next): (String, String) = (sentence.into(), next.into());
        if next.is_empty() {
            (sentence, next) = with_advice(&sentence);
        }
        Self {
            kind,
            sentence,
            next,
            reported: false,
        }
    }

    /// The same failure, where the command has printed its object, which says it too.
    pub fn reported(self) -> Self {
        Self {
            reported: true,
            ..self
        }
    }
}

/// Words with which a statement goes on, so that what follows a semicolon is no advice.
const STATEMENTS: [&str; 6] = ["a ", "it ", "its ", "the ", "there ", "this "];

/// The libraries' errors end with their advice, after a semicolon: the sentence, and that.
fn with_advice(text: &str) -> (String, String) {
    match text.rsplit_once("; ") {
        Some((sentence, advice)) if !STATEMENTS.iter().any(|word| advice.starts_with(word)) => {
            (sentence.into(), advice.into())
        }
        _ => (text.into(), String::new()),
    }
}

/// Any error becomes a failure whose sentence is its chain of causes, and whose next step is the
/// advice in it. Where more is known, say it with [`CommandError::failed`] instead.
impl<E: std::error::Error> From<E> for CommandError {
    fn from(error: E) -> Self {
        let (mut sentence, next) = with_advice(&error.to_string());
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Many errors repeat their cause in their own sentence.
            if !sentence.contains(&text) {
                sentence = format!("{sentence}: {text}");
            }
            cause = error.source();
        }
        Self::failed(sentence, next)
    }
}

/// Rows of text in aligned columns; numbers to the right.
pub struct Table {
    rows: Vec<Vec<String>>,
    columns: usize,
}

impl Table {
    /// A table with these column names.
    pub fn new<const N: usize>(header: [&str; N]) -> Self {
        Self {
            rows: vec![header.iter().map(ToString::to_string).collect()],
            columns: N,
        }
    }

    /// Adds a row; cells beyond the columns are dropped.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        // A cell is on one line, whatever it says.
        let cells = cells.into_iter().take(self.columns);
        self.rows
            .push(cells.map(|cell| cell.replace('\n', " ")).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths = vec![0usize; self.columns];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for (index, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
                let right = index > 0 && cell.starts_with(|first: char| first.is_ascii_digit());
                let (before, after) = if right {
                    (&pad[..], "")
                } else {
                    ("", &pad[..])
                };
                line.push_str(&format!("{before}{cell}{after}  "));
            }
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A size as people read it: `12.3 MiB`.
#[allow(clippy::cast_precision_loss)] // Three digits are shown.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut size = count as f64 / 1024.0;
    let mut unit = "KiB";
    for larger in UNITS.into_iter().skip(1) {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = larger;
    }
    format!("{size:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_aligns_words_left_and_numbers_right() {
        let mut table = Table::new(["name", "size"]);
        table.row(["a".into(), "7 B".into()]);
        table.row(["longer".into(), "12.0 KiB".into()]);
        assert_eq!(
            table.to_string(),
            "name    size\na            7 B\nlonger  12.0 KiB"
        );
    }

    #[test]
    fn what_is_printed_moves_no_cursor_and_a_cell_forges_no_row() {
        let mut table = Table::new(["name", "found"]);
        table.row(["a".into(), "no\u{1b}[2J\r\nb     right".into()]);
        let text = table.to_string();
        assert_eq!(text.lines().count(), 2);
        assert_eq!(
            printable(&text).lines().nth(1),
            Some("a     no\u{fffd}[2J\u{fffd} b     right")
        );
    }

    #[test]
    fn sizes_read_as_people_write_them() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(8 << 20), "8.0 MiB");
        assert_eq!(bytes(3 << 50), "3072.0 TiB");
    }

    #[test]
    fn the_advice_at_an_errors_end_is_its_next_step() {
        let port = "127.0.0.1:8000 is in use by another process";
        let text = format!("{port}; stop it, or give another address with --listen");
        let said = CommandError::from(std::io::Error::other(text.clone()));
        let next = "stop it, or give another address with --listen";
        assert_eq!(said, CommandError::failed(port, next));
        assert_eq!(CommandError::refused(text, "").next, next);
        let late = "the deal was due by height 4; this is 5";
        assert_eq!(CommandError::failed(late, "").sentence, late);
        let both = CommandError::failed("one; two", "three");
        assert_eq!((&*both.sentence, &*both.next), ("one; two", "three"));
    }

    #[test]
    fn an_error_from_below_keeps_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("the folder cannot be read")]
        struct Outer(#[source] std::io::Error);
        let error = CommandError::from(Outer(std::io::Error::other("the disk is gone")));
        assert_eq!(
            error,
            CommandError::failed("the folder cannot be read: the disk is gone", "")
        );
    }
}
