//! What lying nodes do: to a read each in one place of the answer, to an upload that they are asked
//! to spread each in one way.

use super::{State, store};
use bytes::Bytes;
use holdfast_market_core::units::ByteCount;
use holdfast_wire::bao::{GROUP, Outboard};
use holdfast_wire::protocol::{
    AssistPut, ByteRange, GetShard, PutShard, Refusal, RefusalCode, Response, ShardOutcome,
    ShardTarget,
};
use holdfast_wire::quic::{Body, Reply, node_key};
use holdfast_wire::transfer::assist;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is wrong with the answer to a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// A byte of the first group.
    FirstGroup,
    /// A byte of a group in the middle.
    MiddleGroup,
    /// The last byte.
    LastByte,
    /// A hash of the first pair.
    FirstPair,
    /// A hash of a pair further below.
    LaterPair,
    /// The shard's length is stated a byte too long.
    Longer,
    /// The shard's length is stated a byte too short.
    Shorter,
    /// More bytes than were asked for.
    More,
    /// A whole answer that ends early, as its header says.
    Less,
    /// An answer that breaks off.
    BreaksOff,
    /// The bytes of another range.
    AnotherRange,
    /// The bytes of another shard of the same length.
    AnotherShard,
    /// Answers something else.
    AnotherAnswer,
    /// A header that is none.
    Rubbish,
    /// No header.
    Silent,
    /// A header, and no body.
    NoBody,
    /// A byte a second.
    ByteASecond,
}

/// Long after everybody has gone elsewhere.
const LONG: Duration = Duration::from_secs(120);

