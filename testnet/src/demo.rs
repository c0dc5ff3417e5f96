//! The demo: a file goes in, is erasure-coded, sealed, proven and paid for, and comes back after
//! half the network dies. What it shows it does as a user would, with the same commands.

mod input;
mod report;
mod steps;

pub use report::{DemoReport, Failure, Figure, ProofReport, StepReport, StoredReport};

use crate::command::Commands;
use crate::error::{TestnetError, at};
use crate::genesis::rules;
use crate::network::{Testnet, UpOptions};
use crate::record::RECORD_FILE;
use crate::tree::Tree;
use crate::view::LedgerView;
use crate::{parameters, record};
use holdfast_proofs::sector::SectorClass;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// The steps, in order.
pub const STEPS: [&str; 8] = [
    "make or find the parameters",
    "start the market and the nodes",
    "seal and prove",
    "store",
    "embed, prove and be paid",
    "kill half and fetch back",
    "fine the dead",
    "audit",
];

/// What a demo is to do.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// What to store; files of the clone where nothing is named.
    pub path: Option<PathBuf>,
    /// The folder of its network; one in the home's cache where none is named.
    pub folder: Option<PathBuf>,
    /// How many markets, each a validator.
    pub validators: u8,
    /// How many nodes.
    pub nodes: u8,
    /// Whether the network runs on afterwards.
    pub keep: bool,
}

/// What a demo says on its way.
#[derive(Clone, Debug)]
pub enum DemoEvent {
    /// A step begins.
    Began {
        /// Its place, from 1.
        number: usize,
        /// Its name.
        name: &'static str,
    },
    /// What is being waited for, again and again.
    Waiting(String),
    /// Something worth a line of its own.
    Said(String),
    /// The step is done.
    Ended {
        /// How long it took.
        seconds: f64,
    },
}

/// Why a demo failed.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error(transparent)]
    Testnet(#[from] TestnetError),
    #[error("{0}")]
    Broken(String),
    #[error("it was interrupted")]
    Interrupted,
}

impl From<holdfast_wire::ledger::LedgerError> for DemoError {
    fn from(error: holdfast_wire::ledger::LedgerError) -> Self {
        Self::Testnet(error.into())
    }
}

/// A demo on its way.
struct Demo<'a> {
    options: &'a DemoOptions,
    commands: &'a Commands,
    folder: PathBuf,
    report: DemoReport,
    say: &'a mut dyn FnMut(DemoEvent),
    testnet: Option<Testnet>,
    checks: Vec<String>,
    step: &'static str,
    /// What was stored, as it was before.
    tree: Option<Tree>,
    /// The ledger just before the nodes were killed.
    at_kill: Option<LedgerView>,
}

/// Runs the demo. The report says what was found, also where something failed; every process that
/// was started is stopped, unless the network is to be kept and all of it held.
///
/// # Errors
/// A folder that cannot be had. Everything later is in the report.
pub async fn run(
    options: &DemoOptions,
    commands: &Commands,
    say: &mut dyn FnMut(DemoEvent),
) -> Result<DemoReport, TestnetError> {
    let begun = Instant::now();
    let folder = match &options.folder {
        Some(folder) => std::path::absolute(folder).map_err(at(folder))?,
        None => own_folder(&parameters::cache()?)?,
    };
    let sampling = commands.peaks.sample_always();
    commands.peaks.watch("testnet demo", std::process::id());
    let mut demo = Demo {
        options,
        commands,
        report: DemoReport {
            folder: folder.clone(),
            ..DemoReport::default()
        },
        folder,
        say,
        testnet: None,
        checks: Vec::new(),
        step: STEPS[0],
        tree: None,
        at_kill: None,
    };
    let done = tokio::select! {
        done = demo.all() => done,
        () = interrupted() => Err(DemoError::Interrupted),
    };
    commands.peaks.sample();
    sampling.abort();
    let mut report = demo.report;
    report.peak_memory = commands.peaks.bytes();
    report.seconds = begun.elapsed().as_secs_f64();
    report.ok = done.is_ok();
    report.running = report.ok && options.keep;
    if let Err(error) = done {
        report.failure = Some(Failure {
            step: demo.step,
            reason: error.to_string(),
            next: match &error {
                DemoError::Testnet(error) => error.next(),
                DemoError::Broken(_) | DemoError::Interrupted => String::new(),
            },
            logs: record::Layout::new(&report.folder).logs(),
        });
    }
    if !report.running {
        if let Some(testnet) = &mut demo.testnet {
            testnet.stop().await?;
        }
        if report.ok && options.folder.is_none() {
            std::fs::remove_dir_all(&report.folder).map_err(at(&report.folder))?;
        }
    }
    Ok(report)
}

impl Demo<'_> {
    async fn all(&mut self) -> Result<(), DemoError> {
        for (index, name) in STEPS.into_iter().enumerate() {
            self.step = name;
            (self.say)(DemoEvent::Began {
                number: index.saturating_add(1),
                name,
            });
            let begun = Instant::now();
            match index {
                0 => self.make().await,
                1 => self.start().await,
                2 => self.seal().await,
                3 => self.store().await,
                4 => self.embed().await,
                5 => self.kill_and_fetch().await,
                6 => self.fine().await,
                _ => self.audit().await,
            }?;
            let seconds = begun.elapsed().as_secs_f64();
            (self.say)(DemoEvent::Ended { seconds });
            self.report.steps.push(StepReport {
                name,
                seconds,
                checks: std::mem::take(&mut self.checks),
            });
        }
        Ok(())
    }

    fn up_options(&self) -> Result<UpOptions, TestnetError> {
        Ok(UpOptions {
            folder: self.folder.clone(),
            validators: self.options.validators,
            nodes: self.options.nodes,
            class: SectorClass::Mib8,
            sectors: 1,
            rules: rules(SectorClass::Mib8),
            first_port: None,
            parameters: parameters::default_folder()?,
        })
    }
}

/// Ctrl-C, or being asked to end.
async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
        signal(SignalKind::hangup()),
    ) else {
        // Without handlers the signals end this process, and its children with it.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

/// A folder of this demo's own in the cache. Those of earlier demos are removed, unless their
/// network runs.
fn own_folder(cache: &Path) -> Result<PathBuf, TestnetError> {
    let all = cache.join("demo");
    std::fs::create_dir_all(&all).map_err(at(&all))?;
    for entry in std::fs::read_dir(&all).map_err(at(&all))? {
        let path = entry.map_err(at(&all))?.path();
        // Another demo may be making its network there at this moment.
        let fresh = std::fs::metadata(&path)
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|time| time.elapsed().unwrap_or_default() < Duration::from_secs(600));
        let running = path.join(RECORD_FILE).exists()
            && Testnet::open(&path).is_ok_and(|testnet| {
                testnet
                    .record()
                    .processes
                    .iter()
                    .any(record::ProcessRecord::alive)
            });
        if !fresh && !running {
            // What stays is only in the way of the disk, not of this demo.
            let _ = std::fs::remove_dir_all(&path);
        }
    }
    Ok(all.join(std::process::id().to_string()))
}
