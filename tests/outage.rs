//! A machine that loses its power again and again with a whole testnet on it: market, nodes, wallet
//! and uploads lie on one disk that forgets what was not synced.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use holdfast_faults::disk::{Disk, Loss};
use holdfast_faults::figures;
use holdfast_faults::is_long;
use holdfast_faults::network::{Network, Running, patient_rules};
use holdfast_testnet::{LedgerView, Tree};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const NODES: usize = 3;
/// Room for some 170 files, and for what uploads that were cut off leave behind.
const MOST_FILES: usize = 100;
/// Enough for everything but sealing a sector.
const LITTLE_ROOM: u64 = 60 << 20;
/// How long the disk is full.
const FULL_TIME: Duration = Duration::from_secs(5);
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_holdfast"))
}

/// The seed of this run: `HOLDFAST_SEED`, or a new one.
fn seed() -> u64 {
    let given = std::env::var("HOLDFAST_SEED").ok();
    given
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random)
}

/// The machine: what runs on it, and its disk, which goes last: the network shows its logs before.
struct Machine {
    network: Network,
    putting: Option<(PathBuf, Running)>,
    /// What the client's commands said that ended without success, the last one last, each once
    /// in a row.
    refused: Vec<String>,
    sources: PathBuf,
    stored: Vec<PathBuf>,
    /// No more than the nodes have room for is stored.
    most: usize,
    disk: Disk,
}

impl Machine {
    /// Takes the client's next step: what was interrupted is begun again by the same command.
    fn step(&mut self) {
        self.network.supervise();
        match &mut self.putting {
            None if self.stored.len() < self.most => {
                let number = self.stored.len();
                let source = self.sources.join(format!("file-{number}"));
                let bytes = blake3::hash(&number.to_le_bytes());
                let mut content = vec![0; 30_000 + 17_000 * (number % 3)];
                blake3::Hasher::new_keyed(bytes.as_bytes())
                    .finalize_xof()
                    .fill(&mut content);
                // What is written again is another version, of another time.
                if !source.exists() {
                    std::fs::write(&source, content).unwrap();
                }
                let network = self.network.folder().to_owned();
                let arguments: [&OsStr; 8] = [
                    "put".as_ref(),
                    source.as_ref(),
                    "--data-shards".as_ref(),
                    "2".as_ref(),
                    "--total-shards".as_ref(),
                    "3".as_ref(),
                    "--network".as_ref(),
                    network.as_ref(),
                ];
                let running = Running::begin(binary(), &arguments, &[]);
                self.putting = Some((source, running));
            }
            None => {}
            Some((_, running)) => {
                if let Some(answer) = running.ended() {
                    let (source, _) = self.putting.take().unwrap();
                    // The answer of an earlier life may have been lost with the power.
                    if answer.status.success() || answer.said.contains("is stored already") {
                        self.stored.push(source);
                    } else {
                        if self.refused.last() != Some(&answer.said) {
                            println!("the client is refused: {}", answer.said.trim_end());
                            self.refused.push(answer.said);
                        }
                    }
                }
            }
        }
    }

    /// Everything stops at once, and the disk forgets.
    fn lose_power(&mut self, loss: Loss) {
        let acknowledged = self
            .putting
            .as_mut()
            .and_then(|(_, running)| running.ended());
        if acknowledged.is_some_and(|answer| answer.status.success()) {
            let (source, _) = self.putting.take().unwrap();
            self.stored.push(source);
        }
        self.putting = None;
        // First it writes no more, so that nobody gets ahead of those that die later.
        self.disk.stop_after(0);
        for name in self.network.names() {
            self.network.stop(&name);
        }
        self.disk.cut_power(loss);
    }

    fn status(&self, node: &str) -> serde_json::Value {
        let data = self.network.folder().join(node);
        let words = ["node", "status", "--data", data.to_str().unwrap()];
        Running::begin(binary(), &words, &[]).wait().object
    }

