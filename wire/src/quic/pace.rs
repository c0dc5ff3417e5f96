//! How fast a peer moves, and whose turn it is: where every turn is taken, a request that dawdles
//! gives way to those that wait, and one of an address that has more than its share to those of
//! others.

use super::doors::Origin;
use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Bytes a second below which a request gives way where others wait for its turn: a line of 1 Mbit/s
/// that is shared by six shards is brisk.
const BRISK: u64 = 16 << 10;
/// One address may have this part of the turns, where others have fewer and wait.
const SHARE: u32 = 4;
/// Over so long it is measured, and so long it has at first.
const MEASURED: Duration = Duration::from_secs(2);
/// How often those who wait look for one that dawdles.
const LOOK: Duration = Duration::from_millis(250);

/// How fast one request moves, told by its bodies.
#[derive(Debug)]
pub struct Pace {
    /// Whose it is, where it is a peer's.
    origin: Option<Origin>,
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
            origin: None,
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

    /// That of a request from this address.
    pub(super) fn of(address: IpAddr) -> Self {
        Self {
            origin: Some(Origin::of(address)),
            ..Self::default()
        }
    }

    /// It is measured from now on: what it waited for until now was not its peer.
    pub fn begin(&self) {
        let moved = self.moved.load(Ordering::Relaxed);
        *lock(&self.mark) = (Instant::now(), moved);
    }

    /// Tells the slowest of those that dawdle to end; whether there was one.
    pub fn make_way(requests: &[Arc<Self>]) -> bool {
        let now = Instant::now();
        let dawdlers = requests
            .iter()
            .filter_map(|pace| Some((pace.dawdles(now)?, pace)));
        match dawdlers.min_by_key(|(rate, _)| *rate) {
            Some((_, pace)) => {
                pace.give_way();
                true
            }
            None => false,
        }
    }

    /// Waits for the peer; broken off where the request is to give way.
    pub(crate) async fn with_peer<T>(&self, doing: impl Future<Output = T>) -> Result<T, GaveWay> {
        let told = self.way.notified();
        tokio::pin!(told);
        // Registered before the flag is read, so that what is told in between is not missed.
        told.as_mut().enable();
        if self.has_given_way() {
            return Err(GaveWay);
        }
        let _waiting = Waiting::begin(&self.waiting);
        tokio::select! {
            biased;
            done = doing => Ok(done),
            () = told => Err(GaveWay),
        }
    }

    /// Its bytes a second since it was measured last, where it waits for its peer and that was long
    /// enough ago.
    fn rate(&self, now: Instant) -> Option<u64> {
        if self.has_given_way() || self.waiting.load(Ordering::Acquire) == 0 {
            return None;
        }
        let (at, before) = *lock(&self.mark);
        let elapsed = now.saturating_duration_since(at);
        if elapsed < MEASURED {
            return None;
        }
        let moved = self.moved.load(Ordering::Relaxed).saturating_sub(before);
        let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        Some(
            moved
                .saturating_mul(1000)
                .checked_div(milliseconds)
                .unwrap_or(0),
        )
    }

    /// The same, where it is slow.
    fn dawdles(&self, now: Instant) -> Option<u64> {
        let rate = self.rate(now)?;
        if rate >= BRISK {
            self.begin();
            return None;
        }
        Some(rate)
    }

