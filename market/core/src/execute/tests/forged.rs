//! Blocks that are no block of the chain, and certificates that make none final: each field of a
//! header and of a certificate wrong.

use super::world::{World, address, beacon_of, key};
use crate::block::{
    Block, Certificate, CertifiedBlock, Header, MAX_BYTES, MAX_MESSAGES, Validator,
    transactions_root,
};
use crate::build::{self, Turn};
use crate::execute::{BlockError, execute};
use crate::finality::{Ballot, BallotKind, Precommit};
use crate::message::{Body, Message, SignedMessage, SigningContext};
use crate::query;
use crate::units::{
    Address, Amount, BeaconSignature, BlockId, Height, NetworkId, Round, Signature, TreeRoot,
};

fn transfer(world: &World, nonce: u64) -> SignedMessage {
    let body = Body::Transfer {
        to: address(1),
        amount: Amount(1),
    };
    world.sign(0, nonce, body)
}

/// A world after a block of time 5, with real headers from here on, and the turn of the next.
fn begun() -> (World, Turn) {
    let mut world = World::new();
    let mut turn = world.turn();
    turn.time = 5;
    let first = vec![transfer(&world, 0)];
    let block = build::block(&world.view, &world.rules, &turn, first).unwrap();
    let execution = execute(&world.view, &world.rules, &block).unwrap();
    world.view.apply(&execution.writes);
    (world, turn)
}

fn next(world: &World, turn: &Turn) -> Block {
    let messages = vec![transfer(world, 1)];
    build::block(&world.view, &world.rules, turn, messages).unwrap()
}

/// Spoils each field of a header in turn. A new field has to be put in here.
fn each_field(good: &Header) -> Vec<(&'static str, Header)> {
    let Header {
        height: _,
        parent: _,
        state_root: _,
        transactions_root: _,
        receipts_root: _,
        time: _,
        builder: _,
        beacon: _,
        next_validators: _,
    } = good;
    type Spoil = fn(&mut Header);
    let spoils: [(&str, Spoil); 18] = [
        ("height", |h| h.height.0 += 1),
        ("height", |h| h.height.0 -= 1),
        ("height", |h| h.height = Height(0)),
        ("height", |h| h.height = Height(u64::MAX)),
        ("parent", |h| h.parent = BlockId([0; 32])),
        ("parent", |h| h.parent.0[31] ^= 1),
        ("state_root", |h| h.state_root.0[0] ^= 1),
        ("transactions_root", |h| h.transactions_root.0[0] ^= 1),
        ("transactions_root", |h| {
            h.transactions_root = TreeRoot([0; 32]);
        }),
        ("receipts_root", |h| h.receipts_root.0[0] ^= 1),
        ("time", |h| h.time -= 1),
        ("time", |h| h.time = 0),
        ("builder", |h| h.builder = address(7)),
        ("builder", |h| h.builder = Address([0; 32])),
        ("beacon", |h| h.beacon = BeaconSignature([0; 96])),
        ("beacon", |h| h.beacon = BeaconSignature([255; 96])),
        ("beacon", |h| h.beacon.0[95] ^= 1),
        ("next_validators", |h| h.next_validators.0[0] ^= 1),
    ];
    let spoil = |(name, spoil): (&'static str, Spoil)| {
        let mut header = good.clone();
        spoil(&mut header);
        (name, header)
    };
    spoils.into_iter().map(spoil).collect()
}

#[test]
fn a_block_with_any_header_field_wrong_says_which() {
    let (world, turn) = begun();
    let good = next(&world, &turn);
    assert!(execute(&world.view, &world.rules, &good).is_ok());
    for (field, header) in each_field(&good.header) {
        let block = Block {
            header,
            messages: good.messages.clone(),
        };
        let result = execute(&world.view, &world.rules, &block);
        match (field, result) {
            ("height", Err(BlockError::Height { next, .. })) => assert_eq!(next, Height(2)),
            ("builder", Err(BlockError::Builder(_))) | ("beacon", Err(BlockError::Beacon)) => {}
            // The tree is not here: whoever keeps it compares the root (`Replay` has tests of that).
            ("state_root", Ok(_)) => {}
            (field, Err(BlockError::Header(found))) => assert_eq!(found, field),
            (field, other) => panic!("{field}: {other:?}"),
        }
    }
}

