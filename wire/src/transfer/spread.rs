//! Coding a pack and handing each shard's columns to whoever stores it, in bounded memory. One
//! that fails or stalls is left behind; the others go on.

use crate::pack::PackLayout;
use crate::pack::encode::{EncodeError, StripeEncoder};
use bytes::{Buf, Bytes};
use futures::future::join_all;
use holdfast_market_core::units::ByteCount;
use std::io::{self, Read};
use std::time::Duration;
use tokio::sync::mpsc;

/// Columns that wait for each shard's line: with the column in hand, 320 KiB a shard.
pub(super) const WAITING: usize = 4;
/// Who takes no column for so long is left behind.
const STALL: Duration = Duration::from_secs(15);

/// Codes `source` stripe by stripe and gives column i to `shards[i]`. `progress` is told the bytes
/// of source that were given out. Where the source fails, every shard's channel is dropped before
/// its end, so that no shard is taken for whole.
pub(super) async fn spread(
    layout: PackLayout,
    source: impl Read + Send + 'static,
    mut shards: Vec<Option<mpsc::Sender<Bytes>>>,
    mut progress: impl FnMut(ByteCount),
) -> Result<(), EncodeError> {
    let mut encoder = StripeEncoder::new(layout, source)?;
    let mut stripe = 0u64;
    loop {
        let step = tokio::task::spawn_blocking(move || {
            let columns = encoder.next_stripe();
            (encoder, columns)
        });
        let (back, columns) = step
            .await
            .map_err(|error| EncodeError::Io(io::Error::other(error.to_string())))?;
        encoder = back;
        let Some(columns) = columns? else {
            return Ok(());
        };
        let given = join_all(shards.iter_mut().zip(columns).map(give)).await;
        stripe = stripe.saturating_add(1);
        let done = stripe.saturating_mul(u64::from(layout.k()).saturating_mul(crate::pack::COLUMN));
        progress(ByteCount(done.min(layout.length().0)));
        if !given.contains(&true) {
            // Nobody is left to store anything: each has its own reason.
            return Ok(());
        }
    }
}

/// Gives a column; whether the shard's line still takes any.
async fn give((shard, column): (&mut Option<mpsc::Sender<Bytes>>, Vec<u8>)) -> bool {
    let Some(line) = shard else {
        return false;
    };
    let given = tokio::time::timeout(STALL, line.send(Bytes::from(column))).await;
    let taken = matches!(given, Ok(Ok(())));
    if !taken {
        *shard = None;
    }
    taken
}

/// A body of this process as a blocking reader.
pub(super) struct ChannelReader {
    receiver: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl ChannelReader {
    pub(super) fn new(receiver: mpsc::Receiver<Bytes>) -> Self {
        Self {
            receiver,
            current: Bytes::new(),
        }
    }
}

impl Read for ChannelReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                None => return Ok(0),
                Some(piece) => self.current = piece,
            }
        }
        let count = self.current.len().min(buffer.len());
        if let Some(target) = buffer.get_mut(..count) {
            self.current.copy_to_slice(target);
        }
        Ok(count)
    }
}
