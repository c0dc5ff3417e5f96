//! Around every message: signature, network, expiry, number, fee.

use super::super::world::{World, key};
use super::settings::{Setting, settings};
use super::{STRANGER, block_of, name};
use crate::admit::admit;
use crate::execute::BlockError;
use crate::message::{Message, SignedMessage};
use crate::units::{Amount, Height, NetworkId, Signature};

/// The setting's message, spoiled before it is signed.
fn signed(setting: &Setting, spoil: impl Fn(&mut Message)) -> SignedMessage {
    let nonce = setting.world.account(setting.who).nonce;
    let good = setting.world.sign(setting.who, nonce, setting.body.clone());
    let mut message = good.message;
    spoil(&mut message);
    SignedMessage::new(setting.world.rules.network, &key(setting.who), message).unwrap()
}

/// Neither a mempool nor a block takes it, and both say why.
fn turned_away(world: &World, kind: &str, bad: SignedMessage, reason: &str) {
    let next = Height(world.height().0 + 1);
    let why = admit(&world.view, &world.rules, &bad, next).unwrap_err();
    assert!(why.to_string().contains(reason), "{kind}: {why} / {reason}");
    no_block(world, kind, vec![bad], 0, reason);
}

fn no_block(world: &World, kind: &str, messages: Vec<SignedMessage>, place: usize, reason: &str) {
    match block_of(world, messages) {
        Err(BlockError::Inadmissible { index, why }) => {
            assert!(why.to_string().contains(reason), "{kind}: {why} / {reason}");
            assert_eq!(index, place, "{kind}: {reason}");
        }
        other => panic!("{kind}: {other:?}, but should be inadmissible: {reason}"),
    }
}

#[test]
fn every_message_with_anything_around_it_wrong_is_taken_by_nobody() {
    for setting in settings() {
        let kind = name(&setting.body);
        let world = &setting.world;
        let good = signed(&setting, |_| ());
        let next = Height(world.height().0 + 1);
        assert_eq!(admit(&world.view, &world.rules, &good, next), Ok(()));
        assert_eq!(block_of(world, vec![good.clone()]), Ok(()));
        let resigned = |index: usize, network| {
            SignedMessage::new(network, &key(index), good.message.clone()).unwrap()
        };
        let touched = |touch: fn(&mut SignedMessage)| {
            let mut bad = good.clone();
            touch(&mut bad);
            bad
        };
        let network = world.rules.network;
        let signature = "the signature is not the sender's";
        let cases = [
            (resigned(STRANGER, network), signature),
            (resigned(setting.who, NetworkId([8; 32])), signature),
            (touched(|m| m.signature = Signature([0; 64])), signature),
            (touched(|m| m.signature = Signature([255; 64])), signature),
            (touched(|m| m.signature.0[0] ^= 1), signature),
            (touched(|m| m.signature.0[32] ^= 1), signature),
            (touched(|m| m.message.fee.0 += 1), signature),
            (touched(|m| m.message.expiry.0 -= 1), signature),
            (signed(&setting, |m| m.expiry = Height(0)), "expired"),
            (
                signed(&setting, |m| m.expiry = Height(next.0 - 1)),
                "expired",
            ),
            (signed(&setting, |m| m.fee = Amount(0)), "the fee is"),
            (signed(&setting, |m| m.fee.0 -= 1), "the fee is"),
            (
                signed(&setting, |m| m.fee = Amount::hold(1_001)),
                "fund it with",
            ),
            (
                signed(&setting, |m| m.fee = Amount(1 << 100)),
                "fund it with",
            ),
            (
                signed(&setting, |m| m.fee = Amount(u128::MAX)),
                "fund it with",
            ),
        ];
        for (bad, reason) in cases {
            turned_away(world, &kind, bad, reason);
        }
        // A mempool keeps what has a gap before it for later; a block does not take it.
        for gap in [1, 1 << 40, u64::MAX - 10] {
            let ahead = signed(&setting, |m| m.nonce += gap);
            assert_eq!(admit(&world.view, &world.rules, &ahead, next), Ok(()));
            no_block(world, &kind, vec![ahead], 0, "send those before it first");
        }
        // Twice in one block, and again in a later one.
        let twice = vec![good.clone(), good.clone()];
        no_block(world, &kind, twice, 1, "number it");
        // In the last block that it is for it is taken.
        let last = signed(&setting, |m| m.expiry = next);
        assert_eq!(block_of(world, vec![last]), Ok(()));
    }
}

#[test]
fn every_message_that_was_in_a_block_is_in_no_other() {
    for mut setting in settings() {
        let kind = name(&setting.body);
        let sent = signed(&setting, |_| ());
        setting.world.send(setting.who, setting.body.clone());
        turned_away(&setting.world, &kind, sent, "number it");
    }
}