#[test]
fn a_beacon_of_another_turn_key_or_network_is_refused() {
    let (world, turn) = begun();
    let good = next(&world, &turn);
    let last = query::beacon(&world.view, Height(1)).unwrap().unwrap();
    let before = query::beacon(&world.view, Height(0)).unwrap().unwrap();
    let (network, secret) = (world.rules.network, &turn.beacon);
    assert_eq!(secret.sign(network, last, Height(2)), good.header.beacon);
    for beacon in [
        secret.sign(network, last, Height(1)),
        secret.sign(network, last, Height(3)),
        secret.sign(network, before, Height(2)),
        secret.sign(NetworkId([8; 32]), last, Height(2)),
        beacon_of(98).sign(network, last, Height(2)),
        secret.possession(),
    ] {
        let mut block = good.clone();
        block.header.beacon = beacon;
        let result = execute(&world.view, &world.rules, &block);
        assert_eq!(result.unwrap_err(), BlockError::Beacon);
    }
}

#[test]
fn messages_that_the_header_does_not_name_make_no_block() {
    let (world, turn) = begun();
    let good = build::block(
        &world.view,
        &world.rules,
        &turn,
        vec![transfer(&world, 1), transfer(&world, 2)],
    )
    .unwrap();
    let spoils: [fn(&mut Vec<SignedMessage>); 5] = [
        Vec::clear,
        |messages| drop(messages.pop()),
        |messages| messages.reverse(),
        |messages| messages.push(messages[0].clone()),
        |messages| messages[1].signature.0[0] ^= 1,
    ];
    for spoil in spoils {
        let mut block = good.clone();
        spoil(&mut block.messages);
        assert_eq!(
            execute(&world.view, &world.rules, &block).unwrap_err(),
            BlockError::Header("transactions_root")
        );
        // Named, what is no message of the chain is found all the same.
        block.header.transactions_root = transactions_root(&block.messages).unwrap();
        let result = execute(&world.view, &world.rules, &block);
        let fits = block.messages.len() < 2;
        assert_eq!(result.is_ok(), fits, "{result:?}");
    }
}

#[test]
fn a_block_beyond_its_bounds_is_none() {
    let world = World::new();
    let block = |messages| build::block(&world.view, &world.rules, &world.turn(), messages);
    let many = block(vec![transfer(&world, 0); MAX_MESSAGES + 1]).unwrap();
    assert!(matches!(
        execute(&world.view, &world.rules, &many),
        Err(BlockError::TooLarge {
            what: "messages",
            ..
        })
    ));
    let large = |nonce| {
        let body = Body::PublishName {
            label: "x".into(),
            version: nonce,
            root: vec![1; 500_000],
            lease: None,
        };
        world.sign(0, nonce, body)
    };
    let one = crate::message::encode(&large(0)).unwrap().len();
    let most = (MAX_BYTES / one) as u64;
    let full = block((0..most).map(large).collect()).unwrap();
    assert!(execute(&world.view, &world.rules, &full).is_ok());
    let over = block((0..=most).map(large).collect()).unwrap();
    assert!(matches!(
        execute(&world.view, &world.rules, &over),
        Err(BlockError::TooLarge {
            what: "bytes of messages",
            ..
        })
    ));
}

const NETWORK: NetworkId = NetworkId([3; 32]);

fn validators(count: usize) -> Vec<Validator> {
    let one = |index| Validator {
        key: address(index),
        beacon: beacon_of(99).public(),
        possession: beacon_of(99).possession(),
        power: 1,
    };
    (0..count).map(one).collect()
}

/// A block of account 0's key; nobody executes it here.
fn unsigned() -> Block {
    let (world, turn) = begun();
    let mut block = next(&world, &turn);
    block.header.builder = address(0);
    block
}

fn embedded(signer: usize, header: &Header) -> Certificate {
    let signature = SigningContext::Block.sign(NETWORK, &key(signer), header);
    Certificate::Embedded {
        signature: signature.unwrap(),
    }
}

fn precommits(header: &Header, round: u32, voters: &[usize]) -> Vec<Precommit> {
    let id = header.id().unwrap();
    let one = |voter: &usize| {
        let ballot = Ballot {
            kind: BallotKind::Precommit,
            height: header.height,
            round: Round(round),
            block: Some(id),
            voter: address(*voter),
        };
        let signature = SigningContext::Ballot.sign(NETWORK, &key(*voter), &ballot);
        Precommit {
            voter: address(*voter),
            signature: signature.unwrap(),
        }
    };
    let mut all: Vec<Precommit> = voters.iter().map(one).collect();
    all.sort_by_key(|one| one.voter);
    all
}

