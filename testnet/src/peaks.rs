//! The most memory that each process has held, sampled while they run.

use crate::process::{ProcessId, memory_peak};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The peak memory of processes by name. The kernel keeps each process's own high-water mark, so a
/// sample misses only what comes after it.
#[derive(Clone, Debug, Default)]
pub struct Peaks(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    watched: Vec<(String, ProcessId)>,
    peaks: BTreeMap<String, u64>,
}

impl Peaks {
    /// Notes the peak of a process from now on, under `name`.
    pub fn watch(&self, name: &str, pid: u32) {
        let Some(process) = ProcessId::of(pid) else {
            return;
        };
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.watched.push((name.to_owned(), process));
    }

    /// Samples all watched processes once; those that are gone are watched no more.
    pub fn sample(&self) {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { watched, peaks } = &mut *guard;
        watched.retain(|(name, process)| {
            let Some(peak) = memory_peak(process.pid).filter(|_| process.alive()) else {
                return false;
            };
            let entry = peaks.entry(name.clone()).or_default();
            *entry = peak.max(*entry);
            true
        });
    }

    /// Samples until the returned task is dropped or aborted.
    pub fn sample_always(&self) -> tokio::task::JoinHandle<()> {
        let peaks = self.clone();
        tokio::spawn(async move {
            let mut every = tokio::time::interval(Duration::from_millis(250));
            loop {
                every.tick().await;
                peaks.sample();
            }
        })
    }

    /// Bytes by name, so far.
    pub fn bytes(&self) -> BTreeMap<String, u64> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.peaks.clone()
    }
}
