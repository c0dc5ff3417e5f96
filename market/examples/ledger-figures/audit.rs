//! The audit of a whole ledger from its genesis, against the time that the ledger took.

use crate::network::{BEGINNING, CLASS, Network, address, dev, key, one_block, verifying_keys};
use crate::sealed::sealed;
use crate::{Figures, Measured};
use ed25519_dalek::SigningKey;
use holdfast_market::audit::{Source, audit};
use holdfast_market::ledger::Ledger;
use holdfast_market::store::Store;
use holdfast_market::validator::ValidatorKeys;
use holdfast_market_core::block::OutcomeResult;
use holdfast_market_core::challenge;
use holdfast_market_core::message::{Body, PreCommit, ProviderOffer, SpacetimeProof};
use holdfast_market_core::query;
use holdfast_market_core::schedule;
use holdfast_market_core::state::Sector;
use holdfast_market_core::units::{
    Amount, Beacon, Blocks, Height, NodeKey, ProviderId, SectorId, SectorNumber,
};
use holdfast_proofs::params::Parameters as Proving;
use holdfast_proofs::proof::CircuitId;
use holdfast_proofs::prove::{Workers, prove_seal, prove_spacetime};
use holdfast_proofs::replica::{ReplicaId, ReplicaSeed};
use holdfast_proofs::sealed::Sealed;
use std::sync::Arc;
use std::time::Instant;

/// Blocks of the chain.
const BLOCKS: u64 = 300;
/// Providers, each with a sector.
const PROVIDERS: u64 = 3;
/// Accounts that pay each other.
const PAYERS: u64 = 20;
/// Transfers in each block.
const TRANSFERS: u64 = 20;

/// A chain that is built block by block.
struct Chain<'a> {
    network: &'a Network,
    ledger: Ledger,
    validator: ValidatorKeys,
    /// The number of each account's next message.
    nonces: Vec<u64>,
    /// The number of the provider that each of the first accounts owns.
    providers: Vec<ProviderId>,
    proofs: u64,
}

impl Chain<'_> {
    fn height(&self) -> Height {
        self.ledger.head().height
    }

    fn beacon(&self, height: Height) -> Measured<Beacon> {
        let beacon = query::beacon(&self.ledger.view(), height)?;
        Ok(beacon.ok_or("the beacon is not drawn yet")?)
    }

    /// The only sector of an account's provider.
    fn sector_id(&self, account: u64) -> Measured<SectorId> {
        let provider = self.providers.get(usize::try_from(account)?);
        Ok(SectorId {
            provider: *provider.ok_or("the account has no provider")?,
            number: SectorNumber(0),
        })
    }

    fn sector(&self, account: u64) -> Measured<Sector> {
        let sector = query::sector(&self.ledger.view(), self.sector_id(account)?)?;
        Ok(sector.ok_or("the sector is not there")?)
    }

    fn submit(&mut self, account: u64, body: Body) -> Measured {
        let nonce = usize::try_from(account)?;
        let nonce = self.nonces.get_mut(nonce).ok_or("no such account")?;
        let key: SigningKey = key(account);
        let message = self.network.message(&key, *nonce, body)?;
        *nonce += 1;
        self.ledger.submit(message)?;
        Ok(())
    }

    /// One block of what waits and of some transfers; everything in it is done.
    fn block(&mut self) -> Measured {
        let height = self.height().after(Blocks(1));
        for turn in 0..TRANSFERS {
            let from = PROVIDERS + turn % PAYERS;
            let to = PROVIDERS + (turn * 7 + height.0) % PAYERS;
            let body = Body::Transfer {
                to: address(&key(to)),
                amount: Amount(u128::from(height.0)),
            };
            self.submit(from, body)?;
        }
        let interval = self.network.genesis.parameters.block_interval_ms;
        one_block(
            &self.ledger,
            &self.validator,
            BEGINNING + height.0 * interval,
        )?;
        let outcomes = self.ledger.store().outcomes(height)?.unwrap_or_default();
        match outcomes
            .iter()
            .find(|one| one.result != OutcomeResult::Done)
        {
            None => Ok(()),
            Some(refused) => Err(format!("a message was refused: {:?}", refused.result).into()),
        }
    }
}

