//! Measures the published libraries of Holdfast's peers against its own, on one core of one machine
//! in one run, and prints JSON rows of `{name, value, unit, conditions}`. `./dev figures peers` runs
//! it; docs/FIGURES.md says what is compared with what.
//!
//! Times in `core_s` are processor time of all threads; hashes are processor time of their one
//! thread; proofs are wall-clock. Of several rounds, in which the sides take turns, the best counts.

mod filecoin;
mod hashes;
mod measure;
mod proofs;
mod sealing;

use holdfast_proofs::poseidon2::lanes::kernel;
use measure::{Failure, Figures};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Holds this process to one processor, so that nobody's threads get in each other's way. Threads
/// inherit it.
fn stay_on_one_processor() -> Result<(), Failure> {
    let allowed = sched_getaffinity(None)?;
    let last = (0..CpuSet::MAX_CPU)
        .rev()
        .find(|processor| allowed.is_set(*processor))
        .ok_or("no processor is allowed")?;
    let mut one = CpuSet::new();
    one.set(last);
    Ok(sched_setaffinity(None, &one)?)
}

/// What the processor calls itself.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model
        .map_or(std::env::consts::ARCH, |(_, name)| name)
        .into()
}

fn main() -> Result<(), Failure> {
    filecoin::check()?;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let machine = format!(
        "{}, one of {} processors, load {} at the start, opt-level 3 for all",
        processor(),
        std::thread::available_parallelism()?,
        load.split(' ').next().unwrap_or("unknown"),
    );
    eprintln!("{machine}; our kernel: {}", kernel());
    stay_on_one_processor()?;
    let mut figures = Figures::new(machine);
    hashes::measure(&mut figures);
    sealing::measure(&mut figures)?;
    proofs::measure(&mut figures)?;
    println!("{}", serde_json::to_string_pretty(&figures.rows)?);
    Ok(())
}
