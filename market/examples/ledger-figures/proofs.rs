//! Proofs as a validator verifies them: a deadline's largest message, and the heaviest block.

use crate::network::{
    BEGINNING, CLASS, Network, address, certify, dev, key, one_block, verifying_keys,
};
use crate::sealed::{disguised, sealed};
use crate::{Figures, Measured};
use holdfast_market::ledger::Ledger;
use holdfast_market::store::{GenesisState, Head, Store};
use holdfast_market_core::block::{MAX_WORK, OutcomeResult};
use holdfast_market_core::challenge;
use holdfast_market_core::keys;
use holdfast_market_core::message::{Body, GroupLayout, GroupRoot, ProviderOffer, encode};
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::query;
use holdfast_market_core::quote;
use holdfast_market_core::rules::genesis_writes;
use holdfast_market_core::schedule;
use holdfast_market_core::state::{
    Embed, EmbedGroup, EmbedReplica, Provider, ProviderRecord, Sector, SectorStatus,
};
use holdfast_market_core::tree::{self, MemoryTree};
use holdfast_market_core::units::{
    Amount, BlockId, ByteCount, Deadline, Height, NodeKey, Period, Periods, ProviderId, SectorId,
    SectorNumber,
};
use holdfast_market_core::view::{MemoryView, Writes};
use holdfast_proofs::challenge::spacetime_challenges;
use holdfast_proofs::embed::GroupData;
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_proofs::measure::core_seconds;
use holdfast_proofs::node::Node;
use holdfast_proofs::params::Parameters as Proving;
use holdfast_proofs::proof::{Circuit, CircuitId, ProofBytes};
use holdfast_proofs::prove::{Workers, prove_embed, prove_spacetime};
use holdfast_proofs::replica::ReplicaId;
use holdfast_proofs::sealed::Sealed;
use holdfast_proofs::sector::Group;
use holdfast_proofs::statement::{SpacetimeStatement, Statement};
use std::hint::black_box;
use std::time::Instant;

/// Sectors whose embeds the heavy block proves.
const EMBEDS: u64 = 8;
/// Proofs of each of them.
const PROOFS: u32 = 125;
/// Proofs of the largest message for a deadline.
const LARGEST: u64 = 256;
/// Rounds, of which the best counts.
const ROUNDS: u32 = 3;

pub fn measure(figures: &mut Figures) -> Measured {
    let folder = tempfile::tempdir()?;
    let replica = ReplicaId(Node::derive("holdfast figures replica", &[]));
    let (mut sector, _) = sealed(&folder.path().join("sector"), replica)?;
    spacetime(figures, &sector, replica)?;
    heavy_block(figures, &mut sector, replica)
}

/// One batch as large as a message for a deadline can be, by the market's own verifier.
fn spacetime(figures: &mut Figures, sector: &Sealed, replica: ReplicaId) -> Measured {
    let parameters = dev();
    let verifying_keys = verifying_keys(&parameters)?;
    let network = Network::new(parameters, verifying_keys, 1, 0)?;
    let ledger = network.open()?;
    let proving = Proving::load(
        &holdfast_testnet::parameters_folder()?,
        CircuitId::spacetime(CLASS),
        &network.verifying_keys,
    )?;
    let statement = SpacetimeStatement {
        class: CLASS,
        lanes: sector.replica_lanes(),
        challenges: spacetime_challenges(&[7; 32], replica, CLASS),
    };
    let mut random = rand_core::OsRng;
    let proofs = prove_spacetime(&Workers::one(&proving), sector, &statement, &mut random)?;
    let [proof] = proofs.as_slice() else {
        return Err("a sector has one proof a deadline".into());
    };
    let statement = Statement::Spacetime(statement);
    let mut batch = Vec::new();
    for number in 0..LARGEST {
        batch.push((statement.clone(), vec![disguised(proof, number + 2)?]));
    }
    let verifier = &ledger.rules().verifier;
    let per_core_second = |verify: &dyn Fn() -> bool| -> Measured<f64> {
        let mut best = f64::INFINITY;
        for _ in 0..ROUNDS {
            let before = core_seconds()?;
            for _ in 0..4 {
                if !black_box(verify()) {
                    return Err("proofs that hold were refused".into());
                }
            }
            best = best.min((core_seconds()? - before) / 4.0);
        }
        Ok(LARGEST as f64 / best)
    };
    let batched = format!(
        "batches of {LARGEST}, which is the largest message for a deadline; one sector's proof of 16 leaves of 8 MiB, made {LARGEST} different proofs by scaling its points; processor time of all threads, best of {ROUNDS}"
    );
    let value = per_core_second(&|| verifier.verify_all(&batch).is_ok())?;
    figures.row(
        "spacetime_proofs_verified_per_core_s",
        value,
        "proofs/core_s",
        &format!("by the verifier of a market's ledger; {batched}"),
    );
    Ok(())
}

