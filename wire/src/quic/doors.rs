//! The connections of a server. Where there are as many as it takes, or as one address may have, an
//! idle one gives way to the newcomer: one of the address that has most, and of those the one that
//! has been idle longest. Whoever opens many and says nothing keeps nobody out, and pushes out only
//! himself.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The end point remembers a connection that has ended for so long at most: three probe timeouts,
/// into which goes the longest delay that a peer may state.
const REMEMBERED: Duration = Duration::from_secs(50);
/// Ended connections that are counted for their addresses, for each that there may be.
const COUNTED: usize = 8;
/// Connections of one address that may have ended lately, where too many are remembered.
const FEW: usize = 8;

/// One network that addresses are given out in, so that who has one has all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin(IpAddr);

impl Origin {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
            address => Self(address),
        }
    }
}

#[derive(Debug)]
struct Entry {
    origin: Origin,
    /// Requests that are worked on.
    busy: usize,
    /// Requests that wait for their turn.
    waiting: usize,
    /// When it was opened, or its last request ended.
    idle_since: Instant,
    leave: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    entries: HashMap<u64, Entry>,
    /// Those that ended lately: when, and whose they were.
    ended: VecDeque<(Instant, Origin)>,
}

/// All connections of one server.
#[derive(Debug)]
pub(super) struct Doors {
    most: usize,
    most_of_one: usize,
    open: Mutex<Open>,
}

impl Doors {
    pub(super) fn new(most: usize, most_of_one: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            most_of_one,
            open: Mutex::default(),
        })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.lock().entries.len()
    }

    /// Lets one in; nothing where all others are at work.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Door> {
        let origin = Origin::of(address);
        let mut open = self.lock();
        let entries = &mut open.entries;
        let of_one = entries.values().filter(|one| one.origin == origin).count();
        if of_one >= self.most_of_one {
            evict(entries, Some(origin))?;
        } else if entries.len() >= self.most {
            evict(entries, None)?;
        }
        let number = open.next;
        open.next = number.wrapping_add(1);
        let leave = Arc::new(Notify::new());
        let entry = Entry {
            origin,
            busy: 0,
            waiting: 0,
            idle_since: Instant::now(),
            leave: leave.clone(),
        };
        open.entries.insert(number, entry);
        Some(Door {
            doors: self.clone(),
            number,
            origin,
            leave,
        })
    }

    /// Whether many connections of that address ended lately: who opens and closes one after the
    /// other makes the end point remember them all.
    pub(super) fn is_restless(&self, address: IpAddr) -> bool {
        let origin = Origin::of(address);
        let ended = &mut self.lock().ended;
        while ended
            .front()
            .is_some_and(|(at, _)| at.elapsed() >= REMEMBERED)
        {
            ended.pop_front();
        }
        ended.iter().filter(|(_, one)| *one == origin).count() >= FEW
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // What is guarded is whole after every change.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells one that does no work to leave: of the origin that has most, and of those the one that has
/// been idle longest, before any that waits for its turn.
fn evict(entries: &mut HashMap<u64, Entry>, of: Option<Origin>) -> Option<()> {
    let mut counts: HashMap<Origin, usize> = HashMap::new();
    for one in entries.values() {
        let count = counts.entry(one.origin).or_default();
        *count = count.saturating_add(1);
    }
    let idle = entries
        .iter()
        .filter(|(_, one)| one.busy == 0 && of.is_none_or(|of| one.origin == of))
        .min_by_key(|(_, one)| {
            let count = counts.get(&one.origin).copied().unwrap_or(0);
            (Reverse(count), one.waiting > 0, one.idle_since)
        })
        .map(|(number, _)| *number)?;
    entries.remove(&idle)?.leave.notify_one();
    Some(())
}

/// A connection's place; given up when dropped.
#[derive(Debug)]
pub(super) struct Door {
    doors: Arc<Doors>,
    number: u64,
    origin: Origin,
    leave: Arc<Notify>,
}

impl Door {
    /// Done when the connection is to leave.
    pub(super) async fn told_to_leave(&self) {
        self.leave.notified().await;
    }

    /// A request is worked on until the answer is dropped.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.change(|entry| entry.busy = entry.busy.saturating_add(1));
        Busy(self.clone())
    }

    /// A request waits for its turn until the answer is dropped.
    pub(super) fn waits(self: &Arc<Self>) -> InLine {
        self.change(|entry| entry.waiting = entry.waiting.saturating_add(1));
        InLine(self.clone())
    }

    fn change(&self, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.doors.lock().entries.get_mut(&self.number) {
            change(entry);
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let mut open = self.doors.lock();
        open.entries.remove(&self.number);
        open.ended.push_back((Instant::now(), self.origin));
        while open.ended.len() > self.doors.most.saturating_mul(COUNTED) {
            open.ended.pop_front();
        }
    }
}

/// A request that is worked on.
#[derive(Debug)]
pub(super) struct Busy(Arc<Door>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.change(|entry| {
            entry.busy = entry.busy.saturating_sub(1);
            entry.idle_since = Instant::now();
        });
    }
}

