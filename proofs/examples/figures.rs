//! Measures hashing, sealing, proving and verifying on this machine, and prints JSON rows of
//! `{name, value, unit, conditions}`. `./dev figures proofs` runs it. With `pieces` it stops after
//! hashes and pieces, and with `label-64` or `label-512` after sealing a sector of that many MiB.
//!
//! Everything is the development network's: 8 MiB, 2 seal challenges a proof, 8 embed challenges,
//! 16 leaves. Times in `s` are wall-clock; `core_s` is processor time of all threads; hashes and verifying are
//! processor time of their one thread.

use holdfast_proofs::challenge::{embed_rho, seal_challenges, spacetime_challenges};
use holdfast_proofs::circuit::shape;
use holdfast_proofs::embed::GroupData;
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_proofs::measure::{
    Figure, core_seconds, machine, peak_mib, reset_peak, thread_seconds,
};
use holdfast_proofs::node::Node;
use holdfast_proofs::params::Parameters;
use holdfast_proofs::piece::PieceRoots;
use holdfast_proofs::poseidon2::lanes::{
    Row, hash8_lanes, hash16_lanes, in_lanes, kernel, scalar_kernel,
};
use holdfast_proofs::poseidon2::{hash8_nodes, hash16_nodes};
use holdfast_proofs::proof::{CircuitId, ProofBytes};
use holdfast_proofs::prove::{
    Workers, compare_with_bellman, prove_embed, prove_seal, prove_spacetime,
};
use holdfast_proofs::replica::{ReplicaId, ReplicaSeed};
use holdfast_proofs::seal::{SealCommitment, seal};
use holdfast_proofs::sealed::Sealed;
use holdfast_proofs::sector::{Group, LAYERS, Position, SectorClass};
use holdfast_proofs::statement::{
    EmbedChallenge, EmbedStatement, SealStatement, SpacetimeStatement, Statement,
};
use holdfast_proofs::verify::Verifier;
use std::array::from_fn;
use std::error::Error;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Instant;

const CLASS: SectorClass = SectorClass::Mib8;
/// Proofs in the measured batches.
const BATCH: usize = 1_000;

/// The rows as they are measured.
struct Figures {
    rows: Vec<Figure>,
    machine: String,
}

impl Figures {
    fn row(&mut self, name: &str, value: f64, unit: &str, conditions: &str) {
        eprintln!("{name}: {value:.3} {unit}");
        self.rows.push(Figure {
            name: name.into(),
            value,
            unit: unit.into(),
            conditions: format!("{conditions}; {}", self.machine),
        });
    }

    /// The rows that another process of this program measures without the lanes' kernel, where
    /// this one has it.
    fn scalar_rows(&mut self, what: &str) -> Result<(), Box<dyn Error>> {
        if !in_lanes() {
            return Ok(());
        }
        let output = std::process::Command::new(std::env::current_exe()?)
            .arg(what)
            .env("HOLDFAST_SIMD", "off")
            .stderr(std::process::Stdio::inherit())
            .output()?;
        let rows: Vec<Figure> = serde_json::from_slice(&output.stdout)?;
        let scalar = |row: &Figure| row.name == "piece_roots_mib_s_scalar";
        self.rows.extend(rows.into_iter().filter(scalar));
        Ok(())
    }
}

/// Microseconds that one of `count` calls takes, the best of three rounds. A round should take a
/// tenth of a second or more: systems count a thread's time in steps of milliseconds.
fn microseconds(count: u32, mut call: impl FnMut()) -> f64 {
    let since = Instant::now();
    (0..3)
        .map(|_| {
            let start = thread_seconds(since);
            for _ in 0..count {
                call();
            }
            (thread_seconds(since) - start) * 1e6 / f64::from(count)
        })
        .fold(f64::INFINITY, f64::min)
}

fn hashes(figures: &mut Figures) {
    let node = |i: usize| Node::derive("holdfast figures", &[&i.to_le_bytes()]);
    let eight: [Node; 8] = from_fn(node);
    let sixteen: [Node; 16] = from_fn(node);
    let eights: [Row; 8] = from_fn(|i| from_fn(|lane| node(8 * i + lane)));
    let sixteens: [Row; 16] = from_fn(|i| from_fn(|lane| node(8 * i + lane)));
    let lanes = format!("one core, {}, a hash of the eight", kernel());
    let value = microseconds(4000, || {
        black_box(hash8_lanes(black_box(&eights)));
    });
    figures.row("hash8_us", value / 8.0, "us", &lanes);
    let value = microseconds(4000, || {
        black_box(hash16_lanes(black_box(&sixteens)));
    });
    figures.row("hash16_us", value / 8.0, "us", &lanes);
    let scalar = format!("one core, {}, one at a time", scalar_kernel());
    let value = microseconds(20_000, || {
        black_box(hash8_nodes(black_box(&eight)));
    });
    figures.row("hash8_scalar_us", value, "us", &scalar);
    let value = microseconds(20_000, || {
        black_box(hash16_nodes(black_box(&sixteen)));
    });
    figures.row("hash16_scalar_us", value, "us", &scalar);
}

