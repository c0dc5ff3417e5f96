//! What a network fixes once: its id, its numbers, its verifying keys.

use crate::beacon;
use crate::block::Validator;
use crate::finality::{MOST_POWER, MOST_VALIDATORS};
use crate::genesis::Genesis;
use crate::keys;
use crate::ledger::bytes_of;
use crate::message::Unencodable;
use crate::parameters::Parameters;
use crate::stake::{Delegation, MOST_STAKE, Orders, ValidatorRecord, ValidatorStatus};
use crate::state::{Account, Chain, Supply, ValidatorSets};
use crate::units::{
    Address, Amount, BlockId, ByteCount, Height, NetworkId, Period, ProposalId, ProviderId, Stake,
};
use crate::view::{ReadView, ViewError, Writes};
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
    /// The numbers of the rules as they stand: those of the genesis, and what votes have moved.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn parameters_at(&self, view: &impl ReadView) -> Result<Parameters, ViewError> {
        Ok(Parameters {
            economy: crate::query::economy(view)?,
            ..self.parameters.clone()
        })
    }

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
    // What stands behind the first validators exists from the beginning.
    let power = genesis.validators.iter().map(|one| one.power);
    let staked = match genesis.parameters.staking {
        Some(_) => Stake(power.fold(0, u64::saturating_add)),
        None => Stake(0),
    };
    let chain = Chain {
        height: Height(0),
        last: BlockId(*network.as_bytes()),
        time: genesis.time,
        receipts_root: crate::list::root::<Vec<u8>>(&[]),
        next_provider: ProviderId(0),
        next_proposal: ProposalId(0),
        staked,
        capacity: ByteCount(0),
        deadlines: vec![ByteCount(0); genesis.parameters.deadlines as usize],
        reward_period: Period(0),
        rewarded: Amount::ZERO,
    };
    let supply = Supply {
        minted: minted
            .checked_add(staked.amount())
            .filter(|sum| *sum <= MAX_GENESIS)
            .ok_or(GenesisError::Balances)?,
        balances: minted,
        stake: staked.amount(),
        ..Supply::default()
    };
    let mut writes = Writes::new();
    for (address, balance) in accounts {
        let account = Account { balance, nonce: 0 };
        writes.insert(keys::account(&address), Some(bytes_of(&account)?));
    }
    writes.insert(keys::CHAIN.to_vec(), Some(bytes_of(&chain)?));
    let mut validators = genesis.validators.clone();
    if let Some(staking) = &genesis.parameters.staking {
        // As an election would have it.
        validators.sort_by_key(|one| one.key);
        for validator in &validators {
            let record = staked_at_genesis(validator);
            if record.stake > MOST_STAKE {
                return Err(GenesisError::Validators(format!(
                    "none has more than {MOST_STAKE} HOLD at stake"
                )));
            }
            if !record.stands(staking) {
                return Err(GenesisError::Validators(format!(
                    "each has at least {} HOLD at stake",
                    staking.least_stake
                )));
            }
            let delegation = Delegation {
                stake: record.stake,
                settled: Amount::ZERO,
            };
            let rank = keys::rank(record.stake, &record.key);
            let staked = keys::delegation(&record.key, &record.key);
            writes.insert(keys::validator(&record.key), Some(bytes_of(&record)?));
            writes.insert(staked, Some(bytes_of(&delegation)?));
            writes.insert(rank, Some(vec![1]));
        }
    }
    let validators = ValidatorSets {
        next: validators.clone(),
        after: validators,
    };
    writes.insert(keys::VALIDATORS.to_vec(), Some(bytes_of(&validators)?));
    let economy = &genesis.parameters.economy;
    writes.insert(keys::ECONOMY.to_vec(), Some(bytes_of(economy)?));
    writes.insert(keys::SUPPLY.to_vec(), Some(bytes_of(&supply)?));
    let first = beacon::at_genesis(network);
    writes.insert(keys::beacon(Height(0)), Some(bytes_of(&first)?));
    Ok(writes)
}

/// A validator of the genesis: its stake is its own key's.
fn staked_at_genesis(validator: &Validator) -> ValidatorRecord {
    ValidatorRecord {
        key: validator.key,
        owner: validator.key,
        beacon: validator.beacon,
        possession: validator.possession,
        commission_thousandths: 0,
        status: ValidatorStatus::Ready,
        own: Stake(validator.power),
        stake: Stake(validator.power),
        earned: Amount::ZERO,
        rewards: Amount::ZERO,
        commission: Amount::ZERO,
        owed: Amount::ZERO,
        missed: 0,
        built: 0,
        orders: Some(Orders {
            from: Height(1),
            to: None,
        }),
    }
}

fn check_validators(genesis: &Genesis) -> Result<(), GenesisError> {
    if genesis.validators.is_empty() {
        return Err(GenesisError::Validators("there is none".into()));
    }
    let staking = genesis.parameters.staking.as_ref();
    let most = staking.map_or(MOST_VALIDATORS, |staking| staking.most_validators as usize);
    if genesis.validators.len() > most {
        return Err(GenesisError::Validators(format!(
            "there are more than {most}"
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
        if !beacon::is_possessed(&validator.beacon, &validator.possession) {
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
