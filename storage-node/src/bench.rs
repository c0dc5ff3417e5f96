//! A sector's whole life on this machine, measured: sealed, proven, filled, proven again over two
//! periods, unsealed and compared. Nothing is sent and no network is needed; every proof is verified
//! as the market would.

use crate::error::NodeError;
use crate::needs;
use crate::sectors::remove_folder;
use holdfast_proofs::challenge::{embed_rho, seal_challenges, spacetime_challenges};
use holdfast_proofs::circuit::shape;
use holdfast_proofs::embed::GroupData;
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_proofs::measure::{Figure, core_seconds, machine, peak_mib, reset_peak};
use holdfast_proofs::node::Node;
use holdfast_proofs::params::{Parameters, ParametersProgress, ensure};
use holdfast_proofs::piece::pack;
use holdfast_proofs::proof::{CircuitId, ProofBytes};
use holdfast_proofs::prove::{Workers, prove_embed, prove_seal, prove_spacetime};
use holdfast_proofs::replica::{ReplicaId, ReplicaSeed};
use holdfast_proofs::seal::{seal, unseal};
use holdfast_proofs::sealed::Sealed;
use holdfast_proofs::sector::{Group, LAYERS, Position, SectorClass};
use holdfast_proofs::statement::{
    EmbedChallenge, EmbedStatement, SealStatement, SpacetimeStatement, Statement,
};
use holdfast_proofs::verify::Verifier;
use rand::rngs::OsRng;
use rand::{RngCore, SeedableRng};
use serde::Serialize;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

/// What is measured, and where.
#[derive(Clone, Debug)]
pub struct BenchConfig {
    /// The sector's class.
    pub class: SectorClass,
    /// Where the sector's own folder is made, and removed at the end; an interrupted run goes on in it.
    pub folder: PathBuf,
    /// Where the proving parameters are, or are made.
    pub parameters: PathBuf,
    /// Challenges of the seal and of the embed: 176 is what the main network asks.
    pub challenges: u32,
    /// Proofs made at a time, and threads that hash trees.
    pub threads: NonZeroUsize,
}

/// What the bench is at, for whoever shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BenchStage {
    /// So many of so many bytes of labels and columns.
    Sealing(u64, u64),
    /// Making the parameters of a circuit, where they are not there.
    Parameters(CircuitId),
    /// So many of so many proofs of a statement.
    Proving(&'static str, usize, usize),
    /// Writing a group.
    Embedding,
    /// So many of so many bytes of labels.
    Unsealing(u64, u64),
}

/// The measured rows and what they were measured on.
#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    /// The sector's class.
    pub class: SectorClass,
    /// Challenges of the seal and of the embed.
    pub challenges: u32,
    /// The rows, in the order in which they were measured.
    pub figures: Vec<Figure>,
}

/// How many challenges a proof shows, so that its circuit stays within 2^18 constraints.
const fn per_proof(class: SectorClass) -> (u32, u32) {
    match class {
        // The development network's, whose parameters are there or made in seconds.
        SectorClass::Mib8 => (2, 8),
        _ => (4, 22),
    }
}

/// A run under way.
struct Bench<'a> {
    config: &'a BenchConfig,
    replica: ReplicaId,
    /// The one that is filled.
    group: Group,
    verifier: Verifier,
    keys: VerifyingKeys,
    machine: String,
    figures: Vec<Figure>,
    show: &'a (dyn Fn(BenchStage) + Sync),
}

