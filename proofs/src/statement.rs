//! What a proof says, as public inputs computed from native data. The verifier hashes every level
//! above lane and group itself, computes each challenge's parents, and passes positions packed.

use crate::graph::Graph;
use crate::node::Node;
use crate::packing::{Packer, PositionBits, packed_len};
use crate::proof::{Circuit, CircuitId, SPACETIME_CHALLENGES};
use crate::replica::ReplicaId;
use crate::sector::{Lane, Position, SectorClass};

/// A statement that no proof can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// No challenge at all would show nothing.
    #[error("the statement has no challenges, so it would show nothing")]
    NoChallenges,
    /// Challenges do not fill whole proofs.
    #[error("{count} challenges do not fill whole proofs of {per_proof}")]
    PartialProof {
        /// Challenges in the statement.
        count: usize,
        /// Challenges that one proof takes.
        per_proof: u32,
    },
    /// A position lies outside the sector.
    #[error("position {position} lies outside a sector of {class}")]
    OutsideSector {
        /// The position.
        position: u64,
        /// The class.
        class: SectorClass,
    },
    /// The first node of a lane has no base parents, and is never challenged.
    #[error("position {0} is the first node of its lane, which is never challenged")]
    LaneStart(u64),
    /// Spacetime challenges come two a lane, in lane order.
    #[error("spacetime challenge {index} is at position {position}, which is not in lane {lane}")]
    WrongLane {
        /// Which challenge.
        index: usize,
        /// Its position.
        position: u64,
        /// The lane that it must lie in.
        lane: u8,
    },
}

/// A sector was sealed: its columns and keys come from the graph and its replica id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealStatement {
    /// The sector's class.
    pub class: SectorClass,
    /// The replica that was sealed.
    pub replica: ReplicaId,
    /// Lane roots of the columns.
    pub columns: [Node; 8],
    /// Lane roots of the keys.
    pub keys: [Node; 8],
    /// The nodes that the beacon drew.
    pub challenges: Vec<Position>,
}

impl SealStatement {
    /// One list of public inputs for each proof: replica id, lane roots of the columns, lane roots
    /// of the keys, packed positions of each node and its parents.
    ///
    /// # Errors
    /// Challenges that are none, do not fill whole proofs, lie outside the sector or begin a lane.
    pub fn public_inputs(&self, per_proof: u32) -> Result<Vec<Vec<Node>>, StatementError> {
        let bits = PositionBits::of(self.class);
        let graph = Graph::new(self.class);
        let mut proofs = Vec::new();
        for challenges in whole_proofs(&self.challenges, per_proof)? {
            let mut packer = Packer::default();
            for challenge in challenges {
                inside(*challenge, self.class)?;
                if challenge.in_lane(self.class) == 0 {
                    return Err(StatementError::LaneStart(challenge.0));
                }
                let parents = graph.parents(*challenge);
                packer.push(challenge.0, bits.sector());
                for parent in parents.base {
                    packer.push(parent.in_lane(self.class), bits.lane());
                }
                for parent in parents.expander {
                    packer.push(parent.0, bits.sector());
                }
            }
            let mut inputs = vec![self.replica.0];
            inputs.extend(self.columns);
            inputs.extend(self.keys);
            inputs.extend(packer.finish());
            proofs.push(inputs);
        }
        Ok(proofs)
    }
}

/// One node of an embedded group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbedChallenge {
    /// The node, in the sector.
    pub position: Position,
    /// The group's rho.
    pub rho: Node,
    /// The group's root over the keys.
    pub key_root: Node,
    /// The group's root over the data.
    pub data_root: Node,
    /// The group's root over the replica.
    pub replica_root: Node,
}

/// Groups were embedded: replica = key + rho * data at each challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedStatement {
    /// The sector's class.
    pub class: SectorClass,
    /// The nodes that the beacon drew, with their groups' roots.
    pub challenges: Vec<EmbedChallenge>,
}

impl EmbedStatement {
    /// One list of public inputs for each proof: for each challenge its group's key, data and
    /// replica roots and rho, then the packed positions in the group.
    ///
    /// # Errors
    /// Challenges that are none, do not fill whole proofs or lie outside the sector.
    pub fn public_inputs(&self, per_proof: u32) -> Result<Vec<Vec<Node>>, StatementError> {
        let bits = PositionBits::of(self.class);
        let mut proofs = Vec::new();
        for challenges in whole_proofs(&self.challenges, per_proof)? {
            let mut packer = Packer::default();
            let mut inputs = Vec::new();
            for challenge in challenges {
                inside(challenge.position, self.class)?;
                packer.push(challenge.position.in_group(self.class), bits.group());
                inputs.extend([
                    challenge.key_root,
                    challenge.data_root,
                    challenge.replica_root,
                    challenge.rho,
                ]);
            }
            inputs.extend(packer.finish());
            proofs.push(inputs);
        }
        Ok(proofs)
    }
}

/// A replica is there: sixteen of its leaves open, two in each lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpacetimeStatement {
    /// The sector's class.
    pub class: SectorClass,
    /// Lane roots of the replica.
    pub lanes: [Node; 8],
    /// The leaves that the beacon drew: two in each lane, in lane order.
    pub challenges: [Position; SPACETIME_CHALLENGES],
}

