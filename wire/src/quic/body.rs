//! Bodies: exactly the stated bytes, in time, read and written piece by piece.

use super::pace::{GaveWay, Pace};
use super::windows::{Wide, Width};
use crate::protocol::RefusalCode;
use bytes::Bytes;
use holdfast_market_core::units::ByteCount;
use quinn::{RecvStream, SendStream, VarInt};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The most bytes handed out at once.
const PIECE: usize = 64 << 10;
/// A body may take this long, and as long again as it takes at [`SLOWEST`].
const GRACE: Duration = Duration::from_secs(30);
/// Bytes a second below which a peer only holds a stream open.
const SLOWEST: u64 = 4 << 10;
/// No single piece may take longer: a shard's column comes after k columns of a slow client's pack.
const STALL: Duration = Duration::from_secs(60);
/// A peer that takes no piece of what is sent to it in this time is left.
const TAKE_TIME: Duration = Duration::from_secs(20);

/// Why a body was not read to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It ended early.
    #[error("the body ended {missing} bytes before its stated length")]
    Short {
        /// How many bytes are missing.
        missing: u64,
    },
    /// It goes on.
    #[error("the body is longer than its stated length")]
    Long,
    /// It came too slowly.
    #[error("the body stalled with {missing} bytes to come")]
    Stalled {
        /// How many bytes are missing.
        missing: u64,
    },
    /// Others wait for its turn, and it hardly moved.
    #[error("the body came slowly while others waited; send it again in a moment")]
    GaveWay,
    /// The stream broke.
    #[error("the stream broke inside the body: {0}")]
    Broken(String),
}

impl BodyError {
    /// The code of the refusal that says so: one that was only slow may be sent again.
    pub const fn code(&self) -> RefusalCode {
        match self {
            Self::Stalled { .. } | Self::GaveWay => RefusalCode::Busy,
            Self::Short { .. } | Self::Long | Self::Broken(_) => RefusalCode::WrongBytes,
        }
    }
}

impl From<GaveWay> for BodyError {
    fn from(_: GaveWay) -> Self {
        Self::GaveWay
    }
}

/// A body as its reader sees it: from a peer, or from this process.
#[derive(Debug)]
pub struct Body {
    source: Source,
    left: u64,
    length: u64,
    // Bytes taken from the source and not handed out yet.
    rest: Bytes,
    ended: bool,
    deadline: Instant,
    pace: Arc<Pace>,
    // Narrow until the first piece is asked for: a body that nobody reads takes no room.
    width: Option<Arc<Width>>,
    wide: Option<Wide>,
}

/// The receiving half of a stream. What came and was not read is let go when it is dropped, also
/// where the connection has ended: that is remembered for a while, with all that it holds.
#[derive(Debug)]
pub(super) struct Inbound(pub(super) RecvStream);

impl Drop for Inbound {
    fn drop(&mut self) {
        // Fails only where all was read.
        let _ = self.0.stop(VarInt::from_u32(0));
    }
}

#[derive(Debug)]
enum Source {
    Stream(Inbound),
    Channel(mpsc::Receiver<Bytes>),
}

impl Body {
    pub(super) fn from_stream(
        stream: Inbound,
        length: ByteCount,
        pace: Arc<Pace>,
        width: Arc<Width>,
    ) -> Self {
        Self {
            pace,
            width: Some(width),
            ..Self::new(Source::Stream(stream), length)
        }
    }

    /// A body whose bytes come from this process: the sender is dropped after the last.
    pub fn from_channel(channel: mpsc::Receiver<Bytes>, length: ByteCount) -> Self {
        Self::new(Source::Channel(channel), length)
    }

    fn new(source: Source, length: ByteCount) -> Self {
        let allowance = Duration::from_secs(length.0 / SLOWEST);
        Self {
            source,
            left: length.0,
            length: length.0,
            rest: Bytes::new(),
            ended: false,
            deadline: Instant::now() + GRACE.saturating_add(allowance),
            pace: Arc::default(),
            width: None,
            wide: None,
        }
    }

    /// How fast it comes, and what tells it to give way.
    pub const fn pace(&self) -> &Arc<Pace> {
        &self.pace
    }

    /// The stated length.
    pub const fn length(&self) -> ByteCount {
        ByteCount(self.length)
    }

