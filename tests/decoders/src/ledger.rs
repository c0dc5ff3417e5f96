//! What the ledger's rules read: messages, blocks, certificates, the genesis, the state.

use crate::read::{answer, encoded, object, plain, usual};
use crate::{Answer, Decoder, Form, sample};
use holdfast_market_core::beacon;
use holdfast_market_core::block::{
    Block, Certificate, CertifiedBlock, Header, Outcome, Validator, validators_root,
};
use holdfast_market_core::channel::Channel;
use holdfast_market_core::genesis::Genesis;
use holdfast_market_core::governance::Proposal;
use holdfast_market_core::light::{LightBlock, LightChain};
use holdfast_market_core::list::{self, Membership};
use holdfast_market_core::message::{PackHeader, PieceOpening, SignedMessage, SigningContext};
use holdfast_market_core::parameters::Economy;
use holdfast_market_core::quote;
use holdfast_market_core::receipt::SignedReceipt;
use holdfast_market_core::slice;
use holdfast_market_core::stake::{Delegation, Unbonding, ValidatorRecord};
use holdfast_market_core::state::*;
use holdfast_market_core::tree::{self, MemoryTree};
use holdfast_market_core::units::{Address, Amount, Beacon, BlockId, DealId, Height, TreeRoot};
use holdfast_wire::pack::PackLayout;
use std::sync::OnceLock;