impl SpacetimeStatement {
    /// The public inputs of the one proof: the lane roots, then the packed positions in the lanes.
    ///
    /// # Errors
    /// Challenges outside the sector or their lane, or a number a proof other than sixteen.
    pub fn public_inputs(&self, per_proof: u32) -> Result<Vec<Vec<Node>>, StatementError> {
        let bits = PositionBits::of(self.class);
        if per_proof as usize != SPACETIME_CHALLENGES {
            return Err(StatementError::PartialProof {
                count: SPACETIME_CHALLENGES,
                per_proof,
            });
        }
        let lanes = Lane::all().flat_map(|lane| [lane, lane]);
        let mut packer = Packer::default();
        for ((index, challenge), lane) in self.challenges.iter().enumerate().zip(lanes) {
            inside(*challenge, self.class)?;
            if challenge.lane(self.class) != lane {
                return Err(StatementError::WrongLane {
                    index,
                    position: challenge.0,
                    lane: lane.index(),
                });
            }
            packer.push(challenge.in_lane(self.class), bits.lane());
        }
        let mut inputs = self.lanes.to_vec();
        inputs.extend(packer.finish());
        Ok(vec![inputs])
    }
}

/// Any of the three statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// A sector was sealed.
    Seal(SealStatement),
    /// Groups were embedded.
    Embed(EmbedStatement),
    /// A replica is there.
    Spacetime(SpacetimeStatement),
}

impl Statement {
    /// Which of the three it is.
    pub const fn circuit(&self) -> Circuit {
        match self {
            Self::Seal(_) => Circuit::Seal,
            Self::Embed(_) => Circuit::Embed,
            Self::Spacetime(_) => Circuit::Spacetime,
        }
    }

    /// The sector's class.
    pub const fn class(&self) -> SectorClass {
        match self {
            Self::Seal(statement) => statement.class,
            Self::Embed(statement) => statement.class,
            Self::Spacetime(statement) => statement.class,
        }
    }

    /// The circuit that proves it with that many challenges a proof.
    pub const fn circuit_id(&self, per_proof: u32) -> CircuitId {
        CircuitId {
            circuit: self.circuit(),
            class: self.class(),
            per_proof,
        }
    }

    /// Challenges in the statement.
    pub fn challenge_count(&self) -> usize {
        match self {
            Self::Seal(statement) => statement.challenges.len(),
            Self::Embed(statement) => statement.challenges.len(),
            Self::Spacetime(statement) => statement.challenges.len(),
        }
    }

    /// Proofs that the statement takes.
    ///
    /// # Errors
    /// Challenges that are none or do not fill whole proofs.
    pub fn proof_count(&self, per_proof: u32) -> Result<usize, StatementError> {
        whole_count(self.challenge_count(), per_proof)
    }

    /// One list of public inputs for each proof.
    ///
    /// # Errors
    /// Those of the statement that it is.
    pub fn public_inputs(&self, per_proof: u32) -> Result<Vec<Vec<Node>>, StatementError> {
        match self {
            Self::Seal(statement) => statement.public_inputs(per_proof),
            Self::Embed(statement) => statement.public_inputs(per_proof),
            Self::Spacetime(statement) => statement.public_inputs(per_proof),
        }
    }
}

impl CircuitId {
    /// Public inputs of one proof, the constant one not counted.
    pub fn public_input_count(self) -> usize {
        public_input_count(
            self.circuit,
            PositionBits::of(self.class),
            self.per_proof as usize,
        )
    }
}

/// Public inputs of a circuit over a tree of that many levels.
pub(crate) fn public_input_count(circuit: Circuit, bits: PositionBits, per_proof: usize) -> usize {
    match circuit {
        Circuit::Seal => {
            17usize.saturating_add(packed_len(per_proof.saturating_mul(bits.seal_challenge())))
        }
        Circuit::Embed => per_proof
            .saturating_mul(4)
            .saturating_add(packed_len(per_proof.saturating_mul(bits.group()))),
        Circuit::Spacetime => {
            8usize.saturating_add(packed_len(per_proof.saturating_mul(bits.lane())))
        }
    }
}

fn whole_count(count: usize, per_proof: u32) -> Result<usize, StatementError> {
    if count == 0 {
        return Err(StatementError::NoChallenges);
    }
    match (
        count.checked_rem(per_proof as usize),
        count.checked_div(per_proof as usize),
    ) {
        (Some(0), Some(proofs)) => Ok(proofs),
        _ => Err(StatementError::PartialProof { count, per_proof }),
    }
}

fn whole_proofs<T>(
    challenges: &[T],
    per_proof: u32,
) -> Result<std::slice::Chunks<'_, T>, StatementError> {
    whole_count(challenges.len(), per_proof)?;
    // Not zero, or `whole_count` had refused it.
    Ok(challenges.chunks(per_proof.max(1) as usize))
}

fn inside(position: Position, class: SectorClass) -> Result<(), StatementError> {
    if position.0 < class.nodes() {
        Ok(())
    } else {
        Err(StatementError::OutsideSector {
            position: position.0,
            class,
        })
    }
}
