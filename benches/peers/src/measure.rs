//! Rows, and the processor time that they are made of.

use std::error::Error;
use std::time::Instant;

/// What goes wrong, for a person to read.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The rows as they are measured.
pub struct Figures {
    pub rows: Vec<serde_json::Value>,
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
        let conditions = format!("{conditions}; {}", self.machine);
        self.rows.push(serde_json::json!({
            "name": name, "value": value, "unit": unit, "conditions": conditions,
        }));
    }

    /// How many times as fast `ours` is as `theirs`.
    pub fn ratio(&mut self, name: &str, ours: f64, theirs: f64, conditions: &str) {
        self.row(name, theirs / ours, "times as fast", conditions);
    }
}

/// Processor seconds of this process so far, all threads.
pub fn core_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no process name")?;
    // User and system time are the 12th and 13th fields after the name, in hundredths.
    let ticks: Vec<u64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<u64>() as f64 / 100.0)
}

/// Seconds that this thread was on a processor so far, or of the clock where the system does not
/// count them: what others do on the machine is left out.
fn thread_seconds(since: Instant) -> f64 {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
        .map_or_else(|| since.elapsed().as_secs_f64(), |ns| ns as f64 / 1e9)
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
