//! Serving HTTP on a socket: bounded connections, headers read in time, a clean stop.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Connections served at once; a further one waits to be accepted.
const MOST_CONNECTIONS: usize = 1024;

/// Connections from one address (one /64 of IPv6); further ones are closed at once.
const MOST_OF_ONE_ADDRESS: usize = 256;

/// A peer sends its request's headers within this time, or is let go.
const HEADER_TIME: Duration = Duration::from_secs(10);

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

/// Serves `router` until `stop` turns true, then lets answers under way end.
pub async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let addresses = Addresses::default();
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            break;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
            // Ended connections are cleared away while the listener is quiet.
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, address)) => {
                let Some(place) = addresses.admit(address.ip(), MOST_OF_ONE_ADDRESS) else {
                    continue;
                };
                let router = router.clone();
                let stop = stop.clone();
                connections.spawn(async move {
                    connection(stream, router, stop).await;
                    drop((permit, place));
                });
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

/// How many connections each address has.
#[derive(Clone, Default)]
struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection that is counted; dropped, it is counted no more.
struct Place {
    addresses: Addresses,
    origin: IpAddr,
}

impl Addresses {
    fn admit(&self, address: IpAddr, most: usize) -> Option<Place> {
        let origin = match address.to_canonical() {
            // Who has one address of a /64 has all of them.
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            address => address,
        };
        let mut counts = self.lock();
        let count = counts.entry(origin).or_default();
        if *count >= most {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Place {
            addresses: self.clone(),
            origin,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // What is guarded is whole after every change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.addresses.lock();
        if let Some(count) = counts.get_mut(&self.origin) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.origin);
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router, mut stop: watch::Receiver<bool>) {
    // Small answers are sent at once; a socket that does not take the option works as well.
    let _ = stream.set_nodelay(true);
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
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_one_plain_sentence() {
        let first = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let error = listen(first.local_addr().unwrap()).await.unwrap_err();
        assert!(matches!(error, ServeError::InUse(_)));
        assert!(error.to_string().contains("--listen"));
    }

    #[test]
    fn an_address_has_its_share_and_an_ended_connection_gives_it_back() {
        let addresses = Addresses::default();
        let of = |text: &str| addresses.admit(text.parse().unwrap(), 2);
        let first = of("10.0.0.1").unwrap();
        let _second = of("::ffff:10.0.0.1").unwrap();
        assert!(of("10.0.0.1").is_none());
        let _other = of("10.0.0.2").unwrap();
        drop(first);
        drop(of("10.0.0.1").unwrap());
        let _one = of("2001:db8::1").unwrap();
        let _two = of("2001:db8::2").unwrap();
        assert!(of("2001:db8::3").is_none());
        assert_eq!(addresses.lock().len(), 3);
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
}