    /// Waits until every node follows the ledger: one that only starts has to write its journal.
    async fn wait_for_all(&mut self) {
        let begun = Instant::now();
        let ledger = self.network.ledger();
        let mut reached = None;
        for node in 0..NODES {
            loop {
                self.network.supervise();
                if reached.is_none() {
                    reached = ledger.status().await.ok().map(|status| status.height.0);
                }
                let status = self.status(&format!("node-{node}"));
                let height = status["status"]["height"].as_u64();
                if reached.is_some_and(|reached| height > Some(reached)) {
                    break;
                }
                assert!(begun.elapsed() < PATIENCE, "node-{node} does not follow");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }

    /// What a node says that it could not do.
    fn troubles(&self, node: &str) -> Vec<String> {
        let troubles = self.status(node)["troubles"].as_array().cloned();
        let words = troubles.unwrap_or_default().into_iter();
        words
            .filter_map(|one| Some(one.as_str()?.to_owned()))
            .collect()
    }

    /// With little room on the disk the nodes say that they wait for it, and seal nothing.
    async fn wait_for_room_to_seal(&mut self) {
        self.disk.limit(self.disk.used() + LITTLE_ROOM);
        self.network.start_all().await;
        let begun = Instant::now();
        loop {
            self.network.supervise();
            let troubles = self.troubles("node-0");
            if troubles.iter().any(|one| one.contains("bytes of disk")) {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{troubles:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.disk.no_limit();
    }

    /// Stores until there are so many files.
    async fn store_until(&mut self, goal: usize) {
        self.most = goal;
        let begun = Instant::now();
        while self.stored.len() < goal || self.putting.is_some() {
            assert!(
                begun.elapsed() < PATIENCE,
                "the client does not finish; its last words: {:?}; the nodes: {:?}",
                self.refused.last(),
                (0..NODES)
                    .map(|node| self.status(&format!("node-{node}")))
                    .collect::<Vec<_>>()
            );
            self.step();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// On a full disk nothing is stored and nothing dies. Nothing of the file that is tried may be
    /// begun: what an earlier life began can be stored already but for the answer.
    async fn fill_and_make_room(&mut self) {
        let before = self.stored.len();
        self.most = before + 1;
        let begun = Instant::now();
        while begun.elapsed() < FULL_TIME {
            // Room that somebody makes by deleting is taken away again.
            self.disk.limit(self.disk.used());
            self.step();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(self.stored.len(), before, "stored on a full disk");
        self.disk.no_limit();
    }
}

fn all_proven_and_paid(view: &LedgerView) -> bool {
    let mut deals = view.deal_sets.iter().flat_map(|set| &set.deals);
    // A put that begins anew, since its source was written again, cancels what it had proposed.
    view.providers.len() == NODES
        && deals.all(|deal| {
            deal.state == "cancelled" || deal.state == "proven" && deal.paid_periods >= 1
        })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_loses_its_power_loses_nothing_that_its_testnet_acknowledged() {
    let (cuts, files) = if is_long() { (60, 12) } else { (6, 2) };
    let seed = seed();
    println!("HOLDFAST_SEED={seed} draws these moments again");
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    let disk = Disk::mount().unwrap();
    let folder = disk.path().join("net");
    let network = Network::make(
        binary(),
        &folder,
        u8::try_from(NODES).unwrap(),
        patient_rules(),
    )
    .await;
    // `testnet up` has said that the network is made.
    disk.cut_power(Loss::Everything);
    let sources = tempfile::tempdir().unwrap();
    let mut machine = Machine {
        network,
        putting: None,
        refused: Vec::new(),
        sources: sources.path().to_owned(),
        stored: Vec::new(),
        most: MOST_FILES,
        disk,
    };
    machine.wait_for_room_to_seal().await;
    machine.lose_power(Loss::Everything);
    for _ in 0..cuts {
        machine.network.start_all().await;
        let until = Instant::now() + Duration::from_millis(draw.gen_range(500..10_000));
        while Instant::now() < until {
            machine.step();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let loss = match draw.gen_range(0..3) {
            0 => Loss::Everything,
            _ => Loss::Some(draw.r#gen()),
        };
        machine.lose_power(loss);
    }
    // The power stays: what was begun is finished, and more goes in, once there is room for it.
    machine.network.start_all().await;
    machine.wait_for_all().await;
    let begun = machine.stored.len() + 1;
    machine.store_until(begun).await;
    machine.fill_and_make_room().await;
    machine.store_until((begun + 1).max(files)).await;
    let network = &mut machine.network;
    let view = network
        .until_shown("all is proven and paid", PATIENCE, all_proven_and_paid)
        .await;
    for provider in &view.providers {
        assert_eq!(provider.fined.0, 0, "{provider:?}");
    }
    assert!(view.supply.balances_out(), "{:?}", view.supply);
    let mut lost = 0;
    for (number, source) in machine.stored.iter().enumerate() {
        let name = source.file_name().unwrap().to_str().unwrap();
        let to = sources.path().join(format!("back-{number}"));
        let arguments = ["get", name, "--to", to.to_str().unwrap()];
        network.run_until_done(&arguments, PATIENCE).await;
        let (before, back) = (
            Tree::read(source).unwrap(),
            Tree::read(&to.join(name)).unwrap(),
        );
        assert_eq!(before.differences(&back), Vec::<String>::new());
        lost += before.bytes().saturating_sub(back.bytes());
    }
    network.run_until_done(&["audit"], PATIENCE).await;
    figures::record(
        "power_losses",
        f64::from(cuts),
        "losses",
        &format!(
            "of a whole testnet at drawn moments from seed {seed}, {} files stored, {lost} bytes lost",
            machine.stored.len()
        ),
    );
}