/// Runs the bench.
///
/// # Errors
/// Too little memory or disk, before anything is begun, with what is needed; a file that cannot be
/// written; a proof that does not verify, or data that does not come back.
pub fn bench(
    config: &BenchConfig,
    show: &(dyn Fn(BenchStage) + Sync),
) -> Result<BenchReport, NodeError> {
    // Nothing else that lies in the folder given is ever touched.
    let config = &BenchConfig {
        folder: config
            .folder
            .join(format!("holdfast-bench-{}", config.class)),
        ..config.clone()
    };
    // Left by a run that was killed when it was done.
    let done = config.folder.with_extension("done");
    remove_folder(&done)?;
    needs::check(config.class, &config.folder, &[])?;
    let machine = machine();
    let (seal_per_proof, embed_per_proof) = per_proof(config.class);
    let ids = [
        CircuitId::seal(config.class, seal_per_proof),
        CircuitId::embed(config.class, embed_per_proof),
        CircuitId::spacetime(config.class),
    ];
    let keys = ensure(&config.parameters, &ids, &mut |progress| {
        if let ParametersProgress::Making(id) = progress {
            show(BenchStage::Parameters(id));
        }
    })
    .map_err(failed)?;
    let mut bench = Bench {
        config,
        replica: ReplicaId::derive(&ReplicaSeed {
            network: [0; 32],
            class: config.class,
            provider: 0,
            number: 0,
            ticket: [0; 32],
        }),
        group: Group::all().next().ok_or_else(|| failed("no group"))?,
        verifier: Verifier::from_keys(&keys).map_err(failed)?,
        keys,
        machine,
        figures: Vec::new(),
        show,
    };
    let [for_seal, for_embed, for_spacetime] = ids;
    let mut sealed = bench.seal()?;
    sealed.abandon_embed().map_err(failed)?;
    // An interrupted run may have come further than this. Layers stay until it has, for one that
    // is to be proven again.
    if sealed.data_root(bench.group).is_none() {
        bench.prove_seal(for_seal, &sealed)?;
    }
    let stored = bench.embed(for_embed, &mut sealed)?;
    sealed.discard_layers().map_err(failed)?;
    for period in 1..=2 {
        bench.prove_period(for_spacetime, &sealed, period)?;
    }
    bench.unseal(&sealed, &stored)?;
    drop(sealed);
    // At once: half a sector would be taken for one that was damaged.
    std::fs::rename(&config.folder, &done).map_err(NodeError::file(&config.folder))?;
    remove_folder(&done)?;
    Ok(BenchReport {
        class: config.class,
        challenges: config.challenges,
        figures: bench.figures,
    })
}

fn failed(error: impl std::fmt::Display) -> NodeError {
    NodeError::State(error.to_string())
}

/// Wall-clock and processor time of a step, and its peak of memory in MiB.
struct Cost {
    wall: f64,
    cores: f64,
    peak: f64,
}

fn cost<T>(step: impl FnOnce() -> Result<T, NodeError>) -> Result<(T, Cost), NodeError> {
    let proc = |error: std::io::Error| failed(error);
    reset_peak().map_err(proc)?;
    let (begun, cores) = (Instant::now(), core_seconds().map_err(proc)?);
    let done = step()?;
    let cost = Cost {
        wall: begun.elapsed().as_secs_f64(),
        cores: core_seconds().map_err(proc)? - cores,
        peak: peak_mib().map_err(proc)?,
    };
    Ok((done, cost))
}

