//! What those who order blocks read from each other and from the engine's log.

use crate::read::{encoded, plain, usual};
use crate::{Answer, Decoder, Form, sample};
use bytes::Bytes;
use holdfast_market::ordering::bft::candidates::Candidate;
use holdfast_market::ordering::bft::codec::{Cbor, decided};
use holdfast_market::ordering::bft::context::{Bft, Height, Key, Name, Proposal, Vote};
use holdfast_market::ordering::bft::parts::{Announcement, First, Part};
use holdfast_market_core::finality::{Ballot, BallotKind, Offer, Precommit};
use holdfast_market_core::message::encode;
use holdfast_market_core::units;
use holdfast_market_core::units::{BlockId, ByteCount, Signature};
use malachitebft_app_channel::app::consensus::LivenessMsg;
use malachitebft_app_channel::app::streaming::{StreamContent, StreamId, StreamMessage};
use malachitebft_app_channel::app::types::codec::Codec;
use malachitebft_app_channel::app::types::core::{
    NilOrVal, PolkaCertificate, PolkaSignature, Round, RoundCertificate, RoundCertificateType,
    RoundSignature, SignedMessage, ValidatorProof, Validity, VoteType,
};
use malachitebft_app_channel::app::types::sync::{RawDecidedValue, Request, Response, Status};
use malachitebft_app_channel::app::types::{Keypair, PeerId, ProposedValue, SignedConsensusMsg};
use malachitebft_sync::{ValueRequest, ValueResponse};

pub(crate) fn decoders() -> Vec<Decoder> {
    let cbor = |name, decode, seeds| usual(name, Form::Cbor, decode, seeds);
    vec![
        cbor("bft-candidate", plain::<Candidate>, || {
            encoded([Candidate {
                block: sample::bft_block().block,
                built: Some(signature()),
                firsts: vec![first()],
            }])
        }),
        cbor("bft-message", read::<SignedConsensusMsg<Bft>>, || {
            written([
                SignedConsensusMsg::Vote(vote(Some(BLOCK))),
                SignedConsensusMsg::Vote(vote(None)),
                SignedConsensusMsg::Proposal(SignedMessage::new(proposal(), signature())),
            ])
        }),
        cbor("bft-liveness", read::<LivenessMsg<Bft>>, || {
            written([
                LivenessMsg::Vote(vote(Some(BLOCK))),
                LivenessMsg::PolkaCertificate(polka()),
                LivenessMsg::SkipRoundCertificate(skip()),
            ])
        }),
        cbor("bft-polka", read::<PolkaCertificate<Bft>>, || {
            written([polka()])
        }),
        cbor("bft-part", read::<Part>, || {
            written([Part::First(Box::new(first())), Part::Piece(vec![7; 300])])
        }),
        cbor("bft-stream", read::<StreamMessage<Part>>, || {
            let part = Part::Piece(vec![7; 300]);
            let id = StreamId::new(Bytes::from_static(&[9; 20]));
            written([
                StreamMessage::new(id.clone(), 3, StreamContent::Data(part)),
                StreamMessage::new(id, 4, StreamContent::Fin),
            ])
        }),
        cbor("bft-validator-proof", read::<ValidatorProof<Bft>>, || {
            let key = sample::address(8).as_bytes().to_vec();
            written([ValidatorProof::new(key, peer().to_bytes(), signature())])
        }),
        cbor("bft-value", read::<ProposedValue<Bft>>, || {
            let value = |valid_round, validity| ProposedValue {
                height: HEIGHT,
                round: Round::new(4),
                valid_round,
                proposer: Key(sample::address(8)),
                value: Name(BLOCK),
                validity,
            };
            written([
                value(Round::Nil, Validity::Valid),
                value(Round::new(2), Validity::Invalid),
            ])
        }),
        cbor("bft-status", read::<Status<Bft>>, || {
            written([Status {
                peer_id: peer(),
                tip_height: HEIGHT,
                history_min_height: Height(units::Height(1)),
            }])
        }),
        cbor("bft-request", read::<Request<Bft>>, || {
            let range = Height(units::Height(1))..=HEIGHT;
            written([Request::ValueRequest(ValueRequest::new(range))])
        }),
        cbor("bft-response", read::<Response<Bft>>, || {
            let block = encode(&sample::bft_block().block).unwrap();
            let round = units::Round(1);
            let certificate = decided(units::Height(3), round, BLOCK, &[precommit()]);
            let value = RawDecidedValue::new(block.into(), certificate);
            written([
                Response::ValueResponse(ValueResponse::new(HEIGHT, vec![value])),
                Response::ValueResponse(ValueResponse::new(HEIGHT, vec![])),
            ])
        }),
    ]
}

