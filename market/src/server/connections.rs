//! Who is connected, and who makes way when the house is full.
//!
//! An address (one /64 of IPv6) has a share of the places. Where all are taken, whoever comes anew
//! is let in all the same, and the address with the most connections loses the one over which
//! nothing has moved for longest: a few addresses that hold all they can keep nobody out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::task::AbortHandle;

/// When a byte last moved over a connection.
pub struct Progress {
    start: Instant,
    last: AtomicU64,
}

impl Progress {
    fn new(start: Instant) -> Self {
        let progress = Self {
            start,
            last: AtomicU64::new(0),
        };
        progress.mark();
        progress
    }

    /// A byte moved now.
    pub fn mark(&self) {
        let passed = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last.store(passed, Ordering::Relaxed);
    }

    fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }
}

struct Open {
    origin: IpAddr,
    progress: Arc<Progress>,
    task: Option<AbortHandle>,
}

struct Table {
    start: Instant,
    next: u64,
    open: HashMap<u64, Open>,
    of_origin: HashMap<IpAddr, usize>,
}

impl Table {
    fn remove(&mut self, number: u64) -> Option<Open> {
        let open = self.open.remove(&number)?;
        if let Some(count) = self.of_origin.get_mut(&open.origin) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.of_origin.remove(&open.origin);
            }
        }
        Some(open)
    }

    /// Cuts one connection of the busiest address.
    fn make_way(&mut self) {
        let most = self.of_origin.values().max().copied();
        let victim = self
            .open
            .iter()
            .filter(|(_, open)| self.of_origin.get(&open.origin).copied() == most)
            .min_by_key(|(number, open)| (open.progress.last(), **number))
            .map(|(number, _)| *number);
        let cut = victim.and_then(|number| self.remove(number));
        if let Some(task) = cut.and_then(|open| open.task) {
            task.abort();
        }
    }
}

/// The open connections; clones share them.
#[derive(Clone)]
pub struct Connections(Arc<Mutex<Table>>);

/// A connection that is counted; dropped, it is counted no more.
pub struct Place {
    connections: Connections,
    number: u64,
    progress: Arc<Progress>,
}

impl Connections {
    /// None yet.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Table {
            start: Instant::now(),
            next: 0,
            open: HashMap::new(),
            of_origin: HashMap::new(),
        })))
    }

    /// A place for a connection from `address`, which may have `of_one` of them; where all `most`
    /// are taken, somebody else's is cut. None where the address has its share already.
    pub fn admit(&self, address: IpAddr, most: usize, of_one: usize) -> Option<Place> {
        let origin = origin_of(address);
        let mut table = self.lock();
        if table.of_origin.get(&origin).copied().unwrap_or(0) >= of_one {
            return None;
        }
        if table.open.len() >= most {
            table.make_way();
        }
        let number = table.next;
        table.next = number.saturating_add(1);
        let progress = Arc::new(Progress::new(table.start));
        let open = Open {
            origin,
            progress: Arc::clone(&progress),
            task: None,
        };
        table.open.insert(number, open);
        let count = table.of_origin.entry(origin).or_default();
        *count = count.saturating_add(1);
        Some(Place {
            connections: self.clone(),
            number,
            progress,
        })
    }

    /// What to end when the connection of that number has to make way.
    pub fn started(&self, number: u64, task: AbortHandle) {
        if let Some(open) = self.lock().open.get_mut(&number) {
            open.task = Some(task);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // What is guarded is whole after every change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who has one address of a /64 has all of them.
fn origin_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

impl Place {
    /// The connection's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Where its bytes are noted.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lock().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_has_its_share_and_an_ended_connection_gives_it_back() {
        let connections = Connections::new();
        let of = |text: &str| connections.admit(text.parse().unwrap(), 100, 2);
        let first = of("10.0.0.1").unwrap();
        let _second = of("::ffff:10.0.0.1").unwrap();
        assert!(of("10.0.0.1").is_none());
        let _other = of("10.0.0.2").unwrap();
        drop(first);
        drop(of("10.0.0.1").unwrap());
        let _one = of("2001:db8::1").unwrap();
        let _two = of("2001:db8::2").unwrap();
        assert!(of("2001:db8::3").is_none());
        assert_eq!(connections.lock().of_origin.len(), 3);
    }

    #[test]
    fn the_busiest_address_makes_way_with_what_has_rested_longest() {
        let connections = Connections::new();
        let of = |text: &str| connections.admit(text.parse().unwrap(), 4, 3).unwrap();
        let single = of("10.0.0.1");
        let busy = [of("10.0.0.2"), of("10.0.0.2"), of("10.0.0.2")];
        std::thread::sleep(std::time::Duration::from_millis(2));
        busy[0].progress().mark();
        let newcomer = of("10.0.0.3");
        let table = connections.lock();
        let mut left: Vec<u64> = table.open.keys().copied().collect();
        left.sort_unstable();
        let stays = [&single, &busy[0], &busy[2], &newcomer].map(Place::number);
        assert_eq!(left, stays);
        assert_eq!(table.of_origin.values().sum::<usize>(), 4);
    }
}
