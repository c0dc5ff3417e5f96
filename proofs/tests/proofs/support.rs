//! One sector, sealed, embedded and proven once for all tests of this binary. Parameters and the
//! sealed sector are kept in the build folder, so that only the first run waits for them; a change
//! of graph or circuit changes their names.

use holdfast_proofs::challenge::{
    ChangedGroup, EmbedCounts, PieceExtent, embed_challenges, embed_rho, seal_challenges,
    spacetime_challenges,
};
use holdfast_proofs::embed::GroupData;
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_proofs::node::Node;
use holdfast_proofs::params::{Parameters, ensure};
use holdfast_proofs::piece::pack_127;
use holdfast_proofs::proof::{CircuitId, ProofBytes};
use holdfast_proofs::prove::{Workers, prove_embed, prove_seal, prove_spacetime};
use holdfast_proofs::replica::{ReplicaId, ReplicaSeed};
use holdfast_proofs::seal::seal;
use holdfast_proofs::sealed::Sealed;
use holdfast_proofs::sector::{Group, SectorClass};
use holdfast_proofs::statement::{
    EmbedChallenge, EmbedStatement, SealStatement, SpacetimeStatement, Statement,
};
use holdfast_proofs::verify::Verifier;
use rand::SeedableRng;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

pub const CLASS: SectorClass = SectorClass::Mib8;
pub const BEACON: [u8; 32] = [7; 32];
pub const SEED: ReplicaSeed = ReplicaSeed {
    network: [1; 32],
    class: CLASS,
    provider: 3,
    number: 4,
    ticket: [2; 32],
};

/// Statements with their proofs, and what made them.
pub struct Proven {
    pub keys: VerifyingKeys,
    pub verifier: Verifier,
    pub sealed: Sealed,
    pub seal: (SealStatement, Vec<ProofBytes>),
    pub embed: (EmbedStatement, Vec<ProofBytes>),
    pub spacetime: (SpacetimeStatement, Vec<ProofBytes>),
    pub parameters: PathBuf,
    /// Where the sector lies.
    pub folder: PathBuf,
    /// Held as long as the process lives: the folder has one user.
    _lock: fs::File,
}

impl Proven {
    pub fn all(&self) -> Vec<(Statement, Vec<ProofBytes>)> {
        vec![
            (Statement::Seal(self.seal.0.clone()), self.seal.1.clone()),
            (Statement::Embed(self.embed.0.clone()), self.embed.1.clone()),
            (
                Statement::Spacetime(self.spacetime.0.clone()),
                self.spacetime.1.clone(),
            ),
        ]
    }

    pub fn parameters(&self, id: CircuitId) -> Parameters {
        Parameters::load(&self.parameters, id, &self.keys).unwrap()
    }
}

pub fn proven() -> &'static Proven {
    static PROVEN: OnceLock<Proven> = OnceLock::new();
    PROVEN.get_or_init(prove)
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

fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("proofs")
}

/// The folder of a sector that is sealed and nothing more, layers and all; it is not to be opened.
/// To be asked for once the folder is this process's.
pub fn kept(seed: &ReplicaSeed) -> PathBuf {
    // Tests run side by side, and one of them seals it.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock();
    let replica = ReplicaId::derive(seed);
    let layout = holdfast_proofs::sealed::VERSION;
    let kept = folder().join(format!("sector-{layout}-{}", replica.0));
    let threads = NonZeroUsize::new(2).unwrap();
    seal(&kept, CLASS, replica, threads, &mut |_| {}).unwrap();
    kept
}

fn prove() -> Proven {
    let folder = folder();
    let parameters = folder.join("parameters");
    let ids = [
        CircuitId::seal(CLASS, 1),
        CircuitId::embed(CLASS, 2),
        CircuitId::spacetime(CLASS),
    ];
    let keys = ensure(&parameters, &ids, &mut |_| {}).unwrap();
    let load = |id| Parameters::load(&parameters, id, &keys).unwrap();
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);

    let lock = fs::File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let replica = ReplicaId::derive(&SEED);
    let kept = kept(&SEED);
    let work = folder.join("work");
    let _ = fs::remove_dir_all(&work);
    copy(&kept, &work);
    let mut sealed = Sealed::open(&work, CLASS, replica).unwrap();
    let commitment = sealed.commitment().clone();

    let seal_statement = SealStatement {
        class: CLASS,
        replica,
        columns: commitment.columns,
        keys: commitment.keys,
        challenges: seal_challenges(&BEACON, replica, CLASS, 2),
    };
    let seal = prove_seal(
        &Workers::one(&load(ids[0])),
        &sealed,
        &seal_statement,
        &mut rng,
    )
    .unwrap();

    let mut roots = Vec::new();
    let mut changed = Vec::new();
    for (index, unit) in [(9u8, 0), (50, 3)] {
        let group = Group::new(index).unwrap();
        let nodes: Vec<Node> = (0..256u32)
            .flat_map(|quad| pack_127(&std::array::from_fn(|i| (quad as u8) ^ (i as u8) ^ index)))
            .collect();
        let mut data = GroupData::new(CLASS, group);
        data.put(unit, &nodes).unwrap();
        let data_root = sealed.stage(data).unwrap();
        let rho = embed_rho(&BEACON, sealed.key_root(), data_root, group);
        roots.push((group, rho, sealed.embed(group, rho).unwrap()));
        changed.push(ChangedGroup {
            group,
            pieces: vec![PieceExtent {
                start: unit * 512,
                length: nodes.len() as u64,
                piece: u32::from(index),
            }],
        });
    }
    let counts = EmbedCounts {
        base: 2,
        per_piece: 1,
    };
    let positions = embed_challenges(&BEACON, replica, CLASS, &changed, &counts, 2).unwrap();
    let embed_statement = EmbedStatement {
        class: CLASS,
        challenges: positions
            .into_iter()
            .map(|position| {
                let (_, rho, roots) = roots
                    .iter()
                    .find(|(group, ..)| *group == position.group(CLASS))
                    .unwrap();
                EmbedChallenge {
                    position,
                    rho: *rho,
                    key_root: roots.key,
                    data_root: roots.data,
                    replica_root: roots.replica,
                }
            })
            .collect(),
    };
    let embed = prove_embed(
        &Workers::one(&load(ids[1])),
        &sealed,
        &embed_statement,
        &mut rng,
    )
    .unwrap();
    sealed.finish_embed().unwrap();

    let spacetime_statement = SpacetimeStatement {
        class: CLASS,
        lanes: sealed.replica_lanes(),
        challenges: spacetime_challenges(&BEACON, replica, CLASS),
    };
    let spacetime = prove_spacetime(
        &Workers::one(&load(ids[2])),
        &sealed,
        &spacetime_statement,
        &mut rng,
    )
    .unwrap();
    Proven {
        verifier: Verifier::from_keys(&keys).unwrap(),
        keys,
        sealed,
        seal: (seal_statement, seal),
        embed: (embed_statement, embed),
        spacetime: (spacetime_statement, spacetime),
        parameters,
        folder: work,
        _lock: lock,
    }
}
