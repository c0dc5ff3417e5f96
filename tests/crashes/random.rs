//! Kills at random moments, from a seed that is printed, while the wall clock jumps by hours.

use super::state::{
    all_active, all_deals, audit_passes, comes_back, nobody_paid_for_it, said_once,
};
use super::{alone, binary, noise};
use holdfast_faults::clock::Clock;
use holdfast_faults::figures;
use holdfast_faults::network::{Network, Running, patient_rules};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// For so long it is killed at random.
const STORM: Duration = Duration::from_secs(100);
/// Two kills lie so many milliseconds apart at most, at least a tenth of it.
const APART: u64 = 2500;
/// So far the clock is set, in seconds.
const HOUR: i64 = 3600;
/// The least that must come to it.
const LEAST_KILLS: usize = 50;
const NODES: u8 = 3;
const PATIENCE: Duration = Duration::from_secs(300);

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
        let words = [
            "put",
            "--data-shards",
            "2",
            "--total-shards",
            "3",
            "--network",
        ];
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
                let done = answer.status.success() || answer.said.contains("is stored already");
                if let Some((source, _)) = self.under_way.take()
                    && done
                {
                    self.stored.push(source);
                }
            }
            None if self.stored.len() < goal => self.begin(),
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
    let mut network =
        Network::make(binary(), &folder.path().join("net"), NODES, patient_rules()).await;
    let clock = Clock::new(folder.path());
    network.set_environment(clock.environment());
    network.start_all().await;
    let mut client = Client {
        folder: folder.path().join("sources"),
        network: network.folder().to_owned(),
        stored: Vec::new(),
        under_way: None,
        environment: clock.environment(),
    };
    std::fs::create_dir(&client.folder).unwrap();

    // From the first label on: seals, uploads, embeds and deadlines are all interrupted.
    let names = network.names();
    let mut client_kills = 0;
    let begun = Instant::now();
    let mut next = Instant::now();
    while begun.elapsed() < STORM {
        network.supervise();
        client.step(usize::MAX);
        if Instant::now() >= next {
            next += Duration::from_millis(random.gen_range(APART / 10..APART));
            // An hour back, an hour forth, or right again.
            if random.gen_ratio(1, 4) {
                clock.set(random.gen_range(-1..=1) * HOUR);
            }
            let victim = random.gen_range(0..=names.len());
            match names.get(victim) {
                Some(name) => {
                    network.kill(name);
                }
                None => client_kills += usize::from(client.kill()),
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let kills = network.kills() + client_kills;
    println!(
        "{kills} kills, {} files stored meanwhile",
        client.stored.len()
    );
    assert!(kills >= LEAST_KILLS, "{kills} kills");

    // The storm is over: what was begun is finished, and at least one file more goes in.
    let goal = client.stored.len().max(1);
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
    network
        .until_shown("all is proven and paid", PATIENCE, |view| {
            let mut deals = view.deal_sets.iter().flat_map(|set| &set.deals);
            all_active(view, usize::from(NODES))
                && all_deals(view, "proven")
                && deals.all(|deal| deal.paid_periods >= 1)
        })
        .await;
    let mut lost = 0;
    for (number, source) in client.stored.iter().enumerate() {
        let name = source.file_name().unwrap().to_str().unwrap().to_owned();
        let to = folder.path().join(format!("back-{number}"));
        lost += comes_back(&mut network, Path::new(source), &name, &to).await;
    }
    let view = network.view().await.unwrap();
    nobody_paid_for_it(&view);
    said_once(&network.messages().await);
    audit_passes(&mut network).await;
    figures::record(
        "random_kills",
        kills as f64,
        "kills",
        &format!(
            "in {} s from seed {seed}, {} files stored, {lost} bytes lost",
            STORM.as_secs(),
            client.stored.len()
        ),
    );
}
