//! A connection whose peer takes its answers at a least pace, or is let go.

use super::connections::Progress;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// The stream. While the system has no room for more of an answer, time runs; the peer takes
/// `least` bytes in each `time`, or writing fails.
pub struct Paced {
    stream: TcpStream,
    progress: Arc<Progress>,
    time: Duration,
    least: usize,
    waits: Option<Pin<Box<Sleep>>>,
    taken: usize,
}

impl Paced {
    /// Watches a stream.
    pub fn new(stream: TcpStream, progress: Arc<Progress>, time: Duration, least: usize) -> Self {
        Self {
            stream,
            progress,
            time,
            least,
            waits: None,
            taken: 0,
        }
    }

    fn written(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = polled {
            self.progress.mark();
            self.taken = self.taken.saturating_add(bytes);
        }
        if polled.is_ready() {
            return polled;
        }
        loop {
            if self.waits.is_none() {
                self.taken = 0;
            }
            let time = self.time;
            let waits = self
                .waits
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(time)));
            ready!(waits.as_mut().poll(cx));
            if self.taken < self.least {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.waits = None;
        }
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut me.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            me.progress.mark();
        }
        polled
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        let polled = Pin::new(&mut me.stream).poll_write(cx, bytes);
        me.written(cx, polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        let polled = Pin::new(&mut me.stream).poll_write_vectored(cx, parts);
        me.written(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        // Asked once all of an answer is with the system: the next one has its own time.
        me.waits = None;
        Pin::new(&mut me.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
