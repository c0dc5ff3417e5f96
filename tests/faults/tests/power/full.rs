//! A disk that is full, or that fails, under a market that runs: it pauses, says so, and goes on.

use super::market::World;
use holdfast_faults::disk::{BLOCK_BYTES, Disk, Loss};
use holdfast_faults::is_long;
use holdfast_market::run::{Config, Market, OrderedBy, RunError};
use holdfast_market::validator::ValidatorKeys;
use holdfast_market_core::block::CertifiedBlock;
use holdfast_market_core::message::{Body, SignedMessage};
use holdfast_market_core::units::{Address, Amount, Blocks, Height, MessageId};
use holdfast_node::journal::Journal;
use holdfast_node::outbox::Outbox;
use holdfast_wire::ledger::{LedgerClient, LedgerError, MessageStatus};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A market that runs on a disk of its own.
struct Running {
    disk: Disk,
    world: World,
    data: PathBuf,
    client: LedgerClient,
    stop: watch::Sender<bool>,
    market: JoinHandle<Result<(), RunError>>,
    /// Every block that was seen, by height.
    seen: BTreeMap<Height, CertifiedBlock>,
    nonce: u64,
}

impl Running {
    async fn start() -> Self {
        let disk = Disk::mount().unwrap();
        let data = disk.path().join("market");
        let mut random = ChaCha20Rng::seed_from_u64(1);
        let world = World::of(&ValidatorKeys::create(&data, &mut random).unwrap());
        let config = Config {
            genesis: world.genesis.clone(),
            verifying_keys: world.verifying_keys.clone(),
            data: data.clone(),
            listen: "127.0.0.1:0".parse().unwrap(),
            ordering: OrderedBy::Embedded,
            forward: Vec::new(),
        };
        let market = Market::open(config).await.unwrap();
        let client = LedgerClient::new(&format!("http://{}", market.address().unwrap())).unwrap();
        let (stop, stopped) = watch::channel(false);
        Self {
            disk,
            world,
            data,
            client,
            stop,
            market: tokio::spawn(market.run(stopped)),
            seen: BTreeMap::new(),
            nonce: 0,
        }
    }

    fn payment(&mut self) -> SignedMessage {
        self.nonce += 1;
        let body = Body::Transfer {
            to: Address([1; 32]),
            amount: Amount(self.nonce.into()),
        };
        self.world.message(self.nonce - 1, body)
    }

    /// Sends a payment that has to be taken.
    async fn pay(&mut self) -> MessageId {
        let message = self.payment();
        self.client.submit(&message).await.unwrap()
    }

