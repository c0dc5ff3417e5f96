//! What goes wrong beside the kills in the long storm: disks that flip bits, a provider that lies,
//! strangers before every door.

use super::loopback::{Manner, Node, Reading, owner, room};
use super::noise;
use super::stranger::{Strangers, ask, raw};
use holdfast_faults::damage::Damage;
use holdfast_faults::network::Network;
use holdfast_market_core::message::PackHeader;
use holdfast_market_core::receipt::Tier;
use holdfast_market_core::units::{Address, Amount, ByteCount, Periods, ShardIndex, ShardRoot};
use holdfast_wire::protocol::{PutShard, Request, ShardOffer};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha20Rng;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A bit is flipped so often …
const DAMAGED_EVERY: Duration = Duration::from_secs(25);
/// … and every so manyth time in a sector instead of a shard: those take long to be put right.
const SECTOR_EVERY: usize = 6;
/// The liar finds another way to lie so often.
const LIES_EVERY: Duration = Duration::from_secs(40);
/// Strangers come so often, and so many.
const STRANGERS_EVERY: Duration = Duration::from_secs(45);
const STRANGERS: usize = 40;
/// Sectors that the liar says it has.
const LIARS_SECTORS: u64 = 4;
/// The liar's owner, among those that the tests know.
const LIAR: u64 = 17;

/// Everything that goes wrong.
pub struct Trouble {
    nodes: Vec<PathBuf>,
    addresses: Vec<String>,
    network_id: holdfast_market_core::units::NetworkId,
    liar: Node,
    next_damage: Instant,
    next_lie: Instant,
    next_strangers: Instant,
    /// Files in which a bit was flipped.
    pub damaged: usize,
    /// Ways in which the liar has lied.
    pub lies: usize,
    /// Connections of strangers.
    pub strangers: usize,
}

impl Trouble {
    /// A liar registers; its collateral comes from the network's wallet.
    pub async fn begin(network: &mut Network, folder: &Path) -> Self {
        let owner = owner(LIAR);
        let address = Address(owner.verifying_key().to_bytes()).to_text("thold");
        network
            .run_until_done(
                &["wallet", "send", &address, "200"],
                Duration::from_secs(120),
            )
            .await;
        let client = network.ledger();
        let genesis = client.genesis().await.unwrap();
        let network_id = client.status().await.unwrap().network;
        let rules = (network_id, genesis.parameters);
        let liar = Node::start(
            &folder.join("liar"),
            rules,
            &client,
            &owner,
            Reading::default(),
            room(LIARS_SECTORS),
        )
        .await;
        let names: Vec<String> = network
            .names()
            .into_iter()
            .filter(|name| name != "market")
            .collect();
        let now = Instant::now();
        Self {
            nodes: names
                .iter()
                .map(|name| network.folder().join(name))
                .collect(),
            addresses: names.iter().map(|name| network.address(name)).collect(),
            network_id,
            liar,
            next_damage: now + DAMAGED_EVERY,
            next_lie: now + LIES_EVERY,
            next_strangers: now + STRANGERS_EVERY,
            damaged: 0,
            lies: 0,
            strangers: 0,
        }
    }

    /// Does what is due.
    pub async fn step(&mut self, random: &mut ChaCha20Rng) {
        let now = Instant::now();
        if now >= self.next_damage {
            self.next_damage = now + DAMAGED_EVERY;
            self.damage(random);
        }
        if now >= self.next_lie {
            self.next_lie = now + LIES_EVERY;
            let ways = [
                Manner::Honest,
                Manner::Dropped,
                Manner::ReadsRubbish,
                Manner::RefusesToOpen,
                Manner::SpreadsNothing,
                Manner::HangsUp,
            ];
            self.liar.behave(*ways.choose(random).unwrap());
            self.lies += 1;
        }
        if now >= self.next_strangers {
            self.next_strangers = now + STRANGERS_EVERY;
            let node = self.addresses.choose(random).unwrap().clone();
            self.strangers += STRANGERS;
            let strangers = Strangers::new(&node, self.network_id);
            tokio::spawn(async move { bother(strangers).await });
        }
    }

    /// Flips a bit of a shard, or of a group of a sector, at one node.
    fn damage(&mut self, random: &mut ChaCha20Rng) {
        let node = self.nodes.choose(random).unwrap();
        let below = if (self.damaged + 1).is_multiple_of(SECTOR_EVERY) {
            "sectors/0/groups"
        } else {
            "shards"
        };
        let Ok(entries) = std::fs::read_dir(node.join(below)) else {
            return;
        };
        let mut files: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                path.extension()
                    .is_none_or(|end| end != "part" && end != "tmp")
            })
            .collect();
        files.sort();
        let Some(file) = files.choose(random) else {
            return;
        };
        // It may be replaced or removed in this very moment; then nothing is damaged.
        let Ok(length) = std::fs::metadata(file).map(|found| found.len()) else {
            return;
        };
        if length == 0 {
            return;
        }
        let byte = random.gen_range(0..length);
        let bit = random.gen_range(0..8);
        let flip = Damage::Flip { byte, bit };
        let whole = std::panic::catch_unwind(|| flip.apply_in_place(file));
        if whole.is_ok() {
            println!("{}: {flip}", file.display());
            self.damaged += 1;
        }
    }
}

/// Strangers that say nothing, that say hello and nothing more, rubbish, and half a piece each.
async fn bother(strangers: Strangers) {
    let quiet = strangers.crowd(STRANGERS / 4, false).await;
    let greeted = strangers.crowd(STRANGERS / 2, true).await;
    for (number, connection) in greeted.iter().enumerate() {
        if number % 2 == 0 {
            let _ = raw(connection, &noise(number as u64, 3000)).await;
        } else if let Some((mut send, _)) = ask(connection, &half_a_piece(number), 100_000).await {
            let _ = send.write_all(&[7; 40_000]).await;
        }
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    drop((quiet, greeted));
}

/// A shard of which only half comes.
fn half_a_piece(number: usize) -> Request {
    let root = |index: u8| ShardRoot(*blake3::hash(&[index, number as u8]).as_bytes());
    Request::PutShard(PutShard {
        header: PackHeader {
            owner: Address([number as u8; 32]),
            nonce: number as u64,
            k: 2,
            n: 3,
            length: ByteCount(200_000),
            shard_roots: (0..3).map(root).collect(),
            shard_length: ByteCount(100_000),
        },
        shard: ShardIndex(0),
        offer: ShardOffer {
            tier: Tier::Hot,
            price: Amount::hold(1),
            term: Periods(10),
        },
    })
}
