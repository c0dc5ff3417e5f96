//! How fast a peer moves, and whose turn it is: where every turn is taken, a request that dawdles
//! gives way to those that wait.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Bytes a second below which a request gives way where others wait for its turn.
const BRISK: u64 = 128 << 10;
/// Over so long it is measured, and so long it has at first.
const MEASURED: Duration = Duration::from_secs(2);
/// How often those who wait look for one that dawdles.
const LOOK: Duration = Duration::from_millis(250);

/// How fast one request moves, told by its bodies.
#[derive(Debug)]
pub struct Pace {
    moved: AtomicU64,
    /// Halves of the request that wait for the peer at this moment.
    waiting: AtomicUsize,
    gave_way: AtomicBool,
    way: Notify,
    /// When it was last looked at, and what had moved by then.
    mark: Mutex<(Instant, u64)>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            moved: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            gave_way: AtomicBool::new(false),
            way: Notify::new(),
            mark: Mutex::new((Instant::now(), 0)),
        }
    }
}

/// The request was told to give its turn to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GaveWay;

impl Pace {
    pub(crate) fn add(&self, bytes: usize) {
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Waits for the peer; broken off where the request is to give way.
    pub(crate) async fn with_peer<T>(&self, doing: impl Future<Output = T>) -> Result<T, GaveWay> {
        let told = self.way.notified();
        tokio::pin!(told);
        // Registered before the flag is read, so that what is told in between is not missed.
        told.as_mut().enable();
        if self.gave_way.load(Ordering::Acquire) {
            return Err(GaveWay);
        }
        let _waiting = Waiting::begin(&self.waiting);
        tokio::select! {
            biased;
            done = doing => Ok(done),
            () = told => Err(GaveWay),
        }
    }

    /// Its bytes a second since the last look, where it waits for its peer and is slow.
    fn dawdles(&self, now: Instant) -> Option<u64> {
        if self.gave_way.load(Ordering::Acquire) || self.waiting.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut mark = lock(&self.mark);
        let elapsed = now.saturating_duration_since(mark.0);
        if elapsed < MEASURED {
            return None;
        }
        let moved = self.moved.load(Ordering::Relaxed);
        let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let rate = moved
            .saturating_sub(mark.1)
            .saturating_mul(1000)
            .checked_div(milliseconds)
            .unwrap_or(0);
        if rate >= BRISK {
            *mark = (now, moved);
            return None;
        }
        Some(rate)
    }

    fn give_way(&self) {
        self.gave_way.store(true, Ordering::Release);
        self.way.notify_waiters();
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is whole after every change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// So many turns, given in the order in which they are asked for.
#[derive(Debug)]
pub struct Turns {
    free: Semaphore,
    waiting: AtomicUsize,
    most_waiting: usize,
    under_way: Mutex<Vec<Arc<Pace>>>,
}

impl Turns {
    /// So many at a time, and so many that wait; further ones get none.
    pub fn new(turns: usize, most_waiting: usize) -> Self {
        Self {
            free: Semaphore::new(turns.min(Semaphore::MAX_PERMITS)),
            waiting: AtomicUsize::new(0),
            most_waiting,
            under_way: Mutex::default(),
        }
    }

    /// Takes `weight` turns at once for a request, and gives them back when dropped. Where none is
    /// free, waits for at most `patience`; the slowest of those that dawdle gives way.
    pub async fn take(
        &self,
        pace: &Arc<Pace>,
        weight: u32,
        patience: Duration,
    ) -> Option<Turn<'_>> {
        let permit = match self.free.try_acquire_many(weight) {
            Ok(permit) => permit,
            Err(_) => self.wait(weight, patience).await?,
        };
        lock(&self.under_way).push(pace.clone());
        Some(Turn {
            turns: self,
            pace: pace.clone(),
            _permit: permit,
        })
    }

    async fn wait(&self, weight: u32, patience: Duration) -> Option<SemaphorePermit<'_>> {
        let _waiting = Waiting::begin(&self.waiting);
        if self.waiting.load(Ordering::Acquire) > self.most_waiting {
            return None;
        }
        let given = self.free.acquire_many(weight);
        tokio::pin!(given);
        let until = Instant::now() + patience;
        loop {
            self.make_way();
            let look = until.min(Instant::now() + LOOK);
            match tokio::time::timeout_at(look, given.as_mut()).await {
                Ok(permit) => return permit.ok(),
                Err(_) if look >= until => return None,
                Err(_) => {}
            }
        }
    }

    /// Tells the slowest of those that dawdle to end; whether there was one.
    pub fn make_way(&self) -> bool {
        let now = Instant::now();
        let slowest = {
            let under_way = lock(&self.under_way);
            let dawdlers = under_way
                .iter()
                .filter_map(|pace| Some((pace.dawdles(now)?, pace.clone())));
            dawdlers.min_by_key(|(rate, _)| *rate)
        };
        match slowest {
            Some((_, pace)) => {
                pace.give_way();
                true
            }
            None => false,
        }
    }

    /// How many hold a turn.
    pub fn under_way(&self) -> usize {
        lock(&self.under_way).len()
    }
}

/// A turn that was taken.
#[derive(Debug)]
pub struct Turn<'a> {
    turns: &'a Turns,
    pace: Arc<Pace>,
    _permit: SemaphorePermit<'a>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut under_way = lock(&self.turns.under_way);
        if let Some(place) = under_way
            .iter()
            .position(|pace| Arc::ptr_eq(pace, &self.pace))
        {
            under_way.swap_remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A request that takes so many bytes of its peer every 100 ms, until it is told to give way.
    async fn request(turns: Arc<Turns>, bytes: usize) -> GaveWay {
        let pace = Arc::new(Pace::default());
        let _turn = turns.take(&pace, 1, PATIENCE).await.unwrap();
        loop {
            let step = pace.with_peer(tokio::time::sleep(Duration::from_millis(100)));
            if let Err(gave_way) = step.await {
                return gave_way;
            }
            pace.add(bytes);
        }
    }

    #[tokio::test]
    async fn the_slowest_gives_way_and_the_brisk_do_not() {
        let turns = Arc::new(Turns::new(3, 1));
        let brisk = tokio::spawn(request(turns.clone(), 64 << 10));
        let slow = tokio::spawn(request(turns.clone(), 1000));
        let slowest = tokio::spawn(request(turns.clone(), 1));
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(turns.under_way(), 3);
        // Alone, nobody is told to go, however slow.
        tokio::time::sleep(MEASURED).await;
        assert!(!slowest.is_finished());
        let pace = Arc::new(Pace::default());
        let first = turns.take(&pace, 1, PATIENCE).await.unwrap();
        assert!(slowest.is_finished() && !slow.is_finished());
        let second = turns.take(&pace, 1, PATIENCE).await.unwrap();
        assert!(slow.is_finished() && !brisk.is_finished());
        // Those that work, as this one, and those that are brisk stay.
        let hasty = Duration::from_millis(600);
        assert!(turns.take(&pace, 1, hasty).await.is_none());
        drop((first, second));
        assert_eq!(turns.under_way(), 1);
        brisk.abort();
    }

    #[tokio::test]
    async fn one_that_was_brisk_and_stalls_gives_way_too() {
        let turns = Turns::new(1, 1);
        let pace = Arc::new(Pace::default());
        let turn = turns.take(&pace, 1, PATIENCE).await.unwrap();
        pace.add(1 << 30);
        let stalled = pace.with_peer(std::future::pending::<()>());
        let other = Arc::new(Pace::default());
        let next = async {
            tokio::time::sleep(MEASURED).await;
            turns.take(&other, 1, PATIENCE).await
        };
        let (stalled, next) = tokio::join!(
            async {
                let stalled = stalled.await;
                drop(turn);
                stalled
            },
            next
        );
        assert_eq!(stalled, Err(GaveWay));
        assert!(next.is_some());
        // It does not begin again.
        assert_eq!(pace.with_peer(async {}).await, Err(GaveWay));
    }
}
