//! What is asked and answered over QUIC, and how it is framed.
//!
//! A request is one bidirectional stream: a u32 length, a DAG-CBOR header of at most
//! [`HEADER_LIMIT`] bytes, then a body whose length the header states. The answer has the same
//! form on the same stream.

pub mod frame;

use holdfast_market_core::channel::SignedVoucher;
use holdfast_market_core::message::PackHeader;
use holdfast_market_core::receipt::{SignedReceipt, Tier};
use holdfast_market_core::units::{
    Amount, ByteCount, NetworkId, NodeKey, PackId, Periods, ProviderId, ShardIndex,
};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The version of this protocol, said in [`Hello`].
pub const PROTOCOL_VERSION: u32 = 1;
/// The most bytes that a header may have.
pub const HEADER_LIMIT: u32 = 64 << 10;
/// The most ranges that one `GetShard` may ask for.
pub const MAX_RANGES: usize = 64;
/// What a reader may have before it pays, where reading is paid, and so what either side risks with
/// the other: enough for the segments that a fetch has under way at once.
pub const READ_CREDIT: ByteCount = ByteCount(4 << 20);
/// The most quads that one `GetPieceProof` may ask for.
pub const MAX_QUADS: usize = 16;

/// What a peer asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// First on every connection: which network, which version.
    Hello(Hello),
    /// Store one shard; the body is its bytes. Answered by [`Response::Receipt`].
    PutShard(PutShard),
    /// Code a pack and spread its shards; the body is its ciphertext. Answered by
    /// [`Response::Assisted`].
    AssistPut(AssistPut),
    /// Read ranges of a shard. Answered by [`Response::Shard`] with a `bao` body.
    GetShard(GetShard),
    /// Open quads of a shard under both its roots. Answered by [`Response::PieceOpenings`].
    GetPieceProof(GetPieceProof),
    /// How the node is. Answered by [`Response::Status`].
    Status,
}

/// What a peer answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// To [`Request::Hello`].
    Hello(HelloReply),
    /// To [`Request::PutShard`]: the bytes are durable and promised.
    Receipt(Box<SignedReceipt>),
    /// To [`Request::AssistPut`]: what came of each shard, in index order.
    Assisted(Vec<ShardOutcome>),
    /// To [`Request::GetShard`]: the body is the asked ranges, `bao` encoded in groups of 16 KiB.
    Shard {
        /// Bytes of the whole shard.
        length: ByteCount,
    },
    /// To [`Request::GetShard`] where reading is paid, and too little was.
    PaymentDue(PaymentDue),
    /// To [`Request::GetPieceProof`]: the body is the DAG-CBOR of a list of
    /// [`holdfast_market_core::message::PieceOpening`], in the order asked.
    PieceOpenings,
    /// To [`Request::Status`].
    Status(NodeStatus),
    /// Not done, and why.
    Refused(Refusal),
}

/// First on every connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The network that the asker is on.
    pub network: NetworkId,
    /// The newest version that the asker speaks.
    pub version: u32,
}

/// The answer to [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloReply {
    /// The network that the answerer is on.
    pub network: NetworkId,
    /// Its number on the ledger, once it is registered.
    pub provider: Option<ProviderId>,
    /// The version that both will speak.
    pub version: u32,
}

/// Store one shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutShard {
    /// The pack that it belongs to.
    pub header: PackHeader,
    /// Which shard of it.
    pub shard: ShardIndex,
    /// On what terms.
    pub offer: ShardOffer,
}

/// On what terms a client asks for a shard to be stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardOffer {
    /// Hot or cold.
    pub tier: Tier,
    /// Price of a GiB for a period.
    pub price: Amount,
    /// For how long.
    pub term: Periods,
}

/// Code a pack and spread its shards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssistPut {
    /// The pack, with the roots that its shards must have.
    pub header: PackHeader,
    /// Where each shard goes, in index order: n of them.
    pub targets: Vec<ShardTarget>,
}

/// Where one shard goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardTarget {
    /// Whose receipt is asked for.
    pub provider: ProviderId,
    /// Its QUIC identity.
    pub node: NodeKey,
    /// `host:port`, at most 128 bytes.
    pub endpoint: String,
    /// On what terms.
    pub offer: ShardOffer,
}

/// What came of one shard of an assisted upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShardOutcome {
    /// Durable and promised.
    Receipt(Box<SignedReceipt>),
    /// Not, in one sentence of at most 200 bytes.
    Failed(String),
}

/// Read ranges of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetShard {
    /// Which pack.
    pub pack: PackId,
    /// Which shard of it.
    pub shard: ShardIndex,
    /// Which bytes: ascending, disjoint, not empty, 1 to [`MAX_RANGES`] of them. None asks, where reading
    /// is paid, how the account stands.
    pub ranges: Vec<ByteRange>,
    /// Where reading is paid: for everything had through the channel before this. One for nothing
    /// names the channel.
    pub voucher: Option<Box<SignedVoucher>>,
}

