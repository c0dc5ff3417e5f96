//! Kills at random moments, from a seed that is printed, while the wall clock jumps by hours.
//!
//! `HOLDFAST_LONG=1` makes it half an hour on six nodes, with damage to their files, a provider that
//! lies and strangers before every door beside.

use super::state::{
    all_active, audit_passes, comes_back, nobody_paid_for_it, promises_were_kept, said_once,
};
use super::trouble::Trouble;
use super::{alone, binary, noise};
use holdfast_faults::clock::Clock;
use holdfast_faults::figures;
use holdfast_faults::is_long;
use holdfast_faults::network::{Network, Running, patient_rules};
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::units::Blocks;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How a storm is.
struct Storm {
    nodes: u8,
    /// Shards that suffice, and shards in all.
    code: (u8, u8),
    /// For so long it is killed at random.
    length: Duration,
    /// The client rests so long after each file, so that they fit into the sectors.
    rest: Duration,
    /// Two kills lie so many milliseconds apart at most, at least a tenth of it.
    apart: u64,
}

/// The rules of a storm: windows in which a node that is killed every ten seconds still finds the few
/// that its proof takes, and promises that outlast it.
fn rules() -> Parameters {
    Parameters {
        period: Blocks(120),
        promise: Blocks(600),
        ..patient_rules()
    }
}

impl Storm {
    fn of_this_run() -> Self {
        if is_long() {
            Self {
                nodes: 6,
                code: (3, 6),
                length: Duration::from_secs(30 * 60),
                rest: Duration::from_secs(20),
                apart: 8000,
            }
        } else {
            Self {
                nodes: 3,
                code: (2, 3),
                length: Duration::from_secs(100),
                rest: Duration::ZERO,
                apart: 2500,
            }
        }
    }
}

/// So far the clock is set, in seconds.
const HOUR: i64 = 3600;
/// The least that must come to it.
const LEAST_KILLS: usize = 50;
const PATIENCE: Duration = Duration::from_secs(400);