fn bft(header: &Header, round: u32, voters: &[usize]) -> Certificate {
    Certificate::Bft {
        round: Round(round),
        precommits: precommits(header, round, voters),
    }
}

fn is_final(block: &Block, certificate: Certificate, validators: &[Validator]) -> bool {
    let certified = CertifiedBlock {
        block: block.clone(),
        certificate,
    };
    certified.is_final(NETWORK, validators)
}

#[test]
fn a_certificate_is_of_one_header_and_void_for_every_other() {
    let good = unsigned();
    let header = &good.header;
    assert!(is_final(&good, embedded(0, header), &validators(1)));
    assert!(is_final(&good, bft(header, 2, &[0, 1, 2]), &validators(4)));
    for (field, other) in each_field(header) {
        let block = Block {
            header: other,
            ..good.clone()
        };
        assert!(
            !is_final(&block, embedded(0, header), &validators(1)),
            "{field}"
        );
        assert!(
            !is_final(&block, bft(header, 2, &[0, 1, 2]), &validators(4)),
            "{field}"
        );
    }
}

#[test]
fn an_embedded_certificate_is_its_only_validators_and_of_its_network() {
    let good = unsigned();
    let header = &good.header;
    assert!(!is_final(&good, embedded(1, header), &validators(1)));
    // Whoever else built it, and whoever else may: one signer shows nothing beside others.
    assert!(!is_final(&good, embedded(0, header), &validators(2)));
    assert!(!is_final(&good, embedded(0, header), &validators(4)[1..2]));
    assert!(!is_final(&good, embedded(0, header), &[]));
    let signed = |context: SigningContext, network| {
        let signature = context.sign(network, &key(0), header).unwrap();
        Certificate::Embedded { signature }
    };
    assert!(is_final(
        &good,
        signed(SigningContext::Block, NETWORK),
        &validators(1)
    ));
    for certificate in [
        signed(SigningContext::Block, NetworkId([4; 32])),
        signed(SigningContext::Message, NETWORK),
        signed(SigningContext::Offer, NETWORK),
        Certificate::Embedded {
            signature: Signature([0; 64]),
        },
        Certificate::Embedded {
            signature: Signature([255; 64]),
        },
    ] {
        assert!(!is_final(&good, certificate, &validators(1)));
    }
}

#[test]
fn a_bft_certificate_with_any_field_wrong_or_short_of_power_is_void() {
    let good = unsigned();
    let header = &good.header;
    let four = validators(4);
    let with = |round, precommits| Certificate::Bft {
        round: Round(round),
        precommits,
    };
    for round in [0, 1, 3, u32::MAX] {
        let certificate = with(round, precommits(header, 2, &[0, 1, 2]));
        assert!(!is_final(&good, certificate, &four), "round {round}");
    }
    for voters in [&[][..], &[0], &[0, 1], &[0, 1, 4], &[4, 5, 6, 7]] {
        assert!(
            !is_final(&good, bft(header, 2, voters), &four),
            "{voters:?}"
        );
    }
    let spoils: [fn(&mut Vec<Precommit>); 7] = [
        |all| all[0].voter = address(3),
        |all| all[0].voter = Address([0; 32]),
        |all| all[0].signature = Signature([0; 64]),
        |all| all[0].signature = all[1].signature,
        |all| all.swap(0, 1),
        |all| all.push(all[2].clone()),
        |all| all[1] = all[0].clone(),
    ];
    for (index, spoil) in spoils.into_iter().enumerate() {
        let mut all = precommits(header, 2, &[0, 1, 2]);
        spoil(&mut all);
        assert!(!is_final(&good, with(2, all), &four), "{index}");
    }
    // Others' powers than it was made under.
    let mut heavier = four.clone();
    heavier[3].power = 2;
    assert!(!is_final(&good, bft(header, 2, &[0, 1, 2]), &heavier));
}

#[test]
fn a_message_signed_by_a_key_of_small_order_is_nobodys() {
    let world = World::new();
    // The identity: under looser rules any message has a signature of it.
    let mut one = [0; 32];
    one[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    let good = transfer(&world, 0).message;
    let message = Message {
        sender: Address(one),
        ..good
    };
    let forged = SignedMessage {
        message,
        signature: Signature(signature),
    };
    let why = crate::admit::admit(&world.view, &world.rules, &forged, Height(1));
    assert!(why.unwrap_err().to_string().contains("signature"));
}
