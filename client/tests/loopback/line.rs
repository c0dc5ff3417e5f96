//! The line between a client and its ledger, which can be cut at a message: the messages that come
//! before it arrive and are answered, and from it on nobody hears anything any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Where the line is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The message does not arrive.
    Before(usize),
    /// The message arrives, and its answer does not.
    After(usize),
}

impl Cut {
    fn message(self) -> usize {
        match self {
            Self::Before(message) | Self::After(message) => message,
        }
    }
}

/// Messages begin with this line of HTTP.
const MESSAGE: &[u8] = b"POST /v1/messages";
/// A part of a request, at most.
const PART: usize = 64 << 10;

/// A line to the API at one address, answered at another.
pub struct Line {
    pub api: String,
    dead: watch::Receiver<bool>,
}

struct Shared {
    cut: Cut,
    messages: AtomicUsize,
    dead: watch::Sender<bool>,
}

impl Line {
    /// A line to `api` that is cut at a message; the first has number 1.
    pub async fn to(api: &str, cut: Cut) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let far = api.trim_start_matches("http://").to_owned();
        let (cutter, dead) = watch::channel(false);
        let shared = Arc::new(Shared {
            cut,
            messages: AtomicUsize::new(0),
            dead: cutter,
        });
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(&far).await else {
                    return;
                };
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                tokio::spawn(there(shared.clone(), near_read, far_write));
                tokio::spawn(back(shared.clone(), far_read, near_write));
            }
        });
        Self {
            api: format!("http://{address}"),
            dead,
        }
    }

    /// Waits until it is cut.
    pub async fn cut(&mut self) {
        self.dead.wait_for(|dead| *dead).await.unwrap();
    }
}

async fn there(shared: Arc<Shared>, mut near: OwnedReadHalf, mut far: OwnedWriteHalf) {
    let mut part = vec![0; PART];
    while let Ok(length @ 1..) = near.read(&mut part).await {
        let part = &part[..length];
        if part.starts_with(MESSAGE) {
            let number = shared.messages.fetch_add(1, Ordering::SeqCst) + 1;
            if number >= shared.cut.message() {
                shared.dead.send_replace(true);
            }
        }
        if *shared.dead.borrow() && matches!(shared.cut, Cut::Before(_)) {
            // Held open: whoever waits does not learn that nobody hears.
            std::future::pending::<()>().await;
        }
        if far.write_all(part).await.is_err() {
            return;
        }
    }
}

async fn back(shared: Arc<Shared>, mut far: OwnedReadHalf, mut near: OwnedWriteHalf) {
    let mut part = vec![0; PART];
    while let Ok(length @ 1..) = far.read(&mut part).await {
        if *shared.dead.borrow() {
            std::future::pending::<()>().await;
        }
        if near.write_all(&part[..length]).await.is_err() {
            return;
        }
    }
}
