//! What this process costs: processor time and memory, for figures.

use serde::{Deserialize, Serialize};
use std::io;
use std::time::Instant;

/// One row of measured figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: String,
    /// On what, with what beside it.
    pub conditions: String,
}

/// Processor seconds of this process so far, all threads.
///
/// # Errors
/// A system that does not say.
pub fn core_seconds() -> io::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let unsaid = || io::Error::other("/proc/self/stat is not as Linux writes it");
    let (_, fields) = stat.rsplit_once(')').ok_or_else(unsaid)?;
    // User and system time are the 12th and 13th fields after the name, in hundredths.
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: Option<Vec<u64>> = ticks.map(|field| field.parse().ok()).collect();
    Ok(ticks.ok_or_else(unsaid)?.iter().sum::<u64>() as f64 / 100.0)
}

/// Seconds that this thread was on a processor so far, or of the clock since `since` where the
/// system does not count them: what others do on the machine is left out.
pub fn thread_seconds(since: Instant) -> f64 {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
        .map_or_else(|| since.elapsed().as_secs_f64(), |ns| ns as f64 / 1e9)
}

/// The largest resident size since [`reset_peak`], in MiB.
///
/// # Errors
/// A system that does not say.
pub fn peak_mib() -> io::Result<f64> {
    kib_of("/proc/self/status", "VmHWM:").map(|kib| kib as f64 / 1024.0)
}

/// Forgets the largest resident size.
///
/// # Errors
/// A system that keeps it.
pub fn reset_peak() -> io::Result<()> {
    std::fs::write("/proc/self/clear_refs", "5")
}

/// Bytes of memory that processes can have without pushing others out.
///
/// # Errors
/// A system that does not say.
pub fn memory_available() -> io::Result<u64> {
    kib_of("/proc/meminfo", "MemAvailable:").map(|kib| kib.saturating_mul(1024))
}

/// Bytes of memory that this process has taken, files that it has mapped not counted.
///
/// # Errors
/// A system that does not say.
pub fn memory_taken() -> io::Result<u64> {
    kib_of("/proc/self/status", "RssAnon:").map(|kib| kib.saturating_mul(1024))
}

fn kib_of(path: &str, name: &str) -> io::Result<u64> {
    let text = std::fs::read_to_string(path)?;
    let mut lines = text.lines();
    lines
        .find_map(|line| {
            line.strip_prefix(name)?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        })
        .ok_or_else(|| io::Error::other(format!("{path} does not say {name}")))
}

/// The machine: how many processors, what hashes, and what else runs.
pub fn machine() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{} processors, {}, load {} at the start",
        std::thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get),
        crate::poseidon2::lanes::kernel(),
        load.split(' ').next().unwrap_or("unknown")
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn work_and_memory_are_seen() {
        let since = Instant::now();
        let (cores, thread) = (core_seconds().unwrap(), thread_seconds(since));
        let mut filled = vec![1u8; 64 << 20];
        while since.elapsed().as_millis() < 300 {
            filled
                .iter_mut()
                .for_each(|byte| *byte = byte.wrapping_mul(3));
        }
        std::hint::black_box(&filled);
        assert!(core_seconds().unwrap() > cores);
        assert!(thread_seconds(since) > thread);
        assert!(peak_mib().unwrap() > 64.0);
        assert!(memory_available().unwrap() > 1 << 20);
    }
}
