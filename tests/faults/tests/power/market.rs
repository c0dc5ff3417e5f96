//! The market's ledger: a block whose commit returned is never lost and never replaced.

use super::{loss, with_seeds};
use bls12_381::{G1Affine, G2Affine};
use ed25519_dalek::SigningKey;
use holdfast_faults::disk::Loss;
use holdfast_market::ledger::{Ledger, LedgerError};
use holdfast_market::validator::ValidatorKeys;
use holdfast_market_core::block::{Certificate, CertifiedBlock};
use holdfast_market_core::genesis::{Balance, Genesis};
use holdfast_market_core::message::{Body, Message, SignedMessage, SigningContext};
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::units::{Address, Amount, BlockId, Height};
use holdfast_market_core::{query, quote};
use holdfast_proofs::keys::VerifyingKeys;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use std::collections::BTreeSet;
use std::path::Path;

/// Why a ledger on a disk that has stopped tells nothing.
type Unreadable = Box<dyn std::error::Error>;

/// Who is paid: block h pays h grains.
const PAID: Address = Address([1; 32]);

/// A network of one validator and one rich account.
pub struct World {
    pub genesis: Genesis,
    pub verifying_keys: VerifyingKeys,
    pub rich: SigningKey,
}

impl World {
    pub fn of(validator: &ValidatorKeys) -> Self {
        let rich = SigningKey::from_bytes(&[42; 32]);
        let parameters = Parameters {
            block_interval_ms: 20,
            ..Parameters::dev()
        };
        let verifying_keys = keys_of_no_circuit(&parameters);
        let genesis = Genesis {
            name: "power".into(),
            time: 1_700_000_000_000,
            verifying_keys: verifying_keys.digest(),
            balances: vec![Balance {
                account: Address(rich.verifying_key().to_bytes()),
                amount: Amount::hold(1_000_000),
            }],
            validators: vec![validator.validator(1)],
            parameters,
        };
        Self {
            genesis,
            verifying_keys,
            rich,
        }
    }

    pub fn open(&self, data: &Path) -> Result<Ledger, LedgerError> {
        Ledger::open(data, self.genesis.clone(), &self.verifying_keys)
    }

    /// The rich account.
    pub fn rich(&self) -> Address {
        Address(self.rich.verifying_key().to_bytes())
    }

    /// The next payment of the rich account, where the ledger can be read.
    fn payment(&self, ledger: &Ledger, amount: u64) -> Result<SignedMessage, Unreadable> {
        let sender = self.rich();
        let account = query::account(&ledger.view(), &sender)?;
        let body = Body::Transfer {
            to: PAID,
            amount: Amount(amount.into()),
        };
        Ok(self.message(ledger.next_nonce(&sender, account.nonce), body))
    }

    /// A message of the rich account.
    pub fn message(&self, nonce: u64, body: Body) -> SignedMessage {
        let mut message = Message {
            sender: self.rich(),
            nonce,
            fee: Amount::ZERO,
            expiry: Height(1_000_000),
            body,
        };
        message.fee = quote::fee(&self.genesis.parameters.economy, &message).unwrap();
        SignedMessage::new(self.genesis.network().unwrap(), &self.rich, message).unwrap()
    }
}

/// Verifying keys that are well-formed points and belong to no circuit: rules need some.
fn keys_of_no_circuit(parameters: &Parameters) -> VerifyingKeys {
    let one = G1Affine::generator().to_uncompressed();
    let two = G2Affine::generator().to_uncompressed();
    let circuits = parameters.circuits().into_iter();
    let key = |id: holdfast_proofs::proof::CircuitId| {
        let mut bytes = Vec::new();
        for point in [&one[..], &one, &two, &two, &one, &two] {
            bytes.extend_from_slice(point);
        }
        let inputs = u32::try_from(id.public_input_count() + 1).unwrap();
        bytes.extend(inputs.to_be_bytes());
        for _ in 0..inputs {
            bytes.extend_from_slice(&one);
        }
        (id, bytes)
    };
    circuits.map(key).collect()
}

/// A chain as this test knows it.
#[derive(Default)]
struct Known {
    /// Blocks that are certainly committed, from height 1 on.
    blocks: Vec<BlockId>,
    /// Blocks after them whose commit did not return well.
    attempted: BTreeSet<BlockId>,
}

impl Known {
    /// Commits a block that pays its height; true where that was acknowledged.
    fn grow(&mut self, world: &World, ledger: &Ledger, keys: &ValidatorKeys) -> bool {
        let height = ledger.head().height.0 + 1;
        if ledger.pending() == 0 {
            let Ok(payment) = world.payment(ledger, height) else {
                return false;
            };
            ledger.submit(payment).unwrap();
        }
        let Ok(block) = ledger.propose(keys, 1_700_000_000_000 + height * 1000) else {
            return false;
        };
        let signed = SigningContext::Block.sign(ledger.network(), keys.consensus(), &block.header);
        let certified = CertifiedBlock {
            block,
            certificate: Certificate::Embedded {
                signature: signed.unwrap(),
            },
        };
        let id = certified.block.header.id().unwrap();
        self.attempted.insert(id);
        let committed = ledger.commit(&certified).is_ok();
        if committed {
            self.blocks.push(id);
            self.attempted.clear();
        }
        committed
    }

