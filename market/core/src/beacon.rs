//! The randomness beacon: each block carries its builder's BLS signature over the beacon before and
//! the height. BLS signatures are unique, so the builder has no choice but to withhold.

use crate::units::{Beacon, BeaconKey, BeaconSignature, Height, NetworkId};
use bls_signatures::{PrivateKey, PublicKey, Serialize as _, Signature};

const TURN: &str = "holdfast 2026-11 beacon turn";
const POSSESSION: &str = "holdfast 2026-11 beacon key possession";
const VALUE: &str = "holdfast 2026-11 beacon value";
const GENESIS: &str = "holdfast 2026-11 beacon at genesis";
const KEY: &str = "holdfast 2026-11 beacon secret key";

/// A BLS secret key that signs beacons.
#[derive(Clone)]
pub struct BeaconSecret(PrivateKey);

impl BeaconSecret {
    /// Derives the key from a validator's 32 secret bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        BeaconSecret(PrivateKey::new(blake3::derive_key(KEY, seed)))
    }

    /// Its public key.
    pub fn public(&self) -> BeaconKey {
        let mut bytes = [0; 48];
        bytes.copy_from_slice(&fixed::<48>(&self.0.public_key().as_bytes()));
        BeaconKey(bytes)
    }

    /// The signature for the turn at `height`.
    pub fn sign(&self, network: NetworkId, previous: Beacon, height: Height) -> BeaconSignature {
        self.signature(&turn(network, previous, height))
    }

    /// Shows that the key's holder has the secret: a signature over the public key itself.
    pub fn possession(&self) -> BeaconSignature {
        self.signature(&possession(&self.public()))
    }

    fn signature(&self, message: &[u8; 32]) -> BeaconSignature {
        BeaconSignature(fixed::<96>(&self.0.sign(message).as_bytes()))
    }
}

impl std::fmt::Debug for BeaconSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BeaconSecret(of {})", self.public())
    }
}

/// The library hands out vectors of a fixed length; what could not be copied stays zero and would
/// verify as nothing.
fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap_or([0; N])
}

fn turn(network: NetworkId, previous: Beacon, height: Height) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(TURN);
    hasher.update(network.as_bytes());
    hasher.update(previous.as_bytes());
    hasher.update(&height.0.to_le_bytes());
    *hasher.finalize().as_bytes()
}

fn possession(key: &BeaconKey) -> [u8; 32] {
    blake3::derive_key(POSSESSION, key.as_bytes())
}

fn verify(key: &BeaconKey, message: &[u8; 32], signature: &BeaconSignature) -> bool {
    let (Ok(public), Ok(read)) = (
        PublicKey::from_bytes(key.as_bytes()),
        Signature::from_bytes(signature.as_bytes()),
    ) else {
        return false;
    };
    // One encoding a point, so that a beacon has one value (the library checks curve and subgroup).
    public.as_bytes() == key.as_bytes()
        && read.as_bytes() == signature.as_bytes()
        && public.verify(read, message)
}

/// Whether `signature` is `key`'s for the turn at `height`.
pub fn is_signed(
    key: &BeaconKey,
    network: NetworkId,
    previous: Beacon,
    height: Height,
    signature: &BeaconSignature,
) -> bool {
    verify(key, &turn(network, previous, height), signature)
}

/// Whether a beacon key's proof of possession holds.
pub fn is_possessed(key: &BeaconKey, shown: &BeaconSignature) -> bool {
    verify(key, &possession(key), shown)
}

/// The beacon that a signature gives.
pub fn value(signature: &BeaconSignature) -> Beacon {
    Beacon(blake3::derive_key(VALUE, signature.as_bytes()))
}

/// The beacon of height 0.
pub fn at_genesis(network: NetworkId) -> Beacon {
    Beacon(blake3::derive_key(GENESIS, network.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_verifies_for_its_key_height_and_predecessor_only() {
        let (one, two) = (
            BeaconSecret::from_seed(&[1; 32]),
            BeaconSecret::from_seed(&[2; 32]),
        );
        let network = NetworkId([3; 32]);
        let before = at_genesis(network);
        let signature = one.sign(network, before, Height(1));
        let check = |key: &BeaconKey, network, before, height, signature| {
            is_signed(key, network, before, height, &signature)
        };
        assert!(check(&one.public(), network, before, Height(1), signature));
        assert!(!check(&two.public(), network, before, Height(1), signature));
        assert!(!check(
            &one.public(),
            NetworkId([4; 32]),
            before,
            Height(1),
            signature
        ));
        assert!(!check(
            &one.public(),
            network,
            value(&signature),
            Height(1),
            signature
        ));
        assert!(!check(&one.public(), network, before, Height(2), signature));
        assert!(!check(
            &one.public(),
            network,
            before,
            Height(1),
            BeaconSignature([0; 96])
        ));
    }

    #[test]
    fn possession_of_another_key_is_refused() {
        let (one, two) = (
            BeaconSecret::from_seed(&[1; 32]),
            BeaconSecret::from_seed(&[2; 32]),
        );
        assert!(is_possessed(&one.public(), &one.possession()));
        assert!(!is_possessed(&one.public(), &two.possession()));
        // The point at infinity is no key: it would verify for the signature at infinity.
        let mut infinity = [0; 48];
        infinity[0] = 0xc0;
        let mut signature = [0; 96];
        signature[0] = 0xc0;
        assert!(!is_possessed(
            &BeaconKey(infinity),
            &BeaconSignature(signature)
        ));
    }
}
