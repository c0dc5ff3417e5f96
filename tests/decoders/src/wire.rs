//! What comes over QUIC, and how packs are laid out and coded.

use crate::read::{answer, canonical, usual};
use crate::{Answer, Decoder, Form, sample};
use bytes::Bytes;
use futures::executor::block_on;
use holdfast_market_core::receipt::Tier;
use holdfast_market_core::units::{
    Amount, ByteCount, Height, NodeKey, Periods, ProviderId, ShardIndex,
};
use holdfast_wire::bao::{self, Outboard, encoded_length, verify_body, verify_slice};
use holdfast_wire::erasure::Coder;
use holdfast_wire::keys::Phrase;
use holdfast_wire::pack::{MAX_PACK, PackLayout};
use holdfast_wire::protocol::frame::{self, Frame};
use holdfast_wire::protocol::*;
use holdfast_wire::quic::Body;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

pub(crate) fn decoders() -> Vec<Decoder> {
    vec![
        usual("request-frame", Form::Cbor, request, || {
            requests().into_iter().map(framed).collect()
        }),
        usual("response-frame", Form::Cbor, response, || {
            responses().into_iter().map(framed).collect()
        }),
        usual("bao-slice", Form::Bytes, bao_slice, || {
            vec![honest_slice(RANGE)]
        }),
        usual("bao-body", Form::Bytes, bao_body, || {
            vec![honest_slice(RANGE), honest_slice(ALL)]
        }),
        usual("bao-outboard", Form::Bytes, bao_outboard, || {
            vec![outboard().as_bytes().to_vec()]
        }),
        usual("byte-ranges", Form::Bytes, byte_ranges, || {
            vec![
                numbers(&[50_000, 0, 10, 10, 20_000]),
                numbers(&[1 << 20, 5, 1 << 20]),
            ]
        }),
        usual("pack-layout", Form::Bytes, pack_layout, || {
            let layout = |k, n, rest: &[u64]| [&[k, n][..], &numbers(rest)].concat();
            vec![
                layout(3, 6, &[10 << 20, 70_000, 9 << 20]),
                layout(1, 1, &[5, 0, 5]),
                layout(20, 60, &[MAX_PACK.0, 0, u64::MAX]),
            ]
        }),
        usual("erasure-shards", Form::Bytes, erasure, || {
            vec![
                [
                    &[3, 6, 0b101_010, 0, 0, 0, 0, 0, 0, 0][..],
                    &sample::shard()[..300],
                ]
                .concat(),
                [
                    &[2, 2, 0b11, 0, 0, 0, 0, 0, 0, 0][..],
                    &sample::shard()[..50],
                ]
                .concat(),
                [&[40, 64][..], &[0xff; 8], &sample::shard()[..4_000]].concat(),
            ]
        }),
        usual("recovery-phrase", Form::Text, phrase, || {
            vec![words().as_bytes().to_vec()]
        }),
    ]
}

/// The words of a phrase.
pub(crate) fn words() -> &'static str {
    "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

fn read_numbers(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes
        .as_chunks::<8>()
        .0
        .iter()
        .map(|bytes| u64::from_le_bytes(*bytes))
}

fn offer() -> ShardOffer {
    ShardOffer {
        tier: Tier::Hot,
        price: Amount(1_000),
        term: Periods(9),
    }
}

fn requests() -> Vec<Request> {
    let pack = sample::pack();
    let shard = ShardIndex(0);
    vec![
        Request::Hello(Hello {
            network: sample::NETWORK,
            version: PROTOCOL_VERSION,
        }),
        Request::PutShard(PutShard {
            header: sample::header(),
            shard,
            offer: offer(),
        }),
        Request::AssistPut(AssistPut {
            header: sample::header(),
            targets: (0..3)
                .map(|number| ShardTarget {
                    provider: ProviderId(number),
                    node: NodeKey([number as u8; 32]),
                    endpoint: "127.0.0.1:4000".into(),
                    offer: offer(),
                })
                .collect(),
        }),
        Request::GetShard(GetShard {
            pack,
            shard,
            ranges: vec![
                RANGE,
                ByteRange {
                    start: 40_000,
                    end: 50_000,
                },
            ],
            voucher: Some(Box::new(sample::voucher())),
        }),
        Request::GetPieceProof(GetPieceProof {
            pack,
            shard,
            quads: vec![0, 11, 300],
        }),
        Request::Status,
    ]
}

fn responses() -> Vec<Response> {
    vec![
        Response::Hello(HelloReply {
            network: sample::NETWORK,
            provider: Some(ProviderId(3)),
            version: PROTOCOL_VERSION,
        }),
        Response::Receipt(Box::new(sample::receipt(0))),
        Response::Assisted(vec![
            ShardOutcome::Receipt(Box::new(sample::receipt(0))),
            ShardOutcome::Failed("the provider does not answer".into()),
        ]),
        Response::Shard {
            length: ByteCount(50_000),
        },
        Response::PaymentDue(PaymentDue {
            price: Amount(1_000_000),
            owed: Amount(7_000),
            paid: Some(Box::new(sample::voucher())),
        }),
        Response::PieceOpenings,
        Response::Status(NodeStatus {
            provider: Some(ProviderId(3)),
            height: Height(9),
            ..NodeStatus::default()
        }),
        Response::Refused(Refusal::new(RefusalCode::NoRoom, "there is no room")),
    ]
}

