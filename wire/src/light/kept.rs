//! The file of a light client: the last header that it followed and the validators that it names.

use super::FollowError;
use crate::atomic;
use holdfast_market_core::block::{Header, Validator};
use holdfast_market_core::light::LightChain;
use holdfast_market_core::units::NetworkId;
use holdfast_proofs::checked::{with_check, without_check};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// The version of the file that this program writes and reads.
pub(super) const VERSION: u32 = 1;

/// A header and the most validators that a network has are less than a quarter of it.
const LIMIT: u64 = 2 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    network: NetworkId,
    header: Header,
    validators: Vec<Validator>,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Reads the file, if there is one.
pub(super) fn read(path: &Path, network: NetworkId) -> Result<Option<LightChain>, FollowError> {
    let bytes = match atomic::read_bounded(path, LIMIT) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(FollowError::Io {
                path: path.to_owned(),
                source,
            });
        }
    };
    let damaged = |reason: String| FollowError::Damaged {
        path: path.to_owned(),
        reason,
    };
    let object = without_check(&bytes)
        .ok_or_else(|| damaged("its hash is not that of its content".into()))?;
    let Versioned { version } =
        serde_json::from_slice(&object).map_err(|error| damaged(error.to_string()))?;
    if version != VERSION {
        return Err(FollowError::Version {
            path: path.to_owned(),
            found: version,
        });
    }
    let kept: Kept = serde_json::from_slice(&object).map_err(|error| damaged(error.to_string()))?;
    if kept.network != network {
        return Err(FollowError::OtherNetwork {
            path: path.to_owned(),
            found: kept.network,
            wanted: network,
        });
    }
    LightChain::at(network, kept.header, kept.validators)
        .map(Some)
        .map_err(|error| damaged(error.to_string()))
}

/// Writes the file whole; at the genesis there is nothing to keep.
pub(super) fn write(path: &Path, chain: &LightChain) -> Result<(), FollowError> {
    let Some(header) = chain.header() else {
        return Ok(());
    };
    let failed = |source| FollowError::Io {
        path: path.to_owned(),
        source,
    };
    let kept = Kept {
        version: VERSION,
        network: chain.network(),
        header: header.clone(),
        validators: chain.validators().to_vec(),
    };
    let text = serde_json::to_vec_pretty(&kept).map_err(|error| failed(error.into()))?;
    atomic::write(path, &with_check(&text), 0o644).map_err(failed)
}