    /// The next bytes, or nothing after exactly the stated length.
    ///
    /// # Errors
    /// A body that is shorter or longer than stated, stalls, or breaks.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        if !self.rest.is_empty() {
            return Ok(Some(std::mem::take(&mut self.rest)));
        }
        if self.ended {
            return Ok(None);
        }
        if let Some(width) = self.width.take() {
            self.wide = width.widen(self.length);
        }
        let missing = self.left;
        let until = self.deadline.min(Instant::now() + STALL);
        let next = tokio::time::timeout_at(until, self.source.next());
        let piece = self
            .pace
            .with_peer(next)
            .await?
            .map_err(|_| BodyError::Stalled { missing })??;
        self.pace.add(piece.as_ref().map_or(0, Bytes::len));
        match piece {
            None if missing == 0 => {
                self.wide = None;
                self.ended = true;
                Ok(None)
            }
            None => Err(BodyError::Short { missing }),
            Some(piece) => {
                self.left = missing
                    .checked_sub(piece.len() as u64)
                    .ok_or(BodyError::Long)?;
                Ok(Some(piece))
            }
        }
    }

    /// Exactly `length` bytes, or fewer where the body ends before.
    pub(crate) async fn take(&mut self, length: usize) -> Result<Bytes, BodyError> {
        let mut first = match self.chunk().await? {
            None => return Ok(Bytes::new()),
            Some(bytes) => bytes,
        };
        if first.len() >= length {
            self.rest = first.split_off(length);
            return Ok(first);
        }
        let mut gathered = bytes::BytesMut::with_capacity(length);
        gathered.extend_from_slice(&first);
        while gathered.len() < length {
            let Some(mut piece) = self.chunk().await? else {
                break;
            };
            let wanted = length.saturating_sub(gathered.len()).min(piece.len());
            self.rest = piece.split_off(wanted);
            gathered.extend_from_slice(&piece);
        }
        Ok(gathered.freeze())
    }

    /// The whole body, where it is at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Body::chunk`]; [`BodyError::Long`] beyond the limit.
    pub async fn read_all(&mut self, limit: ByteCount) -> Result<Bytes, BodyError> {
        if self.length > limit.0 {
            return Err(BodyError::Long);
        }
        let mut gathered = bytes::BytesMut::new();
        while let Some(piece) = self.chunk().await? {
            gathered.extend_from_slice(&piece);
        }
        Ok(gathered.freeze())
    }
}

impl Source {
    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        match self {
            Self::Channel(channel) => Ok(channel.recv().await),
            Self::Stream(stream) => match stream.0.read_chunk(PIECE, true).await {
                Ok(chunk) => Ok(chunk.map(|chunk| chunk.bytes)),
                Err(error) => Err(BodyError::Broken(error.to_string())),
            },
        }
    }
}

/// Writes a body of stated length. Dropped before its end, it resets the stream, so that what was
/// cut off is never taken for whole.
#[derive(Debug)]
pub struct BodyWriter {
    stream: SendStream,
    left: u64,
    // The reader wants no more; what follows is dropped and its answer is read.
    stopped: bool,
    finished: bool,
    deadline: Instant,
    pace: Arc<Pace>,
    _wide: Option<Wide>,
}

/// Why a body was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Not the length that was stated: a fault of this program.
    #[error("the body has another length than was stated ({0} bytes to go)")]
    Length(u64),
    /// The peer takes nothing.
    #[error("the peer took too few bytes for {} s", TAKE_TIME.as_secs())]
    Stalled,
    /// Others wait for its turn, and the peer hardly took any.
    #[error("the peer took the body slowly while others waited")]
    GaveWay,
    /// The stream broke.
    #[error("the connection broke: {0}")]
    Broken(String),
}

/// The code of a stream that is given up.
pub(crate) const RESET: u32 = 1;

impl BodyWriter {
    pub(super) fn new(
        stream: SendStream,
        length: ByteCount,
        pace: Arc<Pace>,
        width: &Arc<Width>,
    ) -> Self {
        let allowance = Duration::from_secs(length.0 / SLOWEST);
        Self {
            stream,
            left: length.0,
            stopped: false,
            finished: false,
            deadline: Instant::now() + GRACE.saturating_add(allowance),
            pace,
            _wide: width.widen(length.0),
        }
    }

    /// Whether the reader wants no more.
    pub const fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Writes the next bytes; once the reader has stopped, drops them.
    ///
    /// # Errors
    /// More than was stated, a reader that takes nothing, a broken connection.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), WriteError> {
        self.left = self
            .left
            .checked_sub(bytes.len() as u64)
            .ok_or(WriteError::Length(self.left))?;
        if self.stopped {
            return Ok(());
        }
        let length = bytes.len();
        let until = self.deadline.min(Instant::now() + TAKE_TIME);
        let taking = tokio::time::timeout_at(until, self.stream.write_chunk(bytes));
        let taken = self.pace.with_peer(taking).await;
        self.pace.add(length);
        match taken.map_err(|GaveWay| WriteError::GaveWay)? {
            Err(_) => Err(WriteError::Stalled),
            Ok(Ok(())) => Ok(()),
            Ok(Err(quinn::WriteError::Stopped(_))) => {
                self.stopped = true;
                Ok(())
            }
            Ok(Err(error)) => Err(WriteError::Broken(error.to_string())),
        }
    }

    /// Ends the body.
    ///
    /// # Errors
    /// Fewer bytes than were stated.
    pub fn finish(mut self) -> Result<(), WriteError> {
        if self.left != 0 {
            return Err(WriteError::Length(self.left));
        }
        self.finished = true;
        // Fails only where the stream was reset or stopped, and then its end is known already.
        let _ = self.stream.finish();
        Ok(())
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        if !self.finished {
            let _ = self.stream.reset(VarInt::from_u32(RESET));
        }
    }
}
