//! Verifying keys as bytes: what a network fixes in its genesis.

use crate::proof::CircuitId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// The verifying keys of a network, one for each circuit that it uses, as `bellman` writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<KeyEntry>", into = "Vec<KeyEntry>")]
pub struct VerifyingKeys {
    keys: BTreeMap<CircuitId, Vec<u8>>,
}

impl VerifyingKeys {
    /// No keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces the key of a circuit.
    pub fn insert(&mut self, id: CircuitId, key: Vec<u8>) {
        self.keys.insert(id, key);
    }

    /// The key of a circuit.
    pub fn get(&self, id: CircuitId) -> Option<&[u8]> {
        self.keys.get(&id).map(Vec::as_slice)
    }

    /// Every circuit and its key, in order.
    pub fn iter(&self) -> impl Iterator<Item = (CircuitId, &[u8])> {
        self.keys.iter().map(|(id, key)| (*id, key.as_slice()))
    }

    /// A digest over every circuit and its key: two networks with the same digest accept the same
    /// proofs.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("holdfast 2026 verifying keys v1");
        for (id, key) in &self.keys {
            let name = id.to_string();
            for part in [name.as_bytes(), key] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
        }
        *hasher.finalize().as_bytes()
    }
}

impl FromIterator<(CircuitId, Vec<u8>)> for VerifyingKeys {
    fn from_iter<I: IntoIterator<Item = (CircuitId, Vec<u8>)>>(keys: I) -> Self {
        Self {
            keys: keys.into_iter().collect(),
        }
    }
}

/// The form in which keys are written: a list, because a map's keys must be texts in DAG-CBOR.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    circuit: CircuitId,
    #[serde(serialize_with = "write_bytes", deserialize_with = "read_bytes")]
    key: Vec<u8>,
}

/// A list that is not the one way to write its keys.
#[derive(Debug, thiserror::Error)]
#[error(
    "the key of {0} stands after one that it should precede, or twice; keys are listed once each, in the order of their circuits"
)]
struct OutOfOrder(CircuitId);

impl TryFrom<Vec<KeyEntry>> for VerifyingKeys {
    type Error = OutOfOrder;

    /// Readers that take a circuit's first entry and readers that take its last see the same key.
    fn try_from(entries: Vec<KeyEntry>) -> Result<Self, OutOfOrder> {
        let mut keys = BTreeMap::new();
        for entry in entries {
            if keys
                .last_key_value()
                .is_some_and(|(last, _)| *last >= entry.circuit)
            {
                return Err(OutOfOrder(entry.circuit));
            }
            keys.insert(entry.circuit, entry.key);
        }
        Ok(Self { keys })
    }
}

impl From<VerifyingKeys> for Vec<KeyEntry> {
    fn from(keys: VerifyingKeys) -> Self {
        keys.keys
            .into_iter()
            .map(|(circuit, key)| KeyEntry { circuit, key })
            .collect()
    }
}

fn write_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    crate::bytes::serialize_fixed(bytes, serializer)
}

fn read_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    if deserializer.is_human_readable() {
        let text = String::deserialize(deserializer)?;
        let digits: Option<Vec<u8>> = text
            .bytes()
            .map(|character| match character {
                b'0'..=b'9' => Some(character - b'0'),
                b'a'..=b'f' => Some(character - b'a' + 10),
                _ => None,
            })
            .collect();
        let digits = digits
            .filter(|digits| digits.len() % 2 == 0)
            .ok_or_else(|| serde::de::Error::custom("a key is lower-case hexadecimal"))?;
        Ok(digits
            .chunks_exact(2)
            .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
            .collect())
    } else {
        Ok(serde_bytes::ByteBuf::deserialize(deserializer)?.into_vec())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::sector::SectorClass;

    #[test]
    fn keys_are_read_back_and_their_digest_follows_every_byte() {
        let mut keys = VerifyingKeys::new();
        keys.insert(CircuitId::seal(SectorClass::Mib8, 2), vec![0, 0x0a, 0xff]);
        let text = serde_json::to_string(&keys).unwrap();
        assert!(text.contains("000aff"), "{text}");
        assert_eq!(serde_json::from_str::<VerifyingKeys>(&text).unwrap(), keys);
        assert!(serde_json::from_str::<VerifyingKeys>(&text.replace("000aff", "000af")).is_err());
        let digest = keys.digest();
        keys.insert(CircuitId::seal(SectorClass::Mib8, 2), vec![0, 0x0a, 0xfe]);
        assert_ne!(keys.digest(), digest);
    }

    #[test]
    fn a_list_of_keys_is_read_only_in_order_and_without_repetition() {
        let ids = [
            CircuitId::seal(SectorClass::Mib8, 1),
            CircuitId::seal(SectorClass::Mib8, 2),
            CircuitId::embed(SectorClass::Mib8, 2),
            CircuitId::spacetime(SectorClass::Mib8),
        ];
        let keys: VerifyingKeys = ids.into_iter().zip((1..).map(|byte| vec![byte])).collect();
        let serde_json::Value::Array(list) = serde_json::to_value(&keys).unwrap() else {
            panic!("keys are a list");
        };
        let read = |list: &[&serde_json::Value]| {
            serde_json::from_value::<VerifyingKeys>(serde_json::to_value(list).unwrap())
        };
        let ordered: Vec<_> = list.iter().collect();
        assert_eq!(read(&ordered).unwrap(), keys);
        assert_eq!(read(&[]).unwrap(), VerifyingKeys::new());
        for at in 1..ordered.len() {
            let mut swapped = ordered.clone();
            swapped.swap(at - 1, at);
            let error = read(&swapped).unwrap_err().to_string();
            assert!(error.contains("in the order of their circuits"), "{error}");
            let mut twice = ordered.clone();
            twice.insert(at, ordered[at]);
            assert!(read(&twice).is_err());
        }
        // Two keys of one circuit.
        let mut other = list[0].clone();
        other["key"] = "ff".into();
        assert!(read(&[&list[0], &other]).is_err());
    }
}
