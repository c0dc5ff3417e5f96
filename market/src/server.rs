//! Serving HTTP on a socket: bounded connections, headers read and answers taken in time, a clean
//! stop.

mod connections;
mod paced;

use axum::Router;
use connections::{Connections, Place};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use paced::Paced;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Connections served at once; for a further one, one of the busiest address is cut.
const MOST_CONNECTIONS: usize = 1024;

/// Connections from one address (one /64 of IPv6); further ones are closed at once.
const MOST_OF_ONE_ADDRESS: usize = 256;

/// A peer sends its request's headers within this time, or is let go.
const HEADER_TIME: Duration = Duration::from_secs(10);

/// A peer that does not take its answer as fast as it could takes [`LEAST_TAKEN`] in each such
/// time, or is let go.
const TAKE_TIME: Duration = Duration::from_secs(20);

/// Bytes of an answer: 16 KiB a second.
const LEAST_TAKEN: usize = 320 << 10;

/// Bytes of a connection that are read before its request is understood: headers are smaller.
const BUFFER: usize = 64 << 10;

/// After the stop, answers under way have this long.
const GRACE: Duration = Duration::from_secs(5);

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Somebody else listens there.
    #[error("{0} is in use by another process; stop it, or give another address with --listen")]
    InUse(SocketAddr),
    /// The system says no.
    #[error("cannot listen on {address}: {source}; give another address with --listen")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Listens on `address` (port 0: any free one).
///
/// # Errors
/// The address is in use, or not this machine's.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| match source.kind() {
            std::io::ErrorKind::AddrInUse => ServeError::InUse(address),
            _ => ServeError::Listen { address, source },
        })
}

/// What connections may take.
#[derive(Clone, Copy)]
struct Limits {
    connections: usize,
    of_one_address: usize,
    take_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: MOST_CONNECTIONS,
            of_one_address: MOST_OF_ONE_ADDRESS,
            take_time: TAKE_TIME,
        }
    }
}

/// Serves `router` until `stop` turns true, then lets answers under way end.
pub async fn serve(listener: TcpListener, router: Router, stop: watch::Receiver<bool>) {
    serve_within(listener, router, stop, Limits::default()).await;
}

async fn serve_within(
    listener: TcpListener,
    router: Router,
    mut stop: watch::Receiver<bool>,
    limits: Limits,
) {
    let open = Connections::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
            // Ended connections are cleared away while the listener is quiet.
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, address)) => {
                let place = open.admit(address.ip(), limits.connections, limits.of_one_address);
                let Some(place) = place else {
                    continue;
                };
                let number = place.number();
                let (router, stop) = (router.clone(), stop.clone());
                let task = connections.spawn(connection(stream, place, router, stop, limits));
                open.started(number, task);
            }
            Err(error) => {
                // Out of file handles, mostly: the next accept would fail at once as well.
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, ended).await.is_err() {
        tracing::warn!("connections that did not end in time were cut");
    }
}

