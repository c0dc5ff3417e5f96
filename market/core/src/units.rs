//! Quantities and identities: a public signature takes no bare number.

use holdfast_proofs::byte_newtype;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Tokens, in grains: 1 HOLD is 10^9 grains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Amount(pub u128);

/// Grains in one HOLD.
pub const GRAINS_PER_HOLD: u128 = 1_000_000_000;

impl Amount {
    /// No tokens.
    pub const ZERO: Amount = Amount(0);

    /// So many whole HOLD.
    pub const fn hold(whole: u64) -> Self {
        Amount(whole as u128 * GRAINS_PER_HOLD)
    }

    /// The sum, where it is representable.
    pub fn checked_add(self, other: Amount) -> Option<Amount> {
        self.0.checked_add(other.0).map(Amount)
    }

    /// The difference, where it is not negative.
    pub fn checked_sub(self, other: Amount) -> Option<Amount> {
        self.0.checked_sub(other.0).map(Amount)
    }

    /// So much for each unit of a stake, where that is representable.
    pub fn times(self, stake: Stake) -> Option<Amount> {
        self.0.checked_mul(u128::from(stake.0)).map(Amount)
    }

    /// What is left after taking `other`, at least zero.
    pub fn saturating_sub(self, other: Amount) -> Amount {
        Amount(self.0.saturating_sub(other.0))
    }
}

/// Whole HOLD and the grains after the point, as in `12.5 HOLD`.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, grains) = (self.0 / GRAINS_PER_HOLD, self.0 % GRAINS_PER_HOLD);
        if grains == 0 {
            return write!(f, "{whole} HOLD");
        }
        let digits = format!("{grains:09}");
        write!(f, "{whole}.{} HOLD", digits.trim_end_matches('0'))
    }
}

/// DAG-CBOR integers end at 64 bits, so an amount is its 16 big-endian bytes there and a decimal
/// string of grains in JSON.
impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(&self.0)
        } else {
            serializer.serialize_bytes(&self.0.to_be_bytes())
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
            let grains: u128 = text.parse().map_err(serde::de::Error::custom)?;
            // `parse` takes a sign and leading zeros; an amount is written in one way.
            if grains.to_string() != *text {
                return Err(serde::de::Error::custom(
                    "an amount has decimal digits only",
                ));
            }
            Ok(Amount(grains))
        } else {
            holdfast_proofs::bytes::deserialize_fixed::<16, D>(deserializer)
                .map(|bytes| Amount(u128::from_be_bytes(bytes)))
        }
    }
}

macro_rules! number_newtype {
    ($(#[$meta:meta])* $name:ident($inner:ty)) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_newtype!(
    /// A block's number, the only clock of the ledger. Genesis is height 0 and has no block.
    Height(u64)
);
number_newtype!(
    /// A count of blocks.
    Blocks(u64)
);
number_newtype!(
    /// A try at agreeing on the block of one height, from 0.
    Round(u32)
);
number_newtype!(
    /// The index of a proving period: height h lies in period (h - 1) / blocks per period.
    Period(u64)
);
number_newtype!(
    /// A count of proving periods.
    Periods(u64)
);
number_newtype!(
    /// The index of a deadline in its period.
    Deadline(u32)
);
number_newtype!(
    /// A provider's number, given at registration, from 0.
    ProviderId(u64)
);
number_newtype!(
    /// A proposal's number, given when it is made, from 0.
    ProposalId(u64)
);
number_newtype!(
    /// A sector's number at its provider; it serves once.
    SectorNumber(u64)
);
number_newtype!(
    /// The index of a shard in its pack, below n.
    ShardIndex(u8)
);
number_newtype!(
    /// Whole HOLD at stake; one is a unit of a validator's power.
    Stake(u64)
);
number_newtype!(
    /// A count of bytes.
    ByteCount(u64)
);

impl Stake {
    /// The sum, where it is representable.
    pub fn checked_add(self, other: Stake) -> Option<Stake> {
        self.0.checked_add(other.0).map(Stake)
    }

    /// The difference, where it is not negative.
    pub fn checked_sub(self, other: Stake) -> Option<Stake> {
        self.0.checked_sub(other.0).map(Stake)
    }

    /// As many grains, before any of it was taken.
    pub fn amount(self) -> Amount {
        Amount(u128::from(self.0).saturating_mul(GRAINS_PER_HOLD))
    }
}

impl Height {
    /// The height that many blocks later; the end of the numbers is never reached by a real chain.
    pub const fn after(self, blocks: Blocks) -> Height {
        Height(self.0.saturating_add(blocks.0))
    }

    /// The height that many blocks earlier, at least 0.
    pub const fn before(self, blocks: Blocks) -> Height {
        Height(self.0.saturating_sub(blocks.0))
    }
}

byte_newtype!(
    /// BLAKE3 of the DAG-CBOR genesis.
    NetworkId, 32
);
byte_newtype!(
    /// An ed25519 public key that holds an account. Shown to people as bech32m, see
    /// [`Address::to_text`].
    Address, 32
);
byte_newtype!(
    /// An ed25519 public key that names a QUIC end point.
    NodeKey, 32
);
byte_newtype!(
    /// An ed25519 signature.
    Signature, 64
);
byte_newtype!(
    /// BLAKE3 of a shard's bytes.
    ShardRoot, 32
);
byte_newtype!(
    /// BLAKE3 of a pack's owner, nonce, k, n, shard roots and lengths; it names the deal set too.
    PackId, 32
);
byte_newtype!(
    /// BLAKE3 of a block header's DAG-CBOR.
    BlockId, 32
);
byte_newtype!(
    /// BLAKE3 of a signed message's DAG-CBOR.
    MessageId, 32
);
byte_newtype!(
    /// The beacon of one height: BLAKE3 of its builder's BLS signature.
    Beacon, 32
);
byte_newtype!(
    /// A root of a Merkle tree with BLAKE3: state, transactions, receipts.
    TreeRoot, 32
);
byte_newtype!(
    /// A BLS public key (BLS12-381, keys in G1), compressed.
    BeaconKey, 48
);
byte_newtype!(
    /// A BLS signature (in G2), compressed.
    BeaconSignature, 96
);

/// A sector of the network: its provider and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SectorId {
    /// Whose it is.
    pub provider: ProviderId,
    /// Which of theirs.
    pub number: SectorNumber,
}

impl fmt::Display for SectorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.number)
    }
}

