//! Bad input, message by message: every field of every kind of message wrong in every way that it
//! can be, and everything around it. The table is a `match` without a wildcard over destructured
//! messages: a new kind of message, or a new field of one, has to be put into it.

mod envelope;
mod evidence;
mod settings;
mod spoiled;

use super::super::run;
use super::world::{World, address, known};
use crate::block::{Block, OutcomeResult};
use crate::execute::BlockError;
use crate::keys;
use crate::ledger::Ledger;
use crate::message::{Body, SignedMessage, encode};
use crate::query;
use crate::state::{Account, Chain, Supply};
use crate::units::TreeRoot;
use crate::view::MemoryView;
use settings::{Good, settings};
use spoiled::spoiled;
use std::collections::BTreeSet;

/// Somebody who owns nothing and runs nothing.
const STRANGER: usize = 5;

/// The name of a message's kind, as it is encoded.
fn name(body: &Body) -> String {
    let bytes = encode(body).unwrap();
    let named: std::collections::BTreeMap<String, serde::de::IgnoredAny> =
        serde_ipld_dagcbor::from_slice(&bytes).unwrap();
    named.into_keys().next().unwrap()
}

/// The names of all kinds of messages: the decoder lists them where it is given another.
fn names() -> BTreeSet<String> {
    let strange = std::collections::BTreeMap::from([("?", 0)]);
    let bytes = serde_ipld_dagcbor::to_vec(&strange).unwrap();
    let error = serde_ipld_dagcbor::from_slice::<Body>(&bytes).unwrap_err();
    let text = error.to_string();
    let (_, list) = text.split_once("expected one of").unwrap();
    let quoted = list.split('`').skip(1).step_by(2);
    quoted.map(str::to_owned).collect()
}

#[test]
fn the_table_has_every_kind_of_message() {
    let found: BTreeSet<String> = settings().iter().map(|one| name(&one.body)).collect();
    assert_eq!(found, names());
}

/// What is as it was but for fee and number, beside a block in which nothing was sent.
fn without_traces(view: &MemoryView, who: usize) -> (MemoryView, Account, Chain, Supply) {
    let account = query::account(view, &address(who)).unwrap();
    let mut chain = query::chain(view).unwrap();
    // The outcome itself is under this root.
    chain.receipts_root = TreeRoot([0; 32]);
    let supply = query::supply(view).unwrap();
    let mut rest = view.clone();
    let touched = [
        keys::account(&address(who)),
        keys::CHAIN.to_vec(),
        keys::SUPPLY.to_vec(),
    ];
    rest.apply(&touched.into_iter().map(|key| (key, None)).collect());
    (rest, account, chain, supply)
}

/// The message is refused for this reason and leaves no trace but its fee and number. The world is
/// afterwards as it was before.
fn refused(world: &mut World, who: usize, body: &Body, reason: &str) {
    let before = world.view.clone();
    world.block(Vec::new());
    let idle = std::mem::replace(&mut world.view, before.clone());
    let fee = world.sign(who, 0, body.clone()).message.fee.0;
    let kind = name(body);
    match world.send(who, body.clone()) {
        OutcomeResult::Refused(why) => {
            assert!(why.contains(reason), "{kind}: {why} / {reason}");
        }
        OutcomeResult::Done => panic!("{kind}: done, but should be refused: {reason}, {body:?}"),
    }
    let after = std::mem::replace(&mut world.view, before);
    let (idle, mut account, chain, mut supply) = without_traces(&idle, who);
    account.balance.0 -= fee;
    account.nonce += 1;
    supply.balances.0 -= fee;
    supply.burnt.0 += fee;
    let (rest, found_account, found_chain, found_supply) = without_traces(&after, who);
    assert_eq!(found_account, account, "{kind}: {reason}");
    assert_eq!(
        (found_chain, found_supply),
        (chain, supply),
        "{kind}: {reason}"
    );
    assert!(rest == idle, "{kind} left a trace: {reason}");
}

/// A block with only these messages, whatever its header.
fn block_of(world: &World, messages: Vec<SignedMessage>) -> Result<(), BlockError> {
    let ledger = Ledger::open(&world.view).unwrap();
    let header = world.header();
    let known = known(&messages);
    run(ledger, &world.rules, &Block { header, messages }, &known).map(|_| ())
}

#[test]
fn every_message_with_any_field_wrong_is_refused_by_name_and_leaves_no_trace() {
    for mut setting in settings() {
        let kind = name(&setting.body);
        let cases = spoiled(&setting.body);
        assert!(cases.len() >= 2, "{kind} has fields");
        for (body, reason) in cases {
            assert_ne!(body, setting.body, "{kind}: {reason}");
            refused(&mut setting.world, setting.who, &body, reason);
        }
    }
}

#[test]
fn every_message_of_somebody_else_is_refused_where_its_sender_matters() {
    for mut setting in settings() {
        if let Some(reason) = setting.stranger {
            refused(&mut setting.world, STRANGER, &setting.body, reason);
        }
    }
}

#[test]
fn every_message_is_done_once_and_the_same_again_only_where_that_is_another() {
    for mut setting in settings() {
        let (who, body) = (setting.who, setting.body);
        match setting.good {
            // The rules have nothing against it but that the proofs cannot be verified here.
            Good::ButForProofs => {
                refused(&mut setting.world, who, &body, "no verifying key");
                continue;
            }
            Good::Done => setting.world.done(who, body.clone()),
        }
        match setting.again {
            Some(reason) => refused(&mut setting.world, who, &body, reason),
            None => setting.world.done(who, body),
        }
    }
}
