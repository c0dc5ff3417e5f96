//! The connections of a server. Where there are as many as it takes, or as one address may have, the
//! one that has been idle longest gives way to the newcomer: whoever opens many and says nothing
//! keeps nobody out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;

/// One network that addresses are given out in, so that who has one has all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Origin(IpAddr);

impl Origin {
    fn of(address: IpAddr) -> Self {
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
    /// Requests that are worked on; those that wait for their turn do not count.
    busy: usize,
    /// When it was opened, or its last request ended.
    idle_since: Instant,
    leave: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    entries: HashMap<u64, Entry>,
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
            idle_since: Instant::now(),
            leave: leave.clone(),
        };
        open.entries.insert(number, entry);
        Some(Door {
            doors: self.clone(),
            number,
            leave,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // What is guarded is whole after every change.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the one that has been idle longest to leave.
fn evict(entries: &mut HashMap<u64, Entry>, of: Option<Origin>) -> Option<()> {
    let idle = entries
        .iter()
        .filter(|(_, one)| one.busy == 0 && of.is_none_or(|of| one.origin == of))
        .min_by_key(|(_, one)| one.idle_since)
        .map(|(number, _)| *number)?;
    entries.remove(&idle)?.leave.notify_one();
    Some(())
}

/// A connection's place; given up when dropped.
#[derive(Debug)]
pub(super) struct Door {
    doors: Arc<Doors>,
    number: u64,
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

    fn change(&self, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.doors.lock().entries.get_mut(&self.number) {
            change(entry);
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.doors.lock().entries.remove(&self.number);
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
}
