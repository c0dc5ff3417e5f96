//! A ledger with a million sectors and a hundred thousand deal sets: how fast it starts, how much
//! memory it takes, and how long what it shows is.

mod objects;

use crate::market::Running;
use crate::network::{BEGINNING, Network, dev, verifying_keys};
use crate::{Figures, Measured};
use holdfast_market::store::{Commit, Head, Store};
use holdfast_market_core::beacon::BeaconSecret;
use holdfast_market_core::block::{Certificate, CertifiedBlock};
use holdfast_market_core::build::{self, Turn};
use holdfast_market_core::execute::execute;
use holdfast_market_core::keys;
use holdfast_market_core::message::{SigningContext, encode};
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::query;
use holdfast_market_core::tree;
use holdfast_market_core::units::{Blocks, Height};
use holdfast_market_core::view::{MemoryView, Writes};
use holdfast_wire::ledger::ProvenState;
use objects::Objects;
use std::time::{Duration, Instant};

/// Sectors that are written with one block.
const AT_ONCE: u64 = 10_000;
/// Questions that are asked of each kind.
const QUESTIONS: u64 = 500;
/// Blocks that the market makes meanwhile.
const BLOCKS: u64 = 5;
/// How long the market may take to start.
const PATIENCE: Duration = Duration::from_secs(120);

/// Rules under which so many sectors can be proven: a period is a day.
fn daily() -> Parameters {
    Parameters {
        period: Blocks(86_400),
        deadlines: 48,
        ..dev()
    }
}

/// Writes the state: block by block, each an empty one executed by the rules, with objects put beside
/// what it writes.
fn write(network: &Network, objects: &Objects) -> Measured {
    // Its genesis is the network's own.
    drop(network.open()?);
    let ledger_rules =
        holdfast_market_core::rules::Rules::new(&network.genesis, &network.verifying_keys)?;
    let validator = network.validator()?;
    let first = first(network)?;
    let store = Store::open(network.market()?, network.id, &first)?;
    let begun = Instant::now();
    let batches = objects.sectors.div_ceil(AT_ONCE);
    for batch in 0..batches {
        let head = store.head()?;
        let height = head.height.after(Blocks(1));
        let turn = Turn {
            builder: validator.address(),
            beacon: BeaconSecret::clone(validator.beacon()),
            time: BEGINNING + height.0 * 1_000,
            state_root: head.state_root,
        };
        let block = build::block(&store.view(), &ledger_rules, &turn, Vec::new())?;
        let execution = execute(&store.view(), &ledger_rules, &block)?;
        let mut writes = execution.writes;
        let range = batch * AT_ONCE..((batch + 1) * AT_ONCE).min(objects.sectors);
        let (mut chain, mut supply) = {
            let mut view = MemoryView::default();
            view.apply(&writes);
            (query::chain(&view)?, query::supply(&view)?)
        };
        objects.put(range, &mut writes, &mut chain, &mut supply)?;
        writes.insert(keys::CHAIN.to_vec(), Some(encode(&chain)?));
        writes.insert(keys::SUPPLY.to_vec(), Some(encode(&supply)?));
        let (state_root, tree) = tree::apply(&store.tree(), height, &writes)?;
        let signature =
            SigningContext::Block.sign(network.id, validator.consensus(), &block.header)?;
        let head = Head {
            height,
            block: block.header.id()?,
            state_root,
            time: block.header.time,
        };
        store.commit(&Commit {
            certified: &CertifiedBlock {
                block,
                certificate: Certificate::Embedded { signature },
            },
            outcomes: &[],
            writes: &writes,
            tree: &tree,
            head: &head,
            named: &network.genesis.validators,
        })?;
        if batch % 10 == 9 {
            eprintln!(
                "{} sectors written, {} objects with the last block, {:?}",
                (batch + 1) * AT_ONCE,
                Writes::len(&writes),
                begun.elapsed()
            );
        }
    }
    Ok(())
}

/// What a store begins with that has begun already.
fn first(network: &Network) -> Measured<holdfast_market::store::GenesisState> {
    let writes = holdfast_market_core::rules::genesis_writes(&network.genesis)?;
    let (state_root, tree) = tree::apply(&tree::MemoryTree::default(), Height(0), &writes)?;
    Ok(holdfast_market::store::GenesisState {
        writes,
        tree,
        head: Head {
            height: Height(0),
            block: holdfast_market_core::units::BlockId(network.id.0),
            state_root,
            time: BEGINNING,
        },
    })
}

