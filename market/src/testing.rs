//! What the tests share: a network of one validator or more and one rich account.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::headers;
use crate::ledger::Ledger;
use crate::ordering::one_block;
use crate::run::{Config, OrderedBy};
use crate::validator::ValidatorKeys;
use bls12_381::{G1Affine, G2Affine};
use ed25519_dalek::SigningKey;
use holdfast_market_core::block::{CertifiedBlock, Validator};
use holdfast_market_core::genesis::{Balance, Genesis};
use holdfast_market_core::light::LightChain;
use holdfast_market_core::message::{Body, Message, SignedMessage};
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::query;
use holdfast_market_core::quote;
use holdfast_market_core::stake::Staking;
use holdfast_market_core::units::{Address, Amount, Height};
use holdfast_proofs::keys::VerifyingKeys;
use rand_core::SeedableRng;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Where a network's market keeps its data.
pub enum Folder {
    Own(TempDir),
    Given(PathBuf),
}

impl Folder {
    pub fn path(&self) -> &Path {
        match self {
            Self::Own(folder) => folder.path(),
            Self::Given(folder) => folder,
        }
    }
}

/// A network and a folder for its market.
pub struct Network {
    pub folder: Folder,
    pub genesis: Genesis,
    pub verifying_keys: VerifyingKeys,
    /// Holds a million HOLD.
    pub rich: SigningKey,
}

impl Network {
    /// One whose name is `name`; networks of different names have different ids.
    pub fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut random = rand_chacha::ChaCha20Rng::seed_from_u64(1);
        let validator = ValidatorKeys::create(folder.path(), &mut random).unwrap();
        Self::with(name, Folder::Own(folder), vec![validator.validator(1)])
    }

    /// The network of that name whose folder another process made.
    pub fn in_folder(name: &str, folder: &Path) -> Self {
        let validator = ValidatorKeys::load(folder).unwrap();
        Self::with(
            name,
            Folder::Given(folder.into()),
            vec![validator.validator(1)],
        )
    }

    /// One of several validators of equal power, each with its folder: as each of them sees it.
    pub fn of_several(name: &str, validators: u8) -> Vec<Self> {
        let folders: Vec<TempDir> = (0..validators)
            .map(|index| {
                let folder = tempfile::tempdir().unwrap();
                let mut random = rand_chacha::ChaCha20Rng::seed_from_u64(index.into());
                ValidatorKeys::create(folder.path(), &mut random).unwrap();
                folder
            })
            .collect();
        let all: Vec<Validator> = folders
            .iter()
            .map(|folder| ValidatorKeys::load(folder.path()).unwrap().validator(1))
            .collect();
        let networks = folders.into_iter();
        networks
            .map(|folder| Self::with(name, Folder::Own(folder), all.clone()))
            .collect()
    }

    /// The same, chosen by stake: each has 1,000 HOLD at stake and 10 for its messages.
    pub fn of_stake(name: &str, validators: u8) -> Vec<Self> {
        let mut networks = Self::of_several(name, validators);
        let first = &mut networks[0];
        first.genesis.parameters.staking = Some(Staking::dev());
        for validator in &mut first.genesis.validators {
            validator.power = 1_000;
            first.genesis.balances.push(Balance {
                account: validator.key,
                amount: Amount::hold(10),
            });
        }
        let genesis = first.genesis.clone();
        for network in &mut networks {
            network.genesis = genesis.clone();
        }
        networks
    }

    fn with(name: &str, folder: Folder, validators: Vec<Validator>) -> Self {
        let rich = SigningKey::from_bytes(&[42; 32]);
        let parameters = Parameters {
            block_interval_ms: 20,
            ..Parameters::dev()
        };
        let verifying_keys = keys_of_no_circuit(&parameters);
        let genesis = Genesis {
            name: name.into(),
            time: 1_700_000_000_000,
            verifying_keys: verifying_keys.digest(),
            balances: vec![Balance {
                account: address(&rich),
                amount: Amount::hold(1_000_000),
            }],
            validators,
            parameters,
        };
        Self {
            folder,
            genesis,
            verifying_keys,
            rich,
        }
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().to_path_buf()
    }

    pub fn validator(&self) -> ValidatorKeys {
        ValidatorKeys::load(self.folder.path()).unwrap()
    }

    pub fn open(&self) -> Ledger {
        Ledger::open(&self.data(), self.genesis.clone(), &self.verifying_keys).unwrap()
    }

    pub fn config(&self) -> Config {
        Config {
            genesis: self.genesis.clone(),
            verifying_keys: self.verifying_keys.clone(),
            data: self.data(),
            listen: "127.0.0.1:0".parse().unwrap(),
            ordering: OrderedBy::Embedded,
            forward: Vec::new(),
        }
    }

    /// The next transfer of the rich account.
    pub fn transfer(&self, nonce: u64, to: Address, amount: Amount) -> SignedMessage {
        transfer(&self.genesis, &self.rich, nonce, to, amount)
    }

    /// Fills a ledger: block h carries a transfer of h grains to the address of ones.
    pub fn grow(&self, ledger: &Ledger, blocks: u64) -> Vec<CertifiedBlock> {
        let keys = self.validator();
        (0..blocks)
            .map(|_| {
                let height = ledger.head().height.0 + 1;
                let nonce = query::account(&ledger.view(), &address(&self.rich))
                    .unwrap()
                    .nonce;
                let message = self.transfer(nonce, Address([1; 32]), Amount(height.into()));
                ledger.submit(message).unwrap();
                one_block(ledger, &keys, 1_700_000_000_000 + height * 1000).unwrap()
            })
            .collect()
    }
}

