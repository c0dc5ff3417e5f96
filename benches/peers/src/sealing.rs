//! Sealing a sector of 8 MiB: ours against Filecoin's.

use crate::filecoin;
use crate::measure::{Failure, Figures};
use holdfast_proofs::measure::core_seconds;
use holdfast_proofs::poseidon2::lanes::kernel;
use holdfast_proofs::replica::{ReplicaId, ReplicaSeed};
use holdfast_proofs::sector::{LAYERS, SectorClass};
use std::num::NonZeroUsize;
use std::path::Path;

pub const CLASS: SectorClass = SectorClass::Mib8;
/// Sectors that each side seals.
const ROUNDS: u32 = 3;

/// Core-seconds of a sector.
#[derive(Clone, Copy)]
pub struct Cost {
    /// For the labels of all layers.
    pub label: f64,
    /// For columns and trees.
    pub commit: f64,
}

impl Cost {
    const INFINITE: Cost = Cost {
        label: f64::INFINITY,
        commit: f64::INFINITY,
    };

    fn min(self, other: Cost) -> Cost {
        Cost {
            label: self.label.min(other.label),
            commit: self.commit.min(other.commit),
        }
    }
}

pub fn replica() -> ReplicaId {
    ReplicaId::derive(&ReplicaSeed {
        network: [0; 32],
        class: CLASS,
        provider: 1,
        number: 1,
        ticket: [0; 32],
    })
}

/// Seals as a provider of Holdfast does, in an empty folder.
pub fn seal(folder: &Path) -> Result<Cost, Failure> {
    let labels = LAYERS as u64 * CLASS.nodes();
    let mut labelled = None;
    let start = core_seconds()?;
    holdfast_proofs::seal::seal(
        folder,
        CLASS,
        replica(),
        NonZeroUsize::MIN,
        &mut |progress| {
            if progress.done >= labels && labelled.is_none() {
                labelled = core_seconds().ok();
            }
        },
    )?;
    let labelled = labelled.ok_or("sealing reported no progress")?;
    Ok(Cost {
        label: labelled - start,
        commit: core_seconds()? - labelled,
    })
}

pub fn measure(figures: &mut Figures) -> Result<(), Failure> {
    let bytes = usize::try_from(CLASS.bytes())?;
    // Filecoin's library stores the graph and makes its constants once, with the first sector.
    filecoin::seal(tempfile::tempdir()?.path(), bytes)?;
    let (mut ours, mut theirs) = (Cost::INFINITE, Cost::INFINITE);
    for _ in 0..ROUNDS {
        ours = ours.min(seal(tempfile::tempdir()?.path())?);
        theirs = theirs.min(filecoin::seal(tempfile::tempdir()?.path(), bytes)?);
    }

    let per_gib = (1u64 << 30) as f64 / CLASS.bytes() as f64;
    let mut part = |name: &str, ours: f64, theirs: f64, what: [&str; 2]| {
        let [our_way, their_way] = what;
        let our_way = format!("8 MiB, {our_way}, {}", kernel());
        let their_way = format!("8 MiB, storage-proofs-porep 19 without GPU, {their_way}");
        let unit = "core_s/GiB";
        let mut row = |name: &str, value: f64, way: &str| {
            figures.row(name, value * per_gib, unit, way);
        };
        row(&format!("{name}_core_s_per_gib"), ours, &our_way);
        row(
            &format!("filecoin_{name}_core_s_per_gib"),
            theirs,
            &their_way,
        );
        let both = format!("{our_way}, against {their_way}");
        figures.ratio(&format!("{name}_vs_filecoin"), ours, theirs, &both);
    };
    let sha = if filecoin::sha_instructions() {
        "with the processor's instructions for it"
    } else {
        "without instructions for it"
    };
    part(
        "label",
        ours.label,
        theirs.label,
        [
            "8 layers of Poseidon2, 14 parents a node, layers' files included",
            &format!(
                "11 layers of SHA-256 {sha}, 14 parents a node hashed as 37, graph stored beforehand, layers' files included"
            ),
        ],
    );
    part(
        "commit",
        ours.commit,
        theirs.commit,
        [
            "columns of 8 labels, octal trees over columns and keys, Poseidon2, files included",
            "columns of 11 labels, octal trees over columns and replica of zeros (tree-c, tree-r-last), Poseidon of neptune 11, encoding and files included, tree over data not",
        ],
    );
    part(
        "seal",
        ours.label + ours.commit,
        theirs.label + theirs.commit,
        ["label and commit together"; 2],
    );
    Ok(())
}
