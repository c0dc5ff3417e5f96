use super::world::{World, address, key};
use crate::admit::{AdmitError, Signed, admit};
use crate::block::{MAX_WORK, OutcomeResult};
use crate::build;
use crate::execute::{BlockError, execute, execute_knowing};
use crate::message::{Body, Message, SignedMessage};
use crate::query;
use crate::refusal::Refusal;
use crate::units::{Amount, Height, Signature};

fn transfer(to: usize, amount: Amount) -> Body {
    Body::Transfer {
        to: address(to),
        amount,
    }
}

#[test]
fn a_transfer_moves_tokens_and_burns_the_fee() {
    let mut world = World::new();
    world.done(0, transfer(1, Amount::hold(10)));
    let supply = query::supply(&world.view).unwrap();
    assert!(supply.burnt > Amount::ZERO);
    assert_eq!(world.account(1).balance, Amount::hold(1_010));
    assert_eq!(
        world.account(0).balance.0,
        Amount::hold(990).0 - supply.burnt.0
    );
    assert_eq!(world.account(0).nonce, 1);
    // To oneself nothing moves but the fee.
    world.done(1, transfer(1, Amount::hold(10)));
    let fees = query::supply(&world.view).unwrap().burnt.0 - supply.burnt.0;
    assert_eq!(world.account(1).balance.0, Amount::hold(1_010).0 - fees);
}

#[test]
fn a_transfer_beyond_the_balance_is_refused_and_costs_its_fee() {
    let mut world = World::new();
    world.refused(0, transfer(1, Amount::hold(1_000)), "fund it with");
    world.refused(0, transfer(1, Amount::ZERO), "the amount is empty");
    assert_eq!(world.account(0).nonce, 2);
    assert!(world.account(0).balance < Amount::hold(1_000));
    assert_eq!(world.account(1).balance, Amount::hold(1_000));
}

/// An account gives all it has away and goes on sending: once the cheapest way to fill blocks.
#[test]
fn a_block_whose_fees_an_account_cannot_pay_together_is_no_block() {
    let mut world = World::new();
    let message = |nonce, body, fee: u128| {
        let mut message = world.sign(0, nonce, body).message;
        message.fee = Amount(message.fee.0 + fee);
        SignedMessage::new(world.rules.network, &key(0), message).unwrap()
    };
    let dear = Amount::hold(600).0;
    let spoiled = vec![
        message(0, transfer(1, Amount::hold(10)), 0),
        message(1, transfer(1, Amount(1)), dear),
        message(2, transfer(1, Amount(1)), dear),
    ];
    let selection = build::select(
        &world.view,
        &world.rules,
        spoiled.clone(),
        &Signed::default(),
    )
    .unwrap();
    assert_eq!(selection.kept, spoiled[..2]);
    assert_eq!(selection.later, spoiled[2..]);
    let block = build::block(&world.view, &world.rules, &world.turn(), spoiled).unwrap();
    assert!(matches!(
        execute(&world.view, &world.rules, &block),
        Err(BlockError::Inadmissible {
            index: 2,
            why: Refusal::Funds { .. }
        })
    ));
    let block = build::block(&world.view, &world.rules, &world.turn(), selection.kept).unwrap();
    assert!(execute(&world.view, &world.rules, &block).is_ok());
    // Both fees are gone before the first body: it finds what is left.
    let fee = world.sign(0, 0, transfer(1, Amount(1))).message.fee;
    let all = Amount(Amount::hold(1_000).0 - fee.0);
    let outcomes = world.block(vec![(0, transfer(1, all)), (0, transfer(1, Amount(1)))]);
    assert!(matches!(outcomes[0].result, OutcomeResult::Refused(_)));
    assert_eq!(outcomes[1].result, OutcomeResult::Done);
    let left = Amount::hold(1_000).0 - 2 * fee.0 - 1;
    assert_eq!(world.account(0).balance, Amount(left));
}

