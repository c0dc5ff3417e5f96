//! An auditor's signed report: made and checked.

use crate::output::{CommandError, Output};
use holdfast_market::audit::Audit;
use holdfast_market::audit::report::{REPORT_LIMIT, Report, SignedReport};
use holdfast_wire::atomic;
use holdfast_wire::keys::{KeyFile, Phrase, Role};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The auditor's key file, where none is named.
const KEY_FILE: &str = "auditor.key";

/// The auditor's phrase, made where it is not there.
pub(super) fn auditor(report: &Path, key: Option<&Path>) -> Result<Phrase, CommandError> {
    let beside = holdfast_proofs::durable::above(report).join(KEY_FILE);
    let path = key.unwrap_or(&beside);
    if !path.exists() {
        KeyFile::create(path, &Phrase::generate(&mut rand::rngs::OsRng)?)?;
    }
    Ok(KeyFile::read(path)?)
}

/// Signs what held and writes it; what is said of that.
pub(super) fn write(
    held: &Audit,
    source: String,
    phrase: &Phrase,
    path: &Path,
) -> Result<String, CommandError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let report = Report::new(held, source, u64::try_from(now)?);
    let signed = SignedReport::new(report, &phrase.key(Role::Wallet))?;
    let mut text = serde_json::to_vec_pretty(&signed)?;
    text.push(b'\n');
    atomic::write(path, &text, 0o644).map_err(|error| {
        CommandError::failed(
            format!("{} cannot be written: {error}", path.display()),
            "give --report another file",
        )
    })?;
    Ok(format!(
        "The report is in {}, signed by {}.",
        path.display(),
        signed.auditor
    ))
}

/// Checks a report and shows it.
pub(super) fn verify(path: &Path, output: &Output) -> Result<(), CommandError> {
    let text = atomic::read_bounded(path, REPORT_LIMIT).map_err(|error| {
        CommandError::failed(
            format!("{} cannot be read: {error}", path.display()),
            "`holdfast audit --report FILE` writes one",
        )
    })?;
    let signed = SignedReport::parse(&text)?;
    signed.verify()?;
    output.result(&signed, |signed| {
        let report = &signed.report;
        let mut text = format!(
            "Signed by {}: {} held up to block {} (state root {}) of network {}.\n\
             {} messages done, {} refused; {} seal, {} embed and {} spacetime proofs verified in {}.",
            signed.auditor,
            report.source.replace('\n', " "),
            report.height,
            report.state_root,
            report.network,
            report.done,
            report.refused,
            report.proofs.seal,
            report.proofs.embed,
            report.proofs.spacetime,
            report.verifier,
        );
        if let Some(height) = report.resumed_after {
            text.push_str(&format!(
                "\nUp to block {height} the auditor took it from a checkpoint of an earlier audit."
            ));
        }
        for limit in &report.limits {
            text.push_str("\nNot shown: ");
            text.push_str(limit);
        }
        text.push_str("\nThis is the auditor's word: whoever does not trust that key audits again.");
        text
    })
}
