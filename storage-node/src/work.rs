//! Heavy work in threads of its own: one proof, one deadline and one look for damage at a time, and as
//! many seals as there are cores, since the labels of a sector are made by one core.
//!
//! A job leaves its result in the journal or in the sector's files and wakes the pipeline; what it
//! was doing when the process was killed is simply begun again.

use crate::error::NodeError;
use holdfast_market_core::units::{Blocks, Height};
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What work waits for what. Deadlines wait for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Sealing, at low priority: it lasts minutes, and deadlines must win.
    Seal,
    /// Piece roots, embeds, proofs of seals and embeds.
    Proof,
    /// Proofs of spacetime.
    Deadline,
    /// Looking for damage and putting it right, as far as no keys have to be made again.
    Heal,
}

impl Lane {
    /// Added to the thread's niceness.
    const fn niceness(self) -> i32 {
        match self {
            Self::Seal | Self::Heal => 15,
            Self::Proof => 10,
            Self::Deadline => 0,
        }
    }
}

/// A failure is told for so many blocks after the job could have been tried again.
const FORGOTTEN: Blocks = Blocks(256);

#[derive(Debug, Default)]
struct Inner {
    running: Vec<(Lane, String)>,
    failed: HashMap<String, Failure>,
}

impl Inner {
    fn ended(&mut self, lane: Lane, name: &str) {
        self.running
            .retain(|(other, job)| *other != lane || job != name);
    }
}

#[derive(Debug)]
struct Failure {
    count: u32,
    at: Height,
    reason: String,
}

impl Failure {
    /// Fewer and fewer tries: 2, 4, 8 … 64 blocks apart.
    fn next(&self) -> Height {
        self.at.after(Blocks(1 << self.count.clamp(1, 6)))
    }
}

/// The node's lanes; clones share them.
#[derive(Clone, Debug)]
pub struct Work {
    inner: Arc<Mutex<Inner>>,
    wake: Arc<Notify>,
    seals: usize,
}

impl Work {
    /// Lanes of a node that seals so many sectors at a time.
    pub fn new(seals: NonZeroUsize) -> Self {
        Self {
            inner: Arc::default(),
            wake: Arc::default(),
            seals: seals.get(),
        }
    }

    /// How many jobs a lane has at a time.
    pub fn places(&self, lane: Lane) -> usize {
        match lane {
            Lane::Seal => self.seals,
            Lane::Proof | Lane::Deadline | Lane::Heal => 1,
        }
    }