#[test]
fn what_no_block_may_hold_is_not_admitted_and_spoils_a_block() {
    let world = World::new();
    let good = world.sign(0, 0, transfer(1, Amount(1)));
    let spoiled = |spoil: fn(&mut Message)| {
        let mut message = good.message.clone();
        spoil(&mut message);
        SignedMessage::new(world.rules.network, &key(0), message).unwrap()
    };
    let mut forged = good.clone();
    forged.signature = Signature([1; 64]);
    let mut touched = good.clone();
    touched.message.body = transfer(1, Amount(2));
    let elsewhere = SignedMessage::new(
        crate::units::NetworkId([8; 32]),
        &key(0),
        good.message.clone(),
    )
    .unwrap();
    let large = spoiled(|m| {
        m.body = Body::PublishName {
            label: String::new(),
            version: 0,
            root: vec![0; 600_000],
            lease: None,
        }
    });
    let cases = [
        (forged, "signature"),
        (touched, "signature"),
        (elsewhere, "signature"),
        (large, "split it"),
        (spoiled(|m| m.expiry = Height(0)), "expired"),
        (spoiled(|m| m.fee = Amount(m.fee.0 - 1)), "fee"),
        (spoiled(|m| m.fee = Amount::hold(2_000)), "fund it"),
    ];
    assert_eq!(admit(&world.view, &world.rules, &good, Height(1)), Ok(()));
    for (bad, reason) in cases {
        let refused = admit(&world.view, &world.rules, &bad, Height(1)).unwrap_err();
        assert!(refused.to_string().contains(reason), "{refused} / {reason}");
        let block = build::block(&world.view, &world.rules, &world.turn(), vec![bad]).unwrap();
        let error = execute(&world.view, &world.rules, &block).unwrap_err();
        assert_eq!(error.message(), Some(0), "{error}");
    }
}

#[test]
fn what_is_known_to_be_signed_is_executed_alike_and_lets_nothing_else_through() {
    let world = World::new();
    let good = [0, 1].map(|nonce| world.sign(0, nonce, transfer(1, Amount(1))));
    let known: Signed = good.iter().map(|one| one.id().unwrap()).collect();
    let block = |messages: Vec<SignedMessage>| {
        build::block(&world.view, &world.rules, &world.turn(), messages).unwrap()
    };
    let right = block(good.to_vec());
    let again = execute(&world.view, &world.rules, &right);
    assert!(again.is_ok());
    assert_eq!(
        execute_knowing(&world.view, &world.rules, &right, &known),
        again
    );
    // The same message under another signature, and another one under its signature.
    let mut forged = good.clone();
    forged[1].signature.0[3] ^= 1;
    let mut touched = good;
    touched[1].message.body = transfer(2, Amount(1));
    for wrong in [forged, touched] {
        let wrong = wrong.to_vec();
        let selection = build::select(&world.view, &world.rules, wrong.clone(), &known).unwrap();
        assert_eq!(selection.kept.len(), 1);
        let error = execute_knowing(&world.view, &world.rules, &block(wrong), &known).unwrap_err();
        assert!(matches!(
            error,
            BlockError::Inadmissible {
                index: 1,
                why: Refusal::Signature
            }
        ));
    }
}

#[test]
fn a_builder_keeps_what_fits_together_and_a_used_number_is_dropped() {
    let mut world = World::new();
    world.done(0, transfer(1, Amount(1)));
    let sign = |who, nonce| world.sign(who, nonce, transfer(2, Amount(1)));
    let candidates = vec![
        sign(0, 0),
        sign(0, 1),
        sign(0, 3),
        sign(0, 2),
        sign(1, 1),
        sign(1, 0),
    ];
    let selection =
        build::select(&world.view, &world.rules, candidates, &Signed::default()).unwrap();
    let kept: Vec<_> = selection
        .kept
        .iter()
        .map(|m| (m.message.sender, m.message.nonce))
        .collect();
    assert_eq!(kept, [(address(0), 1), (address(0), 2), (address(1), 0)]);
    assert_eq!(selection.later.len(), 2);
    assert!(matches!(
        selection.dropped[..],
        [(
            _,
            AdmitError::Refused(Refusal::NonceUsed { found: 0, next: 1 })
        )]
    ));
    let block = build::block(&world.view, &world.rules, &world.turn(), selection.kept).unwrap();
    assert!(execute(&world.view, &world.rules, &block).is_ok());
    let gap = build::block(&world.view, &world.rules, &world.turn(), selection.later).unwrap();
    assert!(matches!(
        execute(&world.view, &world.rules, &gap),
        Err(BlockError::Inadmissible {
            index: 0,
            why: Refusal::NonceGap { .. }
        })
    ));
}

