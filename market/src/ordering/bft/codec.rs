//! How the engine's messages look on the wire and in its log: DAG-CBOR in one form only, with lists
//! bounded. A log entry that cannot be read stops the engine at every start, so nothing here changes
//! its form while a height may be open: the log's name carries the version.

use super::context::{Bft, Height, Key, Name, Proposal, Vote, round_of, round_to};
use super::parts::Part;
use bytes::Bytes;
use holdfast_market_core::finality::{Ballot, BallotKind, MOST_VALIDATORS, Offer, Precommit};
use holdfast_market_core::message::{Undecodable, Unencodable, decode, encode};
use holdfast_market_core::units::{self, Address, BlockId, Signature};
use malachitebft_app_channel::app::consensus::LivenessMsg;
use malachitebft_app_channel::app::streaming::{StreamContent, StreamId, StreamMessage};
use malachitebft_app_channel::app::types::codec::{Codec, HasEncodedLen};
use malachitebft_app_channel::app::types::core::{
    ExtendedCommitCertificate, ExtendedCommitSignature, NilOrVal, PolkaCertificate, PolkaSignature,
    RoundCertificate, RoundCertificateType, RoundSignature, SignedMessage, SignedProposal,
    SignedVote, ValidatorProof, Validity, VoteType,
};
use malachitebft_app_channel::app::types::sync::{RawDecidedValue, Request, Response, Status};
use malachitebft_app_channel::app::types::{PeerId, ProposedValue, SignedConsensusMsg};
use malachitebft_sync::{ValueRequest, ValueResponse};
use serde::{Deserialize, Serialize};

/// Blocks in an answer to one who catches up, at most.
pub const MOST_SYNCED: usize = 64;
/// Bytes of a stream's name, at most.
const LONGEST_STREAM_ID: usize = 32;
/// Bytes of a peer's id, at most.
const LONGEST_PEER_ID: usize = 64;

/// The codec of log, gossip and catching up.
#[derive(Clone, Copy, Debug)]
pub struct Cbor;

