//! Networks to measure: a genesis with real keys, and folders of the markets that order its blocks.

use crate::Measured;
use ed25519_dalek::SigningKey;
use holdfast_market::ledger::Ledger;
use holdfast_market::validator::ValidatorKeys;
use holdfast_market_core::block::{Certificate, CertifiedBlock};
use holdfast_market_core::genesis::{Balance, Genesis};
use holdfast_market_core::message::{Body, Message, SignedMessage, SigningContext};
use holdfast_market_core::parameters::{Economy, Parameters};
use holdfast_market_core::quote;
use holdfast_market_core::units::{Address, Amount, Height, NetworkId};
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_proofs::params;
use holdfast_proofs::sector::SectorClass;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::path::PathBuf;
use tempfile::TempDir;

/// The sectors of these networks.
pub const CLASS: SectorClass = SectorClass::Mib8;
/// What each account has at first.
const BALANCE: Amount = Amount::hold(1_000_000);
/// When the networks began.
pub const BEGINNING: u64 = 1_700_000_000_000;

/// A network and the folders of its markets, which end with it.
pub struct Network {
    pub folder: TempDir,
    pub genesis: Genesis,
    pub id: NetworkId,
    pub verifying_keys: VerifyingKeys,
    /// One of each validator.
    pub markets: Vec<PathBuf>,
}

/// The development network's rules, with sectors of 8 MiB alone.
pub fn dev() -> Parameters {
    Parameters {
        classes: vec![CLASS],
        ..Parameters::dev()
    }
}

/// The keys of the circuits that these rules need, found on this machine or made.
pub fn verifying_keys(parameters: &Parameters) -> Measured<VerifyingKeys> {
    let folder = holdfast_testnet::parameters_folder()?;
    let keys = params::ensure(&folder, &parameters.circuits(), &mut |progress| {
        eprintln!("parameters: {progress:?}");
    });
    Ok(keys?)
}

impl Network {
    /// One with so many validators, and with accounts of the numbers from 0 up.
    pub fn new(
        parameters: Parameters,
        verifying_keys: VerifyingKeys,
        validators: u8,
        accounts: u64,
    ) -> Measured<Self> {
        let folder = tempfile::tempdir()?;
        let (mut markets, mut all) = (Vec::new(), Vec::new());
        for number in 0..validators {
            let market = folder.path().join(format!("market-{number}"));
            let mut random = ChaCha20Rng::seed_from_u64(number.into());
            all.push(ValidatorKeys::create(&market, &mut random)?.validator(1));
            markets.push(market);
        }
        let balance = |number| Balance {
            account: address(&key(number)),
            amount: BALANCE,
        };
        let genesis = Genesis {
            name: "figures".into(),
            time: BEGINNING,
            verifying_keys: verifying_keys.digest(),
            balances: (0..accounts).map(balance).collect(),
            validators: all,
            parameters,
        };
        Ok(Self {
            folder,
            id: genesis.network()?,
            genesis,
            verifying_keys,
            markets,
        })
    }

    /// The first market's folder.
    pub fn market(&self) -> Measured<&PathBuf> {
        Ok(self.markets.first().ok_or("the network has no market")?)
    }

    /// The first market's keys.
    pub fn validator(&self) -> Measured<ValidatorKeys> {
        Ok(ValidatorKeys::load(self.market()?)?)
    }

    /// The first market's ledger.
    pub fn open(&self) -> Measured<Ledger> {
        let market = self.market()?;
        Ok(Ledger::open(
            market,
            self.genesis.clone(),
            &self.verifying_keys,
        )?)
    }

    /// What an account asks, signed, at the least fee.
    pub fn message(&self, from: &SigningKey, nonce: u64, body: Body) -> Measured<SignedMessage> {
        message(self.id, &self.genesis.parameters.economy, from, nonce, body)
    }
}

/// What an account asks of a network, signed, at the least fee.
pub fn message(
    network: NetworkId,
    economy: &Economy,
    from: &SigningKey,
    nonce: u64,
    body: Body,
) -> Measured<SignedMessage> {
    let mut message = Message {
        sender: address(from),
        nonce,
        fee: Amount::ZERO,
        expiry: Height(u64::MAX),
        body,
    };
    message.fee = quote::fee(economy, &message)?;
    Ok(SignedMessage::new(network, from, message)?)
}

/// The key of an account.
pub fn key(number: u64) -> SigningKey {
    let bytes = blake3::derive_key("holdfast figures account", &number.to_le_bytes());
    SigningKey::from_bytes(&bytes)
}

/// The address of a key.
pub fn address(key: &SigningKey) -> Address {
    Address(key.verifying_key().to_bytes())
}

/// Builds, signs and commits one block, as the embedded ordering does.
pub fn one_block(ledger: &Ledger, keys: &ValidatorKeys, time: u64) -> Measured<CertifiedBlock> {
    let block = ledger.propose(keys, time)?;
    let certified = certify(ledger, keys, block)?;
    ledger.commit(&certified)?;
    Ok(certified)
}

/// A block with its single signer's certificate.
pub fn certify(
    ledger: &Ledger,
    keys: &ValidatorKeys,
    block: holdfast_market_core::block::Block,
) -> Measured<CertifiedBlock> {
    let signature =
        SigningContext::Block.sign(ledger.network(), keys.consensus(), &block.header)?;
    Ok(CertifiedBlock {
        block,
        certificate: Certificate::Embedded { signature },
    })
}
