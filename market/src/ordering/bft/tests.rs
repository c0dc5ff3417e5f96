//! Engines that meet over loopback, several in one process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::*;
use crate::ledger::Ledger;
use crate::ordering::conformance::conforms;
use crate::testing::{Network, followed, transfer};
use holdfast_market_core::block::{Block, Certificate, transactions_root};
use holdfast_market_core::finality::{Ballot, BallotKind, proposer};
use holdfast_market_core::message::{Body, SigningContext};
use holdfast_market_core::query;
use holdfast_market_core::stake::ValidatorStatus;
use holdfast_market_core::units::{
    Address, Amount, BlockId, Blocks, Height, Round, Signature, Stake,
};
use std::net::TcpListener;
use std::time::Duration;
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(120);

fn alone() -> Meeting {
    Meeting {
        listen: "127.0.0.1:0".parse().unwrap(),
        peers: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_validators_engine_conforms() {
    conforms(|network| Bft::new(Some(Arc::new(network.validator())), network.data(), alone()))
        .await;
}

type Running = JoinHandle<Result<(), OrderingError>>;

/// What a lying proposer does to its blocks.
#[derive(Clone, Copy, Debug)]
pub enum Lie {
    /// Dates them at the end of time.
    EndOfTime,
    /// Names another state than the chain has.
    OtherState,
    /// Says that another validator built them.
    OtherBuilder,
    /// Puts in a message that nobody signed.
    ForgedMessage,
}

impl Lie {
    /// The block as it is told, signed by the liar.
    pub fn tell(
        self,
        ledger: &Ledger,
        keys: &ValidatorKeys,
        mut block: Block,
    ) -> (BlockId, Block, Signature) {
        let header = &mut block.header;
        match self {
            Self::EndOfTime => header.time = u64::MAX,
            Self::OtherState => header.state_root.0[0] ^= 1,
            Self::OtherBuilder => {
                let set = query::validators(&ledger.view()).unwrap().next;
                let other = set.iter().find(|one| one.key != keys.address());
                header.builder = other.unwrap().key;
            }
            Self::ForgedMessage => {
                let rich = ed25519_dalek::SigningKey::from_bytes(&[42; 32]);
                let mut forged = transfer(ledger.genesis(), &rich, 0, Address([9; 32]), Amount(1));
                forged.signature.0[3] ^= 1;
                block.messages.push(forged);
                header.transactions_root = transactions_root(&block.messages).unwrap();
            }
        }
        let built = SigningContext::Block.sign(ledger.network(), keys.consensus(), &block.header);
        (block.header.id().unwrap(), block, built.unwrap())
    }
}

/// One market of several.
struct Market {
    network: Network,
    meeting: Meeting,
    ledger: Arc<Ledger>,
    running: Option<(watch::Sender<bool>, Running)>,
    lie: Option<Lie>,
    role: Role,
}

/// As what a market runs.
enum Role {
    Validator,
    /// With the keys of another, which runs as well.
    Twin,
    /// Without keys.
    Follower,
}

impl Market {
    fn start(&mut self) {
        let keys = match self.role {
            Role::Validator => Some(self.network.validator()),
            Role::Twin => Some(self.network.validator().twin()),
            Role::Follower => None,
        };
        let keys = keys.map(Arc::new);
        let mut engine = Bft::new(keys, self.network.data(), self.meeting.clone());
        engine.lie = self.lie;
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(engine.run(Arc::clone(&self.ledger), stopped));
        self.running = Some((stop, running));
    }

    async fn stop(&mut self) {
        let (stop, running) = self.running.take().unwrap();
        stop.send(true).unwrap();
        let ended = tokio::time::timeout(PATIENCE, running).await;
        ended.expect("a stop in time").unwrap().unwrap();
    }

    async fn reaches(&self, height: Height) {
        let mut heads = self.ledger.follow();
        tokio::time::timeout(PATIENCE, heads.wait_for(|head| head.height >= height))
            .await
            .expect("blocks in time")
            .unwrap();
    }

    fn height(&self) -> Height {
        self.ledger.head().height
    }
}

/// So many markets, none of which runs.
fn markets(name: &str, count: u8) -> Vec<Market> {
    meeting(Network::of_several(name, count))
}

/// The markets of these networks, none of which runs.
fn meeting(networks: Vec<Network>) -> Vec<Market> {
    // Ports that were free a moment ago; all held until all are known.
    let held: Vec<TcpListener> = networks
        .iter()
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let places: Vec<_> = held.iter().map(|one| one.local_addr().unwrap()).collect();
    networks
        .into_iter()
        .zip(&places)
        .map(|(network, place)| Market {
            ledger: Arc::new(network.open()),
            meeting: Meeting {
                listen: *place,
                peers: places
                    .iter()
                    .filter(|other| *other != place)
                    .map(ToString::to_string)
                    .collect(),
            },
            network,
            running: None,
            lie: None,
            role: Role::Validator,
        })
        .collect()
}

/// Waits until all stand at one height with one state, once they are stopped.
fn assert_agreed(markets: &[Market]) {
    let lowest = markets.iter().map(Market::height).min().unwrap();
    let ids: Vec<_> = markets
        .iter()
        .map(|one| {
            let block = one.ledger.blocks(lowest..=lowest).unwrap().remove(0);
            let set = query::validators(&one.ledger.view()).unwrap().next;
            assert!(block.is_final(one.ledger.network(), &set));
            block.block
        })
        .collect();
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]));
    for market in markets {
        assert_eq!(followed(&market.ledger).block(), market.ledger.head().block);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn four_markets_agree_and_one_that_was_away_catches_up() {
    let mut four = markets("four", 4);
    // What is submitted to one is in its next block.
    let receiver = Address([7; 32]);
    let transfer = four[2].network.transfer(0, receiver, Amount(10));
    four[2].ledger.submit(transfer).unwrap();
    for market in &mut four {
        market.start();
    }
    for market in &four {
        market.reaches(Height(12)).await;
    }
    for market in &four {
        let paid = query::account(&market.ledger.view(), &receiver).unwrap();
        assert_eq!(paid.balance, Amount(10));
    }
    // The others go on without one, through its turns as well.
    four[1].stop().await;
    let left = four[1].height();
    let further = left.after(Blocks(40));
    for index in [0, 2, 3] {
        four[index].reaches(further).await;
    }
    assert_eq!(four[1].height(), left);
    four[1].start();
    four[1].reaches(further.after(Blocks(5))).await;
    for market in &mut four {
        market.stop().await;
    }
    assert_agreed(&four);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_two_of_four_away_nothing_is_final_and_with_one_back_it_goes_on() {
    let mut four = markets("two away", 4);
    for market in &mut four {
        market.start();
    }
    four[0].reaches(Height(3)).await;
    four[1].stop().await;
    four[2].stop().await;
    // What was decided before may still be taken.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let stood = [four[0].height(), four[3].height()];
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!([four[0].height(), four[3].height()], stood);
    four[2].start();
    let further = stood[0].max(stood[1]).after(Blocks(5));
    for index in [0, 2, 3] {
        four[index].reaches(further).await;
    }
    four[1].start();
    four[1].reaches(further).await;
    for market in &mut four {
        market.stop().await;
    }
    assert_agreed(&four);
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_of_a_lying_proposer_get_no_votes_and_its_rounds_pass() {
    let lies = [
        Lie::EndOfTime,
        Lie::OtherState,
        Lie::OtherBuilder,
        Lie::ForgedMessage,
    ];
    for lie in lies {
        let mut four = markets(&format!("{lie:?}"), 4);
        let liar = four[3].network.validator().address();
        four[3].lie = Some(lie);
        for market in &mut four {
            market.start();
        }
        // The liar has had its turn by then: of four each has one in five.
        for market in &four[..3] {
            market.reaches(Height(6)).await;
        }
        for market in &mut four {
            market.stop().await;
        }
        assert_agreed(&four[..3]);
        let blocks = four[0].ledger.blocks(Height(1)..=Height(6)).unwrap();
        // It had a turn, and that block is of a later round.
        let set = query::validators(&four[0].ledger.view()).unwrap().next;
        let turn = blocks.iter().find(|one| {
            let height = one.block.header.height;
            proposer(&set, height, Round(0)).is_some_and(|turn| turn.key == liar)
        });
        match &turn.unwrap().certificate {
            Certificate::Bft { round, .. } => assert!(round.0 > 0, "{lie:?}"),
            Certificate::Embedded { .. } => panic!("one signer alone"),
        }
        let its = blocks.iter().find(|one| one.block.header.builder == liar);
        assert!(its.is_none(), "{lie:?}: {its:?}");
    }
}

fn keys_of(ledger: &Ledger) -> Vec<(Address, u64)> {
    let set = query::validators(&ledger.view()).unwrap().next;
    set.iter().map(|one| (one.key, one.power)).collect()
}

/// Waits until what is asked of a market's state after some block is so.
async fn until(market: &Market, mut holds: impl FnMut(&Ledger) -> bool) {
    let mut heads = market.ledger.follow();
    let change = async {
        while !holds(&market.ledger) {
            heads.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, change)
        .await
        .expect("in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_late_and_has_no_keys_executes_every_block_there_is() {
    let blocks = match std::env::var_os("HOLDFAST_LONG") {
        Some(_) => 1_000,
        None => 150,
    };
    let mut networks = Network::of_several("late", 2);
    let mut genesis = networks[0].genesis.clone();
    genesis.validators.truncate(1);
    for network in &mut networks {
        network.genesis = genesis.clone();
    }
    let mut two = meeting(networks);
    two[1].role = Role::Follower;
    let receiver = Address([7; 32]);
    let transfer = two[0].network.transfer(0, receiver, Amount(10));
    two[0].ledger.submit(transfer).unwrap();
    two[0].start();
    two[0].reaches(Height(blocks)).await;
    two[1].start();
    let head = two[0].height();
    two[1].reaches(head.after(Blocks(5))).await;
    let paid = query::account(&two[1].ledger.view(), &receiver).unwrap();
    assert_eq!(paid.balance, Amount(10));
    for market in &mut two {
        market.stop().await;
    }
    assert_agreed(&two);
}

#[tokio::test(flavor = "multi_thread")]
async fn stake_that_moves_changes_who_orders_while_they_order() {
    // The fifth has keys and a ledger, and is no validator yet.
    let mut networks = Network::of_stake("stake moves", 5);
    let mut genesis = networks[0].genesis.clone();
    let newcomer = networks[4].validator();
    genesis
        .validators
        .retain(|one| one.key != newcomer.address());
    for network in &mut networks {
        network.genesis = genesis.clone();
    }
    let rich = networks[0].rich.clone();
    let leaver = networks[3].validator();
    let mut five = meeting(networks);
    for market in &mut five {
        market.start();
    }
    five[4].reaches(Height(3)).await;
    let all = |body: Body, from: &ed25519_dalek::SigningKey, nonce: u64| {
        let signed = crate::testing::message(&genesis, from, nonce, body);
        for market in &five {
            let _ = market.ledger.submit(signed.clone());
        }
    };
    let register = Body::RegisterValidator {
        owner: crate::testing::address(&rich),
        beacon: newcomer.beacon().public(),
        possession: newcomer.beacon().possession(),
        commission_thousandths: 0,
    };
    all(register, newcomer.consensus(), 0);
    until(&five[0], |ledger| {
        query::validator(&ledger.view(), &newcomer.address())
            .unwrap()
            .is_some()
    })
    .await;
    let stake = Body::Stake {
        validator: newcomer.address(),
        stake: Stake(3_000),
    };
    all(stake, &rich, 0);
    until(&five[0], |ledger| {
        keys_of(ledger).contains(&(newcomer.address(), 3_000))
    })
    .await;
    // It has three sevenths now: without it nothing is final, and it has turns.
    until(&five[0], |ledger| {
        let head = ledger.head().height;
        let block = ledger.blocks(head..=head).unwrap().remove(0).block;
        block.header.builder == newcomer.address()
    })
    .await;
    let leave = Body::Unstake {
        validator: leaver.address(),
        stake: Stake(1_000),
    };
    all(leave, leaver.consensus(), 0);
    until(&five[0], |ledger| keys_of(ledger).len() == 4).await;
    five[3].stop().await;
    let further = five[0].height().after(Blocks(6));
    for index in [0, 1, 2, 4] {
        five[index].reaches(further).await;
    }
    // Who left follows as anybody can.
    five[3].start();
    five[3].reaches(further).await;
    for market in &mut five {
        market.stop().await;
    }
    assert_agreed(&five);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_runs_one_validator_twice_is_shown_to_the_ledger_and_slashed() {
    let mut networks = Network::of_stake("twins", 5);
    // The fifth has the keys of the fourth.
    let mut genesis = networks[0].genesis.clone();
    let fifth = networks[4].validator().address();
    genesis.validators.retain(|one| one.key != fifth);
    for network in &mut networks {
        network.genesis = genesis.clone();
    }
    let culprit = networks[3].validator().address();
    let key = std::path::Path::new(crate::validator::KEY_FILE);
    std::fs::copy(networks[3].data().join(key), networks[4].data().join(key)).unwrap();
    let mut five = meeting(networks);
    five[4].role = Role::Twin;
    for market in &mut five {
        market.start();
    }
    let slashed = |ledger: &Ledger| {
        let record = query::validator(&ledger.view(), &culprit).unwrap().unwrap();
        matches!(record.status, ValidatorStatus::Slashed { .. })
    };
    for market in &five[..3] {
        until(market, slashed).await;
        until(market, |ledger| keys_of(ledger).len() == 3).await;
    }
    // Three go on without it.
    let further = five[0].height().after(Blocks(5));
    for market in &five[..3] {
        market.reaches(further).await;
    }
    let supply = query::supply(&five[0].ledger.view()).unwrap();
    assert!(supply.balances_out());
    for market in &mut five {
        market.stop().await;
    }
    assert_agreed(&five[..3]);
}

/// Runs one validator's engine over the ledger in `data`: which height it reaches in a while, or
/// why it ends.
async fn outcome(network: &Network, data: &std::path::Path) -> Result<Height, OrderingError> {
    let open = Ledger::open(data, network.genesis.clone(), &network.verifying_keys);
    let ledger = Arc::new(open.unwrap());
    let keys = Some(Arc::new(network.validator()));
    let before = ledger.head().height;
    let (stop, stopped) = watch::channel(false);
    let engine = Bft::new(keys, data.into(), alone());
    let running = tokio::spawn(engine.run(Arc::clone(&ledger), stopped));
    let mut heads = ledger.follow();
    let further = async { heads.wait_for(|head| head.height > before).await.is_ok() };
    let _ = tokio::time::timeout(Duration::from_secs(4), further).await;
    let _ = stop.send(true);
    running.await.unwrap().map(|()| ledger.head().height)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_whose_log_is_gone_watches_at_every_start_until_its_height_is_decided() {
    let network = Network::new("lost log");
    let data = network.data();
    let head = outcome(&network, &data).await.unwrap();
    // It has signed for the next block, and nobody knows what.
    let mut guard = guard::Guard::open(&data).unwrap();
    let ballot = Ballot {
        kind: BallotKind::Prevote,
        height: head.after(Blocks(1)),
        round: Round(0),
        block: None,
        voter: network.validator().address(),
    };
    guard
        .note(ballot.height, guard::Statement::from(&ballot))
        .unwrap();
    std::fs::remove_file(data.join(LOG_FILE)).unwrap();
    for _ in 0..2 {
        assert_eq!(outcome(&network, &data).await.unwrap(), head);
        assert!(!data.join(LOG_FILE).exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_of_the_engine_is_healed_or_refused_by_name() {
    use crate::damage::{Damage, each};
    let network = Network::new("damaged log");
    let data = network.data();
    let before = outcome(&network, &data).await.unwrap();
    let mut copies = Vec::new();
    each(
        &data,
        std::path::Path::new(LOG_FILE),
        6,
        21,
        |copy, damage| {
            let kept = tempfile::tempdir().unwrap();
            for file in crate::damage::files(copy) {
                let to = kept.path().join(file.strip_prefix(copy).unwrap());
                std::fs::create_dir_all(to.parent().unwrap()).unwrap();
                std::fs::copy(&file, to).unwrap();
            }
            if damage == Damage::Unreadable {
                std::fs::create_dir_all(kept.path().join(LOG_FILE)).unwrap();
            }
            copies.push((kept, damage));
        },
    );
    let mut healed = 0;
    for (copy, damage) in copies {
        match outcome(&network, copy.path()).await {
            Ok(height) => healed += usize::from(height > before),
            Err(error) => assert!(error.to_string().contains(LOG_FILE), "{damage}: {error}"),
        }
    }
    assert!(healed > 0);
}
