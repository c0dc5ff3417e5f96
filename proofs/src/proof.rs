//! Proofs as bytes, and the names of the circuits that they belong to.

use crate::sector::SectorClass;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Bytes of one Groth16 proof: A and C compressed in G1, B in G2.
pub const PROOF_BYTES: usize = 192;

/// Challenges of a spacetime proof: two in each lane.
pub const SPACETIME_CHALLENGES: usize = SPACETIME_PER_PROOF as usize;
const SPACETIME_PER_PROOF: u32 = 16;

crate::byte_newtype!(
    /// One Groth16 proof as it is sent. Anybody can re-randomize a proof, so its bytes name
    /// nothing: identity is the statement.
    ProofBytes, 192
);

/// The three statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Circuit {
    /// A sector's keys were sealed through the graph.
    Seal,
    /// A group's replica is its key plus rho times its data.
    Embed,
    /// The replica is there.
    Spacetime,
}

impl Circuit {
    /// The name used in files and on command lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Embed => "embed",
            Self::Spacetime => "spacetime",
        }
    }
}

impl fmt::Display for Circuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A circuit of fixed size: parameters and keys are made for one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CircuitId {
    /// What it shows.
    pub circuit: Circuit,
    /// The sectors it shows it for.
    pub class: SectorClass,
    /// Challenges in one proof.
    pub per_proof: u32,
}

impl CircuitId {
    /// The seal circuit of that class and number of challenges.
    pub const fn seal(class: SectorClass, per_proof: u32) -> Self {
        Self {
            circuit: Circuit::Seal,
            class,
            per_proof,
        }
    }

    /// The embed circuit of that class and number of challenges.
    pub const fn embed(class: SectorClass, per_proof: u32) -> Self {
        Self {
            circuit: Circuit::Embed,
            class,
            per_proof,
        }
    }

    /// The spacetime circuit of that class; its challenges are always sixteen.
    pub const fn spacetime(class: SectorClass) -> Self {
        Self {
            circuit: Circuit::Spacetime,
            class,
            per_proof: SPACETIME_PER_PROOF,
        }
    }
}

impl fmt::Display for CircuitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.circuit, self.class, self.per_proof)
    }
}

/// A text that names no circuit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names no circuit; write it as seal-8MiB-2: the statement, the class, the challenges"
)]
pub struct UnknownCircuit(String);

impl FromStr for CircuitId {
    type Err = UnknownCircuit;

    fn from_str(text: &str) -> Result<Self, UnknownCircuit> {
        let unknown = || UnknownCircuit(text.into());
        let mut fields = text.split('-');
        let (Some(circuit), Some(class), Some(per_proof), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(unknown());
        };
        let id = CircuitId {
            circuit: [Circuit::Seal, Circuit::Embed, Circuit::Spacetime]
                .into_iter()
                .find(|known| known.name() == circuit)
                .ok_or_else(unknown)?,
            class: class.parse().map_err(|_| unknown())?,
            per_proof: per_proof.parse().map_err(|_| unknown())?,
        };
        if id.to_string() == text {
            Ok(id)
        } else {
            Err(unknown())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circuit_is_read_back_from_its_name_and_nothing_else_is() {
        let id = CircuitId::embed(SectorClass::Mib64, 8);
        assert_eq!(id.to_string(), "embed-64MiB-8");
        assert_eq!("embed-64MiB-8".parse(), Ok(id));
        for text in [
            "",
            "embed",
            "embed-64MiB",
            "embed-64MiB-08",
            "embed-64MiB-8-1",
            "post-64MiB-8",
        ] {
            assert_eq!(
                text.parse::<CircuitId>(),
                Err(UnknownCircuit(text.into())),
                "{text}"
            );
        }
    }
}