#[test]
fn a_block_with_any_header_field_wrong_is_no_block_of_the_chain() {
    let world = World::new();
    let message = world.sign(0, 0, transfer(1, Amount(1)));
    let good = build::block(&world.view, &world.rules, &world.turn(), vec![message]).unwrap();
    assert!(execute(&world.view, &world.rules, &good).is_ok());
    let spoil: [fn(&mut crate::block::Block); 8] = [
        |b| b.header.height = Height(2),
        |b| b.header.height = Height(0),
        |b| b.header.parent.0[0] ^= 1,
        |b| b.header.transactions_root.0[0] ^= 1,
        |b| b.header.receipts_root.0[0] ^= 1,
        |b| b.header.builder = address(0),
        |b| b.header.beacon.0[50] ^= 1,
        |b| b.header.next_validators.0[0] ^= 1,
    ];
    for spoil in spoil {
        let mut block = good.clone();
        spoil(&mut block);
        assert!(execute(&world.view, &world.rules, &block).is_err());
    }
    let mut emptied = good;
    emptied.messages.clear();
    assert!(execute(&world.view, &world.rules, &emptied).is_err());
}

#[test]
fn a_block_has_room_for_so_much_verification_and_each_proof_is_paid_for() {
    let world = World::new();
    let prove = |who, nonce, count| {
        let body = Body::ProveEmbed {
            sector: super::world::sector_id(0),
            proofs: vec![holdfast_proofs::proof::ProofBytes([7; 192]); count],
        };
        world.sign(who, nonce, body)
    };
    let economy = &world.rules.parameters.economy;
    let bytes = crate::message::encode(&prove(0, 0, 64)).unwrap().len();
    // The proofs, and reading their sector, which counts as three.
    let fee = crate::quote::fee_of_size(economy, bytes).0 + 67 * economy.fee_per_kib.0;
    assert_eq!(prove(0, 0, 64).message.fee, Amount(fee));
    let cheap = Message {
        fee: Amount(fee - 1),
        ..prove(0, 0, 64).message
    };
    let cheap = SignedMessage::new(world.rules.network, &key(0), cheap).unwrap();
    assert!(admit(&world.view, &world.rules, &cheap, Height(1)).is_err());
    let most = MAX_WORK;
    let together = |messages: Vec<SignedMessage>| {
        let selection = build::select(
            &world.view,
            &world.rules,
            messages.clone(),
            &Signed::default(),
        )
        .unwrap();
        let block = build::block(&world.view, &world.rules, &world.turn(), messages).unwrap();
        let executed = execute(&world.view, &world.rules, &block);
        (
            selection.kept.len(),
            executed.map(|execution| execution.outcomes.len()),
        )
    };
    // Exactly so much, beside messages that prove nothing.
    let full = vec![
        prove(0, 0, most - 7),
        world.sign(1, 0, transfer(2, Amount(1))),
        prove(2, 0, 1),
    ];
    assert_eq!(together(full), (3, Ok(3)));
    // One too many: a builder leaves it for later, and a block with it is none.
    let over = vec![prove(0, 0, most - 6), prove(1, 0, 1)];
    let (kept, executed) = together(over);
    assert_eq!(kept, 1);
    assert!(matches!(
        executed,
        Err(BlockError::TooLarge { most: MAX_WORK, .. })
    ));
    // Sectors that are only read have their room, too, whether anything comes of it or not.
    let read = |who, nonce| {
        let sector = super::world::sector_id(0);
        world.sign(who, nonce, Body::TerminateSector { sector })
    };
    let reads = |count: u64| (0..count).map(|nonce| read(0, nonce)).collect();
    let fits = most as u64 / 3;
    assert_eq!(together(reads(fits)), (341, Ok(341)));
    let (kept, executed) = together(reads(fits + 1));
    assert_eq!((kept, executed.is_err()), (341, true));
    // A deadline's largest message fits exactly.
    let deadline = Body::ProveSpacetime {
        provider: crate::units::ProviderId(0),
        period: crate::units::Period(0),
        deadline: crate::units::Deadline(0),
        proofs: (0..256)
            .map(|number| crate::message::SpacetimeProof {
                sector: crate::units::SectorNumber(number),
                proof: holdfast_proofs::proof::ProofBytes([7; 192]),
            })
            .collect(),
    };
    assert_eq!(crate::quote::work(&deadline), most);
    // The largest embed has a block for itself.
    let (kept, executed) = together(vec![prove(0, 0, 2_000), prove(1, 0, 1)]);
    assert_eq!((kept, executed.is_err()), (1, true));
    assert_eq!(together(vec![prove(0, 0, 2_000)]), (1, Ok(1)));
}
