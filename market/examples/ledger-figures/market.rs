//! A market as a process of its own: what `holdfast market run` runs, without its command line.

use crate::Measured;
use crate::network::Network;
use holdfast_market::ordering::Meeting;
use holdfast_market::run::{Config, Market, OrderedBy};
use holdfast_market_core::genesis::Genesis;
use holdfast_market_core::message::{decode, encode};
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_wire::ledger::LedgerClient;
use serde::{Deserialize, Serialize};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

/// How long a process may take to end.
const ENDING: Duration = Duration::from_secs(20);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(2);

/// What such a process is told.
#[derive(Serialize, Deserialize)]
struct Plan {
    genesis: Genesis,
    verifying_keys: VerifyingKeys,
    data: PathBuf,
    listen: String,
    /// Where it meets others, and where they are met; none where it orders alone.
    meeting: Option<(String, Vec<String>)>,
    forward: Vec<String>,
}

/// Runs a market by its plan until its input ends.
pub fn run(plan: &Path) -> Measured {
    let plan: Plan = decode("plan", &std::fs::read(plan)?)?;
    let ordering = match plan.meeting {
        None => OrderedBy::Embedded,
        Some((listen, peers)) => OrderedBy::Bft(Meeting {
            listen: listen.parse()?,
            peers,
        }),
    };
    let config = Config {
        genesis: plan.genesis,
        verifying_keys: plan.verifying_keys,
        data: plan.data,
        listen: plan.listen.parse()?,
        ordering,
        forward: plan.forward,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let market = Market::open(config).await?;
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(async move {
            let mut input = Vec::new();
            let _ = tokio::io::stdin().read_to_end(&mut input).await;
            let _ = stop.send(true);
        });
        Ok(market.run(stopped).await?)
    })
}

/// A port that was free a moment ago.
fn free_port() -> Measured<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A market that runs; it ends with this.
pub struct Running {
    child: Child,
    pub api: String,
    pub begun: Instant,
}

impl Running {
    /// Starts every market of a network.
    pub fn all(network: &Network) -> Measured<Vec<Self>> {
        let count = network.markets.len();
        let apis: Vec<u16> = (0..count).map(|_| free_port()).collect::<Measured<_>>()?;
        let meetings: Vec<u16> = (0..count).map(|_| free_port()).collect::<Measured<_>>()?;
        let others = |number: usize, ports: &[u16]| -> Vec<String> {
            let all = ports.iter().enumerate();
            all.filter(|(other, _)| *other != number)
                .map(|(_, port)| format!("127.0.0.1:{port}"))
                .collect()
        };
        let mut running = Vec::new();
        for (number, ((data, api), meeting)) in
            network.markets.iter().zip(&apis).zip(&meetings).enumerate()
        {
            let forward = others(number, &apis).into_iter();
            let plan = Plan {
                genesis: network.genesis.clone(),
                verifying_keys: network.verifying_keys.clone(),
                data: data.clone(),
                listen: format!("127.0.0.1:{api}"),
                meeting: (count > 1)
                    .then(|| (format!("127.0.0.1:{meeting}"), others(number, &meetings))),
                forward: forward.map(|place| format!("http://{place}")).collect(),
            };
            let path = network.folder.path().join(format!("plan-{number}"));
            std::fs::write(&path, encode(&plan)?)?;
            running.push(Self::start(&path, &format!("http://127.0.0.1:{api}"))?);
        }
        Ok(running)
    }

    fn start(plan: &Path, api: &str) -> Measured<Self> {
        let begun = Instant::now();
        let child = Command::new(std::env::current_exe()?)
            .arg("market")
            .arg(plan)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self {
            child,
            api: api.into(),
            begun,
        })
    }

    /// A client of its API.
    pub fn client(&self) -> Measured<LedgerClient> {
        Ok(LedgerClient::new(&self.api)?)
    }

    /// MiB of memory that it takes, and has taken at most.
    pub fn memory(&self) -> Measured<(f64, f64)> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let mib = |name: &str| -> Measured<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
            Ok(kib.ok_or("the system does not say")?.parse::<f64>()? / 1024.0)
        };
        Ok((mib("VmRSS:")?, mib("VmHWM:")?))
    }

    /// Processor seconds that it has taken.
    pub fn core_seconds(&self) -> Measured<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = text.rsplit_once(')').ok_or("the system does not say")?;
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: Vec<f64> = ticks.map(str::parse).collect::<Result<_, _>>()?;
        Ok(ticks.iter().sum::<f64>() / 100.0)
    }

    /// Whether it runs.
    pub fn check(&mut self) -> Measured {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("a market has ended ({status})").into()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let begun = Instant::now();
        while begun.elapsed() < ENDING {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(LOOK);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