    /// Waits until the market refuses messages, and says what it says.
    async fn until_paused(&mut self) -> String {
        let begun = Instant::now();
        loop {
            let message = self.payment();
            match self.client.submit(&message).await {
                Ok(_) => {}
                Err(LedgerError::Refused { status, sentence }) => {
                    assert_eq!(status, 503, "{sentence}");
                    self.nonce -= 1;
                    return sentence;
                }
                Err(error) => panic!("{error}"),
            }
            assert!(begun.elapsed() < PATIENCE, "the market does not pause");
            assert!(!self.market.is_finished(), "the market died");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for a block above the head, and sees to it that no block that was seen is another now.
    async fn goes_on(&mut self) {
        let begun = Instant::now();
        let from = self
            .seen
            .last_key_value()
            .map_or(Height(0), |(height, _)| *height);
        loop {
            assert!(begun.elapsed() < PATIENCE, "the market does not go on");
            assert!(!self.market.is_finished(), "the market died");
            match self.client.status().await {
                Ok(status) if status.height > from => break,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        self.see_blocks().await;
    }

    async fn see_blocks(&mut self) {
        let head = self.client.status().await.unwrap().height;
        let mut next = Height(1);
        while next <= head {
            for block in self.client.blocks(next, 64).await.unwrap() {
                let height = block.block.header.height;
                let seen = self.seen.entry(height).or_insert_with(|| block.clone());
                assert_eq!(*seen, block, "a fork at {height}");
                next = height.after(Blocks(1));
            }
        }
    }

    async fn included(&self, id: MessageId) {
        let begun = Instant::now();
        loop {
            let status = self.client.message(id).await;
            if matches!(status, Ok(MessageStatus::Included { .. })) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{status:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops it, cuts the power, and compares what is left with what was seen.
    async fn end(mut self) {
        self.see_blocks().await;
        self.stop.send(true).unwrap();
        self.market.await.unwrap().unwrap();
        self.disk.cut_power(Loss::Everything);
        let ledger = self.world.open(&self.data).unwrap();
        for (height, seen) in &self.seen {
            assert_eq!(ledger.store().block(*height).unwrap().as_ref(), Some(seen));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_market_whose_disk_is_full_pauses_with_a_sentence_and_goes_on_when_there_is_room() {
    let mut market = Running::start().await;
    let rounds = if is_long() { 40 } else { 4 };
    for round in 0..rounds {
        market.goes_on().await;
        // Full at once, and after a block or some.
        market
            .disk
            .limit(market.disk.used() + round * 3 * BLOCK_BYTES);
        let sentence = market.until_paused().await;
        assert!(sentence.contains("refuses to write"), "{sentence}");
        assert!(sentence.contains("No space left on device"), "{sentence}");
        // It is read all the while, and nothing is made.
        market.see_blocks().await;
        let head = market.client.status().await.unwrap().height;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(market.client.status().await.unwrap().height, head);
        market.disk.no_limit();
        market.goes_on().await;
        let account = market.world.rich();
        market.nonce = market.client.account(account).await.unwrap().next_nonce;
        let id = market.pay().await;
        market.included(id).await;
    }
    market.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_market_whose_log_cannot_be_written_or_synced_pauses_and_keeps_what_waits() {
    let mut market = Running::start().await;
    market.goes_on().await;
    for syncs in [true, false] {
        match syncs {
            true => market.disk.fail_syncs("market/ledger/*.log"),
            false => market.disk.fail_writes("market/ledger/*.log"),
        }
        let sentence = market.until_paused().await;
        assert!(sentence.contains("Input/output error"), "{sentence}");
        assert!(sentence.contains("ledger"), "{sentence}");
        let waiting = market.client.status().await.unwrap().pending;
        let account = market.world.rich();
        let next = market.client.account(account).await.unwrap();
        assert_eq!(next.next_nonce, next.nonce + waiting);
        market.disk.heal();
        market.goes_on().await;
        // Those that waited are in blocks without being sent again.
        let begun = Instant::now();
        while market
            .client
            .account(account)
            .await
            .map_or(0, |now| now.nonce)
            < next.next_nonce
        {
            assert!(
                begun.elapsed() < PATIENCE,
                "messages that waited were forgotten"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        market.nonce = next.next_nonce;
    }
    market.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlines_proof_is_sent_though_the_journal_cannot_note_it_and_nothing_else_is() {
    let mut market = Running::start().await;
    market.goes_on().await;
    let disk = Disk::mount().unwrap();
    let journal = Journal::open(&disk.path().join("node.db")).unwrap();
    let world = &market.world;
    let (client, parameters) = (market.client.clone(), world.genesis.parameters.clone());
    let network = world.genesis.network().unwrap();
    let mut outbox = Outbox::open(client, network, parameters, &journal).unwrap();
    disk.fail_writes("node.db/*.log");
    // What the message is does not matter to the outbox.
    let body = || Body::Transfer {
        to: Address([1; 32]),
        amount: Amount(1),
    };
    let height = market.client.status().await.unwrap().height;
    let other = outbox.post(&journal, height, &world.rich, "accept/1", body(), None);
    let error = other.await.unwrap_err().to_string();
    assert!(
        error.contains("node.db") && error.contains("Input/output error"),
        "{error}"
    );
    assert_eq!(
        market
            .client
            .account(world.rich())
            .await
            .unwrap()
            .next_nonce,
        0
    );
    let proof = outbox.post(&journal, height, &world.rich, "spacetime/1/2", body(), None);
    assert!(proof.await.unwrap());
    assert!(outbox.waits("spacetime/1/2"));
    let begun = Instant::now();
    while market.client.account(world.rich()).await.unwrap().nonce == 0 {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    disk.heal();
    // The pool lets go of a message a moment after its block is in the state.
    while outbox.waits("spacetime/1/2") {
        assert!(begun.elapsed() < PATIENCE);
        outbox.refresh(&journal, height).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(
        outbox
            .post(&journal, height, &world.rich, "accept/1", body(), None)
            .await
            .unwrap()
    );
    assert_eq!(journal.outbox().unwrap().len(), 1);
    market.end().await;
}
