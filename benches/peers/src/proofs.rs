//! The same proof, byte for byte, by our prover and by `bellman`'s.
//!
//! Filecoin's own seal proof is not measured: it needs parameters that are downloaded.

use crate::measure::{Failure, Figures};
use crate::sealing::{CLASS, replica, seal};
use holdfast_proofs::challenge::spacetime_challenges;
use holdfast_proofs::params::Parameters;
use holdfast_proofs::proof::CircuitId;
use holdfast_proofs::prove::compare_with_bellman;
use holdfast_proofs::sealed::Sealed;
use holdfast_proofs::statement::SpacetimeStatement;
use std::time::Duration;

/// Proofs that each prover makes.
const ROUNDS: u32 = 5;

pub fn measure(figures: &mut Figures) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    seal(folder.path())?;
    let sealed = Sealed::open(folder.path(), CLASS, replica())?;
    let mut rng = rand::rngs::OsRng;
    let parameters = Parameters::create(CircuitId::spacetime(CLASS), &mut rng)?;
    let statement = SpacetimeStatement {
        class: CLASS,
        lanes: sealed.replica_lanes(),
        challenges: spacetime_challenges(&[5; 32], replica(), CLASS),
    };
    let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        // It is an error where the proofs differ.
        let compared = compare_with_bellman(&parameters, &sealed, &statement, &mut rng)?;
        ours = ours.min(compared.ours);
        theirs = theirs.min(compared.bellman);
    }
    let (ours, theirs) = (ours.as_secs_f64(), theirs.as_secs_f64());
    let proof = "one spacetime proof of 8 MiB, 16 leaves, one thread, wall-clock";
    figures.row("spacetime_prove_s", ours, "s", proof);
    let conditions = format!("{proof}, create_proof of bellman 0.14 without multicore");
    figures.row("bellman_spacetime_prove_s", theirs, "s", &conditions);
    let conditions = format!("{conditions}, with the same r and s, the same bytes");
    figures.ratio("prover_vs_bellman", ours, theirs, &conditions);
    Ok(())
}