/// What has to be paid before more is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentDue {
    /// What reading a GiB costs here.
    pub price: Amount,
    /// For everything that was sent through the channel so far.
    pub owed: Amount,
    /// The highest voucher that was taken through it: a payer that has lost count goes on from there.
    pub paid: Option<Box<SignedVoucher>>,
}

/// Bytes `start` to `end`, the latter not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ByteRange {
    /// The first byte.
    pub start: u64,
    /// The one after the last.
    pub end: u64,
}

impl ByteRange {
    /// How many bytes it spans.
    pub const fn length(self) -> ByteCount {
        ByteCount(self.end.saturating_sub(self.start))
    }
}

/// Whether ranges are what [`GetShard::ranges`] must be.
pub fn ranges_are_orderly(ranges: &[ByteRange]) -> bool {
    let mut end = None;
    (1..=MAX_RANGES).contains(&ranges.len())
        && ranges.iter().all(|range| {
            let orderly = range.start < range.end && end.is_none_or(|end| end <= range.start);
            end = Some(range.end);
            orderly
        })
}

/// Open quads of a shard under both its roots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetPieceProof {
    /// Which pack.
    pub pack: PackId,
    /// Which shard of it.
    pub shard: ShardIndex,
    /// Which runs of 127 bytes, 1 to [`MAX_QUADS`] of them.
    pub quads: Vec<u64>,
}

/// How a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its number on the ledger, once it is registered.
    pub provider: Option<ProviderId>,
    /// Proven capacity, in bytes of client data.
    pub capacity: ByteCount,
    /// What of the capacity can still be promised.
    pub free: ByteCount,
    /// The longest shard that fits the free room of one of its sectors: a shard is one piece.
    pub largest: ByteCount,
    /// Shards received and not yet embedded, in bytes.
    pub staged: ByteCount,
    /// Shards embedded and proven, in bytes.
    pub stored: ByteCount,
    /// Sectors being sealed.
    pub sealing: u32,
    /// Sectors proven and earning.
    pub active: u32,
    /// Sectors that missed their deadline.
    pub faulty: u32,
    /// The least price that it takes for a GiB and a period, hot.
    pub price: Amount,
    /// The height of the ledger that it has followed to.
    pub height: holdfast_market_core::units::Height,
}

/// Not done, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}", plain(sentence))]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people: one sentence and the next step.
    pub sentence: String,
}

impl Refusal {
    /// A refusal; a sentence beyond 400 bytes is cut, and control characters are taken out.
    pub fn new(code: RefusalCode, sentence: impl Into<String>) -> Self {
        let mut sentence: String = sentence.into();
        truncate(&mut sentence, 400);
        Self { code, sentence }
    }
}

/// A stranger's text without its control characters: printed, they could move the cursor, recolour
/// or retitle whatever shows it, and so forge what somebody else said.
pub fn plain(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        text.replace(char::is_control, "\u{fffd}").into()
    } else {
        text.into()
    }
}

/// Makes a text [`plain`] and cuts it to at most `limit` bytes, between characters.
pub(crate) fn truncate(text: &mut String, limit: usize) {
    if let Cow::Owned(plain) = plain(text) {
        *text = plain;
    }
    let mut cut = limit.min(text.len());
    while !text.is_char_boundary(cut) {
        cut = cut.saturating_sub(1);
    }
    text.truncate(cut);
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The request breaks the protocol.
    Malformed,
    /// Another network, or a version that is not spoken.
    OtherNetwork,
    /// The bytes do not have the root or length that was stated.
    WrongBytes,
    /// No room.
    NoRoom,
    /// The price, term or tier is not accepted.
    Terms,
    /// Not stored here.
    NotFound,
    /// Stored cold: it must be restored first.
    Cold,
    /// Too much at once; ask again later.
    Busy,
    /// The node has a fault of its own.
    Internal,
    /// The asker may not.
    NotAllowed,
    /// A voucher that is worth nothing here.
    Voucher,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_sentence_moves_no_cursor() {
        let hostile = "no\u{1b}[2Jroom\r\n\u{9b}31mok\u{7}";
        let made = Refusal::new(RefusalCode::NoRoom, hostile);
        // One that was not made here, but read.
        let read = Refusal {
            code: RefusalCode::NoRoom,
            sentence: hostile.into(),
        };
        for text in [made.sentence, read.to_string()] {
            assert!(!text.contains(char::is_control), "{text:?}");
            assert!(text.contains("room"), "{text}");
        }
        let mut long = "\u{1b}".repeat(500);
        truncate(&mut long, 400);
        assert_eq!(long, "\u{fffd}".repeat(133));
        assert_eq!(plain("one, two \u{e9}"), "one, two \u{e9}");
    }
}