/// Rules under which an embed has many small proofs: a real one of so many would take hours to make.
fn many_proofs() -> Parameters {
    Parameters {
        embed_challenges: PROOFS,
        embed_challenges_per_proof: 1,
        ..dev()
    }
}

/// Sectors with an embed that wants only its proof: all are copies of one, under their own numbers.
/// Its group is written with nothing, so that the replica is known before its rho is.
fn embedding(
    network: &Network,
    sector: &Sealed,
    replica: ReplicaId,
    data_root: Node,
) -> Measured<Writes> {
    let worker = address(&key(0));
    let economy = &network.genesis.parameters.economy;
    let collateral = quote::sector_collateral(economy, CLASS)?;
    let locked = |sum: Amount| Amount(sum.0 * u128::from(EMBEDS));
    let group = Group::new(0).ok_or("there is no first group")?;
    let [root, ..] = sector.replica_groups();
    let mut writes = Writes::new();
    for number in 0..EMBEDS {
        let sector = Sector {
            id: SectorId {
                provider: ProviderId(0),
                number: SectorNumber(number),
            },
            class: CLASS,
            replica,
            status: SectorStatus::Active { from: Period(1) },
            columns: sector.replica_lanes(),
            key_root: sector.key_root(),
            replica_root: sector.replica_root(),
            replica_lanes: sector.replica_lanes(),
            deadline: Deadline(0),
            groups: Vec::new(),
            embed: Some(Embed {
                committed: Height(0),
                groups: vec![EmbedGroup {
                    layout: GroupLayout {
                        group,
                        subtrees: Vec::new(),
                    },
                    key_root: root,
                    data_root,
                }],
                replica: Some(EmbedReplica {
                    committed: Height(0),
                    roots: vec![GroupRoot { group, root }],
                    lanes: sector.replica_lanes(),
                }),
                deposit: economy.embed_deposit,
            }),
            faults: Periods(0),
            proven: None,
            next: Period(1),
            window: None,
            locked: collateral,
        };
        writes.insert(keys::sector(sector.id), Some(encode(&sector)?));
    }
    let held = Amount(locked(collateral).0 + locked(economy.embed_deposit).0);
    let provider = Provider {
        id: ProviderId(0),
        owner: worker,
        worker,
        offer: ProviderOffer {
            node: NodeKey([7; 32]),
            endpoint: "127.0.0.1:4000".into(),
            price: Amount::hold(1),
            read_price: Amount::ZERO,
        },
        collateral: held,
        locked: held,
        vesting: Vec::new(),
        since: Height(0),
        next_sector: SectorNumber(EMBEDS),
        retiring: None,
        record: ProviderRecord::default(),
    };
    writes.insert(keys::provider(provider.id), Some(encode(&provider)?));
    Ok(writes)
}

/// Begins a market's folder with these objects beside those of its genesis, and with their tokens.
fn begin(network: &Network, objects: Writes) -> Measured<Ledger> {
    let mut writes = genesis_writes(&network.genesis)?;
    writes.extend(objects);
    let mut view = MemoryView::default();
    view.apply(&writes);
    let mut chain = query::chain(&view)?;
    chain.next_provider = ProviderId(1);
    chain.capacity = ByteCount(CLASS.bytes() * EMBEDS);
    if let Some(first) = chain.deadlines.first_mut() {
        *first = chain.capacity;
    }
    let mut supply = query::recount(&view)?;
    supply.minted = Amount(supply.minted.0 + supply.collateral.0);
    writes.insert(keys::CHAIN.to_vec(), Some(encode(&chain)?));
    writes.insert(keys::SUPPLY.to_vec(), Some(encode(&supply)?));
    let (state_root, tree) = tree::apply(&MemoryTree::default(), Height(0), &writes)?;
    let first = GenesisState {
        writes,
        tree,
        head: Head {
            height: Height(0),
            block: BlockId(network.id.0),
            state_root,
            time: BEGINNING,
        },
    };
    drop(Store::open(network.market()?, network.id, &first)?);
    network.open()
}

