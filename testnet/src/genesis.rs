//! The genesis of a testnet: whom it gives tokens, and who orders its blocks.

use crate::error::TestnetError;
use crate::parameters::NetworkParameters;
use holdfast_market_core::block::Validator;
use holdfast_market_core::genesis::{Balance, Genesis};
use holdfast_market_core::governance::Governance;
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::stake::Staking;
use holdfast_market_core::units::{Address, Amount, Blocks};
use holdfast_proofs::sector::SectorClass;
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

/// What the wallet has at first: far more than a testnet's prices ask.
const WALLET: Amount = Amount::hold(1_000);
/// What each provider's owner has at first: its collateral, its deposits and its fees.
const OWNER: Amount = Amount::hold(500);
/// What each validator has at first, for messages of its own.
const VALIDATOR: Amount = Amount::hold(10);
/// What each of several validators has at stake, in HOLD.
const STAKE: u64 = 1_000;
/// The name that the network's genesis carries.
const NAME: &str = "testnet";

/// The development rules, for many nodes on one machine: what is due is due later, because all of
/// them embed at once on a few cores, and an embed of one piece (8 + 1 challenges) is one proof.
/// Blocks come a little faster: nearly half of a demo is waiting for two whole periods, and the two
/// nodes of six that share a deadline prove it in about half of its eight seconds on two cores.
pub fn rules(class: SectorClass) -> Parameters {
    Parameters {
        block_interval_ms: 800,
        classes: vec![class],
        embed_challenges_per_proof: 9,
        replica_due: Blocks(60),
        embed_due: Blocks(90),
        promise: Blocks(300),
        ..Parameters::dev()
    }
}

/// Makes the genesis from what the `init` commands printed. The wallet's balance stands first.
pub(crate) fn make(
    rules: &Parameters,
    parameters: &NetworkParameters,
    validators: &[Value],
    wallet: &Value,
    owners: &[Value],
) -> Result<Genesis, TestnetError> {
    let mut balances = vec![Balance {
        account: address(wallet, "wallet init", "address")?,
        amount: WALLET,
    }];
    for owner in owners {
        balances.push(Balance {
            account: address(owner, "node init", "owner")?,
            amount: OWNER,
        });
    }
    let mut validators = validators
        .iter()
        .map(|printed| {
            serde_json::from_value(printed.clone())
                .map_err(|error| unexpected("market init", &error.to_string()))
        })
        .collect::<Result<Vec<Validator>, _>>()?;
    let mut rules = rules.clone();
    if validators.len() > 1 {
        // Who orders is chosen by stake, and each can show what another signed twice.
        rules.staking = Some(Staking::dev());
        rules.governance = Some(Governance::dev(&rules.economy));
        for validator in &mut validators {
            validator.power = STAKE;
            balances.push(Balance {
                account: validator.key,
                amount: VALIDATOR,
            });
        }
    }
    // A clock before 1970 gives 0; the time is informative.
    let time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        });
    Ok(Genesis {
        name: NAME.into(),
        time,
        parameters: rules,
        verifying_keys: parameters.digest,
        balances,
        validators,
    })
}

fn address(printed: &Value, command: &str, key: &str) -> Result<Address, TestnetError> {
    let text = printed
        .get(key)
        .and_then(Value::as_str)
        .ok_or_else(|| unexpected(command, &format!("there is no `{key}` in what it prints")))?;
    if let Ok(address) = serde_json::from_value(Value::from(text)) {
        return Ok(address);
    }
    Address::from_text(text, "thold").map_err(|error| unexpected(command, &error.to_string()))
}

fn unexpected(command: &str, reason: &str) -> TestnetError {
    TestnetError::Command {
        command: command.into(),
        reason: reason.into(),
        next: "build the whole workspace anew".into(),
    }
}