/// A piece's roots from bytes in memory, packing included, on this thread.
fn pieces(figures: &mut Figures) -> Result<(), Box<dyn Error>> {
    const BYTES: usize = 8 << 20;
    let bytes: Vec<u8> = (0..251).cycle().take(BYTES).collect();
    let mut failed = None;
    let value = microseconds(1, || {
        failed = PieceRoots::compute(black_box(&*bytes), BYTES as u64, 5).err();
    });
    if let Some(error) = failed {
        return Err(error.into());
    }
    let conditions = format!("8 MiB in memory, packing included, one core, {}", kernel());
    let name = match in_lanes() {
        true => "piece_roots_mib_s",
        false => "piece_roots_mib_s_scalar",
    };
    figures.row(name, 8e6 / value, "MiB/s", &conditions);
    Ok(())
}

/// Runs and reports a proof: wall-clock, processor time, peak memory.
fn proof<T>(
    figures: &mut Figures,
    name: &str,
    conditions: &str,
    prove: impl FnOnce() -> Result<T, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    reset_peak()?;
    let (cores, start) = (core_seconds()?, Instant::now());
    let made = prove()?;
    let wall = start.elapsed().as_secs_f64();
    let cores = core_seconds()? - cores;
    figures.row(&format!("{name}_prove_s"), wall, "s", conditions);
    figures.row(&format!("{name}_prove_core_s"), cores, "core_s", conditions);
    figures.row(
        &format!("{name}_prove_peak_mib"),
        peak_mib()?,
        "MiB",
        "VmHWM of the process, parameters included",
    );
    Ok(made)
}

fn replica(class: SectorClass) -> ReplicaId {
    ReplicaId::derive(&ReplicaSeed {
        network: [0; 32],
        class,
        provider: 1,
        number: 1,
        ticket: [0; 32],
    })
}

/// Seals a sector and reports what labels, and what columns and trees, cost a GiB.
fn sealing(
    figures: &mut Figures,
    folder: &Path,
    class: SectorClass,
) -> Result<SealCommitment, Box<dyn Error>> {
    let per_gib = (1u64 << 30) as f64 / class.bytes() as f64;
    let labels = LAYERS as u64 * class.nodes();
    let start = core_seconds()?;
    let mut labelled = None;
    let commitment = seal(
        folder,
        class,
        replica(class),
        NonZeroUsize::MIN,
        &mut |progress| {
            if progress.done >= labels && labelled.is_none() {
                labelled = core_seconds().ok();
            }
        },
    )?;
    let labelled = labelled.ok_or("sealing reported no progress")?;
    let end = core_seconds()?;
    let sealing = format!("{class} sealed, 8 layers, one core, {}", kernel());
    let unit = "core_s/GiB";
    let label = (labelled - start) * per_gib;
    figures.row("label_core_s_per_gib", label, unit, &sealing);
    let commit = (end - labelled) * per_gib;
    let conditions = format!("{sealing}; columns, their trees, the keys' and reading layers");
    figures.row("commit_core_s_per_gib", commit, unit, &conditions);
    let conditions = format!("{sealing}, columns, trees and files included");
    figures.row("seal_core_s_per_gib", label + commit, unit, &conditions);
    Ok(commitment)
}

