//! Two real sectors. Parameters and sealed sectors are kept in the build folder, so that only the
//! first run waits for them; a change of graph or circuit changes their names.

use crate::chain::{CLASS, Chain, address, parameters};
use holdfast_market_core::message::{
    EmbedCommit, GroupLayout, LaneGroups, PlacedSubtree, SectorRoots,
};
use holdfast_market_core::units::{DealId, Height};
use holdfast_proofs::embed::{EmbeddedRoots, GroupData};
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_proofs::node::Node;
use holdfast_proofs::params::{Parameters, ensure};
use holdfast_proofs::piece::{PieceRoots, PieceShape, pack};
use holdfast_proofs::proof::{Circuit, CircuitId, ProofBytes};
use holdfast_proofs::prove::{Workers, prove_embed, prove_seal, prove_spacetime};
use holdfast_proofs::replica::{ReplicaId, ReplicaSeed};
use holdfast_proofs::seal::{SealCommitment, seal};
use holdfast_proofs::sealed::Sealed;
use holdfast_proofs::sector::{Group, UNIT_NODES};
use holdfast_proofs::statement::{EmbedStatement, SealStatement, SpacetimeStatement};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

pub struct Prover {
    pub keys: VerifyingKeys,
    parameters: PathBuf,
    folder: PathBuf,
    rng: ChaCha20Rng,
    /// Held as long as it lives: the folder has one user.
    _lock: fs::File,
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

impl Prover {
    pub fn new() -> Self {
        let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
        // The same circuits as in the tests of the proofs, so that they are made once.
        let kept = temporary.join("proofs").join("parameters");
        let keys = ensure(&kept, &parameters().circuits(), &mut |_| {}).unwrap();
        let folder = temporary.join("market-core");
        fs::create_dir_all(&folder).unwrap();
        let lock = fs::File::create(folder.join("lock")).unwrap();
        lock.lock().unwrap();
        Self {
            keys,
            parameters: kept,
            folder,
            rng: ChaCha20Rng::seed_from_u64(1),
            _lock: lock,
        }
    }

    fn load(&self, circuit: Circuit) -> Parameters {
        let ids = parameters().circuits();
        let id = ids.into_iter().find(|id: &CircuitId| id.circuit == circuit);
        Parameters::load(&self.parameters, id.unwrap(), &self.keys).unwrap()
    }

    /// Seals sector `number` of provider 0 with the ticket of that height, or finds it sealed.
    pub fn seal(&self, chain: &Chain, number: u64, ticket: Height) -> (Sealed, SealCommitment) {
        let replica = ReplicaId::derive(&ReplicaSeed {
            network: *chain.rules.network.as_bytes(),
            class: CLASS,
            provider: 0,
            number,
            ticket: *chain.beacon(ticket).as_bytes(),
        });
        let prefix = format!("sector-{number}-");
        let name = format!("{prefix}{}-{}", holdfast_proofs::sealed::VERSION, replica.0);
        for entry in fs::read_dir(&self.folder).unwrap() {
            let entry = entry.unwrap();
            let found = entry.file_name().into_string().unwrap();
            // Of another network, whose parameters were made anew since, or of another layout.
            if found.starts_with(&prefix) && found != name {
                fs::remove_dir_all(entry.path()).unwrap();
            }
        }
        let kept = self.folder.join(name);
        let threads = NonZeroUsize::new(2).unwrap();
        let commitment = seal(&kept, CLASS, replica, threads, &mut |_| {}).unwrap();
        let work = self.folder.join(format!("work-{number}"));
        let _ = fs::remove_dir_all(&work);
        copy(&kept, &work);
        (Sealed::open(&work, CLASS, replica).unwrap(), commitment)
    }

    pub fn prove_seal(&mut self, sealed: &Sealed, statement: &SealStatement) -> Vec<ProofBytes> {
        let parameters = self.load(Circuit::Seal);
        prove_seal(&Workers::one(&parameters), sealed, statement, &mut self.rng).unwrap()
    }

    pub fn prove_embed(&mut self, sealed: &Sealed, statement: &EmbedStatement) -> Vec<ProofBytes> {
        let parameters = self.load(Circuit::Embed);
        prove_embed(&Workers::one(&parameters), sealed, statement, &mut self.rng).unwrap()
    }

    pub fn prove_spacetime(
        &mut self,
        sealed: &Sealed,
        statement: &SpacetimeStatement,
    ) -> ProofBytes {
        let parameters = self.load(Circuit::Spacetime);
        let proofs =
            prove_spacetime(&Workers::one(&parameters), sealed, statement, &mut self.rng).unwrap();
        assert_eq!(proofs.len(), 1);
        proofs[0]
    }
}

/// The bytes of shard `index`.
pub fn shard(index: u8) -> Vec<u8> {
    (0..20_000u32).map(|i| (i % 241) as u8 ^ index).collect()
}

fn shape() -> PieceShape {
    PieceShape::of(20_000, parameters().piece_levels).unwrap()
}

pub fn piece_roots(index: u8) -> Vec<Node> {
    PieceRoots::compute(shard(index).as_slice(), 20_000, parameters().piece_levels)
        .unwrap()
        .0
}

/// The whole piece of a deal, from the group's start on.
pub fn layout(group: Group, deal: DealId) -> GroupLayout {
    let (shape, mut unit) = (shape(), 0);
    let subtrees = (0..).zip(shape.subtrees()).map(|(subtree, levels)| {
        let placed = PlacedSubtree {
            deal,
            subtree,
            levels: *levels,
            unit,
        };
        unit += 8u32.pow(levels - 3);
        placed
    });
    GroupLayout {
        group,
        subtrees: subtrees.collect(),
    }
}

/// Lane roots, and the group roots of one group's lane.
pub fn roots(lanes: [Node; 8], groups: &[Node; 64], group: Group) -> SectorRoots {
    let lane = group.lane();
    let first = usize::from(lane.index()) * 8;
    SectorRoots {
        lanes,
        groups: vec![LaneGroups {
            lane,
            roots: groups[first..first + 8].try_into().unwrap(),
        }],
    }
}

pub fn embed_commit(
    number: u64,
    group: Group,
    deal: DealId,
    lanes: [Node; 8],
    key_groups: &[Node; 64],
) -> EmbedCommit {
    EmbedCommit {
        sector: crate::chain::sector_id(number),
        groups: vec![layout(group, deal)],
        keys: roots(lanes, key_groups, group),
    }
}

/// Writes shard `index` into a group: its roots.
pub fn write(sealed: &mut Sealed, group: Group, index: u8, rho: Node) -> EmbeddedRoots {
    let mut nodes = pack(&shard(index));
    let whole = shape().units() * UNIT_NODES;
    nodes.resize(whole as usize, Node::ZERO);
    let mut data = GroupData::new(CLASS, group);
    data.put(0, &nodes).unwrap();
    sealed.stage(data).unwrap();
    sealed.embed(group, rho).unwrap()
}

pub fn client() -> holdfast_market_core::units::Address {
    address(crate::chain::CLIENT)
}
