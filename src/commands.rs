//! The command groups, one file each.

pub mod audit;
pub mod check;
pub mod client;
pub mod get;
pub mod light;
pub mod ls;
pub mod market;
pub mod mount;
pub mod node;
pub mod params;
pub mod put;
pub mod renew;
pub mod stake;
pub mod status;
pub mod testnet;
pub mod wallet;

use crate::output::CommandError;
use holdfast_market_core::message::decode;
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_wire::network::NetworkFolder;

/// The verifying keys of a network's folder. Whoever makes rules of them checks their digest
/// against the genesis.
pub fn verifying_keys(folder: &NetworkFolder) -> Result<VerifyingKeys, CommandError> {
    let bytes = folder.verifying_keys()?;
    Ok(decode("list of verifying keys", &bytes)?)
}