pub(crate) fn decoders() -> Vec<Decoder> {
    let cbor = |name, decode, seeds| usual(name, Form::Cbor, decode, seeds);
    vec![
        cbor("signed-message", signed_message, || {
            encoded(sample::bodies().into_iter().map(sample::message))
        }),
        cbor("certified-block", certified_block, || {
            encoded([
                sample::block(vec![]),
                sample::block(sample::bodies().into_iter().take(3).collect()),
                sample::block(sample::bodies()),
                sample::bft_block(),
            ])
        }),
        cbor("block-list", plain::<Vec<CertifiedBlock>>, || {
            let small = sample::block(sample::bodies().into_iter().take(2).collect());
            encoded([vec![small.clone()], vec![sample::block(vec![]), small]])
        }),
        cbor("light-blocks", light_blocks, || {
            let [_, two, three] = followed();
            let bare = |header: &Header| LightBlock {
                header: header.clone(),
                certificate: None,
                next_validators: None,
            };
            let whole = |header: &Header| LightBlock {
                certificate: Some(sample::certificate(header)),
                next_validators: Some(vec![sample::validator()]),
                ..bare(header)
            };
            let voted = |header: &Header| LightBlock {
                certificate: Some(sample::bft_certificate(header)),
                ..bare(header)
            };
            encoded([
                vec![bare(two), whole(three)],
                vec![bare(two), voted(three)],
                vec![whole(two)],
                vec![],
            ])
        }),
        cbor("block", plain::<Block>, || {
            encoded([sample::block(sample::bodies()).block])
        }),
        cbor("certificate", plain::<Certificate>, || {
            let block = sample::block(vec![]);
            encoded([
                sample::bft_certificate(&block.block.header),
                block.certificate,
            ])
        }),
        cbor("block-header", plain::<Header>, || {
            encoded([sample::block(vec![]).block.header])
        }),
        cbor("genesis", genesis, || encoded([sample::genesis()])),
        cbor("validators", validators, || {
            encoded([vec![sample::validator()], vec![]])
        }),
        cbor("outcomes", plain::<Vec<Outcome>>, || {
            encoded([sample::outcomes()])
        }),
        cbor("signed-receipt", signed_receipt, || {
            encoded((0..3).map(sample::receipt))
        }),
        cbor("pack-header", pack_header, || encoded([sample::header()])),
        cbor("piece-openings", piece_openings, || {
            encoded([vec![sample::opening()], vec![]])
        }),
        cbor("list-membership", membership, || {
            encoded((0..5).map(|index| Membership::prove(&items(), index).unwrap()))
        }),
        usual("state-proof-bytes", Form::Bytes, state_proof, || {
            let (_, tree) = proven_state();
            let keys: [&[u8]; 3] = [&[7], &[200], &[3]];
            keys.map(|key| tree::encode_proof(&tree::prove(tree, Height(0), key).unwrap().1))
                .into()
        }),
        usual("shard-slice", Form::Bytes, shard_slice, || {
            vec![sample::opening().slice]
        }),
        cbor("state-account", plain::<Account>, || {
            encoded([Account {
                balance: Amount(5),
                nonce: 1 << 40,
            }])
        }),
        cbor("state-provider", plain::<Provider>, || {
            encoded([sample::provider()])
        }),
        cbor("state-past-workers", plain::<Vec<PastWorker>>, || {
            encoded([vec![PastWorker {
                worker: sample::address(3),
                until: Height(9),
            }]])
        }),
        cbor("state-sector", plain::<Sector>, || {
            encoded([sample::sector()])
        }),
        cbor("state-deal", plain::<Deal>, || encoded(sample::deals())),
        cbor("state-deal-set", plain::<DealSetRecord>, || {
            encoded([sample::deal_set_record()])
        }),
        cbor("state-demands", plain::<Vec<Demand>>, || {
            encoded([vec![sample::demand(); 2]])
        }),
        cbor("state-channel", plain::<Channel>, || {
            encoded([sample::channel()])
        }),
        cbor("state-name", plain::<Name>, || encoded([sample::name()])),
        cbor("state-moved-name", plain::<Address>, || {
            encoded([sample::address(4)])
        }),
        cbor("state-supply", supply, || encoded([sample::supply()])),
        cbor("state-validators", plain::<ValidatorSets>, || {
            encoded([sample::validator_sets()])
        }),
        cbor("state-validator", plain::<ValidatorRecord>, || {
            encoded([sample::validator_record()])
        }),
        cbor("state-delegation", plain::<Delegation>, || {
            encoded([sample::delegation()])
        }),
        cbor("state-unbonding", plain::<Unbonding>, || {
            encoded([sample::unbonding()])
        }),
        cbor("state-proposal", plain::<Proposal>, || {
            encoded([sample::parameter_proposal()])
        }),
        cbor("state-economy", plain::<Economy>, || {
            encoded([sample::genesis().parameters.economy])
        }),
        cbor("state-chain", plain::<Chain>, || encoded([sample::chain()])),
        cbor("state-beacon", plain::<Beacon>, || {
            encoded([Beacon([7; 32])])
        }),
        usual("address", Form::Text, address, || {
            let address = sample::address(1);
            ["hold", "thold"]
                .map(|prefix| address.to_text(prefix).into_bytes())
                .into()
        }),
        cbor("deal-id", plain::<DealId>, || encoded([sample::deal_id()])),
    ]
}

/// What admits a message looks at no more than its bytes and its signature.
fn signed_message(bytes: &[u8]) -> Answer {
    let Some(signed) = object::<SignedMessage>(bytes) else {
        return Answer::Refused;
    };
    let economy = sample::genesis().parameters.economy;
    let fee = quote::fee(&economy, &signed.message).unwrap();
    assert_eq!(
        fee,
        quote::fee_of_work(&economy, bytes.len(), quote::work(&signed.message.body))
    );
    // Another message than the honest ones never carries a signature that holds.
    let holds = SigningContext::Message.verify(
        sample::NETWORK,
        signed.message.sender.as_bytes(),
        &signed.message,
        &signed.signature,
    );
    if holds {
        let body = signed.message.body.clone();
        assert!(signed == sample::message(body), "a forged signature holds");
    }
    Answer::Read
}

fn certified_block(bytes: &[u8]) -> Answer {
    let Some(certified) = object::<CertifiedBlock>(bytes) else {
        return Answer::Refused;
    };
    let honest = sample::block(vec![]);
    if certified.is_final(sample::NETWORK, &[sample::validator()]) {
        assert!(
            certified.block.header == honest.block.header,
            "another header is final"
        );
    }
    Answer::Read
}

