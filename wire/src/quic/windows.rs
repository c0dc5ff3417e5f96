//! How much a peer may have under way unread or unacknowledged. A connection begins narrow, and is
//! widened when a long body is really read or written over it; a server widens so many at a time.
//! What a hostile peer can make a server hold is therefore bounded by two numbers, and not by the
//! number of connections times the window that a fast line needs.

use quinn::{Connection, VarInt};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// Bytes that may be under way each way on a connection that moves nothing large.
pub(super) const NARROW: u32 = 64 << 10;
/// Bytes that a peer may send unread on a connection that does: 300 Mbit/s at 100 ms.
pub(super) const WIDE: u32 = 4 << 20;
/// Bytes that are kept for a peer until it has acknowledged them.
const WIDE_SEND: u64 = 2 << 20;

/// A wide connection that moved nothing for so long has nothing under way.
const IDLE: Duration = Duration::from_secs(5);

/// The code with which a connection is closed that has to make room for another.
pub(super) const GAVE_WAY: u32 = 4;

/// The wide connections of one end point.
#[derive(Debug)]
pub(super) struct Windows {
    limit: usize,
    wide: Mutex<Vec<Weak<Width>>>,
}

impl Windows {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            wide: Mutex::default(),
        })
    }

    /// Counts one more wide connection, where there may be one. What a wide one was once allowed to
    /// send cannot be taken back, so it counts until it is closed: one that moves nothing any more
    /// is, where another needs its place.
    fn admit(&self, width: &Arc<Width>) -> bool {
        let mut wide = lock(&self.wide);
        wide.retain(|one| {
            one.upgrade()
                .is_some_and(|one| one.connection.close_reason().is_none())
        });
        // Two bodies may have begun at once.
        if wide.iter().any(|one| one.as_ptr() == Arc::as_ptr(width)) {
            return true;
        }
        if wide.len() >= self.limit {
            let idle = wide
                .iter()
                .position(|one| one.upgrade().is_some_and(|one| lock(&one.state).is_idle()));
            let Some(idle) = idle else {
                return false;
            };
            if let Some(idle) = wide.swap_remove(idle).upgrade() {
                let reason = b"another connection needs this one's room";
                idle.connection.close(VarInt::from_u32(GAVE_WAY), reason);
            }
        }
        wide.push(Arc::downgrade(width));
        true
    }
}

#[derive(Debug, Default)]
struct State {
    /// Requests that are under way over it, and long bodies of theirs.
    movers: usize,
    is_wide: bool,
    /// When the last of them ended.
    ended: Option<Instant>,
}

impl State {
    fn is_idle(&self) -> bool {
        self.movers == 0 && self.ended.is_some_and(|ended| ended.elapsed() >= IDLE)
    }
}

/// How wide one connection is.
#[derive(Debug)]
pub(super) struct Width {
    connection: Connection,
    windows: Arc<Windows>,
    state: Mutex<State>,
}

impl Width {
    pub(super) fn of(connection: Connection, windows: Arc<Windows>) -> Arc<Self> {
        Arc::new(Self {
            connection,
            windows,
            state: Mutex::default(),
        })
    }

    /// A request is under way over it until the answer is dropped: one whose body has come to its end
    /// still waits for its answer.
    pub(super) fn hold(self: &Arc<Self>) -> Wide {
        let mut state = lock(&self.state);
        state.movers = state.movers.saturating_add(1);
        Wide(self.clone())
    }

    /// A body of so many bytes is about to be moved over it.
    pub(super) fn widen(self: &Arc<Self>, length: u64) -> Option<Wide> {
        if length <= u64::from(NARROW) {
            return None;
        }
        let wide = self.hold();
        let needs = !lock(&self.state).is_wide;
        if needs && self.windows.admit(self) {
            lock(&self.state).is_wide = true;
            self.connection.set_receive_window(VarInt::from_u32(WIDE));
            self.connection.set_send_window(WIDE_SEND);
        }
        Some(wide)
    }
}

/// A body that is being moved, or a request that waits for its answer.
#[derive(Debug)]
pub(super) struct Wide(Arc<Width>);

impl Drop for Wide {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.movers = state.movers.saturating_sub(1);
        state.ended = Some(Instant::now());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is whole after every change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