/// Answers a read with a lie.
pub(super) async fn read(
    lie: Lie,
    reply: Reply,
    bytes: Vec<u8>,
    outboard: Outboard,
    get: &GetShard,
) {
    let length = outboard.length();
    let range = get.ranges[0];
    let honest = outboard.slice(&*bytes, &get.ranges).unwrap();
    let at = |offset: u64| place(&honest, &bytes, offset);
    let mut body = honest.clone();
    let mut stated = length;
    match lie {
        Lie::FirstGroup => body[at(range.start)] ^= 1,
        Lie::MiddleGroup => {
            let middle = (range.start + range.end) / 2 / GROUP * GROUP;
            body[at(middle.max(range.start))] ^= 1;
        }
        Lie::LastByte => *body.last_mut().unwrap() ^= 1,
        Lie::FirstPair => body[5] ^= 1,
        Lie::LaterPair => body[64 + 5] ^= 1,
        Lie::Longer => stated = ByteCount(length.0 + 1),
        Lie::Shorter => stated = ByteCount(length.0 - 1),
        Lie::More => body.extend_from_slice(&[7; 1000]),
        Lie::Less => body.truncate(body.len() - 1),
        Lie::AnotherRange => {
            // As long as what was asked for, from elsewhere in the shard.
            let wanted = range.end - range.start;
            let start = if range.start == 0 {
                length.0 - wanted
            } else {
                0
            };
            let other = ByteRange {
                start: start.max(u64::from(start == range.start)),
                end: start + wanted,
            };
            body = outboard.slice(&*bytes, &[other]).unwrap();
        }
        Lie::AnotherShard => {
            let other: Vec<u8> = bytes.iter().map(|byte| byte ^ 0x55).collect();
            let outboard = Outboard::compute(length, &*other).unwrap();
            body = outboard.slice(&*other, &get.ranges).unwrap();
        }
        Lie::AnotherAnswer => {
            let _ = reply.send(&Response::PieceOpenings).await;
            return;
        }
        Lie::Rubbish => {
            let refusal = Refusal {
                code: RefusalCode::NotFound,
                sentence: "\u{1b}[2J".repeat(3000),
            };
            let _ = reply.send(&Response::Refused(refusal)).await;
            return;
        }
        Lie::Silent => {
            tokio::time::sleep(LONG).await;
            return;
        }
        Lie::BreaksOff | Lie::NoBody | Lie::ByteASecond => {}
    }
    let response = Response::Shard { length: stated };
    let announced = ByteCount(body.len() as u64);
    let Ok(mut writer) = reply.start(&response, announced).await else {
        return;
    };
    match lie {
        Lie::NoBody => tokio::time::sleep(LONG).await,
        Lie::BreaksOff => {
            let _ = writer.write(Bytes::from(body).slice(..100)).await;
        }
        Lie::ByteASecond => {
            for byte in body {
                if writer.write(Bytes::from(vec![byte])).await.is_err() || writer.is_stopped() {
                    return;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        _ => {
            let _ = writer.write(Bytes::from(body)).await;
            let _ = writer.finish();
        }
    }
}

/// Where a byte of the shard stands in its encoding.
fn place(encoded: &[u8], bytes: &[u8], offset: u64) -> usize {
    let offset = offset as usize;
    let end = (offset + 48).min(bytes.len());
    let wanted = &bytes[offset..end];
    let mut windows = encoded.windows(wanted.len());
    windows.position(|window| window == wanted).unwrap()
}

/// What is wrong with how an upload is spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// One byte of a stripe is another.
    ChangesAStripe,
    /// One provider gets nothing, and is said to have failed.
    LeavesOneOut,
    /// One provider's shard goes to another, whose receipt is given for it.
    Substitutes,
    /// The receipt of one is given for another as well.
    GivesAnothersReceipt,
    /// Receipts that nobody signed.
    Forges,
    /// An outcome less than shards.
    TooFew,
    /// An outcome more.
    TooMany,
    /// Nothing, once it has everything.
    Silent,
    /// It takes nothing.
    TakesNothing,
    /// It says that it is done before it has anything.
    AnswersAtOnce,
}

/// Spreads an upload dishonestly.
pub(super) async fn spread(
    how: Spread,
    state: &Arc<State>,
    mut put: AssistPut,
    mut body: Body,
) -> Option<Response> {
    match how {
        Spread::TakesNothing => {
            tokio::time::sleep(LONG).await;
            return None;
        }
        Spread::AnswersAtOnce => {
            let failed = ShardOutcome::Failed("no room".into());
            return Some(Response::Assisted(vec![failed; put.targets.len()]));
        }
        Spread::Substitutes => put.targets[4] = put.targets[5].clone(),
        Spread::ChangesAStripe => body = changed(body).await,
        _ => {}
    }
    let me = node_key(&state.identity);
    let local = |put: PutShard, body: Body| store(state, put, body);
    let left_out = Mutex::new(0);
    let refusal = |_: &ShardTarget| {
        let mut number = left_out.lock().unwrap();
        *number += 1;
        // Targets are asked for in order, but for its own.
        (how == Spread::LeavesOneOut && *number == 4).then(|| "it does not answer".to_owned())
    };
    let mut outcomes = assist(&state.peers, me, put, body, refusal, local)
        .await
        .ok()?;
    match how {
        Spread::GivesAnothersReceipt => outcomes[4] = outcomes[3].clone(),
        Spread::Forges => {
            for outcome in &mut outcomes {
                if let ShardOutcome::Receipt(receipt) = outcome {
                    receipt.signature.0[7] ^= 1;
                }
            }
        }
        Spread::TooFew => {
            outcomes.pop();
        }
        Spread::TooMany => outcomes.push(outcomes[0].clone()),
        Spread::Silent => {
            tokio::time::sleep(LONG).await;
            return None;
        }
        _ => {}
    }
    Some(Response::Assisted(outcomes))
}

/// The same body with one byte of its last stripe changed.
async fn changed(mut body: Body) -> Body {
    let length = body.length();
    let mut bytes = body.read_all(ByteCount(1 << 30)).await.unwrap().to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        for piece in bytes.chunks(64 << 10) {
            if sender.send(Bytes::copy_from_slice(piece)).await.is_err() {
                return;
            }
        }
    });
    Body::from_channel(receiver, length)
}
