//! An auditor's report: what held, signed by whoever has audited. It binds the auditor; whoever reads
//! it trusts him, or audits again.

use super::Audit;
use ed25519_dalek::SigningKey;
use holdfast_market_core::execute::ProofTally;
use holdfast_market_core::message::{SigningContext, Unencodable};
use holdfast_market_core::state::Supply;
use holdfast_market_core::units::{Address, BlockId, Height, NetworkId, Signature, TreeRoot};
use serde::{Deserialize, Serialize};

/// The version of reports that this program writes and reads.
pub const REPORT_VERSION: u32 = 1;
/// Bytes of a report, at most.
pub const REPORT_LIMIT: u64 = 1 << 20;

/// What held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Of this layout.
    pub version: u32,
    /// Which program audited.
    pub program: String,
    /// Milliseconds since the Unix epoch by the auditor's clock.
    pub time: u64,
    /// What was read: an API, a folder or a bundle.
    pub source: String,
    /// Of which network.
    pub network: NetworkId,
    /// The last block.
    pub height: Height,
    /// Its name.
    pub last: BlockId,
    /// The state tree's root after it.
    pub state_root: TreeRoot,
    /// The block up to which the audit trusted its own checkpoint.
    pub resumed_after: Option<Height>,
    /// Messages done.
    pub done: u64,
    /// Messages refused.
    pub refused: u64,
    /// Proofs that held.
    pub proofs: ProofTally,
    /// The token's books, recounted.
    pub supply: Supply,
    /// Whether they balance.
    pub conserved: bool,
    /// What verified the proofs.
    pub verifier: String,
    /// What each kind of proof binds.
    pub binds: Vec<String>,
    /// What was not shown.
    pub limits: Vec<String>,
}

impl Report {
    /// The report of an audit of `source` at `time`, in milliseconds since the Unix epoch.
    pub fn new(audit: &Audit, source: String, time: u64) -> Self {
        let proofs = &audit.proofs;
        Self {
            version: REPORT_VERSION,
            program: concat!("holdfast ", env!("CARGO_PKG_VERSION")).into(),
            time,
            source,
            network: audit.network,
            height: audit.height,
            last: audit.last,
            state_root: audit.state_root,
            resumed_after: audit.resumed_after,
            done: audit.done,
            refused: audit.refused,
            proofs: ProofTally {
                seal: proofs.seal.count,
                embed: proofs.embed.count,
                spacetime: proofs.spacetime.count,
            },
            supply: audit.supply.clone(),
            conserved: audit.conserved,
            verifier: audit.verifier.into(),
            binds: audit.binds.clone(),
            limits: audit.limits.clone(),
        }
    }
}

/// A report and its auditor's word for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedReport {
    /// What held.
    pub report: Report,
    /// Who says so: an ed25519 key.
    pub auditor: Address,
    /// Under [`SigningContext::Audit`].
    pub signature: Signature,
}

/// Why a report says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// No report.
    #[error("this is no audit report: {0}")]
    Malformed(String),
    /// A later program's.
    #[error("this report has version {0}; this program reads version 1, use a newer one")]
    Version(u64),
    /// Nobody stands for it.
    #[error("the report is not signed by {0}, whom it names as its auditor")]
    Signature(Address),
}

impl SignedReport {
    /// Signs a report.
    ///
    /// # Errors
    /// A report that DAG-CBOR cannot carry.
    pub fn new(report: Report, key: &SigningKey) -> Result<Self, Unencodable> {
        let signature = SigningContext::Audit.sign(report.network, key, &report)?;
        Ok(Self {
            report,
            auditor: Address(key.verifying_key().to_bytes()),
            signature,
        })
    }

    /// Reads a report's JSON: nothing in it may be unknown, twice or in another form.
    ///
    /// # Errors
    /// Bytes that are none.
    pub fn parse(text: &[u8]) -> Result<Self, ReportError> {
        let malformed = |error: serde_json::Error| ReportError::Malformed(error.to_string());
        let said: serde_json::Value = serde_json::from_slice(text).map_err(malformed)?;
        let version = said.pointer("/report/version").and_then(|one| one.as_u64());
        if let Some(version) = version.filter(|one| *one != u64::from(REPORT_VERSION)) {
            return Err(ReportError::Version(version));
        }
        let read: Self = serde_json::from_slice(text).map_err(malformed)?;
        if serde_json::to_value(&read).map_err(malformed)? == said {
            Ok(read)
        } else {
            Err(ReportError::Malformed(
                "a value in it is not written in its one form".into(),
            ))
        }
    }

    /// Whether its auditor signed it.
    ///
    /// # Errors
    /// A signature that is not his.
    pub fn verify(&self) -> Result<(), ReportError> {
        let holds = SigningContext::Audit.verify(
            self.report.network,
            self.auditor.as_bytes(),
            &self.report,
            &self.signature,
        );
        match holds {
            true => Ok(()),
            false => Err(ReportError::Signature(self.auditor)),
        }
    }
}