const HEIGHT: Height = Height(units::Height(3));
const BLOCK: BlockId = BlockId([9; 32]);

/// What is taken is written as the very same bytes.
fn read<T>(bytes: &[u8]) -> Answer
where
    Cbor: Codec<T>,
{
    match Codec::<T>::decode(&Cbor, Bytes::copy_from_slice(bytes)) {
        Ok(message) => {
            let again = Codec::<T>::encode(&Cbor, &message);
            assert!(
                again.is_ok_and(|again| again == bytes),
                "it is written as other bytes than it was read from"
            );
            Answer::Read
        }
        Err(_) => Answer::Refused,
    }
}

fn written<T>(messages: impl IntoIterator<Item = T>) -> Vec<Vec<u8>>
where
    Cbor: Codec<T>,
{
    let messages = messages.into_iter();
    messages
        .map(|message| match Codec::<T>::encode(&Cbor, &message) {
            Ok(bytes) => bytes.to_vec(),
            Err(_) => panic!("a sample that cannot be written"),
        })
        .collect()
}

fn signature() -> Signature {
    Signature([5; 64])
}

fn peer() -> PeerId {
    let key = Keypair::ed25519_from_bytes([3; 32]).unwrap();
    PeerId::from_bytes(&key.public().to_peer_id().to_bytes()).unwrap()
}

fn precommit() -> Precommit {
    Precommit {
        voter: sample::address(8),
        signature: signature(),
    }
}

fn vote(block: Option<BlockId>) -> SignedMessage<Bft, Vote> {
    let ballot = Ballot {
        kind: BallotKind::Prevote,
        height: HEIGHT.0,
        round: units::Round(4),
        block,
        voter: sample::address(8),
    };
    SignedMessage::new(Vote::from(&ballot), signature())
}

fn proposal() -> Proposal {
    Proposal::from(&Offer {
        height: HEIGHT.0,
        round: units::Round(4),
        block: BLOCK,
        valid_round: Some(units::Round(2)),
        proposer: sample::address(8),
    })
}

fn polka() -> PolkaCertificate<Bft> {
    PolkaCertificate {
        height: HEIGHT,
        round: Round::new(4),
        value_id: BLOCK,
        polka_signatures: vec![PolkaSignature::new(Key(sample::address(8)), signature())],
    }
}

fn skip() -> RoundCertificate<Bft> {
    let voice =
        |kind, value| RoundSignature::new(kind, value, Key(sample::address(8)), signature());
    RoundCertificate {
        height: HEIGHT,
        round: Round::new(4),
        cert_type: RoundCertificateType::Skip,
        round_signatures: vec![
            voice(VoteType::Prevote, NilOrVal::Nil),
            voice(VoteType::Precommit, NilOrVal::Val(BLOCK)),
        ],
    }
}

fn first() -> First {
    First {
        announcement: Announcement {
            height: HEIGHT.0,
            round: units::Round(4),
            valid_round: None,
            block: BLOCK,
            bytes: ByteCount(700_000),
            proposer: sample::address(8),
        },
        signature: signature(),
        built: signature(),
    }
}