    fn has_given_way(&self) -> bool {
        self.gave_way.load(Ordering::Acquire)
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

/// The turns of one request.
#[derive(Clone, Debug)]
struct Held {
    pace: Arc<Pace>,
    weight: u32,
}

/// So many turns, given in the order in which they are asked for.
#[derive(Debug)]
pub struct Turns {
    turns: u32,
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
    under_way: Arc<Mutex<Vec<Held>>>,
}

impl Turns {
    /// So many at a time, and so many that wait; further ones get none.
    pub fn new(turns: u32, most_waiting: usize) -> Self {
        let permits = usize::try_from(turns).unwrap_or(usize::MAX);
        Self {
            turns,
            free: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            waiting: AtomicUsize::new(0),
            most_waiting,
            under_way: Arc::default(),
        }
    }

    /// Takes `weight` turns at once for a request, all of them for one that is heavier, and gives
    /// them back when dropped. Where none is free, waits for at most `patience`; the slowest of
    /// those that dawdle gives way.
    pub async fn take(&self, pace: &Arc<Pace>, weight: u32, patience: Duration) -> Option<Turn> {
        let weight = weight.min(self.turns).max(1);
        let permit = match self.free.clone().try_acquire_many_owned(weight) {
            Ok(permit) => permit,
            Err(_) => self.wait(pace, weight, patience).await?,
        };
        pace.begin();
        lock(&self.under_way).push(Held {
            pace: pace.clone(),
            weight,
        });
        Some(Turn {
            under_way: self.under_way.clone(),
            pace: pace.clone(),
            _permit: permit,
        })
    }

    async fn wait(
        &self,
        pace: &Pace,
        weight: u32,
        patience: Duration,
    ) -> Option<OwnedSemaphorePermit> {
        let _waiting = Waiting::begin(&self.waiting);
        if self.waiting.load(Ordering::Acquire) > self.most_waiting {
            return None;
        }
        let given = self.free.clone().acquire_many_owned(weight);
        tokio::pin!(given);
        let until = Instant::now() + patience;
        loop {
            self.make_way(pace);
            let look = until.min(Instant::now() + LOOK);
            match tokio::time::timeout_at(look, given.as_mut()).await {
                Ok(permit) => return permit.ok(),
                Err(_) if look >= until => return None,
                Err(_) => {}
            }
        }
    }

    /// The slowest of those that dawdle gives way to the asker, or one of an address that has more
    /// than its share.
    fn make_way(&self, asker: &Pace) {
        let held = lock(&self.under_way).clone();
        let greedy = self.greedy(&held, asker);
        let paces: Vec<_> = held.into_iter().map(|held| held.pace).collect();
        if !Pace::make_way(&paces)
            && let Some(greedy) = greedy
        {
            greedy.give_way();
        }
    }

    /// The slowest request of the addresses that have more than their share and several requests
    /// under way, where the asker's has less.
    fn greedy(&self, held: &[Held], asker: &Pace) -> Option<Arc<Pace>> {
        let mut shares: HashMap<Origin, (u32, usize)> = HashMap::new();
        for one in held.iter().filter(|one| !one.pace.has_given_way()) {
            if let Some(origin) = one.pace.origin {
                let (weight, count) = shares.entry(origin).or_default();
                *weight = weight.saturating_add(one.weight);
                *count = count.saturating_add(1);
            }
        }
        let share = (self.turns / SHARE).max(1);
        let asking = asker.origin?;
        if shares
            .get(&asking)
            .is_some_and(|(weight, _)| *weight >= share)
        {
            return None;
        }
        let now = Instant::now();
        let has_more = |pace: &Pace| {
            pace.origin
                .and_then(|origin| shares.get(&origin))
                .is_some_and(|(weight, count)| *weight > share && *count > 1)
        };
        held.iter()
            .filter(|one| has_more(&one.pace))
            .filter_map(|one| Some((one.pace.rate(now)?, &one.pace)))
            .min_by_key(|(rate, _)| *rate)
            .map(|(_, pace)| pace.clone())
    }

    /// How many hold a turn.
    pub fn under_way(&self) -> usize {
        lock(&self.under_way).len()
    }
}

/// A turn that was taken. Whoever does its work holds it: work that goes on when its asker is gone
/// takes it along.
#[derive(Debug)]
pub struct Turn {
    under_way: Arc<Mutex<Vec<Held>>>,
    pace: Arc<Pace>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut under_way = lock(&self.under_way);
        if let Some(place) = under_way
            .iter()
            .position(|held| Arc::ptr_eq(&held.pace, &self.pace))
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
        request_of(Pace::default(), turns, bytes).await
    }

    async fn request_of(pace: Pace, turns: Arc<Turns>, bytes: usize) -> GaveWay {
        let pace = Arc::new(pace);
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

    #[tokio::test]
    async fn one_that_waited_for_its_turn_is_measured_from_then_on() {
        let turns = Arc::new(Turns::new(1, 8));
        let first = Arc::new(Pace::default());
        let held = turns.take(&first, 1, PATIENCE).await.unwrap();
        let brisk = tokio::spawn(request(turns.clone(), 8 << 10));
        // It waits, and as long again as it would be measured.
        tokio::time::sleep(MEASURED + LOOK).await;
        let hasty = Duration::from_millis(600);
        let other = Arc::new(Pace::default());
        let (next, ()) = tokio::join!(turns.take(&other, 1, hasty), async {
            tokio::time::sleep(LOOK / 2).await;
            drop(held);
        });
        assert!(next.is_none() && !brisk.is_finished());
        brisk.abort();
    }

    #[tokio::test]
    async fn one_that_is_heavier_than_all_turns_together_takes_all_and_no_more() {
        let turns = Turns::new(4, 1);
        let pace = Arc::new(Pace::default());
        let all = turns.take(&pace, 255, PATIENCE).await.unwrap();
        let hasty = Duration::from_millis(50);
        assert!(turns.take(&pace, 0, hasty).await.is_none());
        drop(all);
        // Who weighs nothing takes one.
        let mut light = Vec::new();
        for _ in 0..4 {
            light.push(turns.take(&pace, 0, hasty).await.unwrap());
        }
        assert!(turns.take(&pace, 1, hasty).await.is_none());
    }

    #[tokio::test]
    async fn an_address_that_has_more_than_its_share_gives_way_to_others_until_it_has_it() {
        let turns = Arc::new(Turns::new(8, 8));
        let [greedy, modest] = [1, 2].map(|last| IpAddr::from([10, 0, 0, last]));
        let brisk = || tokio::spawn(request_of(Pace::of(greedy), turns.clone(), 64 << 10));
        let all: Vec<_> = (0..8).map(|_| brisk()).collect();
        tokio::time::sleep(Duration::from_millis(10)).await;
        let hasty = MEASURED * 2;
        // Not to its own.
        let own = Arc::new(Pace::of(greedy));
        assert!(turns.take(&own, 1, hasty).await.is_none());
        let mut held = Vec::new();
        for _ in 0..2 {
            let pace = Arc::new(Pace::of(modest));
            held.push(turns.take(&pace, 1, PATIENCE).await.unwrap());
        }
        assert_eq!(all.iter().filter(|one| one.is_finished()).count(), 2);
        // The other has its share now.
        let pace = Arc::new(Pace::of(modest));
        assert!(turns.take(&pace, 1, hasty).await.is_none());
        all.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
