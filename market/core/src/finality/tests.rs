#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use crate::beacon::BeaconSecret;
use ed25519_dalek::SigningKey;
use proptest::prelude::*;

const NETWORK: NetworkId = NetworkId([3; 32]);
const BLOCK: BlockId = BlockId([5; 32]);

fn key(index: u8) -> SigningKey {
    SigningKey::from_bytes(&[index + 1; 32])
}

/// Validators of these powers, in no order of their keys.
fn validators(powers: &[u64]) -> Vec<Validator> {
    let one = |(index, power): (usize, &u64)| {
        let index = u8::try_from(index).unwrap();
        let beacon = BeaconSecret::from_seed(&[index; 32]);
        Validator {
            key: Address(key(index).verifying_key().to_bytes()),
            beacon: beacon.public(),
            possession: beacon.possession(),
            power: *power,
        }
    };
    powers.iter().enumerate().map(one).collect()
}

fn ballot(index: u8) -> Ballot {
    Ballot {
        kind: BallotKind::Precommit,
        height: Height(7),
        round: Round(2),
        block: Some(BLOCK),
        voter: Address(key(index).verifying_key().to_bytes()),
    }
}

fn signed(index: u8, network: NetworkId, ballot: &Ballot) -> Precommit {
    Precommit {
        voter: ballot.voter,
        signature: SigningContext::Ballot
            .sign(network, &key(index), ballot)
            .unwrap(),
    }
}

fn precommits(indices: &[u8]) -> Vec<Precommit> {
    let mut all: Vec<Precommit> = indices
        .iter()
        .map(|index| signed(*index, NETWORK, &ballot(*index)))
        .collect();
    all.sort_by_key(|one| one.voter);
    all
}

fn holds(powers: &[u64], precommits: &[Precommit]) -> bool {
    let place = (Height(7), Round(2), BLOCK);
    is_final(NETWORK, &validators(powers), place, precommits)
}

#[test]
fn more_than_two_thirds_of_the_power_make_a_block_final_and_exactly_two_thirds_do_not() {
    assert!(holds(&[1, 1, 1, 1], &precommits(&[0, 1, 3])));
    assert!(!holds(&[1, 1, 1, 1], &precommits(&[0, 3])));
    assert!(!holds(&[1, 1, 1], &precommits(&[0, 1])));
    assert!(holds(&[1, 1, 1], &precommits(&[0, 1, 2])));
    assert!(holds(&[67, 1, 32], &precommits(&[0])));
    assert!(!holds(&[66, 1, 33], &precommits(&[0])));
    assert!(!holds(&[1], &[]));
    assert!(!holds(&[], &[]));
    // Sums beyond 64 bits are sums all the same.
    assert!(!holds(
        &[u64::MAX, u64::MAX, u64::MAX],
        &precommits(&[0, 1])
    ));
}

#[test]
fn what_is_not_exactly_this_blocks_precommit_makes_a_certificate_void() {
    let powers = [1, 1, 1, 1];
    let three = precommits(&[0, 1, 2]);
    assert!(holds(&powers, &three));
    // Twice the same is not two.
    let mut twice = precommits(&[0, 1]);
    twice.insert(0, twice[0].clone());
    assert!(!holds(&powers, &twice));
    // Another order is another certificate.
    let mut turned = three.clone();
    turned.reverse();
    assert!(!holds(&powers, &turned));
    // A stranger beside enough of validators.
    assert!(!holds(&powers, &precommits(&[0, 1, 2, 9])));
    // Each field of what was signed, and the network.
    let other = |change: fn(&mut Ballot), network| {
        let mut changed = ballot(1);
        change(&mut changed);
        let mut all = vec![
            signed(0, NETWORK, &ballot(0)),
            signed(1, network, &changed),
            signed(2, NETWORK, &ballot(2)),
        ];
        all.sort_by_key(|one| one.voter);
        holds(&powers, &all)
    };
    assert!(other(|_| {}, NETWORK));
    assert!(!other(|_| {}, NetworkId([4; 32])));
    assert!(!other(|one| one.kind = BallotKind::Prevote, NETWORK));
    assert!(!other(|one| one.height = Height(8), NETWORK));
    assert!(!other(|one| one.round = Round(1), NETWORK));
    assert!(!other(|one| one.block = None, NETWORK));
    assert!(!other(|one| one.block = Some(BlockId([6; 32])), NETWORK));
    // A signature of another kind over the same bytes.
    let mut offered = three.clone();
    offered[0].signature = SigningContext::Offer
        .sign(NETWORK, &key(0), &ballot(0))
        .unwrap();
    assert!(!holds(&powers, &offered));
}

#[test]
fn a_key_of_small_order_and_a_signature_in_another_form_count_for_nothing() {
    // The identity as a key: without the strict rules any message has a signature under it.
    let mut one = [0; 32];
    one[0] = 1;
    let mut set = validators(&[1]);
    set[0].key = Address(one);
    let mut signature = [0; 64];
    signature[0] = 1;
    let precommit = Precommit {
        voter: Address(one),
        signature: Signature(signature),
    };
    let place = (Height(7), Round(2), BLOCK);
    assert!(!is_final(NETWORK, &set, place, &[precommit]));
    // s + the group's order verifies under looser rules.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut all = precommits(&[0]);
    assert!(holds(&[1], &all));
    let mut carry = 0u16;
    for (byte, add) in all[0].signature.0[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert!(!holds(&[1], &all));
}

#[test]
fn equal_validators_take_turns_and_never_two_of_four_in_a_row() {
    let set = validators(&[1, 1, 1, 1]);
    let turn = |height| proposer(&set, Height(height), Round(0)).unwrap().key;
    let mut counts = std::collections::BTreeMap::new();
    for height in 1..=4000 {
        assert_ne!(turn(height), turn(height + 1));
        *counts.entry(turn(height)).or_insert(0u32) += 1;
    }
    assert!(counts.values().all(|count| (999..=1001).contains(count)));
    assert_eq!(
        proposer(&set, Height(10), Round(3)),
        proposer(&set, Height(13), Round(0))
    );
}

proptest! {
    #[test]
    fn turns_follow_power(powers in prop::collection::vec(1..1_000_000u64, 1..8), from: u64) {
        let set = validators(&powers);
        let total: u64 = powers.iter().sum();
        let turns = 2000u64;
        let mut counts = vec![0u64; set.len()];
        for index in 0..turns {
            let height = Height(from.wrapping_add(index));
            let chosen = proposer(&set, height, Round(0)).unwrap();
            counts[set.iter().position(|one| one.key == chosen.key).unwrap()] += 1;
        }
        for (count, power) in counts.iter().zip(&powers) {
            let fair = turns as f64 * *power as f64 / total as f64;
            prop_assert!((*count as f64 - fair).abs() <= 8.0, "{count} turns, fair are {fair}");
        }
    }

    #[test]
    fn nobody_has_a_turn_only_where_nobody_has_power(height: u64, round: u32, powers in prop::collection::vec(0..MOST_POWER / 4, 0..4)) {
        let set = validators(&powers);
        let chosen = proposer(&set, Height(height), Round(round));
        prop_assert_eq!(chosen.is_some(), powers.iter().any(|power| *power > 0));
        prop_assert!(chosen.is_none_or(|one| one.power > 0));
    }
}
