//! The proving parameters of a development network: made once on this machine, then found.

use crate::error::TestnetError;
use holdfast_market_core::message::encode;
use holdfast_market_core::parameters::Parameters;
use holdfast_proofs::params::{self, DEVELOPMENT_NOTICE, ParametersProgress};
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

/// Finds or makes the parameters of a network of these rules; a bar shows how far it is.
pub(crate) async fn ensure(
    folder: &Path,
    rules: &Parameters,
    report: &mut dyn FnMut(String),
) -> Result<NetworkParameters, TestnetError> {
    let circuits = rules.circuits();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let making_in = folder.to_owned();
    let making = tokio::task::spawn_blocking(move || {
        params::ensure(&making_in, &circuits, &mut |progress| {
            // Nobody listens any more only when the whole is being given up.
            let _ = tell.send(progress);
        })
    });
    let bar = ProgressBar::new(rules.circuits().len() as u64);
    if let Ok(style) =
        ProgressStyle::with_template("{spinner} {bar:24} {pos}/{len} {msg} {elapsed}")
    {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    let mut made = 0usize;
    let mut warned = false;
    while let Some(progress) = told.recv().await {
        if let Some(warning) = warning(&mut warned, progress, folder) {
            bar.suspend(|| report(warning));
        }
        match progress {
            ParametersProgress::Found(_) => bar.inc(1),
            ParametersProgress::Making(id) => {
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
    Ok(NetworkParameters {
        verifying_keys: encode(&keys).map_err(|error| failed(error.to_string()))?,
        digest: keys.digest(),
    })
}

/// What is said once, before the first circuit's parameters are used: also those that are found
/// were made by one machine, and by whoever could write to the folder.
fn warning(warned: &mut bool, progress: ParametersProgress, folder: &Path) -> Option<String> {
    if std::mem::replace(warned, true) {
        return None;
    }
    Some(match progress {
        ParametersProgress::Found(_) => format!(
            "WARNING: {DEVELOPMENT_NOTICE} (found in {}, where whoever can write may have made them)",
            folder.display()
        ),
        ParametersProgress::Making(_) | ParametersProgress::Made(_) => {
            format!("WARNING: {DEVELOPMENT_NOTICE}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_proofs::proof::CircuitId;
    use holdfast_proofs::sector::SectorClass;

    #[test]
    fn the_notice_is_given_once_whether_parameters_are_made_or_found() {
        let id = CircuitId::spacetime(SectorClass::Mib8);
        let folder = Path::new("/cache/params");
        for (first, says) in [
            (ParametersProgress::Found(id), "/cache/params"),
            (ParametersProgress::Making(id), DEVELOPMENT_NOTICE),
        ] {
            let mut warned = false;
            let said = warning(&mut warned, first, folder).unwrap_or_default();
            assert!(said.contains(DEVELOPMENT_NOTICE), "{said}");
            assert!(said.contains(says), "{said}");
            for later in [first, ParametersProgress::Made(id)] {
                assert_eq!(warning(&mut warned, later, folder), None);
            }
        }
    }
}
