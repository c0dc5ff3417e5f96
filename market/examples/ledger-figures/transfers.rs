//! Transfers through the embedded ordering on one thread: taken in, chosen, executed, committed.

use crate::network::{BEGINNING, Network, address, certify, dev, key, verifying_keys};
use crate::{Figures, Measured};
use ed25519_dalek::SigningKey;
use holdfast_market_core::block::{MAX_MESSAGES, OutcomeResult};
use holdfast_market_core::message::{Body, SignedMessage};
use holdfast_market_core::units::{Amount, Height};
use holdfast_proofs::measure::{core_seconds, thread_seconds};
use std::time::Instant;

/// Accounts that send and are paid.
const ACCOUNTS: u64 = 20_000;
/// Those of them that send; each fills an equal part of a block.
const SENDERS: u64 = 2_048;
/// Blocks that are measured, after one that is not.
const BLOCKS: u64 = 10;

/// The messages of one full block: each sender pays a few others.
fn batch(network: &Network, keys: &[SigningKey], block: u64) -> Measured<Vec<SignedMessage>> {
    let each = MAX_MESSAGES as u64 / SENDERS;
    let mut messages = Vec::with_capacity(MAX_MESSAGES);
    for turn in 0..each {
        for (number, from) in (0..).zip(keys) {
            let nonce = block * each + turn;
            let to = (number * 7_919 + nonce * 104_729 + 1) % ACCOUNTS;
            let body = Body::Transfer {
                to: address(&key(to)),
                amount: Amount(1 + u128::from(nonce)),
            };
            messages.push(network.message(from, nonce, body)?);
        }
    }
    Ok(messages)
}

pub fn measure(figures: &mut Figures) -> Measured {
    let parameters = dev();
    let keys = verifying_keys(&parameters)?;
    let network = Network::new(parameters, keys, 1, ACCOUNTS)?;
    let (ledger, validator) = (network.open()?, network.validator()?);
    let senders: Vec<SigningKey> = (0..SENDERS).map(key).collect();
    let (mut wall, mut cores) = (0.0, 0.0);
    let mut steps = [0.0; 3];
    let since = Instant::now();
    for number in 0..=BLOCKS {
        let messages = batch(&network, &senders, number)?;
        let (begun, before) = (Instant::now(), core_seconds()?);
        let mut at = thread_seconds(since);
        let mut step = || {
            let now = thread_seconds(since);
            let spent = now - at;
            at = now;
            spent
        };
        for message in messages {
            ledger.submit(message)?;
        }
        let taken = step();
        let block = ledger.propose(&validator, BEGINNING + number * 1_000)?;
        let proposed = step();
        if block.messages.len() != MAX_MESSAGES {
            return Err(format!("a block has {} messages", block.messages.len()).into());
        }
        ledger.commit(&certify(&ledger, &validator, block)?)?;
        let committed = step();
        // The first block finds everything cold.
        if number > 0 {
            wall += begun.elapsed().as_secs_f64();
            cores += core_seconds()? - before;
            for (sum, one) in steps.iter_mut().zip([taken, proposed, committed]) {
                *sum += one;
            }
        }
        let outcomes = ledger.store().outcomes(Height(number + 1))?;
        let outcomes = outcomes.ok_or("a block has no outcomes")?;
        if outcomes.iter().any(|one| one.result != OutcomeResult::Done) {
            return Err("a transfer was refused".into());
        }
    }
    let transfers = (BLOCKS * MAX_MESSAGES as u64) as f64;
    let [taken, proposed, committed] = steps.map(|seconds| seconds * 1e6 / transfers);
    let conditions = format!(
        "{BLOCKS} blocks of {MAX_MESSAGES} transfers, {SENDERS} senders to {ACCOUNTS} accounts: signature checked, taken into the pool, chosen, executed, state root computed, written to RocksDB in one synced batch a block; one thread and RocksDB's own; of each transfer's time {taken:.0} us to be taken in, {proposed:.0} to be chosen and executed, {committed:.0} to be committed"
    );
    figures.row(
        "transfers_per_s_embedded",
        transfers / cores,
        "transfers/core_s",
        &conditions,
    );
    figures.row(
        "transfers_per_s_embedded_wall",
        transfers / wall,
        "transfers/s",
        "the same by the clock, the disk waited for and beside what else runs",
    );
    Ok(())
}