/// Registers the providers and proves their seals.
fn begin(chain: &mut Chain<'_>, proving: &Proving) -> Measured<Vec<Sealed>> {
    let folder = chain.network.folder.path().to_owned();
    for provider in 0..PROVIDERS {
        let body = Body::RegisterProvider {
            worker: address(&key(provider)),
            offer: ProviderOffer {
                node: NodeKey([7; 32]),
                endpoint: "127.0.0.1:4000".into(),
                price: Amount::hold(1),
                read_price: Amount::ZERO,
            },
            collateral: Amount::hold(100),
        };
        chain.submit(provider, body)?;
    }
    chain.block()?;
    let registered = query::providers(&chain.ledger.view(), None, usize::MAX)?;
    for account in 0..PROVIDERS {
        let owner = address(&key(account));
        let own = registered.iter().find(|one| one.owner == owner);
        chain.providers.push(own.ok_or("nobody is registered")?.id);
    }
    let ticket = Height(0);
    let mut sectors = Vec::new();
    for provider in 0..PROVIDERS {
        let sector = chain.sector_id(provider)?;
        let replica = ReplicaId::derive(&ReplicaSeed {
            network: *chain.network.id.as_bytes(),
            class: CLASS,
            provider: sector.provider.0,
            number: sector.number.0,
            ticket: *chain.beacon(ticket)?.as_bytes(),
        });
        let (sealed, commitment) = sealed(&folder.join(format!("sector-{provider}")), replica)?;
        let body = Body::PreCommitSector(PreCommit {
            sector,
            class: CLASS,
            ticket,
            columns: commitment.columns,
            keys: commitment.keys,
        });
        chain.submit(provider, body)?;
        sectors.push(sealed);
    }
    chain.block()?;
    let parameters = chain.network.genesis.parameters.clone();
    let drawn = schedule::seal_challenge_height(&parameters, chain.height());
    while chain.height() < drawn {
        chain.block()?;
    }
    let beacon = chain.beacon(drawn)?;
    for (provider, sealed) in (0..).zip(&sectors) {
        let sector = chain.sector(provider)?;
        let statement = challenge::seal_statement(&parameters, &sector, &beacon);
        let mut random = rand_core::OsRng;
        let proofs = prove_seal(&Workers::one(proving), sealed, &statement, &mut random)?;
        chain.proofs += proofs.len() as u64;
        let body = Body::ProveSeal {
            sector: sector.id,
            proofs,
        };
        chain.submit(provider, body)?;
    }
    chain.block()?;
    Ok(sectors)
}

/// Proves each sector at its deadline until the chain is long enough.
fn go_on(chain: &mut Chain<'_>, sectors: &[Sealed], proving: &Proving) -> Measured {
    let parameters = chain.network.genesis.parameters.clone();
    while chain.height() < Height(BLOCKS) {
        let head = chain.height();
        for (provider, sealed) in (0..).zip(sectors) {
            let sector = chain.sector(provider)?;
            let Some((period, window)) = schedule::next_window(&parameters, &sector) else {
                return Err("a sector is not active".into());
            };
            if sector.proven == Some(period) || !window.contains(head) || window.close == head {
                continue;
            }
            let beacon = chain.beacon(window.open)?;
            let statement = challenge::spacetime_statement(&sector, period, &beacon);
            let mut random = rand_core::OsRng;
            let workers = Workers::one(proving);
            let proofs = prove_spacetime(&workers, sealed, &statement, &mut random)?;
            let [proof] = proofs.as_slice() else {
                return Err("a sector has one proof a deadline".into());
            };
            chain.proofs += 1;
            let body = Body::ProveSpacetime {
                provider: sector.id.provider,
                period,
                deadline: sector.deadline,
                proofs: vec![SpacetimeProof {
                    sector: sector.id.number,
                    proof: *proof,
                }],
            };
            chain.submit(provider, body)?;
        }
        chain.block()?;
    }
    Ok(())
}

pub fn measure(figures: &mut Figures) -> Measured {
    let parameters = dev();
    let keys = verifying_keys(&parameters)?;
    let kept = holdfast_testnet::parameters_folder()?;
    let per_proof = parameters.seal_challenges_per_proof;
    let for_seal = Proving::load(&kept, CircuitId::seal(CLASS, per_proof), &keys)?;
    let for_spacetime = Proving::load(&kept, CircuitId::spacetime(CLASS), &keys)?;
    let accounts = PROVIDERS + PAYERS;
    let network = Network::new(parameters, keys, 1, accounts)?;
    let mut chain = Chain {
        ledger: network.open()?,
        validator: network.validator()?,
        network: &network,
        nonces: vec![0; usize::try_from(accounts)?],
        providers: Vec::new(),
        proofs: 0,
    };
    let sectors = begin(&mut chain, &for_seal)?;
    go_on(&mut chain, &sectors, &for_spacetime)?;
    let proofs = chain.proofs;
    drop(chain);
    figures.begin("the chain is built, and is audited now");
    let runtime = tokio::runtime::Runtime::new()?;
    let begun = Instant::now();
    let store = Store::open_read_only(network.market()?, network.id)?;
    let audited = runtime.block_on(audit(
        &network.genesis,
        &network.verifying_keys,
        Source::Folder(Box::new(store)),
        Arc::new(|_| {}),
    ))?;
    let spent = begun.elapsed().as_secs_f64();
    if audited.height != Height(BLOCKS) || !audited.conserved {
        return Err("the audit saw another chain".into());
    }
    let interval = network.genesis.parameters.block_interval_ms as f64 / 1e3;
    figures.row(
        "full_audit_speedup",
        BLOCKS as f64 * interval / spent,
        "times as fast",
        &format!(
            "{BLOCKS} blocks of the development rules ({interval} s each) from a market's folder, replayed in pure Rust in {spent:.2} s by the clock: {} messages ({TRANSFERS} transfers in each block), {proofs} real proofs of {PROVIDERS} sectors ({} seals, {} at deadlines); certificates, signatures, beacons, execution, state roots, proofs, books, and every stored object against the replay",
            audited.done, audited.proofs.seal.count, audited.proofs.spacetime.count
        ),
    );
    Ok(())
}
