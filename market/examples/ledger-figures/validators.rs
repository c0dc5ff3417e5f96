//! Four validators, each a process of its own, and transfers that come in at all of their APIs.

use crate::market::Running;
use crate::network::{Network, address, dev, key, message, verifying_keys};
use crate::{Figures, Measured};
use holdfast_market_core::block::OutcomeResult;
use holdfast_market_core::message::{Body, SignedMessage};
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::units::{Amount, Blocks, Height, MessageId};
use holdfast_wire::ledger::LedgerClient;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const VALIDATORS: u8 = 4;
/// Milliseconds between blocks.
const INTERVAL: u64 = 500;
/// Accounts that send to each validator, each one message after the other.
const SENDERS: u64 = 64;
/// Transfers a second that are offered, one load after the other until one is too much.
const OFFERED: [u64; 4] = [600, 900, 1_200, 1_800];
/// How long each load lasts.
const LASTING: Duration = Duration::from_secs(15);
/// How long everything may take that is not measured.
const PATIENCE: Duration = Duration::from_secs(60);
/// A load was too much where half of its messages waited longer.
const LATE: Duration = Duration::from_secs(1);

/// What came of a load.
struct Load {
    offered: u64,
    per_second: f64,
    /// From each acceptance to the block, ascending.
    finality: Vec<Duration>,
    /// Processors that the validators kept busy.
    cores: f64,
}

impl Load {
    fn quantile(&self, hundredths: usize) -> Duration {
        let place = self.finality.len() * hundredths / 100;
        self.finality.get(place).copied().unwrap_or(Duration::MAX)
    }

    /// Whether the validators keep up with it.
    fn is_borne(&self) -> bool {
        self.quantile(50) <= LATE && self.per_second >= 0.9 * self.offered as f64
    }
}

/// A message and when its market had it, by the clock of the one who sent it.
type Seen = (MessageId, Instant);

async fn send(
    market: LedgerClient,
    messages: Vec<(MessageId, SignedMessage)>,
    first: Instant,
    pause: Duration,
) -> Result<Vec<Seen>, String> {
    let mut accepted = Vec::with_capacity(messages.len());
    for (turn, (id, message)) in (0..).zip(messages) {
        tokio::time::sleep_until((first + pause * turn).into()).await;
        let sent = market.submit(&message).await;
        sent.map_err(|error| format!("a message was not taken: {error}"))?;
        accepted.push((id, Instant::now()));
    }
    Ok(accepted)
}

/// Says of each message when the market had a block with it, from `next` on, until there are `count`
/// of them.
async fn watch(
    market: LedgerClient,
    mut next: Height,
    count: usize,
) -> Result<(Vec<Seen>, Height), String> {
    let mut seen = Vec::new();
    let words = |error: &dyn std::error::Error| error.to_string();
    while seen.len() < count {
        let status = market.wait(next).await.map_err(|error| words(&error))?;
        let now = Instant::now();
        if status.height < next {
            continue;
        }
        let blocks = market
            .blocks(next, 64)
            .await
            .map_err(|error| words(&error))?;
        for certified in blocks {
            for message in &certified.block.messages {
                seen.push((message.id().map_err(|error| words(&error))?, now));
            }
            next = certified.block.header.height.after(Blocks(1));
        }
    }
    Ok((seen, next))
}

async fn finished<T: 'static>(tasks: &mut JoinSet<Result<T, String>>) -> Measured<Vec<T>> {
    let mut all = Vec::new();
    while let Some(done) = tasks.join_next().await {
        all.push(done??);
    }
    Ok(all)
}