    /// Everything acknowledged is there; at most one block more, one that was tried.
    ///
    /// # Errors
    /// The disk gave nothing more.
    fn check(&mut self, ledger: &Ledger) -> Result<(), Unreadable> {
        let head = ledger.head();
        let known = self.blocks.len() as u64;
        assert!(
            head.height.0 == known || head.height.0 == known + 1,
            "{known} blocks were committed, the head is {}",
            head.height
        );
        if head.height.0 > known {
            assert!(self.attempted.contains(&head.block), "a block of nobody's");
            self.blocks.push(head.block);
        }
        self.attempted.clear();
        let blocks = ledger.blocks(Height(1)..=Height(1_000_000))?;
        let found: Vec<BlockId> = blocks
            .iter()
            .map(|certified| certified.block.header.id().unwrap())
            .collect();
        assert_eq!(found, self.blocks[..found.len()]);
        let last = self.blocks.len() as u64;
        for height in 1..=last {
            let block = ledger.store().block(Height(height))?.unwrap();
            assert_eq!(
                block.block.header.id().unwrap(),
                self.blocks[height as usize - 1]
            );
            let outcomes = ledger.store().outcomes(Height(height))?.unwrap();
            assert_eq!(outcomes.len(), 1);
        }
        let paid = query::account(&ledger.view(), &PAID)?.balance;
        assert_eq!(paid, Amount((last * (last + 1) / 2).into()));
        Ok(())
    }
}

#[test]
fn a_block_that_was_committed_survives_a_loss_of_power_at_any_moment() {
    with_seeds(8, |disk, draw| {
        let data = disk.path().join("home/market");
        let mut random = ChaCha20Rng::seed_from_u64(1);
        let keys = ValidatorKeys::create(&data, &mut random).unwrap();
        disk.cut_power(Loss::Everything);
        let read = ValidatorKeys::load(&data).unwrap();
        assert_eq!(read.address(), keys.address());
        let world = World::of(&keys);
        let mut known = Known::default();
        for _ in 0..4 {
            disk.stop_after(draw.gen_range(1..400));
            if let Ok(ledger) = world.open(&data) {
                if let Err(error) = known.check(&ledger) {
                    assert!(disk.is_stopped(), "{error}");
                }
                for _ in 0..draw.gen_range(1..60) {
                    if !known.grow(&world, &ledger, &keys) {
                        break;
                    }
                }
            }
            disk.cut_power(loss(draw));
        }
        let ledger = world.open(&data).unwrap();
        known.check(&ledger).unwrap();
        assert!(known.grow(&world, &ledger, &keys));
        known.check(&ledger).unwrap();
    });
}

#[test]
fn a_validators_keys_are_there_once_init_has_said_so_and_whole_or_absent_before() {
    with_seeds(20, |disk, draw| {
        let data = disk.path().join("deep/in/market");
        let mut random = ChaCha20Rng::seed_from_u64(draw.r#gen());
        disk.stop_after(draw.gen_range(1..14));
        let made = ValidatorKeys::create(&data, &mut random);
        disk.cut_power(loss(draw));
        let there = ValidatorKeys::load(&data);
        match (made, there) {
            (Ok(made), there) => assert_eq!(there.unwrap().address(), made.address()),
            (Err(_), Ok(_)) => {}
            (Err(_), Err(error)) => {
                assert!(
                    matches!(error, holdfast_market::validator::KeyError::Absent(_)),
                    "{error}"
                );
                ValidatorKeys::create(&data, &mut random).unwrap();
            }
        }
    });
}

#[test]
fn a_block_is_not_acknowledged_where_its_write_or_its_sync_fails() {
    for syncs in [false, true] {
        let disk = holdfast_faults::disk::Disk::mount().unwrap();
        let data = disk.path().join("market");
        let mut random = ChaCha20Rng::seed_from_u64(1);
        let keys = ValidatorKeys::create(&data, &mut random).unwrap();
        let world = World::of(&keys);
        let mut known = Known::default();
        let ledger = world.open(&data).unwrap();
        assert!(known.grow(&world, &ledger, &keys));
        match syncs {
            true => disk.fail_syncs("*.log"),
            false => disk.fail_writes("*.log"),
        }
        assert!(!known.grow(&world, &ledger, &keys));
        let head = ledger.head().height;
        disk.heal();
        // The database knows that its log is no log any more: it takes nothing until it is opened
        // anew, so that nothing is acknowledged that lies behind a hole.
        assert!(!known.grow(&world, &ledger, &keys));
        assert_eq!(ledger.head().height, head);
        drop(ledger);
        disk.cut_power(Loss::Everything);
        let ledger = world.open(&data).unwrap();
        known.check(&ledger).unwrap();
        assert!(known.grow(&world, &ledger, &keys));
    }
}