fn framed<T: Serialize>(message: T) -> Vec<u8> {
    let body = ByteCount(12);
    let mut bytes = frame::to_bytes(&Frame { message, body }).unwrap();
    bytes.extend_from_slice(b"twelve bytes");
    bytes
}

/// Reads a frame and leaves its body. What is taken is framed as the same bytes.
fn read_frame<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<Frame<T>> {
    // An honest frame's mutations seldom keep its length right, so the bytes are also read as what
    // follows a length that is.
    let mut stream = bytes;
    let read = block_on(frame::read::<T>("frame", &mut stream)).ok();
    let consumed = bytes.len() - stream.len();
    assert!(
        consumed <= HEADER_LIMIT as usize + 4,
        "more than a header was read"
    );
    if let Some(frame) = read {
        let written = frame::to_bytes(&frame).unwrap();
        assert!(written == bytes[..consumed], "it is framed as other bytes");
        canonical(&frame, &written[4..]);
        return Some(frame);
    }
    let header = bytes.get(4..)?;
    let mut whole = (header.len() as u32).to_be_bytes().to_vec();
    whole.extend_from_slice(header);
    let frame = block_on(frame::read::<T>("frame", &mut whole.as_slice())).ok()?;
    canonical(&frame, header);
    Some(frame)
}

/// What a node looks at before it does anything.
fn request(bytes: &[u8]) -> Answer {
    let read = read_frame::<Request>(bytes);
    match read.as_ref().map(|frame| &frame.message) {
        Some(Request::PutShard(put)) => {
            let _ = PackLayout::of(&put.header);
            put.header.id().unwrap();
        }
        Some(Request::AssistPut(put)) => {
            let _ = PackLayout::of(&put.header);
        }
        Some(Request::GetShard(get)) if ranges_are_orderly(&get.ranges) => {
            assert!(get.ranges.len() <= MAX_RANGES);
            let _ = encoded_length(ByteCount(50_000), &get.ranges);
        }
        _ => {}
    }
    answer(read)
}

fn response(bytes: &[u8]) -> Answer {
    answer(read_frame::<Response>(bytes))
}

const RANGE: ByteRange = ByteRange {
    start: 20_000,
    end: 30_000,
};
const ALL: ByteRange = ByteRange {
    start: 0,
    end: sample::SHARD_BYTES,
};
const LENGTH: ByteCount = ByteCount(sample::SHARD_BYTES);

fn outboard() -> &'static Outboard {
    static OUTBOARD: OnceLock<Outboard> = OnceLock::new();
    OUTBOARD.get_or_init(|| Outboard::compute(LENGTH, sample::shard()).unwrap())
}

fn honest_slice(range: ByteRange) -> Vec<u8> {
    outboard().slice(sample::shard(), &[range]).unwrap()
}

fn bytes_of(range: ByteRange) -> &'static [u8] {
    &sample::shard()[range.start as usize..range.end as usize]
}

/// Only the honest encoding of a range verifies; under a length that the peer made up nothing does,
/// and nothing is read beyond the bytes.
fn bao_slice(bytes: &[u8]) -> Answer {
    let mut claimed = read_numbers(bytes);
    let mut next = || claimed.next().unwrap_or(u64::MAX);
    let (length, start, end) = (ByteCount(next()), next(), next());
    let hostile = ByteRange { start, end };
    let shown = verify_slice(sample::shard_root(), length, hostile, bytes);
    assert!(shown.is_err() || length == LENGTH);
    match verify_slice(sample::shard_root(), LENGTH, RANGE, bytes) {
        Err(_) => Answer::Refused,
        Ok(shown) => {
            assert!(shown == bytes_of(RANGE) && bytes == honest_slice(RANGE));
            Answer::Read
        }
    }
}

/// The same as it arrives, in pieces.
fn bao_body(bytes: &[u8]) -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let mut answer = Answer::Refused;
    for range in [RANGE, ALL] {
        let stated = encoded_length(LENGTH, &[range]).unwrap();
        // A peer may state the right length and send another one, or state the length that it sends.
        for stated in [stated, ByteCount(bytes.len() as u64)] {
            let pieces = bytes.chunks(7_000).map(Bytes::copy_from_slice);
            let (sender, receiver) = tokio::sync::mpsc::channel(bytes.len() / 7_000 + 1);
            pieces.for_each(|piece| sender.try_send(piece).unwrap());
            drop(sender);
            let verified = AtomicU64::new(0);
            let body = Body::from_channel(receiver, stated);
            let shown = runtime.block_on(verify_body(
                sample::shard_root(),
                LENGTH,
                range,
                body,
                &verified,
            ));
            if let Ok(shown) = shown {
                assert!(shown == bytes_of(range) && bytes == honest_slice(range));
                answer = Answer::Read;
            }
        }
    }
    answer
}

