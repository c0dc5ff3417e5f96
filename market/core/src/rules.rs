//! What a network fixes once: its id, its numbers, its verifying keys.

use crate::beacon;
use crate::finality::{MOST_POWER, MOST_VALIDATORS};
use crate::genesis::Genesis;
use crate::keys;
use crate::ledger::bytes_of;
use crate::message::Unencodable;
use crate::parameters::Parameters;
use crate::state::{Account, Chain, Supply, ValidatorSets};
use crate::units::{Address, Amount, BlockId, ByteCount, Height, NetworkId, Period, ProviderId};
use crate::view::{ViewError, Writes};
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_proofs::verify::{KeyError, Verifier};
use std::collections::BTreeMap;

/// A genesis that no network can begin with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// Its keys are others.
    #[error(
        "the verifying keys are not those that the genesis names; take the keys that belong to it"
    )]
    OtherKeys,
    /// A key cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A circuit that the parameters need has no key.
    #[error("there is no verifying key for {0}; make parameters for every class of the genesis")]
    MissingKey(String),
    /// Its numbers contradict each other.
    #[error("the parameters cannot work: {0}")]
    Parameters(String),
    /// Nobody orders blocks, or one of those who do cannot.
    #[error("the validators cannot work: {0}")]
    Validators(String),
    /// More tokens than the numbers can say.
    #[error("the first balances are more than the numbers can say, or an account is listed twice")]
    Balances,
    /// It cannot be encoded.
    #[error(transparent)]
    Unencodable(#[from] Unencodable),
    /// Its state cannot be written.
    #[error(transparent)]
    State(#[from] ViewError),
}

/// The rules of one network.
pub struct Rules {
    /// The network's id.
    pub network: NetworkId,
    /// Its numbers.
    pub parameters: Parameters,
    /// Its verifying keys, ready for use.
    pub verifier: Verifier,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rules(of network {})", self.network)
    }
}

impl Rules {
    /// The rules that a genesis sets.
    ///
    /// # Errors
    /// Keys that are not the genesis's, cannot be read, or do not cover its classes, or parameters
    /// that contradict each other.
    pub fn new(genesis: &Genesis, verifying_keys: &VerifyingKeys) -> Result<Self, GenesisError> {
        genesis
            .parameters
            .check()
            .map_err(GenesisError::Parameters)?;
        if genesis.verifying_keys != verifying_keys.digest() {
            return Err(GenesisError::OtherKeys);
        }
        for circuit in genesis.parameters.circuits() {
            if verifying_keys.get(circuit).is_none() {
                return Err(GenesisError::MissingKey(circuit.to_string()));
            }
        }
        Ok(Self {
            network: genesis.network()?,
            parameters: genesis.parameters.clone(),
            verifier: Verifier::from_keys(verifying_keys)?,
        })
    }
}

/// The most that a genesis may give out: far above any use, and far enough below the end of the
/// numbers that no price, share or reward of the rules can pass it.
const MAX_GENESIS: Amount = Amount(1 << 100);

/// The state at height 0.
///
/// # Errors
/// Balances beyond the numbers, or validators that cannot order blocks.
pub fn genesis_writes(genesis: &Genesis) -> Result<Writes, GenesisError> {
    let network = genesis.network()?;
    check_validators(genesis)?;
    let mut accounts: BTreeMap<Address, Amount> = BTreeMap::new();
    let mut minted = Amount::ZERO;
    for balance in &genesis.balances {
        minted = minted
            .checked_add(balance.amount)
            .filter(|sum| *sum <= MAX_GENESIS)
            .ok_or(GenesisError::Balances)?;
        if accounts.insert(balance.account, balance.amount).is_some() {
            return Err(GenesisError::Balances);
        }
    }
    let chain = Chain {
        height: Height(0),
        last: BlockId(*network.as_bytes()),
        time: genesis.time,
        receipts_root: crate::list::root::<Vec<u8>>(&[]),
        next_provider: ProviderId(0),
        capacity: ByteCount(0),
        deadlines: vec![ByteCount(0); genesis.parameters.deadlines as usize],
        reward_period: Period(0),
        rewarded: Amount::ZERO,
    };
    let supply = Supply {
        minted,
        balances: minted,
        ..Supply::default()
    };
    let mut writes = Writes::new();
    for (address, balance) in accounts {
        let account = Account { balance, nonce: 0 };
        writes.insert(keys::account(&address), Some(bytes_of(&account)?));
    }
    writes.insert(keys::CHAIN.to_vec(), Some(bytes_of(&chain)?));
    let validators = ValidatorSets {
        next: genesis.validators.clone(),
        after: genesis.validators.clone(),
    };
    writes.insert(keys::VALIDATORS.to_vec(), Some(bytes_of(&validators)?));
    writes.insert(keys::SUPPLY.to_vec(), Some(bytes_of(&supply)?));
    let first = beacon::at_genesis(network);
    writes.insert(keys::beacon(Height(0)), Some(bytes_of(&first)?));
    Ok(writes)
}

fn check_validators(genesis: &Genesis) -> Result<(), GenesisError> {
    if genesis.validators.is_empty() {
        return Err(GenesisError::Validators("there is none".into()));
    }
    if genesis.validators.len() > MOST_VALIDATORS {
        return Err(GenesisError::Validators(format!(
            "there are more than {MOST_VALIDATORS}"
        )));
    }
    let powers = genesis.validators.iter().map(|one| one.power);
    let total = powers.into_iter().try_fold(0u64, u64::checked_add);
    if total.is_none_or(|total| total > MOST_POWER) {
        return Err(GenesisError::Validators(format!(
            "together they have more power than {MOST_POWER}"
        )));
    }
    for (index, validator) in genesis.validators.iter().enumerate() {
        if !beacon::is_possessed(validator) {
            return Err(GenesisError::Validators(format!(
                "validator {index} does not prove that it holds its beacon key"
            )));
        }
        if validator.power == 0 {
            return Err(GenesisError::Validators(format!(
                "validator {index} has no power"
            )));
        }
        let others = genesis.validators.iter().skip(index.saturating_add(1));
        if others
            .into_iter()
            .any(|other| other.key == validator.key || other.beacon == validator.beacon)
        {
            return Err(GenesisError::Validators(format!(
                "validator {index} shares a key with another"
            )));
        }
    }
    Ok(())
}
