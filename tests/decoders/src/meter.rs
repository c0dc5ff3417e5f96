//! How much memory and processor time a call takes.
//!
//! A binary that measures memory names [`Counting`] as its global allocator. It counts for the
//! whole process, threads that a decoder works on included, so one measurement runs at a time.

// An allocator cannot be written without `unsafe`. Sound: every call is passed on to the system's
// allocator with the arguments that it came with, and its answer is returned as it is; the counters
// are atomic numbers and touch no memory that is handed out.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes handed out and not given back.
static HELD: AtomicUsize = AtomicUsize::new(0);
/// The most of them at once since the last measurement began.
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counted.
#[derive(Debug)]
pub struct Counting;

fn grow(bytes: usize) {
    let held = HELD.fetch_add(bytes, Relaxed).wrapping_add(bytes);
    PEAK.fetch_max(held, Relaxed);
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new lie side by side for a moment, at worst.
        grow(size);
        HELD.fetch_sub(layout.size(), Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What a call took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Bytes held at once, beside those that were held before.
    pub memory: usize,
    /// Processor time of all threads.
    pub time: Duration,
}

/// Held by whoever measures.
static MEASURING: Mutex<()> = Mutex::new(());

/// The right to measure; one at a time in a process.
#[derive(Debug)]
pub struct Meter(#[allow(dead_code)] MutexGuard<'static, ()>);

impl Meter {
    /// Waits for the right to measure.
    pub fn take() -> Self {
        // A measurement that panicked has left nothing behind.
        Self(MEASURING.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs `work` and says what it took.
    pub fn measure<T>(&self, work: impl FnOnce() -> T) -> (T, Taken) {
        let before = HELD.load(Relaxed);
        PEAK.store(before, Relaxed);
        let start = processor_time();
        let result = work();
        let time = processor_time().saturating_sub(start);
        let memory = PEAK.load(Relaxed).saturating_sub(before);
        (result, Taken { memory, time })
    }
}

fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}