/// A request that waits for its turn.
#[derive(Debug)]
pub(super) struct InLine(Arc<Door>);

impl Drop for InLine {
    fn drop(&mut self) {
        self.0
            .change(|entry| entry.waiting = entry.waiting.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use futures::FutureExt;

    fn at(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn left(door: &Door) -> bool {
        door.told_to_leave().now_or_never().is_some()
    }

    #[test]
    fn the_one_that_was_idle_longest_gives_way_and_one_at_work_does_not() {
        let doors = Doors::new(3, 3);
        let [first, second, third] = [1, 2, 3].map(|last| Arc::new(doors.enter(at(last)).unwrap()));
        let work = first.busy();
        let fourth = Arc::new(doors.enter(at(4)).unwrap());
        assert!(left(&second) && !left(&first) && !left(&third));
        assert_eq!(doors.count(), 3);
        let others = (third.busy(), fourth.busy());
        assert!(doors.enter(at(5)).is_none());
        drop(work);
        assert!(doors.enter(at(5)).is_some());
        assert!(left(&first));
        drop(others);
    }

    #[test]
    fn an_address_that_has_its_share_makes_room_for_itself_only() {
        let doors = Doors::new(10, 2);
        let other = doors.enter(at(9)).unwrap();
        let many: Vec<_> = (0..5).map(|_| doors.enter(at(1)).unwrap()).collect();
        let gone: Vec<_> = many.iter().map(left).collect();
        assert_eq!(gone, [true, true, true, false, false]);
        assert!(!left(&other));
        // All addresses of one IPv6 network are one.
        let of = |text: &str| Origin::of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), Origin(at(1)));
    }

    #[test]
    fn addresses_that_have_many_push_out_nobody_but_themselves() {
        let doors = Doors::new(10, 4);
        let honest = doors.enter(at(9)).unwrap();
        let crowd: Vec<_> = (0..100)
            .map(|number| doors.enter(at(number % 5)).unwrap())
            .collect();
        assert!(!left(&honest));
        assert_eq!(crowd.iter().filter(|one| !left(one)).count(), 9);
        // Another newcomer's place is had from the crowd, too.
        let other = doors.enter(at(8)).unwrap();
        assert!(!left(&honest) && !left(&other));
    }

    #[test]
    fn an_address_that_opens_and_closes_without_end_is_known_for_it() {
        let doors = Doors::new(10, 4);
        drop(doors.enter(at(9)));
        for _ in 0..FEW {
            assert!(!doors.is_restless(at(1)));
            drop(doors.enter(at(1)));
        }
        assert!(doors.is_restless(at(1)) && !doors.is_restless(at(9)));
        assert_eq!(doors.count(), 0);
    }

    #[test]
    fn one_that_waits_for_its_turn_goes_after_those_that_say_nothing() {
        let doors = Doors::new(2, 2);
        let [waiting, silent] = [1, 2].map(|last| Arc::new(doors.enter(at(last)).unwrap()));
        let line = waiting.waits();
        let third = Arc::new(doors.enter(at(3)).unwrap());
        assert!(left(&silent) && !left(&waiting));
        let work = third.busy();
        assert!(doors.enter(at(4)).is_some());
        assert!(left(&waiting));
        drop((line, work));
    }
}