/// What was found of the proofs that a market gave.
#[derive(Default)]
struct Proofs {
    /// Bytes of the longest answer, and of its value and proof in DAG-CBOR.
    answer: usize,
    packed: usize,
    /// Seconds that reading and checking one took, at most.
    seconds: f64,
}

async fn ask(market: &Running, objects: &Objects) -> Measured<Proofs> {
    let client = market.client()?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let mut found = Proofs::default();
    for question in 0..QUESTIONS {
        let place = question * 7_919 * 104_729 % objects.sectors;
        let id = objects.sector_id(place);
        if client.sector(id).await?.id != id {
            return Err("another sector was given".into());
        }
        let pack = objects.pack(question * 7_919 % objects.sets)?;
        if client.deal_set(pack).await?.id != pack {
            return Err("another deal set was given".into());
        }
        let key = keys::sector(id);
        let place = format!("{}/v1/proofs/{}", market.api, hex::encode(&key));
        let bytes = http.get(place).send().await?.bytes().await?;
        let begun = Instant::now();
        let shown: ProvenState = serde_json::from_slice(&bytes)?;
        let value = shown.value.as_deref();
        if value.is_none() || !tree::is_shown(shown.state_root, &key, value, &shown.proof) {
            return Err("a sector is not shown under the state root".into());
        }
        found.seconds = found.seconds.max(begun.elapsed().as_secs_f64());
        let packed = encode(&(
            serde_bytes::Bytes::new(value.unwrap_or_default()),
            &shown.proof,
        ))?;
        if bytes.len() > found.answer {
            (found.answer, found.packed) = (bytes.len(), packed.len());
        }
    }
    Ok(found)
}

pub fn measure(figures: &mut Figures) -> Measured {
    let parameters = daily();
    let verifying_keys = verifying_keys(&parameters)?;
    let network = Network::new(parameters, verifying_keys, 1, 1)?;
    let objects = Objects::million(&network);
    write(&network, &objects)?;
    figures.begin("the ledger is written, and is opened anew now");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut markets = Running::all(&network)?;
    let market = markets.first_mut().ok_or("there is no market")?;
    let (client, wanted) = (market.client()?, objects.sector_id(objects.sectors / 2));
    let answered = loop {
        if runtime.block_on(client.sector(wanted)).is_ok() {
            break market.begun.elapsed();
        }
        market.check()?;
        if market.begun.elapsed() > PATIENCE {
            return Err("the market does not answer".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let (at_first, _) = market.memory()?;
    let from = runtime.block_on(client.status())?.height;
    let proofs = runtime.block_on(ask(market, &objects))?;
    runtime.block_on(client.wait_until(from.after(Blocks(BLOCKS))))?;
    let (now, most) = market.memory()?;
    let what = format!(
        "{} sectors of {} providers, {} deal sets of {} deals each, written through the store in blocks of {AT_ONCE} sectors",
        objects.sectors,
        objects.providers(),
        objects.sets,
        objects::SHARDS
    );
    figures.row(
        "restart_s_1m_sectors",
        answered.as_secs_f64(),
        "s",
        &format!("{what}; from the start of a new process to its first answer, a sector, over its API; the files are in the system's cache"),
    );
    figures.row(
        "rss_mib_1m_sectors",
        most,
        "MiB",
        &format!("VmHWM of that process after {QUESTIONS} sectors, deal sets and proofs each were asked for at random and {BLOCKS} blocks were made; {at_first:.0} MiB at the first answer, {now:.0} at the end"),
    );
    figures.row(
        "state_proof_bytes",
        proofs.answer as f64,
        "bytes",
        &format!("the longest of {QUESTIONS} answers of that market's API with a sector and its proof, in JSON; {} bytes of them as DAG-CBOR", proofs.packed),
    );
    figures.row(
        "state_proof_verify_ms",
        proofs.seconds * 1e3,
        "ms",
        "reading such an answer and checking it against its state root, the slowest of them, by the clock",
    );
    Ok(())
}