fn verifying(
    figures: &mut Figures,
    verifier: &Verifier,
    name: &str,
    statement: &Statement,
    proofs: &[ProofBytes],
) -> Result<(), Box<dyn Error>> {
    verifier.verify_both(statement, proofs)?;
    let pure = microseconds(10, || {
        let _ = black_box(verifier.verify(statement, proofs));
    });
    figures.row(
        &format!("{name}_verify_bls12_381_ms"),
        pure / 1e3,
        "ms",
        "one proof, one core",
    );
    let blst = microseconds(10, || {
        let _ = black_box(verifier.verify_blst(statement, proofs));
    });
    figures.row(
        &format!("{name}_verify_blstrs_ms"),
        blst / 1e3,
        "ms",
        "one proof, one core",
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut figures = Figures {
        rows: Vec::new(),
        machine: machine(),
    };
    hashes(&mut figures);
    pieces(&mut figures)?;
    // The kernel is chosen once a process, so the other one's rows are another process's.
    let alone = std::env::args().nth(1);
    if alone.as_deref() == Some("pieces") {
        println!("{}", serde_json::to_string_pretty(&figures.rows)?);
        return Ok(());
    }
    figures.scalar_rows("pieces")?;

    let class = match alone.as_deref() {
        Some("label-64") => Some(SectorClass::Mib64),
        Some("label-512") => Some(SectorClass::Mib512),
        _ => None,
    };
    if let Some(class) = class {
        sealing(&mut figures, tempfile::tempdir()?.path(), class)?;
        println!("{}", serde_json::to_string_pretty(&figures.rows)?);
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let replica = replica(CLASS);
    let beacon = [5; 32];
    let commitment = sealing(&mut figures, folder.path(), CLASS)?;

    let ids = [
        CircuitId::seal(CLASS, 2),
        CircuitId::embed(CLASS, 8),
        CircuitId::spacetime(CLASS),
    ];
    let names = [
        "seal_constraints_per_challenge",
        "embed_constraints_per_challenge",
        "spacetime_constraints_per_leaf",
    ];
    for (id, name) in ids.into_iter().zip(names) {
        let each = shape(id)?.constraints as f64 / f64::from(id.per_proof);
        figures.row(name, each, "constraints", &format!("circuit {id}"));
    }
    let (cores, start) = (core_seconds()?, Instant::now());
    let [seal_parameters, embed_parameters, spacetime_parameters] =
        ids.map(|id| Parameters::create(id, &mut rand::rngs::OsRng));
    let all = "the three circuits of the development network";
    figures.row("parameters_s", start.elapsed().as_secs_f64(), "s", all);
    figures.row("parameters_core_s", core_seconds()? - cores, "core_s", all);
    let parameters = [seal_parameters?, embed_parameters?, spacetime_parameters?];
    let keys: VerifyingKeys = parameters
        .iter()
        .map(|parameters| (parameters.id(), parameters.verifying_key()))
        .collect();
    let verifier = Verifier::from_keys(&keys)?;
    let [for_seal, for_embed, for_spacetime] = &parameters;
    let mut rng = rand::rngs::OsRng;

    let mut sealed = Sealed::open(folder.path(), CLASS, replica)?;
    let statement = SealStatement {
        class: CLASS,
        replica,
        columns: commitment.columns,
        keys: commitment.keys,
        challenges: seal_challenges(&beacon, replica, CLASS, 2),
    };
    let made = proof(&mut figures, "seal", "2 challenges, 8 MiB", || {
        Ok(prove_seal(
            &Workers::one(for_seal),
            &sealed,
            &statement,
            &mut rng,
        )?)
    })?;
    let seal_statement = Statement::Seal(statement);
    verifying(&mut figures, &verifier, "seal", &seal_statement, &made)?;

    let group = Group::new(17).ok_or("no group 17")?;
    let data_root = sealed.stage(GroupData::new(CLASS, group))?;
    let rho = embed_rho(&beacon, sealed.key_root(), data_root, group);
    let roots = sealed.embed(group, rho)?;
    let first = u64::from(group.index()) * CLASS.group_nodes();
    let statement = EmbedStatement {
        class: CLASS,
        challenges: (0..8)
            .map(|i| EmbedChallenge {
                position: Position(first + 401 * i),
                rho,
                key_root: roots.key,
                data_root: roots.data,
                replica_root: roots.replica,
            })
            .collect(),
    };
    let made = proof(&mut figures, "embed", "8 challenges, 8 MiB", || {
        Ok(prove_embed(
            &Workers::one(for_embed),
            &sealed,
            &statement,
            &mut rng,
        )?)
    })?;
    sealed.finish_embed()?;
    let statement = Statement::Embed(statement);
    verifying(&mut figures, &verifier, "embed", &statement, &made)?;

    let statement = SpacetimeStatement {
        class: CLASS,
        lanes: sealed.replica_lanes(),
        challenges: spacetime_challenges(&beacon, replica, CLASS),
    };
    let made = proof(&mut figures, "spacetime", "16 leaves, 8 MiB", || {
        Ok(prove_spacetime(
            &Workers::one(for_spacetime),
            &sealed,
            &statement,
            &mut rng,
        )?)
    })?;
    let compared = compare_with_bellman(for_spacetime, &sealed, &statement, &mut rng)?;
    figures.row(
        "prover_vs_bellman",
        compared.bellman.as_secs_f64() / compared.ours.as_secs_f64(),
        "times as fast",
        "one spacetime proof of 8 MiB with the same r and s, the same bytes; one thread, wall-clock",
    );
    let statement = Statement::Spacetime(statement);
    verifying(&mut figures, &verifier, "spacetime", &statement, &made)?;

    let batch = vec![(statement, made); BATCH];
    let conditions = format!("a proof of {BATCH} spacetime proofs at once, one core");
    let pure = microseconds(1, || {
        black_box(verifier.verify_batch(&batch));
    });
    figures.row(
        "batch_verify_bls12_381_ms_per_proof",
        pure / 1e3 / BATCH as f64,
        "ms",
        &conditions,
    );
    let blst = microseconds(1, || {
        black_box(verifier.verify_batch_blst(&batch));
    });
    figures.row(
        "batch_verify_ms_per_proof",
        blst / 1e3 / BATCH as f64,
        "ms",
        &conditions,
    );
    println!("{}", serde_json::to_string_pretty(&figures.rows)?);
    Ok(())
}