/// Bytes that are no message, or a message that has no bytes.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Not decodable.
    #[error(transparent)]
    Undecodable(#[from] Undecodable),
    /// Not encodable.
    #[error(transparent)]
    Unencodable(#[from] Unencodable),
    /// Well-formed, and nothing that anybody sends.
    #[error("a consensus message has {0}")]
    Senseless(&'static str),
}

/// What travels in the engine's place: the same in serde's words.
trait Mirror<T>: Sized + Serialize + for<'de> Deserialize<'de> {
    const KIND: &'static str;
    fn of(message: &T) -> Result<Self, CodecError>;
    fn into(self) -> Result<T, CodecError>;
}

/// Names the mirror of each message; what is never named could not be mistaken for another.
macro_rules! mirrored {
    ($($message:ty => $mirror:ty),* $(,)?) => {$(
        impl Codec<$message> for Cbor {
            type Error = CodecError;

            fn decode(&self, bytes: Bytes) -> Result<$message, CodecError> {
                let mirror: $mirror = decode(<$mirror as Mirror<$message>>::KIND, &bytes)?;
                Mirror::<$message>::into(mirror)
            }

            fn encode(&self, message: &$message) -> Result<Bytes, CodecError> {
                let mirror = <$mirror as Mirror<$message>>::of(message)?;
                Ok(encode(&mirror)?.into())
            }
        }
    )*};
}

mirrored! {
    SignedConsensusMsg<Bft> => WireMessage,
    LivenessMsg<Bft> => WireLiveness,
    StreamMessage<Part> => WireStream,
    ValidatorProof<Bft> => WireProof,
    ProposedValue<Bft> => WireValue,
    PolkaCertificate<Bft> => WirePolka,
    Status<Bft> => WireStatus,
    Request<Bft> => WireRequest,
    Response<Bft> => WireResponse,
}

impl Codec<Part> for Cbor {
    type Error = CodecError;

    fn decode(&self, bytes: Bytes) -> Result<Part, CodecError> {
        Ok(decode("part of a block", &bytes)?)
    }

    fn encode(&self, part: &Part) -> Result<Bytes, CodecError> {
        Ok(encode(part)?.into())
    }
}

impl HasEncodedLen<Response<Bft>> for Cbor {
    fn encoded_len(&self, response: &Response<Bft>) -> Result<usize, CodecError> {
        Ok(self.encode(response)?.len())
    }
}

fn at_most<T>(list: Vec<T>, most: usize, what: &'static str) -> Result<Vec<T>, CodecError> {
    match list.len() <= most {
        true => Ok(list),
        false => Err(CodecError::Senseless(what)),
    }
}

fn round(
    round: malachitebft_app_channel::app::types::core::Round,
) -> Result<units::Round, CodecError> {
    round_of(round).ok_or(CodecError::Senseless("no round"))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireBallot {
    ballot: Ballot,
    signature: Signature,
}

impl WireBallot {
    fn of(vote: &SignedVote<Bft>) -> Result<Self, CodecError> {
        Ok(Self {
            ballot: vote
                .message
                .ballot()
                .ok_or(CodecError::Senseless("a vote of no round"))?,
            signature: vote.signature,
        })
    }

    fn into_vote(self) -> SignedVote<Bft> {
        SignedMessage::new(Vote::from(&self.ballot), self.signature)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireOffer {
    offer: Offer,
    signature: Signature,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireMessage {
    Ballot(WireBallot),
    Offer(WireOffer),
}

impl Mirror<SignedConsensusMsg<Bft>> for WireMessage {
    const KIND: &'static str = "vote or offer";

    fn of(message: &SignedConsensusMsg<Bft>) -> Result<Self, CodecError> {
        Ok(match message {
            SignedConsensusMsg::Vote(vote) => Self::Ballot(WireBallot::of(vote)?),
            SignedConsensusMsg::Proposal(proposal) => Self::Offer(WireOffer {
                offer: proposal
                    .message
                    .offer()
                    .ok_or(CodecError::Senseless("an offer in no round"))?,
                signature: proposal.signature,
            }),
        })
    }

    fn into(self) -> Result<SignedConsensusMsg<Bft>, CodecError> {
        Ok(match self {
            Self::Ballot(ballot) => SignedConsensusMsg::Vote(ballot.into_vote()),
            Self::Offer(WireOffer { offer, signature }) => SignedConsensusMsg::Proposal(
                SignedProposal::<Bft>::new(Proposal::from(&offer), signature),
            ),
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireCertificateKind {
    Skip,
    Precommit,
}

/// A vote in a certificate; height and round are the certificate's.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireVoice {
    kind: BallotKind,
    block: Option<BlockId>,
    voter: Address,
    signature: Signature,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSkip {
    height: units::Height,
    round: units::Round,
    kind: WireCertificateKind,
    voices: Vec<WireVoice>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireLiveness {
    Ballot(WireBallot),
    Polka(WirePolka),
    Skip(WireSkip),
}

impl WireSkip {
    fn of(certificate: &RoundCertificate<Bft>) -> Result<Self, CodecError> {
        let voices = certificate.round_signatures.iter().map(|one| WireVoice {
            kind: match one.vote_type {
                VoteType::Prevote => BallotKind::Prevote,
                VoteType::Precommit => BallotKind::Precommit,
            },
            block: match one.value_id {
                NilOrVal::Nil => None,
                NilOrVal::Val(block) => Some(block),
            },
            voter: one.address.0,
            signature: one.signature,
        });
        Ok(Self {
            height: certificate.height.0,
            round: round(certificate.round)?,
            kind: match certificate.cert_type {
                RoundCertificateType::Skip => WireCertificateKind::Skip,
                RoundCertificateType::Precommit => WireCertificateKind::Precommit,
            },
            voices: voices.collect(),
        })
    }

    fn into_certificate(self) -> Result<RoundCertificate<Bft>, CodecError> {
        let voices = at_most(self.voices, MOST_VALIDATORS, "too many votes")?;
        Ok(RoundCertificate {
            height: Height(self.height),
            round: round_to(self.round),
            cert_type: match self.kind {
                WireCertificateKind::Skip => RoundCertificateType::Skip,
                WireCertificateKind::Precommit => RoundCertificateType::Precommit,
            },
            round_signatures: voices
                .into_iter()
                .map(|one| {
                    RoundSignature::new(
                        match one.kind {
                            BallotKind::Prevote => VoteType::Prevote,
                            BallotKind::Precommit => VoteType::Precommit,
                        },
                        one.block.map_or(NilOrVal::Nil, NilOrVal::Val),
                        Key(one.voter),
                        one.signature,
                    )
                })
                .collect(),
        })
    }
}

impl Mirror<LivenessMsg<Bft>> for WireLiveness {
    const KIND: &'static str = "vote or certificate of a round";

    fn of(message: &LivenessMsg<Bft>) -> Result<Self, CodecError> {
        Ok(match message {
            LivenessMsg::Vote(vote) => Self::Ballot(WireBallot::of(vote)?),
            LivenessMsg::PolkaCertificate(polka) => Self::Polka(Mirror::of(polka)?),
            LivenessMsg::SkipRoundCertificate(skip) => Self::Skip(WireSkip::of(skip)?),
        })
    }

    fn into(self) -> Result<LivenessMsg<Bft>, CodecError> {
        Ok(match self {
            Self::Ballot(ballot) => LivenessMsg::Vote(ballot.into_vote()),
            Self::Polka(polka) => LivenessMsg::PolkaCertificate(Mirror::into(polka)?),
            Self::Skip(skip) => LivenessMsg::SkipRoundCertificate(skip.into_certificate()?),
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WirePolka {
    height: units::Height,
    round: units::Round,
    block: BlockId,
    prevotes: Vec<Precommit>,
}

impl Mirror<PolkaCertificate<Bft>> for WirePolka {
    const KIND: &'static str = "certificate of prevotes";

    fn of(polka: &PolkaCertificate<Bft>) -> Result<Self, CodecError> {
        let prevotes = polka.polka_signatures.iter().map(|one| Precommit {
            voter: one.address.0,
            signature: one.signature,
        });
        Ok(Self {
            height: polka.height.0,
            round: round(polka.round)?,
            block: polka.value_id,
            prevotes: prevotes.collect(),
        })
    }

    fn into(self) -> Result<PolkaCertificate<Bft>, CodecError> {
        let prevotes = at_most(self.prevotes, MOST_VALIDATORS, "too many votes")?;
        Ok(PolkaCertificate {
            height: Height(self.height),
            round: round_to(self.round),
            value_id: self.block,
            polka_signatures: prevotes
                .into_iter()
                .map(|one| PolkaSignature::new(Key(one.voter), one.signature))
                .collect(),
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireStream {
    #[serde(with = "serde_bytes")]
    stream: Vec<u8>,
    number: u64,
    part: Option<Part>,
}

impl Mirror<StreamMessage<Part>> for WireStream {
    const KIND: &'static str = "part of a stream";

    fn of(message: &StreamMessage<Part>) -> Result<Self, CodecError> {
        Ok(Self {
            stream: message.stream_id.to_bytes().to_vec(),
            number: message.sequence,
            part: message.content.as_data().cloned(),
        })
    }

    fn into(self) -> Result<StreamMessage<Part>, CodecError> {
        let stream = at_most(self.stream, LONGEST_STREAM_ID, "too long a stream's name")?;
        let content = self.part.map_or(StreamContent::Fin, StreamContent::Data);
        let id = StreamId::new(stream.into());
        Ok(StreamMessage::new(id, self.number, content))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireProof {
    key: Address,
    #[serde(with = "serde_bytes")]
    peer: Vec<u8>,
    signature: Signature,
}

impl Mirror<ValidatorProof<Bft>> for WireProof {
    const KIND: &'static str = "validator's proof of its network key";

    fn of(proof: &ValidatorProof<Bft>) -> Result<Self, CodecError> {
        let key = proof.public_key.as_slice().try_into();
        Ok(Self {
            key: Address(key.map_err(|_| CodecError::Senseless("a key of another length"))?),
            peer: proof.peer_id.clone(),
            signature: proof.signature,
        })
    }

    fn into(self) -> Result<ValidatorProof<Bft>, CodecError> {
        let peer = at_most(self.peer, LONGEST_PEER_ID, "too long a peer's id")?;
        let key = self.key.as_bytes().to_vec();
        Ok(ValidatorProof::new(key, peer, self.signature))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireValue {
    height: units::Height,
    round: units::Round,
    valid_round: Option<units::Round>,
    proposer: Address,
    block: BlockId,
    valid: bool,
}

impl Mirror<ProposedValue<Bft>> for WireValue {
    const KIND: &'static str = "proposed block's name";

    fn of(value: &ProposedValue<Bft>) -> Result<Self, CodecError> {
        Ok(Self {
            height: value.height.0,
            round: round(value.round)?,
            valid_round: round_of(value.valid_round),
            proposer: value.proposer.0,
            block: value.value.0,
            valid: value.validity.is_valid(),
        })
    }

    fn into(self) -> Result<ProposedValue<Bft>, CodecError> {
        Ok(ProposedValue {
            height: Height(self.height),
            round: round_to(self.round),
            valid_round: self.valid_round.map_or(
                malachitebft_app_channel::app::types::core::Round::Nil,
                round_to,
            ),
            proposer: Key(self.proposer),
            value: Name(self.block),
            validity: Validity::from_bool(self.valid),
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireStatus {
    #[serde(with = "serde_bytes")]
    peer: Vec<u8>,
    tip: units::Height,
    oldest: units::Height,
}

impl Mirror<Status<Bft>> for WireStatus {
    const KIND: &'static str = "status of one who orders blocks";

    fn of(status: &Status<Bft>) -> Result<Self, CodecError> {
        Ok(Self {
            peer: status.peer_id.to_bytes(),
            tip: status.tip_height.0,
            oldest: status.history_min_height.0,
        })
    }

    fn into(self) -> Result<Status<Bft>, CodecError> {
        let peer = at_most(self.peer, LONGEST_PEER_ID, "too long a peer's id")?;
        Ok(Status {
            peer_id: PeerId::from_bytes(&peer)
                .map_err(|_| CodecError::Senseless("no peer's id"))?,
            tip_height: Height(self.tip),
            history_min_height: Height(self.oldest),
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRequest {
    from: units::Height,
    to: units::Height,
}

impl Mirror<Request<Bft>> for WireRequest {
    const KIND: &'static str = "request for blocks";

    fn of(request: &Request<Bft>) -> Result<Self, CodecError> {
        let Request::ValueRequest(request) = request;
        Ok(Self {
            from: request.range.start().0,
            to: request.range.end().0,
        })
    }

    fn into(self) -> Result<Request<Bft>, CodecError> {
        let range = Height(self.from)..=Height(self.to);
        Ok(Request::ValueRequest(ValueRequest::new(range)))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireDecided {
    #[serde(with = "serde_bytes")]
    block: Vec<u8>,
    height: units::Height,
    round: units::Round,
    id: BlockId,
    precommits: Vec<Precommit>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireResponse {
    from: units::Height,
    blocks: Vec<WireDecided>,
}

impl Mirror<Response<Bft>> for WireResponse {
    const KIND: &'static str = "answer with blocks";

    fn of(response: &Response<Bft>) -> Result<Self, CodecError> {
        let Response::ValueResponse(response) = response;
        let blocks = response.values.iter().map(|one| {
            let certificate = &one.certificate;
            let precommits = certificate.commit_signatures.iter().map(|one| Precommit {
                voter: one.address.0,
                signature: one.signature,
            });
            Ok(WireDecided {
                block: one.value_bytes.to_vec(),
                height: certificate.height.0,
                round: round(certificate.round)?,
                id: certificate.value_id,
                precommits: precommits.collect(),
            })
        });
        Ok(Self {
            from: response.start_height.0,
            blocks: blocks.collect::<Result<_, CodecError>>()?,
        })
    }

    fn into(self) -> Result<Response<Bft>, CodecError> {
        let blocks = at_most(self.blocks, MOST_SYNCED, "too many blocks")?;
        let values = blocks.into_iter().map(|one| {
            let precommits = at_most(one.precommits, MOST_VALIDATORS, "too many votes")?;
            let certificate = decided(one.height, one.round, one.id, &precommits);
            Ok(RawDecidedValue::new(one.block.into(), certificate))
        });
        Ok(Response::ValueResponse(ValueResponse::new(
            Height(self.from),
            values.collect::<Result<_, CodecError>>()?,
        )))
    }
}

/// A certificate as the engine hands it on to those who catch up.
pub fn decided(
    height: units::Height,
    round: units::Round,
    block: BlockId,
    precommits: &[Precommit],
) -> ExtendedCommitCertificate<Bft> {
    ExtendedCommitCertificate {
        height: Height(height),
        round: round_to(round),
        value_id: block,
        commit_signatures: precommits
            .iter()
            .map(|one| ExtendedCommitSignature {
                address: Key(one.voter),
                signature: one.signature,
                extension: None,
            })
            .collect(),
    }
}