/// Three headers that link, under one validator; the chain stands at the first.
fn followed() -> &'static [Header; 3] {
    static HEADERS: OnceLock<[Header; 3]> = OnceLock::new();
    HEADERS.get_or_init(|| {
        let header = |height, parent| Header {
            next_validators: validators_root(&[sample::validator()]).unwrap(),
            ..sample::block_header(height, parent)
        };
        let one = header(1, BlockId(sample::NETWORK.0));
        let two = header(2, one.id().unwrap());
        let three = header(3, two.id().unwrap());
        [one, two, three]
    })
}

/// What is followed are the honest headers, and a block that is begun at names its validators.
fn light_blocks(bytes: &[u8]) -> Answer {
    let Some(blocks) = object::<Vec<LightBlock>>(bytes) else {
        return Answer::Refused;
    };
    let honest = followed();
    let first = honest[0].clone();
    let mut chain = LightChain::at(sample::NETWORK, first, vec![sample::validator()]).unwrap();
    let _ = chain.follow(&blocks);
    assert!(
        honest.contains(chain.header().unwrap()),
        "a forged header is followed"
    );
    for block in blocks.into_iter().take(2) {
        let place = (block.header.height, block.header.id().unwrap());
        if let Ok(begun) = LightChain::trust(sample::NETWORK, place, block) {
            let named = begun.header().unwrap().next_validators;
            assert_eq!(validators_root(begun.validators()).unwrap(), named);
        }
    }
    Answer::Read
}

fn genesis(bytes: &[u8]) -> Answer {
    let genesis = object::<Genesis>(bytes);
    if let Some(genesis) = &genesis {
        // Numbers that contradict each other are a sentence, never a panic.
        let _ = genesis.parameters.check();
        genesis.network().unwrap();
    }
    answer(genesis)
}

fn validators(bytes: &[u8]) -> Answer {
    let validators = object::<Vec<Validator>>(bytes);
    for validator in validators.iter().flatten().take(4) {
        if beacon::is_possessed(&validator.beacon, &validator.possession) {
            let honest = sample::validator();
            assert!(
                (validator.beacon, validator.possession) == (honest.beacon, honest.possession),
                "a forged possession holds"
            );
        }
    }
    answer(validators)
}

fn signed_receipt(bytes: &[u8]) -> Answer {
    let Some(signed) = object::<SignedReceipt>(bytes) else {
        return Answer::Refused;
    };
    for number in 0..3 {
        let signer = sample::address(10 + number);
        let holds = SigningContext::Receipt.verify(
            sample::NETWORK,
            signer.as_bytes(),
            &signed.receipt,
            &signed.signature,
        );
        assert!(
            !holds || signed == sample::receipt(number),
            "a forged receipt holds"
        );
    }
    Answer::Read
}

fn pack_header(bytes: &[u8]) -> Answer {
    let header = object::<PackHeader>(bytes);
    if let Some(header) = &header
        && let Ok(layout) = PackLayout::of(header)
    {
        assert_eq!(layout.shard_length(), header.shard_length);
        assert_eq!(header.shard_roots.len(), usize::from(layout.n()));
    }
    answer(header)
}

/// What an opening shows under honest roots are the honest bytes.
fn piece_openings(bytes: &[u8]) -> Answer {
    let Some(openings) = object::<Vec<PieceOpening>>(bytes) else {
        return Answer::Refused;
    };
    let shard = sample::shard();
    for opening in openings.iter().take(16) {
        let end = opening.quad.saturating_add(1).saturating_mul(127);
        let range = opening.quad.saturating_mul(127)..end.min(sample::SHARD_BYTES);
        let root = sample::shard_root();
        let shown = slice::verify(&root.0, sample::SHARD_BYTES, &range, &opening.slice);
        if let Ok(shown) = shown {
            assert_eq!(shown, shard[range.start as usize..range.end as usize]);
        }
        let nodes = opening
            .opening
            .verify(&sample::shape(), &sample::piece_roots(), opening.quad);
        if let Ok(shown) = nodes {
            let start = (opening.quad * 127) as usize;
            let honest = &shard[start.min(shard.len())..shard.len().min(start + 127)];
            assert_eq!(shown[..honest.len()], *honest);
        }
    }
    Answer::Read
}