/// The seed of this run: `HOLDFAST_SEED`, or a new one.
fn seed() -> u64 {
    std::env::var("HOLDFAST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random)
}

/// A client that stores one file after the other, each command until it is done.
struct Client {
    folder: PathBuf,
    network: PathBuf,
    /// Those that it was told are stored.
    stored: Vec<PathBuf>,
    under_way: Option<(PathBuf, Running)>,
    environment: Vec<(OsString, OsString)>,
    code: (String, String),
    rest: Duration,
    resting_until: Instant,
}

impl Client {
    fn source(&self, number: usize) -> PathBuf {
        let source = self.folder.join(format!("file-{number}"));
        if !source.exists() {
            std::fs::write(
                &source,
                noise(number as u64, 20_000 + 30_000 * (number % 5)),
            )
            .unwrap();
        }
        source
    }

    fn begin(&mut self) {
        let source = self.source(self.stored.len());
        let (k, n) = (&*self.code.0, &*self.code.1);
        let words = ["put", "--data-shards", k, "--total-shards", n, "--network"];
        let mut arguments: Vec<OsString> = words.map(OsString::from).to_vec();
        arguments.extend([self.network.clone().into(), source.clone().into()]);
        let running = Running::begin(binary(), &arguments, &self.environment);
        self.under_way = Some((source, running));
    }

    /// Takes the next step: what was interrupted or refused is begun again.
    fn step(&mut self, goal: usize) {
        let ended = self.under_way.as_mut().map(|(_, running)| running.ended());
        match ended {
            Some(None) => {}
            Some(Some(answer)) => {
                self.resting_until = Instant::now() + Duration::from_secs(1);
                let done = answer.status.success() || answer.said.contains("is stored already");
                if let Some((source, _)) = self.under_way.take()
                    && done
                {
                    self.stored.push(source);
                    self.resting_until = Instant::now() + self.rest;
                }
            }
            None if self.stored.len() < goal && Instant::now() >= self.resting_until => {
                self.begin();
            }
            None => {}
        }
    }

    fn kill(&mut self) -> bool {
        match &mut self.under_way {
            Some((_, running)) => {
                running.kill();
                true
            }
            None => false,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_with_a_clock_that_jumps_the_network_loses_nothing_acknowledged() {
    let _alone = alone().await;
    let seed = seed();
    println!("HOLDFAST_SEED={seed} has these kills again");
    let mut random = ChaCha20Rng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let storm = Storm::of_this_run();
    let at = folder.path().join("net");
    let mut network = Network::make(binary(), &at, storm.nodes, rules()).await;
    let clock = Clock::new(folder.path());
    network.set_environment(clock.environment());
    network.start_all().await;
    let mut client = Client {
        folder: folder.path().join("sources"),
        network: network.folder().to_owned(),
        stored: Vec::new(),
        under_way: None,
        environment: clock.environment(),
        code: (storm.code.0.to_string(), storm.code.1.to_string()),
        rest: storm.rest,
        resting_until: Instant::now(),
    };
    std::fs::create_dir(&client.folder).unwrap();

    // The long storm begins with the first label. The short one would be over before anything can be
    // stored: it interrupts uploads, embeds and deadlines.
    if !is_long() {
        network
            .until_shown("all sectors are proven", PATIENCE, |view| {
                let all: Vec<_> = view.providers.iter().collect();
                all_active(&all, usize::from(storm.nodes))
            })
            .await;
    }
    let mut nodes = network.names();
    nodes.retain(|name| name != "market");
    let mut trouble = match is_long() {
        true => Some(Trouble::begin(&mut network, folder.path()).await),
        false => None,
    };
    let mut client_kills = 0;
    let begun = Instant::now();
    let mut next = Instant::now();
    while begun.elapsed() < storm.length {
        network.supervise();
        client.step(usize::MAX);
        if Instant::now() >= next {
            next += Duration::from_millis(random.gen_range(storm.apart / 10..storm.apart));
            // An hour back, an hour forth, or right again.
            if random.gen_ratio(1, 4) {
                clock.set(random.gen_range(-1..=1) * HOUR);
            }
            // The market, the client, and all nodes together, each a third.
            match random.gen_range(0..3) {
                0 => drop(network.kill("market")),
                1 => client_kills += usize::from(client.kill()),
                _ => drop(network.kill(nodes.choose(&mut random).unwrap())),
            }
        }
        if let Some(trouble) = &mut trouble {
            trouble.step(&mut random).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    clock.set(0);
    let kills = network.kills() + client_kills;
    println!(
        "{kills} kills, {} files stored meanwhile",
        client.stored.len()
    );
    assert!(kills >= LEAST_KILLS, "{kills} kills");

    assert!(!client.stored.is_empty(), "nothing was stored in the storm");

    // The storm is over: what was begun is finished, and one file more goes in.
    let goal = client.stored.len() + 1;
    network
        .until(
            "the client has stored what it began",
            PATIENCE,
            async |_| {
                client.step(goal);
                client.stored.len() >= goal && client.under_way.is_none()
            },
        )
        .await;
    // The liar embeds nothing: its deals are never proven.
    network
        .until_shown("all is proven and paid", PATIENCE, |view| {
            let honest: Vec<_> = view
                .providers
                .iter()
                .filter(|one| one.name.is_some())
                .collect();
            let mut deals = view.deal_sets.iter().flat_map(|set| &set.deals);
            all_active(&honest, usize::from(storm.nodes))
                && deals.all(|deal| {
                    !honest.iter().any(|one| one.id == deal.provider)
                        || deal.state == "proven" && deal.paid_periods >= 1
                })
        })
        .await;
    let mut lost = 0;
    for (number, source) in client.stored.iter().enumerate() {
        let name = source.file_name().unwrap().to_str().unwrap().to_owned();
        let to = folder.path().join(format!("back-{number}"));
        lost += comes_back(&mut network, Path::new(source), &name, &to).await;
    }
    let mut conditions = format!(
        "in {} s from seed {seed}, {} nodes, {} files stored, {lost} bytes lost",
        storm.length.as_secs(),
        storm.nodes,
        client.stored.len()
    );
    match trouble {
        None => {
            nobody_paid_for_it(&network.view().await.unwrap());
            said_once(&network.messages().await);
        }
        Some(trouble) => {
            conditions.push_str(&format!(
                ", {} bits flipped, {} changes of a lying provider's manner, {} strangers",
                trouble.damaged, trouble.lies, trouble.strangers
            ));
            promises_were_kept(&network.view().await.unwrap());
        }
    }
    audit_passes(&mut network).await;
    figures::record("random_kills", kills as f64, "kills", &conditions);
}
