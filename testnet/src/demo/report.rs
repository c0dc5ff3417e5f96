//! What a demo found: everything that its table shows, as one object.

use crate::view::LedgerView;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a demo found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DemoReport {
    /// Whether all of it held.
    pub ok: bool,
    /// What did not, if so.
    pub failure: Option<Failure>,
    /// The folder of its network and logs.
    pub folder: PathBuf,
    /// Whether the network still runs.
    pub running: bool,
    /// Seconds in all.
    pub seconds: f64,
    /// The steps that were done.
    pub steps: Vec<StepReport>,
    /// What was stored.
    pub stored: Option<StoredReport>,
    /// The nodes that were killed.
    pub killed: Vec<String>,
    /// The ledger before anything was stored.
    pub before: Option<LedgerView>,
    /// The ledger at the end.
    pub after: Option<LedgerView>,
    /// The proofs on the ledger, by kind, as the audit has counted, weighed and verified them.
    pub proofs: BTreeMap<String, ProofReport>,
    /// What `holdfast audit` says.
    pub audit: Option<Value>,
    /// The most memory that each process held, in bytes.
    pub peak_memory: BTreeMap<String, u64>,
}

/// The step that failed.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// Its name.
    pub step: &'static str,
    /// Why, in one sentence.
    pub reason: String,
    /// The next step.
    pub next: String,
    /// Where the logs are.
    pub logs: PathBuf,
}

/// A step that was done.
#[derive(Clone, Debug, Serialize)]
pub struct StepReport {
    /// Its name.
    pub name: &'static str,
    /// How long it took.
    pub seconds: f64,
    /// What was seen to hold, one sentence each.
    pub checks: Vec<String>,
}

/// What was stored.
#[derive(Clone, Debug, Serialize)]
pub struct StoredReport {
    /// What the user named.
    pub path: PathBuf,
    /// Its name on the network.
    pub name: String,
    /// Files in it.
    pub files: usize,
    /// Bytes of its files.
    pub bytes: u64,
    /// Shards that suffice.
    pub k: u8,
    /// Shards in all.
    pub n: u8,
}

/// The proofs of one kind.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ProofReport {
    /// How many are on the ledger.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Seconds that verifying them took.
    pub seconds: f64,
    /// Seconds that making one took on average, on the machine that all nodes share.
    #[serde(default)]
    pub making_seconds: f64,
}

/// One measured figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
    /// Under which conditions.
    pub conditions: String,
}

impl DemoReport {
    /// The seconds of each step and the largest peak of memory, as rows of figures.
    pub fn figures(&self) -> Vec<Figure> {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let (files, bytes) = self
            .stored
            .as_ref()
            .map_or((0, 0), |stored| (stored.files, stored.bytes));
        let conditions = format!(
            "{cores} cores, hash: {}, {} nodes with 8 MiB sectors, dev parameters, {files} files of {bytes} bytes in all",
            holdfast_proofs::poseidon2::lanes::kernel(),
            self.before.as_ref().map_or(0, |view| view.providers.len()),
        );
        let row = |name: String, value: f64, unit| Figure {
            name,
            value,
            unit,
            conditions: conditions.clone(),
        };
        let mut rows: Vec<_> = self
            .steps
            .iter()
            .map(|step| {
                let name = format!(
                    "{}_s",
                    step.name.replace([' ', ','], "_").replace("__", "_")
                );
                row(name, step.seconds, "s")
            })
            .collect();
        rows.push(row("total_s".into(), self.seconds, "s"));
        #[allow(clippy::cast_precision_loss)] // Shown as MiB with a fraction.
        if let Some((process, peak)) = self.peak_memory.iter().max_by_key(|(_, peak)| **peak) {
            let mib = *peak as f64 / f64::from(1 << 20);
            rows.push(row(
                format!("peak_memory_{}", process.replace(' ', "_")),
                mib,
                "MiB",
            ));
        }
        rows
    }
}