impl Bench<'_> {
    fn row(&mut self, name: impl Into<String>, value: f64, unit: &str, conditions: &str) {
        self.figures.push(Figure {
            name: name.into(),
            value,
            unit: unit.into(),
            conditions: format!("{conditions}; {}", self.machine),
        });
    }

    fn gib(&self) -> f64 {
        self.config.class.bytes() as f64 / (1u64 << 30) as f64
    }

    /// Seals, or opens what an earlier run sealed.
    fn seal(&mut self) -> Result<Sealed, NodeError> {
        let class = self.config.class;
        let labels = LAYERS as u64 * class.nodes();
        let (show, folder, threads) = (self.show, &self.config.folder, self.config.threads);
        let mut labelled = None;
        let mut resumed = true;
        let ((), cost) = cost(|| {
            let begun = core_seconds().map_err(failed)?;
            seal(folder, class, self.replica, threads, &mut |progress| {
                resumed &= progress.done >= class.nodes();
                if progress.done >= labels && labelled.is_none() {
                    labelled = core_seconds().ok().map(|now| now - begun);
                }
                show(BenchStage::Sealing(progress.done * 32, progress.total * 32));
            })
            .map(drop)
            .map_err(failed)
        })?;
        let gib = self.gib();
        let conditions = format!("a sector of {class}, {LAYERS} layers");
        // What an earlier run did is not measured.
        if let Some(labelled) = labelled.filter(|_| !resumed) {
            self.row(
                "label_core_s_per_gib",
                labelled / gib,
                "core_s/GiB",
                &format!("{conditions}, one core"),
            );
            self.row(
                "commit_core_s_per_gib",
                (cost.cores - labelled) / gib,
                "core_s/GiB",
                &format!("{conditions}; columns, trees and the sector's files"),
            );
            self.row("seal_wall_s", cost.wall, "s", &conditions);
            let two = 2.0 * class.bytes() as f64 / (1u64 << 20) as f64;
            self.row(
                "seal_peak_mib_over_two_layers",
                cost.peak - two,
                "MiB",
                &format!("{conditions}; VmHWM less two layers"),
            );
        }
        Sealed::open(folder, class, self.replica).map_err(failed)
    }

    fn parameters(&self, id: CircuitId) -> Result<Parameters, NodeError> {
        Parameters::load(&self.config.parameters, id, &self.keys).map_err(failed)
    }

    /// Verifies what was proven as the market does, with both libraries.
    fn verify(&self, statement: &Statement, proofs: &[ProofBytes]) -> Result<(), NodeError> {
        self.verifier.verify_both(statement, proofs).map_err(failed)
    }

    fn prove_seal(&mut self, id: CircuitId, sealed: &Sealed) -> Result<(), NodeError> {
        let class = self.config.class;
        let count = self.config.challenges.next_multiple_of(id.per_proof);
        let commitment = sealed.commitment();
        let statement = SealStatement {
            class,
            replica: self.replica,
            columns: commitment.columns,
            keys: commitment.keys,
            challenges: seal_challenges(&[1; 32], self.replica, class, count),
        };
        let constraints = shape(id).map_err(failed)?.constraints as f64 / f64::from(id.per_proof);
        let (proofs, cost) = self.proving("seal", id, count, |workers| {
            prove_seal(workers, sealed, &statement, &mut OsRng).map_err(failed)
        })?;
        self.verify(&Statement::Seal(statement), &proofs)?;
        let conditions = format!(
            "{count} challenges of a sector of {class} in {} proofs, {} at a time, parameters read from the disk",
            proofs.len(),
            self.config.threads
        );
        self.row(
            format!("seal_constraints_{count}"),
            constraints * f64::from(count),
            "constraints",
            &conditions,
        );
        self.proof_rows("seal_prove", count, &cost, &conditions);
        Ok(())
    }

    /// Runs a proof with its parameters, which are read for it and freed after it.
    fn proving(
        &self,
        what: &'static str,
        id: CircuitId,
        challenges: u32,
        prove: impl FnOnce(&Workers<'_>) -> Result<Vec<ProofBytes>, NodeError>,
    ) -> Result<(Vec<ProofBytes>, Cost), NodeError> {
        let total = challenges.div_ceil(id.per_proof) as usize;
        let show = self.show;
        show(BenchStage::Proving(what, 0, total));
        cost(|| {
            let parameters = self.parameters(id)?;
            prove(&Workers {
                parameters: &parameters,
                threads: self.config.threads,
                made: &|made| show(BenchStage::Proving(what, made, total)),
            })
        })
    }

    /// Rows of one statement's proofs, over so many challenges.
    fn proof_rows(&mut self, name: &str, count: u32, cost: &Cost, conditions: &str) {
        self.row(format!("{name}_wall_s_{count}"), cost.wall, "s", conditions);
        self.row(
            format!("{name}_core_s_{count}"),
            cost.cores,
            "core_s",
            conditions,
        );
        self.row(format!("{name}_peak_mib"), cost.peak, "MiB", conditions);
    }

    /// Fills a group with bytes, embeds and proves them. Gives its plain nodes.
    fn embed(&mut self, id: CircuitId, sealed: &mut Sealed) -> Result<Vec<Node>, NodeError> {
        let (class, group) = (self.config.class, self.group);
        let mut bytes = vec![0; usize::try_from(class.group_nodes() / 4 * 127).map_err(failed)?];
        rand_bytes(&mut bytes);
        let nodes = pack(&bytes);
        let count = self.config.challenges.next_multiple_of(id.per_proof);
        let begun = Instant::now();
        (self.show)(BenchStage::Embedding);
        let mut data = GroupData::new(class, group);
        data.put(0, &nodes).map_err(failed)?;
        let data_root = sealed.stage(data).map_err(failed)?;
        let rho = embed_rho(&[2; 32], sealed.key_root(), data_root, group);
        let roots = sealed.embed(group, rho).map_err(failed)?;
        let written = begun.elapsed().as_secs_f64();
        let drawn = seal_challenges(&[3; 32], self.replica, class, count);
        let statement = EmbedStatement {
            class,
            challenges: drawn
                .into_iter()
                .map(|position| EmbedChallenge {
                    position: Position(
                        u64::from(group.index()) * class.group_nodes() + position.in_group(class),
                    ),
                    rho,
                    key_root: roots.key,
                    data_root: roots.data,
                    replica_root: roots.replica,
                })
                .collect(),
        };
        let (proofs, cost) = self.proving("embed", id, count, |workers| {
            prove_embed(workers, sealed, &statement, &mut OsRng).map_err(failed)
        })?;
        let wall = begun.elapsed().as_secs_f64();
        self.verify(&Statement::Embed(statement), &proofs)?;
        sealed.finish_embed().map_err(failed)?;
        let conditions = format!(
            "one group of a sector of {class} written, committed and proven with {count} challenges in {} proofs, {} at a time",
            proofs.len(),
            self.config.threads
        );
        self.row("embed_group_wall_s", wall, "s", &conditions);
        self.row("embed_write_wall_s", written, "s", &conditions);
        self.proof_rows("embed_prove", count, &cost, &conditions);
        Ok(nodes)
    }

    fn prove_period(
        &mut self,
        id: CircuitId,
        sealed: &Sealed,
        period: u8,
    ) -> Result<(), NodeError> {
        let class = self.config.class;
        let challenges = spacetime_challenges(&[3 + period; 32], self.replica, class);
        let count = u32::try_from(challenges.len()).unwrap_or(u32::MAX);
        let statement = SpacetimeStatement {
            class,
            lanes: sealed.replica_lanes(),
            challenges,
        };
        let (proofs, cost) = self.proving("spacetime", id, count, |workers| {
            prove_spacetime(workers, sealed, &statement, &mut OsRng).map_err(failed)
        })?;
        self.verify(&Statement::Spacetime(statement), &proofs)?;
        if period == 2 {
            let constraints = shape(id).map_err(failed)?.constraints as f64;
            let conditions =
                format!("{count} leaves of a sector of {class}, parameters read from the disk");
            let name = class.name().to_lowercase();
            self.row(
                format!("spacetime_constraints_{name}_{count}"),
                constraints,
                "constraints",
                &conditions,
            );
            self.proof_rows(&format!("spacetime_{name}"), count, &cost, &conditions);
        }
        Ok(())
    }

    fn unseal(&mut self, sealed: &Sealed, stored: &[Node]) -> Result<(), NodeError> {
        let folder = self.config.folder.join("unseal");
        let show = self.show;
        let mut given = Vec::new();
        let mut begun = None;
        let ((), cost) = cost(|| {
            unseal(
                sealed,
                &folder,
                &mut |progress| {
                    begun.get_or_insert(progress.done);
                    show(BenchStage::Unsealing(
                        progress.done * 32,
                        progress.total * 32,
                    ));
                },
                &mut |group, nodes| {
                    given.push((group, nodes.to_vec()));
                    Ok(())
                },
            )
            .map_err(failed)
        })?;
        std::fs::remove_dir_all(&folder).map_err(NodeError::file(&folder))?;
        let back = given
            .iter()
            .any(|(found, nodes)| *found == self.group && nodes == stored);
        if given.len() != 1 || !back {
            return Err(failed("unsealing gave other data than were stored"));
        }
        let gib = self.gib();
        let conditions = format!(
            "the keys of a sector of {} made again, the data of one group given back and compared",
            self.config.class
        );
        // What an earlier run did is not measured.
        let whole = begun.is_some_and(|begun| begun < self.config.class.nodes());
        if whole {
            self.row(
                "unseal_core_s_per_gib",
                cost.cores / gib,
                "core_s/GiB",
                &conditions,
            );
            let label = self
                .figures
                .iter()
                .find(|row| row.name == "label_core_s_per_gib");
            if let Some(label) = label.map(|row| row.value) {
                self.row(
                    "unseal_vs_label",
                    cost.cores / gib / label,
                    "times",
                    &conditions,
                );
            }
        }
        Ok(())
    }
}

fn rand_bytes(bytes: &mut [u8]) {
    // The same in every run: figures are of the same work.
    rand::rngs::StdRng::seed_from_u64(1).fill_bytes(bytes);
}