fn items() -> [&'static [u8]; 5] {
    [b"a", b"bb", b"", b"dddd", b"e"]
}

/// A place that is shown in an honest list is the honest place, shown in the one way.
fn membership(bytes: &[u8]) -> Answer {
    let Some(shown) = object::<Membership>(bytes) else {
        return Answer::Refused;
    };
    let items = items();
    let root = list::root(&items);
    for (index, item) in (0..).zip(items) {
        if shown.holds(root, item) {
            assert!(
                shown == Membership::prove(&items, index).unwrap(),
                "an item is shown at another place or in another way"
            );
        }
    }
    Answer::Read
}

/// Forty keys of one byte, each with itself as its value.
fn proven_state() -> &'static (TreeRoot, MemoryTree) {
    static STATE: OnceLock<(TreeRoot, MemoryTree)> = OnceLock::new();
    STATE.get_or_init(|| {
        let mut tree = MemoryTree::default();
        let writes = (0..40u8).map(|number| (vec![number], Some(vec![number])));
        let root = tree.apply(Height(0), &writes.collect()).unwrap();
        (root, tree)
    })
}

/// A proof is written in one way, and shows what the state holds or nothing.
fn state_proof(bytes: &[u8]) -> Answer {
    let Ok(proof) = tree::decode_proof(bytes) else {
        return Answer::Refused;
    };
    assert!(
        tree::encode_proof(&proof) == bytes,
        "a proof is read from two forms"
    );
    let (root, tree) = proven_state();
    for key in [7u8, 200, 3] {
        let (held, honest) = tree::prove(tree, Height(0), &[key]).unwrap();
        for value in [None, Some(&[key][..]), Some(&[9][..])] {
            if tree::is_shown(*root, &[key], value, &proof) {
                assert!(
                    value == held.as_deref() && proof == honest,
                    "a lie is shown, or the truth in another way"
                );
            }
        }
    }
    Answer::Read
}

/// A slice that verifies is the honest one.
fn shard_slice(bytes: &[u8]) -> Answer {
    let range = sample::QUAD * 127..(sample::QUAD + 1) * 127;
    let root = sample::shard_root();
    // Also under lengths and places that nobody has: the walk ends with the bytes.
    let number = |at: usize| {
        let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk());
        u64::from_le_bytes(*bytes.unwrap_or(&[0xff; 8]))
    };
    let (start, end) = (number(8), number(16));
    let hostile = slice::verify(&root.0, number(0), &(start..end), bytes);
    assert!(hostile.is_err() || number(0) == sample::SHARD_BYTES);
    match slice::verify(&root.0, sample::SHARD_BYTES, &range, bytes) {
        Err(_) => Answer::Refused,
        Ok(shown) => {
            assert_eq!(
                shown,
                sample::shard()[range.start as usize..range.end as usize]
            );
            assert!(bytes == sample::opening().slice, "another slice verifies");
            Answer::Read
        }
    }
}

fn supply(bytes: &[u8]) -> Answer {
    let supply = object::<Supply>(bytes);
    if let Some(supply) = &supply {
        let _ = supply.balances_out();
    }
    answer(supply)
}

/// An address has one name, in either case but not in both.
fn address(bytes: &[u8]) -> Answer {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Answer::Refused;
    };
    let mut read = Answer::Refused;
    for prefix in ["hold", "thold"] {
        if let Ok(address) = Address::from_text(text, prefix) {
            let written = address.to_text(prefix);
            assert!(
                text == written || text == written.to_uppercase(),
                "`{text}` is another name of {written}"
            );
            read = Answer::Read;
        }
    }
    read
}