/// Sends for a while, and waits until every market has everything.
async fn load(
    network: &Network,
    markets: &[Running],
    nonces: &mut BTreeMap<u64, u64>,
    offered: u64,
) -> Measured<Load> {
    let senders = SENDERS * markets.len() as u64;
    let each = offered * LASTING.as_secs() / senders;
    let pause = LASTING / u32::try_from(each)?;
    let mut plans = Vec::new();
    for sender in 0..senders {
        let nonce = nonces.entry(sender).or_default();
        let mut messages = Vec::new();
        for _ in 0..each {
            let body = Body::Transfer {
                to: address(&key((sender * 31 + *nonce) % senders)),
                amount: Amount(1),
            };
            let economy = &network.genesis.parameters.economy;
            let signed = message(network.id, economy, &key(sender), *nonce, body)?;
            messages.push((signed.id()?, signed));
            *nonce += 1;
        }
        plans.push(messages);
    }
    let count = plans.iter().map(Vec::len).sum();
    let (mut watching, mut sending) = (JoinSet::new(), JoinSet::new());
    let mut from = Height(0);
    for market in markets {
        from = market.client()?.status().await?.height;
        watching.spawn(watch(market.client()?, from.after(Blocks(1)), count));
    }
    let busy = || -> Measured<f64> { markets.iter().map(Running::core_seconds).sum() };
    let (begun, before) = (Instant::now(), busy()?);
    for (sender, messages) in (0..).zip(plans) {
        let place = usize::try_from(sender % markets.len() as u64)?;
        let market = markets.get(place).ok_or("there is no such market")?;
        // Each begins a moment after the one before.
        let first = begun + pause * u32::try_from(sender)? / u32::try_from(senders)?;
        sending.spawn(send(market.client()?, messages, first, pause));
    }
    let accepted = finished(&mut sending).await?;
    let watched = tokio::time::timeout(PATIENCE, finished(&mut watching)).await??;
    let ended = watched.iter().flat_map(|(seen, _)| seen).map(|(_, at)| *at);
    let spent = ended.max().ok_or("no block holds a message")? - begun;
    let cores = (busy()? - before) / begun.elapsed().as_secs_f64();
    let mut finality = Vec::new();
    // The markets do not say whose clock is whose: a message is final where the last of them has it.
    let mut last: BTreeMap<MessageId, Instant> = BTreeMap::new();
    for (id, at) in watched.into_iter().flat_map(|(seen, _)| seen) {
        let known = last.entry(id).or_insert(at);
        *known = at.max(*known);
    }
    for (id, at) in accepted.into_iter().flatten() {
        let seen = last.get(&id).ok_or("a message is in no block")?;
        finality.push(seen.saturating_duration_since(at));
    }
    finality.sort();
    check(markets, from).await?;
    Ok(Load {
        offered,
        per_second: finality.len() as f64 / spent.as_secs_f64(),
        finality,
        cores,
    })
}

/// Whether all have one chain, and every message of it above `from` is done.
async fn check(markets: &[Running], from: Height) -> Measured {
    let mut chains = Vec::new();
    for market in markets {
        chains.push(market.client()?.blocks(from.after(Blocks(1)), 8).await?);
    }
    let blocks = chains.iter().map(|chain| {
        let blocks = chain.iter().map(|certified| certified.block.clone());
        blocks.take(4).collect::<Vec<_>>()
    });
    let mut blocks: Vec<_> = blocks.collect();
    blocks.dedup();
    if blocks.len() != 1 {
        return Err("the validators have different chains".into());
    }
    let client = markets.first().ok_or("there is no market")?.client()?;
    let head = client.status().await?.height;
    let mut height = from;
    while height < head {
        height = height.after(Blocks(1));
        let outcomes = client.outcomes(height).await?;
        if outcomes.iter().any(|one| one.result != OutcomeResult::Done) {
            return Err("a transfer was refused".into());
        }
    }
    Ok(())
}

pub fn measure(figures: &mut Figures) -> Measured {
    let parameters = Parameters {
        block_interval_ms: INTERVAL,
        ..dev()
    };
    let keys = verifying_keys(&parameters)?;
    let accounts = SENDERS * u64::from(VALIDATORS);
    let network = Network::new(parameters, keys, VALIDATORS, accounts)?;
    let mut markets = Running::all(&network)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let begun = Instant::now();
    for market in &mut markets {
        while !runtime.block_on(async {
            let status = market.client()?.status().await;
            Measured::Ok(status.is_ok_and(|status| status.height >= Height(2)))
        })? {
            market.check()?;
            if begun.elapsed() > PATIENCE {
                return Err("the validators do not begin".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let mut nonces = BTreeMap::new();
    let mut best: Option<Load> = None;
    for offered in OFFERED {
        let load = runtime.block_on(load(&network, &markets, &mut nonces, offered))?;
        eprintln!(
            "{offered} transfers/s offered: {:.0}/s final, half of them within {:?}, {:.2} processors",
            load.per_second,
            load.quantile(50),
            load.cores
        );
        let borne = load.is_borne();
        if borne || best.is_none() {
            best = Some(load);
        }
        if !borne {
            break;
        }
    }
    let load = best.ok_or("nothing was offered")?;
    let conditions = format!(
        "{VALIDATORS} processes on loopback, blocks every {INTERVAL} ms, {} transfers/s offered for {} s by {accounts} accounts, a quarter of them at each API, handed on by it to the others; from the first acceptance to the last block; the validators took {:.2} processors, who sent and watched is not counted in that",
        load.offered,
        LASTING.as_secs(),
        load.cores,
    );
    figures.row(
        "transfers_per_s_bft4",
        load.per_second,
        "transfers/s",
        &conditions,
    );
    let conditions = "under that load, from a message's acceptance at its sender's market until all four markets have said that they hold a block with it";
    for (name, hundredths) in [("finality_p50_ms_bft4", 50), ("finality_p95_ms_bft4", 95)] {
        let milliseconds = load.quantile(hundredths).as_secs_f64() * 1e3;
        figures.row(name, milliseconds, "ms", conditions);
    }
    Ok(())
}
