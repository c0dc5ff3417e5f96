//! Rows, and the processor time that they are made of.

use holdfast_proofs::measure::{Figure, thread_seconds};
use std::error::Error;
use std::time::Instant;

/// What goes wrong, for a person to read.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The rows as they are measured.
pub struct Figures {
    pub rows: Vec<Figure>,
    machine: String,
}

impl Figures {
    /// No rows yet. `machine` ends the conditions of each.
    pub fn new(machine: String) -> Self {
        Figures {
            rows: Vec::new(),
            machine,
        }
    }

    pub fn row(&mut self, name: &str, value: f64, unit: &str, conditions: &str) {
        eprintln!("{name:32} {value:>10.3} {unit}");
        self.rows.push(Figure {
            name: name.into(),
            value,
            unit: unit.into(),
            conditions: format!("{conditions}; {}", self.machine),
        });
    }

    /// How many times as fast `ours` is as `theirs`.
    pub fn ratio(&mut self, name: &str, ours: f64, theirs: f64, conditions: &str) {
        self.row(name, theirs / ours, "times as fast", conditions);
    }
}

/// Microseconds that one of `count` calls takes.
pub fn microseconds(count: u32, mut call: impl FnMut()) -> f64 {
    let since = Instant::now();
    let start = thread_seconds(since);
    for _ in 0..count {
        call();
    }
    (thread_seconds(since) - start) * 1e6 / f64::from(count)
}
