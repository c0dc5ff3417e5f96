//! Proofs: parameters are read for the circuit in use and freed afterwards.

use crate::error::NodeError;
use crate::sectors::SectorHandle;
use holdfast_market_core::units::{ByteCount, Height, SectorNumber};
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_proofs::measure::memory_available;
use holdfast_proofs::params::Parameters;
use holdfast_proofs::proof::{CircuitId, ProofBytes};
use holdfast_proofs::prove::{
    ProveError, Workers, memory_of_proof, prove_embed, prove_seal, prove_spacetime,
};
use holdfast_proofs::statement::Statement;
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Proofs that are remembered for `node status`.
const REMEMBERED: usize = 32;

/// What was proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProofKind {
    /// A seal.
    Seal,
    /// An embed.
    Embed,
    /// A deadline.
    Spacetime,
}

/// One statement that was proven.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProofReport {
    /// What.
    pub kind: ProofKind,
    /// Of which sector.
    pub sector: SectorNumber,
    /// At which height it was begun.
    pub height: Height,
    /// Groth16 proofs that it took.
    pub proofs: u32,
    /// Their bytes.
    pub bytes: ByteCount,
    /// Seconds for reading the parameters and proving.
    pub seconds: f64,
}

/// Makes proofs and remembers the last ones.
#[derive(Debug)]
pub struct Prover {
    parameters: PathBuf,
    keys: VerifyingKeys,
    reports: Mutex<VecDeque<ProofReport>>,
}

impl Prover {
    /// A prover with the parameters in that folder, which must be those of the network's keys.
    pub fn new(parameters: PathBuf, keys: VerifyingKeys) -> Self {
        Self {
            parameters,
            keys,
            reports: Mutex::default(),
        }
    }

    /// Proves a statement about a sector.
    ///
    /// # Errors
    /// Parameters that are missing, a sector that cannot be read, a witness that does not fit.
    pub fn prove(
        &self,
        id: CircuitId,
        (number, sector): (SectorNumber, &SectorHandle),
        statement: &Statement,
        height: Height,
    ) -> Result<Vec<ProofBytes>, NodeError> {
        let (kind, word) = match statement {
            Statement::Seal(_) => (ProofKind::Seal, "seal"),
            Statement::Embed(_) => (ProofKind::Embed, "embed"),
            Statement::Spacetime(_) => (ProofKind::Spacetime, "spacetime"),
        };
        let failed = |reason: String| NodeError::Proof {
            what: format!("{word} of sector {number}"),
            reason,
        };
        let begun = Instant::now();
        let parameters = Parameters::load(&self.parameters, id, &self.keys)
            .map_err(|error| failed(error.to_string()))?;
        let sealed = sector.read();
        let workers = Workers {
            parameters: &parameters,
            threads: proofs_at_a_time(id),
            made: &|made| tracing::debug!(%kind, sector = %number, made, "proofs"),
        };
        let proofs = match statement {
            Statement::Seal(statement) => prove_seal(&workers, &sealed, statement, &mut OsRng),
            Statement::Embed(statement) => prove_embed(&workers, &sealed, statement, &mut OsRng),
            Statement::Spacetime(statement) => {
                prove_spacetime(&workers, &sealed, statement, &mut OsRng)
            }
        }
        .map_err(|error| {
            if let ProveError::Sector(error) = &error {
                sector.note(error);
            }
            failed(error.to_string())
        })?;
        drop(sealed);
        let seconds = begun.elapsed().as_secs_f64();
        tracing::info!(%kind, sector = %number, seconds, "proven");
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        if reports.len() >= REMEMBERED {
            reports.pop_front();
        }
        reports.push_back(ProofReport {
            kind,
            sector: number,
            height,
            proofs: u32::try_from(proofs.len()).unwrap_or(u32::MAX),
            bytes: ByteCount((proofs.len() as u64).saturating_mul(192)),
            seconds,
        });
        Ok(proofs)
    }

    /// The last proofs, oldest first.
    pub fn reports(&self) -> Vec<ProofReport> {
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.iter().cloned().collect()
    }
}

/// As many as there are processors, each on its own, where memory is known to do.
fn proofs_at_a_time(id: CircuitId) -> NonZeroUsize {
    let processors = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let fitting = match (memory_available(), memory_of_proof(id)) {
        (Ok(available), Ok(each)) => available / 2 / each.max(1),
        _ => 1,
    };
    let fitting = usize::try_from(fitting).unwrap_or(usize::MAX);
    NonZeroUsize::new(fitting.min(processors.get())).unwrap_or(NonZeroUsize::MIN)
}

impl std::fmt::Display for ProofKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Seal => "seal",
            Self::Embed => "embed",
            Self::Spacetime => "spacetime",
        })
    }
}
