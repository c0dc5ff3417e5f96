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
use tokio::time::Instant;

/// Columns that wait for each shard's line: with the column in hand, 320 KiB a shard.
pub(super) const WAITING: usize = 4;
/// Who takes no column for so long is left behind.
const STALL: Duration = Duration::from_secs(15);
/// Who has kept the others waiting for so long in all, and as long again as its bytes take at
/// [`LEAST_RATE`], is left behind too. A slow line of one's own holds up every shard alike; a
/// provider that dribbles holds up all but itself.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes a second.
const LEAST_RATE: u64 = 16 << 10;

/// Codes `source` stripe by stripe and gives column i to `shards[i]`. `progress` is told the bytes
/// of source that were given out. Where the source fails, every shard's channel is dropped before
/// its end, so that no shard is taken for whole.
pub(super) async fn spread(
    layout: PackLayout,
    source: impl Read + Send + 'static,
    shards: Vec<Option<mpsc::Sender<Bytes>>>,
    mut progress: impl FnMut(ByteCount),
) -> Result<(), EncodeError> {
    let mut lines: Vec<Line> = shards.into_iter().map(Line::new).collect();
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
        let taken = join_all(
            lines
                .iter_mut()
                .zip(columns)
                .map(|(line, column)| line.give(column)),
        );
        let taken = taken.await;
        stripe = stripe.saturating_add(1);
        let given = ByteCount(stripe.saturating_mul(crate::pack::COLUMN));
        leave_behind(&mut lines, &taken, given);
        let done = stripe.saturating_mul(u64::from(layout.k()).saturating_mul(crate::pack::COLUMN));
        progress(ByteCount(done.min(layout.length().0)));
        if lines.iter().all(|line| line.columns.is_none()) {
            // Nobody is left to store anything: each has its own reason.
            return Ok(());
        }
    }
}

/// One shard's line.
struct Line {
    /// Nothing where it was left behind.
    columns: Option<mpsc::Sender<Bytes>>,
    /// How long the others waited for it.
    behind: Duration,
}

impl Line {
    const fn new(columns: Option<mpsc::Sender<Bytes>>) -> Self {
        Self {
            columns,
            behind: Duration::ZERO,
        }
    }

    /// Gives a column; how long that took, where the line still takes any.
    async fn give(&mut self, column: Vec<u8>) -> Option<Duration> {
        let begun = Instant::now();
        let columns = self.columns.as_ref()?;
        match tokio::time::timeout(STALL, columns.send(Bytes::from(column))).await {
            Ok(Ok(())) => Some(begun.elapsed()),
            Ok(Err(_)) | Err(_) => {
                self.columns = None;
                None
            }
        }
    }
}

/// Counts for each line how much longer it took than half of them, and leaves those behind that
/// have used up the others' patience.
fn leave_behind(lines: &mut [Line], taken: &[Option<Duration>], given: ByteCount) {
    let patience = PATIENCE.saturating_add(Duration::from_secs(given.0 / LEAST_RATE));
    let mut times: Vec<Duration> = taken.iter().flatten().copied().collect();
    times.sort_unstable();
    let Some(usual) = times.get(times.len().saturating_sub(1) / 2).copied() else {
        return;
    };
    for (line, taken) in lines.iter_mut().zip(taken) {
        let Some(taken) = taken else {
            continue;
        };
        line.behind = line.behind.saturating_add(taken.saturating_sub(usual));
        if line.behind > patience {
            line.columns = None;
        }
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    /// Takes columns for ever, with a pause after each.
    async fn take(mut columns: mpsc::Receiver<Bytes>, pause: Duration) -> u64 {
        let mut bytes = 0;
        while let Some(column) = columns.recv().await {
            bytes += column.len() as u64;
            tokio::time::sleep(pause).await;
        }
        bytes
    }

    /// Spreads a pack over lines that pause so long after each column; what each got, and the time.
    async fn spread_over(pauses: [u64; 6]) -> (Vec<u64>, Duration) {
        let length = 4 << 20;
        let layout = PackLayout::new(3, 6, ByteCount(length)).unwrap();
        let (lines, takers): (Vec<_>, Vec<_>) = pauses
            .into_iter()
            .map(|pause| {
                let (line, columns) = mpsc::channel(WAITING);
                (Some(line), take(columns, Duration::from_millis(pause)))
            })
            .unzip();
        let begun = Instant::now();
        let spreading = spread(layout, io::repeat(7).take(length), lines, |_| {});
        let (done, got) = tokio::join!(spreading, join_all(takers));
        done.unwrap();
        (got, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_dribbles_is_left_behind_in_time_and_the_others_get_all() {
        let (got, time) = spread_over([10, 10, 14_000, 10, 10, 10]).await;
        let (most, least) = (got.iter().max().unwrap(), got.iter().min().unwrap());
        assert_eq!(got.iter().filter(|got| *got == most).count(), 5, "{got:?}");
        assert!(got[2] == *least && least < most, "{got:?}");
        assert!(time < PATIENCE + STALL * 9, "{time:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_are_slow_nobody_is_left_behind() {
        let (got, time) = spread_over([3000, 3500, 3000, 3200, 3500, 3000]).await;
        assert!(got.iter().all(|bytes| *bytes == got[0]), "{got:?}");
        assert!(time > PATIENCE, "{time:?}");
    }
}
