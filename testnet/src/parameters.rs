//! The proving parameters of a development network: made once on this machine, then found.

use crate::error::TestnetError;
use crate::genesis;
use holdfast_market_core::message::encode;
use holdfast_proofs::params::{self, DEVELOPMENT_NOTICE, ParametersProgress};
use holdfast_proofs::proof::CircuitId;
use holdfast_proofs::sector::SectorClass;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a genesis needs to know of the parameters.
pub(crate) struct NetworkParameters {
    /// DAG-CBOR of the verifying keys.
    pub(crate) verifying_keys: Vec<u8>,
    /// Their digest.
    pub(crate) digest: [u8; 32],
}

/// Where parameters are cached: `HOLDFAST_PARAMS`, or the home's cache.
///
/// # Errors
/// Where neither is known.
pub fn default_folder() -> Result<PathBuf, TestnetError> {
    match std::env::var_os("HOLDFAST_PARAMS").filter(|folder| !folder.is_empty()) {
        Some(folder) => Ok(folder.into()),
        None => Ok(cache()?.join("params")),
    }
}

/// What this machine keeps for every network.
pub(crate) fn cache() -> Result<PathBuf, TestnetError> {
    std::env::home_dir()
        .map(|home| home.join(".cache/holdfast"))
        .ok_or(TestnetError::NoHome)
}

/// Finds or makes the parameters of a development network with sectors of `class`; a bar shows how
/// far it is.
pub(crate) async fn ensure(
    folder: &Path,
    class: SectorClass,
    report: &mut dyn FnMut(String),
) -> Result<NetworkParameters, TestnetError> {
    let rules = genesis::rules(class);
    let circuits = [
        CircuitId::seal(class, rules.seal_challenges_per_proof),
        CircuitId::embed(class, rules.embed_challenges_per_proof),
        CircuitId::spacetime(class),
    ];
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let making_in = folder.to_owned();
    let making = tokio::task::spawn_blocking(move || {
        params::ensure(&making_in, &circuits, &mut |progress| {
            // Nobody listens any more only when the whole is being given up.
            let _ = tell.send(progress);
        })
    });
    let bar = ProgressBar::new(circuits.len() as u64);
    if let Ok(style) =
        ProgressStyle::with_template("{spinner} {bar:24} {pos}/{len} {msg} {elapsed}")
    {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    let mut made = 0usize;
    while let Some(progress) = told.recv().await {
        match progress {
            ParametersProgress::Found(_) => bar.inc(1),
            ParametersProgress::Making(id) => {
                if made == 0 {
                    bar.suspend(|| report(format!("WARNING: {DEVELOPMENT_NOTICE}")));
                }
                bar.set_message(format!("making the parameters of {id}"));
            }
            ParametersProgress::Made(_) => {
                made = made.saturating_add(1);
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    let failed = |reason: String| TestnetError::Parameters {
        folder: folder.to_owned(),
        reason,
    };
    let keys = match making.await {
        Ok(keys) => keys.map_err(|error| failed(error.to_string()))?,
        Err(error) => return Err(failed(error.to_string())),
    };
    if made == 0 {
        report(format!(
            "development parameters found in {} (of no worth beyond this machine)",
            folder.display()
        ));
    }
    Ok(NetworkParameters {
        verifying_keys: encode(&keys).map_err(|error| failed(error.to_string()))?,
        digest: keys.digest(),
    })
}