/// The proofs of one embed at the beacons that the chain has drawn.
fn embed_proofs(
    ledger: &Ledger,
    sealed: &mut Sealed,
    proving: &Proving,
) -> Measured<Vec<ProofBytes>> {
    let parameters = &ledger.rules().parameters;
    let view = ledger.view();
    let id = SectorId {
        provider: ProviderId(0),
        number: SectorNumber(0),
    };
    let sector = query::sector(&view, id)?.ok_or("the sector is not there")?;
    let embed = sector.embed.as_ref().ok_or("there is no embed")?;
    let replica = embed.replica.as_ref().ok_or("no replica is committed")?;
    let beacon = |height| -> Measured<_> {
        Ok(query::beacon(&view, height)?.ok_or("the beacon is not drawn yet")?)
    };
    let for_rho = beacon(schedule::rho_height(parameters, embed))?;
    let drawn = beacon(schedule::embed_challenge_height(parameters, replica))?;
    for (group, rho) in challenge::rhos(&sector, embed, &for_rho) {
        sealed.embed(group, rho)?;
    }
    let statement = challenge::embed_statement(parameters, &sector, embed, &for_rho, &drawn)?;
    let mut random = rand_core::OsRng;
    Ok(prove_embed(
        &Workers::one(proving),
        sealed,
        &statement,
        &mut random,
    )?)
}

fn heavy_keys(proving: &Proving, parameters: &Parameters) -> Measured<VerifyingKeys> {
    let usual = verifying_keys(&dev())?;
    let circuits = parameters.circuits().into_iter();
    let mut all = VerifyingKeys::new();
    for id in circuits {
        match id.circuit {
            Circuit::Embed => all.insert(id, proving.verifying_key()),
            Circuit::Seal | Circuit::Spacetime => {
                let key = usual.get(id).ok_or("a verifying key is missing")?;
                all.insert(id, key.to_vec())
            }
        };
    }
    Ok(all)
}

/// The heaviest block that the rules allow: checked as another validator's, and committed.
fn heavy_block(figures: &mut Figures, sealed: &mut Sealed, replica: ReplicaId) -> Measured {
    let parameters = many_proofs();
    let circuit = CircuitId::embed(CLASS, parameters.embed_challenges_per_proof);
    let proving = Proving::create(circuit, &mut rand_core::OsRng)?;
    let keys = heavy_keys(&proving, &parameters)?;
    let network = Network::new(parameters, keys, 1, 1)?;
    let group = Group::new(0).ok_or("there is no first group")?;
    let data = sealed.stage(GroupData::new(CLASS, group))?;
    let ledger = begin(&network, embedding(&network, sealed, replica, data)?)?;
    let validator = network.validator()?;
    for block in 1..=3 {
        one_block(&ledger, &validator, BEGINNING + block * 1_000)?;
    }
    let begun = Instant::now();
    let proofs = embed_proofs(&ledger, sealed, &proving)?;
    eprintln!(
        "{} embed proofs made in {:?}",
        proofs.len(),
        begun.elapsed()
    );
    let worker = key(0);
    for number in 0..EMBEDS {
        let mut theirs = Vec::new();
        for proof in &proofs {
            theirs.push(disguised(proof, number + 2)?);
        }
        let body = Body::ProveEmbed {
            sector: SectorId {
                provider: ProviderId(0),
                number: SectorNumber(number),
            },
            proofs: theirs,
        };
        ledger.submit(network.message(&worker, number, body)?)?;
    }
    let block = ledger.propose(&validator, BEGINNING + 4_000)?;
    let proofs: usize = block
        .messages
        .iter()
        .map(|one| quote::work(&one.message.body))
        .sum();
    if proofs != MAX_WORK {
        return Err(format!("the block has {proofs} of {MAX_WORK} units of work").into());
    }
    // Another validator's market: it has not executed the block before.
    drop(ledger);
    let ledger = network.open()?;
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        ledger.check(&block)?;
        best = best.min(begun.elapsed().as_secs_f64());
    }
    let begun = Instant::now();
    ledger.commit(&certify(&ledger, &validator, block)?)?;
    let committed = begun.elapsed().as_secs_f64();
    let outcomes = ledger.store().outcomes(Height(4))?.unwrap_or_default();
    if outcomes.len() as u64 != EMBEDS
        || outcomes.iter().any(|one| one.result != OutcomeResult::Done)
    {
        return Err(format!("the proofs do not hold: {outcomes:?}").into());
    }
    figures.row(
        "block_with_1000_proofs_ms",
        (best + committed) * 1e3,
        "ms",
        &format!(
            "by the clock: another validator's block of {EMBEDS} embeds of {PROOFS} proofs each (one challenge a proof), which with the sectors is all the work that a block may have, checked ({:.0} ms, best of {ROUNDS}) and committed; the embeds are copies of one, its proofs scaled for each",
            best * 1e3
        ),
    );
    Ok(())
}