impl ShardIndex {
    /// The index as a list position.
    pub const fn position(self) -> usize {
        self.0 as usize
    }
}

/// A deal: one shard of one deal set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DealId {
    /// The deal set, named by its pack.
    pub pack: PackId,
    /// The shard.
    pub shard: ShardIndex,
}

impl fmt::Display for DealId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pack, self.shard)
    }
}

/// Text that is no address of the expected network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not bech32m, or not 32 bytes.
    #[error("`{0}` is not a Holdfast address; one looks like hold1… or thold1…")]
    Malformed(String),
    /// An address of the other kind of network.
    #[error("`{text}` is an address of another network: here they begin with {expected}1")]
    OtherNetwork {
        /// What was given.
        text: String,
        /// The prefix that addresses have here.
        expected: &'static str,
    },
}

impl Address {
    /// The address as people see it: bech32m with the network's prefix (`hold` on the main
    /// network, `thold` on any other).
    pub fn to_text(&self, prefix: &'static str) -> String {
        let Ok(hrp) = bech32::Hrp::parse(prefix) else {
            return self.to_string();
        };
        bech32::encode::<bech32::Bech32m>(hrp, &self.0).unwrap_or_else(|_| self.to_string())
    }

    /// Reads what [`Address::to_text`] wrote.
    ///
    /// # Errors
    /// Text that is no bech32m of 32 bytes, or carries another network's prefix.
    pub fn from_text(text: &str, prefix: &'static str) -> Result<Self, AddressError> {
        let malformed = || AddressError::Malformed(text.chars().take(100).collect());
        let parsed = bech32::primitives::decode::CheckedHrpstring::new::<bech32::Bech32m>(text)
            .map_err(|_| malformed())?;
        let bytes: Vec<u8> = parsed.byte_iter().take(33).collect();
        let key = bytes.try_into().map_err(|_| malformed())?;
        if !parsed.hrp().as_str().eq_ignore_ascii_case(prefix) {
            return Err(AddressError::OtherNetwork {
                text: text.into(),
                expected: prefix,
            });
        }
        Ok(Address(key))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_amount_reads_as_people_write_it() {
        assert_eq!(Amount::hold(12).to_string(), "12 HOLD");
        assert_eq!(Amount(12_500_000_000).to_string(), "12.5 HOLD");
        assert_eq!(Amount(1).to_string(), "0.000000001 HOLD");
    }

    #[test]
    fn an_address_of_another_network_is_refused_by_name() {
        let address = Address([7; 32]);
        let text = address.to_text("thold");
        assert_eq!(Address::from_text(&text, "thold"), Ok(address));
        assert!(matches!(
            Address::from_text(&text, "hold"),
            Err(AddressError::OtherNetwork { .. })
        ));
        assert!(matches!(
            Address::from_text("thold1x", "thold"),
            Err(AddressError::Malformed(_))
        ));
    }

    #[test]
    fn an_amount_has_one_form_in_json() {
        let read = |text: &str| {
            let text = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(text);
            Amount::deserialize(text).ok()
        };
        assert_eq!(read("5"), Some(Amount(5)));
        assert_eq!(read(&u128::MAX.to_string()), Some(Amount(u128::MAX)));
        for other in ["+5", "05", "", " 5", "5.0", "-0", "5e0"] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn an_amount_survives_both_encodings() {
        for amount in [Amount::ZERO, Amount(1), Amount(u128::MAX)] {
            let cbor = serde_ipld_dagcbor::to_vec(&amount).unwrap();
            assert_eq!(
                serde_ipld_dagcbor::from_slice::<Amount>(&cbor).unwrap(),
                amount
            );
        }
    }
}