    /// Starts a job in its lane, unless the lane is full, the same job is in it, or failed a moment
    /// ago. `name` says what it is, for the log and for [`Work::running`].
    pub fn start(
        &self,
        lane: Lane,
        name: &str,
        height: Height,
        job: impl FnOnce() -> Result<(), NodeError> + Send + 'static,
    ) -> bool {
        {
            let mut inner = self.lock();
            // What is not tried again for so long is over: a period that is past, a shard that went.
            inner
                .failed
                .retain(|_, failure| height < failure.next().after(FORGOTTEN));
            let resting = inner
                .failed
                .get(name)
                .is_some_and(|failure| height < failure.next());
            let mut same = inner.running.iter().filter(|(other, _)| *other == lane);
            let known = same.clone().any(|(_, other)| other == name);
            if resting || known || same.nth(self.places(lane).saturating_sub(1)).is_some() {
                return false;
            }
            inner.running.push((lane, name.to_owned()));
        }
        let (work, name) = (self.clone(), name.to_owned());
        let ended = name.clone();
        let spawned = std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || {
                lower_priority(lane);
                // However the job ends, its lane is free again.
                let done = Finish {
                    work,
                    lane,
                    name,
                    height,
                    result: None,
                };
                done.with(job());
            });
        if let Err(error) = spawned {
            tracing::error!(%error, "a thread could not be started");
            self.lock().ended(lane, &ended);
            return false;
        }
        true
    }

    /// What a lane is doing.
    pub fn running(&self, lane: Lane) -> Vec<String> {
        let inner = self.lock();
        let running = inner.running.iter().filter(|(other, _)| *other == lane);
        running.map(|(_, name)| name.clone()).collect()
    }

    /// Whether anything is done in any of these lanes.
    pub fn is_busy(&self, lanes: &[Lane]) -> bool {
        let inner = self.lock();
        inner.running.iter().any(|(lane, _)| lanes.contains(lane))
    }

    /// Why jobs failed that were not done since.
    pub fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> = self
            .lock()
            .failed
            .iter()
            .map(|(name, failure)| format!("{name}: {}", failure.reason))
            .collect();
        faults.sort();
        faults
    }

    /// Waits until some job has ended.
    pub async fn ended(&self) {
        self.wake.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Frees the lane when the job's thread ends, by whatever way.
struct Finish {
    work: Work,
    lane: Lane,
    name: String,
    height: Height,
    result: Option<Result<(), NodeError>>,
}

impl Finish {
    fn with(mut self, result: Result<(), NodeError>) {
        self.result = Some(result);
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        let mut inner = self.work.lock();
        inner.ended(self.lane, &self.name);
        let reason = match self.result.take() {
            Some(Ok(())) => None,
            Some(Err(error)) => Some(error.to_string()),
            None => Some("it stopped in the middle; this is a fault of the program".into()),
        };
        match reason {
            None => {
                inner.failed.remove(&self.name);
            }
            Some(reason) => {
                tracing::error!(job = %self.name, %reason, "a job failed");
                let count = inner
                    .failed
                    .get(&self.name)
                    .map_or(1, |failure| failure.count.saturating_add(1));
                let failure = Failure {
                    count,
                    at: self.height,
                    reason,
                };
                inner.failed.insert(self.name.clone(), failure);
            }
        }
        drop(inner);
        self.work.wake.notify_one();
    }
}

fn lower_priority(lane: Lane) {
    if lane.niceness() == 0 {
        return;
    }
    // On Linux this is the thread's own niceness, and threads that it starts inherit it.
    if let Err(error) = rustix::process::setpriority_process(None, lane.niceness()) {
        tracing::debug!(%error, "the thread keeps its priority");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::mpsc;

    fn two_seals() -> Work {
        Work::new(NonZeroUsize::MIN.saturating_add(1))
    }

    #[tokio::test]
    async fn a_lane_does_so_many_things_at_a_time_none_of_them_twice_and_others_go_on() {
        let work = two_seals();
        let (go, gate) = mpsc::channel::<()>();
        assert!(work.start(Lane::Seal, "seal 0", Height(1), move || {
            gate.recv().unwrap();
            Ok(())
        }));
        assert!(!work.start(Lane::Seal, "seal 0", Height(1), || Ok(())));
        let (go_too, gate) = mpsc::channel::<()>();
        assert!(work.start(Lane::Seal, "seal 1", Height(1), move || {
            gate.recv().unwrap();
            Ok(())
        }));
        assert!(!work.start(Lane::Seal, "seal 2", Height(1), || Ok(())));
        assert_eq!(work.running(Lane::Seal), ["seal 0", "seal 1"]);
        assert!(work.start(Lane::Deadline, "deadline", Height(1), || Ok(())));
        work.ended().await;
        go.send(()).unwrap();
        work.ended().await;
        assert_eq!(work.running(Lane::Seal), ["seal 1"]);
        go_too.send(()).unwrap();
        work.ended().await;
        assert!(!work.is_busy(&[Lane::Seal, Lane::Deadline]));
    }

    #[tokio::test]
    async fn a_job_that_fails_or_panics_frees_its_lane_and_rests() {
        let work = two_seals();
        assert!(work.start(Lane::Proof, "p", Height(10), || {
            Err(NodeError::State("no".into()))
        }));
        work.ended().await;
        assert_eq!(work.faults(), ["p: no"]);
        assert!(!work.start(Lane::Proof, "p", Height(11), || Ok(())));
        assert!(work.start(Lane::Proof, "q", Height(11), || std::panic::panic_any(())));
        work.ended().await;
        assert!(!work.is_busy(&[Lane::Proof]));
        assert!(work.start(Lane::Proof, "p", Height(12), || Ok(())));
        work.ended().await;
        assert_eq!(work.faults().len(), 1);
    }

    #[tokio::test]
    async fn sealing_is_nicer_than_deadlines() {
        let work = two_seals();
        let (say, hear) = mpsc::channel();
        for lane in [Lane::Seal, Lane::Deadline] {
            let say = say.clone();
            assert!(work.start(lane, "measure", Height(1), move || {
                say.send((lane, rustix::process::getpriority_process(None).unwrap()))
                    .unwrap();
                Ok(())
            }));
        }
        let measured: HashMap<Lane, i32> = [hear.recv().unwrap(), hear.recv().unwrap()].into();
        assert!(measured.get(&Lane::Seal) > measured.get(&Lane::Deadline));
    }
}