async fn connection(
    stream: TcpStream,
    place: Place,
    router: Router,
    mut stop: watch::Receiver<bool>,
    limits: Limits,
) {
    // Small answers are sent at once; a socket that does not take the option works as well.
    let _ = stream.set_nodelay(true);
    let stream = Paced::new(stream, place.progress(), limits.take_time, LEAST_TAKEN);
    let service = TowerToHyperService::new(router);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    let ended = tokio::select! {
        result = served.as_mut() => Some(result),
        _ = stop.wait_for(|stop| *stop) => None,
    };
    let result = match ended {
        Some(result) => result,
        None => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!("a connection ended early: {error}");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpSocket;

    #[tokio::test]
    async fn a_port_in_use_is_one_plain_sentence() {
        let first = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let error = listen(first.local_addr().unwrap()).await.unwrap_err();
        assert!(matches!(error, ServeError::InUse(_)));
        assert!(error.to_string().contains("--listen"));
    }

    #[tokio::test]
    async fn serving_ends_when_told_to_though_a_connection_is_open() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(serve(listener, Router::new(), stopped));
        let _idle = TcpStream::connect(address).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        stop.send(true).unwrap();
        tokio::time::timeout(Duration::from_secs(3), serving)
            .await
            .unwrap()
            .unwrap();
    }

    /// Longer than what the system holds for a peer that does not read.
    const LONG: usize = 32 << 20;

    struct Running {
        address: SocketAddr,
        stop: watch::Sender<bool>,
        serving: tokio::task::JoinHandle<()>,
    }

    impl Running {
        async fn start(limits: Limits) -> Self {
            let router = Router::new()
                .route("/", get(async || "here"))
                .route("/long", get(async || vec![7u8; LONG]))
                .route("/never", get(std::future::pending::<()>));
            let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
            let address = listener.local_addr().unwrap();
            let (stop, stopped) = watch::channel(false);
            let serving = tokio::spawn(serve_within(listener, router, stopped, limits));
            Self {
                address,
                stop,
                serving,
            }
        }

        /// A connection from an address of this machine that has asked for something.
        async fn ask(&self, from: [u8; 4], path: &str) -> TcpStream {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::from((from, 0))).unwrap();
            let mut stream = socket.connect(self.address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            stream
        }

        async fn end(self) {
            self.stop.send(true).unwrap();
            let ended = tokio::time::timeout(GRACE * 6, self.serving).await;
            ended.unwrap().unwrap();
        }
    }

    async fn is_answered(stream: &mut TcpStream) -> bool {
        let mut answer = [0; 15];
        let read = tokio::time::timeout(Duration::from_secs(60), stream.read_exact(&mut answer));
        read.await.unwrap().is_ok() && answer == *b"HTTP/1.1 200 OK"
    }

    /// How many bytes still come before the other side ends it.
    async fn rest(stream: &mut TcpStream) -> usize {
        let (mut all, mut buffer) = (0, vec![0; 1 << 16]);
        let reading = async {
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                all += read;
            }
        };
        let read = tokio::time::timeout(Duration::from_secs(60), reading).await;
        read.expect("the other side ends it");
        all
    }

    /// Whether the other side has ended it, as far as can be seen in a moment.
    async fn has_ended(stream: &mut TcpStream) -> bool {
        let mut buffer = [0; 4096];
        loop {
            let reading = stream.read(&mut buffer);
            match tokio::time::timeout(Duration::from_millis(100), reading).await {
                Ok(Ok(1..)) => {}
                Ok(_) => return true,
                Err(_) => return false,
            }
        }
    }

    #[tokio::test]
    async fn a_peer_that_does_not_take_its_answer_is_let_go() {
        let running = Running::start(Limits {
            take_time: Duration::from_millis(200),
            ..Limits::default()
        })
        .await;
        let mut unread = running.ask([127, 0, 0, 1], "/long").await;
        // Long enough for the limit, on a machine however slow: what came before is all there is.
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(rest(&mut unread).await < LONG);
        running.end().await;
        // One that takes it has all of it.
        let running = Running::start(Limits::default()).await;
        let mut read = running.ask([127, 0, 0, 1], "/long").await;
        let mut whole = vec![0; LONG];
        read.read_exact(&mut whole).await.unwrap();
        running.end().await;
    }

    #[tokio::test]
    async fn one_address_that_holds_every_place_keeps_nobody_out() {
        let running = Running::start(Limits {
            connections: 4,
            of_one_address: 3,
            ..Limits::default()
        })
        .await;
        // One honest long poll, the oldest of all; then an address with as many as it may have.
        let mut honest = running.ask([127, 0, 0, 1], "/").await;
        assert!(is_answered(&mut honest).await);
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(running.ask([127, 0, 0, 2], "/").await);
            assert!(is_answered(held.last_mut().unwrap()).await);
        }
        let never = b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n";
        honest.write_all(never).await.unwrap();
        for stream in &mut held {
            stream.write_all(never).await.unwrap();
        }
        let mut newcomer = running.ask([127, 0, 0, 3], "/").await;
        assert!(is_answered(&mut newcomer).await);
        // One of the holder's made way; the others and the honest one still wait.
        let begun = std::time::Instant::now();
        let mut ended = 0;
        while ended == 0 {
            assert!(begun.elapsed() < Duration::from_secs(60));
            for stream in &mut held {
                ended += usize::from(has_ended(stream).await);
            }
        }
        assert_eq!(ended, 1);
        assert!(!has_ended(&mut honest).await);
        running.end().await;
    }

    #[tokio::test]
    async fn serving_ends_though_every_place_is_taken_by_who_does_not_read() {
        let running = Running::start(Limits {
            connections: 3,
            of_one_address: 3,
            ..Limits::default()
        })
        .await;
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(running.ask([127, 0, 0, 1], "/long").await);
            assert!(is_answered(held.last_mut().unwrap()).await);
        }
        running.end().await;
    }
}