/// The chain as a light client sees it, page by page, up to the ledger's head.
pub fn followed(ledger: &Ledger) -> LightChain {
    let mut chain = LightChain::begin(ledger.genesis()).unwrap();
    while chain.height() < ledger.head().height {
        let next = Height(chain.height().0 + 1);
        chain
            .follow(&headers::after(ledger, next, 5).unwrap())
            .unwrap();
    }
    chain
}

pub fn address(key: &SigningKey) -> Address {
    Address(key.verifying_key().to_bytes())
}

pub fn transfer(
    genesis: &Genesis,
    from: &SigningKey,
    nonce: u64,
    to: Address,
    amount: Amount,
) -> SignedMessage {
    message(genesis, from, nonce, Body::Transfer { to, amount })
}

pub fn message(genesis: &Genesis, from: &SigningKey, nonce: u64, body: Body) -> SignedMessage {
    let mut message = Message {
        sender: address(from),
        nonce,
        fee: Amount::ZERO,
        expiry: Height(1_000_000),
        body,
    };
    message.fee = quote::fee(&genesis.parameters.economy, &message).unwrap();
    SignedMessage::new(genesis.network().unwrap(), from, message).unwrap()
}

/// Verifying keys whose points are the generators: they belong to no circuit, and whoever tests makes
/// proofs of anything (`audit/tests/chain.rs`) without a sealed sector.
fn keys_of_no_circuit(parameters: &Parameters) -> VerifyingKeys {
    let one = G1Affine::generator().to_uncompressed();
    let two = G2Affine::generator().to_uncompressed();
    parameters
        .circuits()
        .into_iter()
        .map(|id| {
            // As `bellman` writes them: alpha, beta twice, gamma, delta twice, then the inputs.
            let mut bytes = Vec::new();
            bytes.extend(one);
            bytes.extend(one);
            bytes.extend(two);
            bytes.extend(two);
            bytes.extend(one);
            bytes.extend(two);
            let inputs = u32::try_from(id.public_input_count() + 1).unwrap();
            bytes.extend(inputs.to_be_bytes());
            for _ in 0..inputs {
                bytes.extend(one);
            }
            (id, bytes)
        })
        .collect()
}