/// Stored hashes that are not the shard's are noticed before a byte is sent.
fn bao_outboard(bytes: &[u8]) -> Answer {
    let Ok(stored) = Outboard::from_bytes(sample::shard_root(), LENGTH, bytes.to_vec()) else {
        return Answer::Refused;
    };
    match stored.slice(sample::shard(), &[RANGE]) {
        Ok(slice) => assert!(slice == honest_slice(RANGE), "a wrong slice would be sent"),
        Err(error) => assert!(error.is_lie(), "{error}"),
    }
    Answer::Read
}

/// A length, then ranges: orderly ones inside a shard have a length when they are encoded.
fn byte_ranges(bytes: &[u8]) -> Answer {
    let mut claimed = read_numbers(bytes);
    let Some(length) = claimed.next() else {
        return Answer::Refused;
    };
    let rest: Vec<u64> = claimed.collect();
    let ranges: Vec<ByteRange> = rest
        .as_chunks::<2>()
        .0
        .iter()
        .map(|[start, end]| ByteRange {
            start: *start,
            end: *end,
        })
        .collect();
    if !ranges_are_orderly(&ranges) {
        return Answer::Refused;
    }
    match encoded_length(ByteCount(length), &ranges) {
        Err(_) => Answer::Refused,
        Ok(encoded) => {
            let asked: u64 = ranges.iter().map(|range| range.length().0).sum();
            let groups = length.div_ceil(bao::GROUP);
            assert!(encoded.0 >= asked && encoded.0 <= length + 64 * groups);
            Answer::Read
        }
    }
}

/// A layout's segments are the range, each once and in order.
fn pack_layout(bytes: &[u8]) -> Answer {
    let Some(([k, n], rest)) = bytes.split_first_chunk::<2>() else {
        return Answer::Refused;
    };
    let mut claimed = read_numbers(rest);
    let mut next = || claimed.next().unwrap_or(u64::MAX);
    let (length, start, end) = (next(), next(), next());
    let Ok(layout) = PackLayout::new(*k, *n, ByteCount(length)) else {
        return Answer::Refused;
    };
    assert!(layout.shard_length().0 * u64::from(layout.k()) >= length);
    let segments = layout.segments(ByteRange { start, end });
    let mut at = start;
    for segment in &segments {
        assert_eq!(
            segment.pack.start, at,
            "a segment begins where the last one ended"
        );
        assert!(segment.pack.end > at && segment.shard.end <= layout.shard_length().0);
        assert!(segment.columns.0 <= segment.columns.1 && segment.columns.1 < layout.k());
        at = segment.pack.end;
    }
    assert!(segments.is_empty() || at == end.min(length));
    Answer::Read
}

/// A code, which columns are there, and the data: any k columns give it back.
fn erasure(bytes: &[u8]) -> Answer {
    let Some(([k, n], rest)) = bytes.split_first_chunk::<2>() else {
        return Answer::Refused;
    };
    let (Ok(coder), Some((mask, data))) = (Coder::new(*k, *n), rest.split_first_chunk::<8>())
    else {
        return Answer::Refused;
    };
    let mask = u64::from_le_bytes(*mask);
    let (k, n) = (usize::from(*k), usize::from(*n));
    let length = data.len() / k;
    let mut columns: Vec<Vec<u8>> = data
        .chunks_exact(length.max(1))
        .map(<[u8]>::to_vec)
        .collect();
    columns.resize(n, vec![0; length]);
    columns[k..]
        .iter_mut()
        .for_each(|column| *column = vec![0; length]);
    if length == 0 {
        columns = vec![vec![]; n];
    }
    coder.encode(&mut columns).unwrap();
    let mut partial: Vec<Option<Vec<u8>>> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| (mask >> index & 1 == 1).then(|| column.clone()))
        .collect();
    let there = partial.iter().flatten().count();
    match coder.reconstruct_data(&mut partial) {
        Err(_) => {
            assert!(there < k, "{there} of {k} columns did not suffice");
            Answer::Refused
        }
        Ok(()) => {
            for (given, honest) in partial.iter().zip(&columns).take(k) {
                assert!(given.as_ref() == Some(honest), "a column came back wrong");
            }
            // A column of another length, or one too many, is refused and not coded.
            if let Some(Some(column)) = partial.first_mut() {
                column.push(0);
                assert!(n == 1 || coder.reconstruct_data(&mut partial).is_err());
            }
            partial.push(None);
            assert!(coder.reconstruct_data(&mut partial).is_err());
            Answer::Read
        }
    }
}

/// A phrase is the words that it was read from, in their one spelling.
fn phrase(bytes: &[u8]) -> Answer {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Answer::Refused;
    };
    match Phrase::parse(text) {
        Err(error) => {
            let said = error.to_string();
            assert!(said.len() < 200, "the refusal is long");
            Answer::Refused
        }
        Ok(phrase) => {
            let typed: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
            assert_eq!(*phrase.words(), typed.join(" "));
            Answer::Read
        }
    }
}
