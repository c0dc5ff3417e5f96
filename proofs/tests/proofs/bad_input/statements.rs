//! Proofs of what the sector does not hold: asked for after it changed, of another, out of range.

use super::{challenge, data, group, open, rng, sealed_copy};
use crate::plus_one;
use crate::support::{CLASS, proven};
use holdfast_proofs::challenge::embed_rho;
use holdfast_proofs::proof::{CircuitId, ProofBytes};
use holdfast_proofs::prove::{ProveError, Workers, prove_embed, prove_seal, prove_spacetime};
use holdfast_proofs::replica::ReplicaId;
use holdfast_proofs::seal::SealError;
use holdfast_proofs::sealed::Sealed;
use holdfast_proofs::sector::Position;
use holdfast_proofs::statement::{
    EmbedStatement, SealStatement, SpacetimeStatement, StatementError,
};

#[test]
fn a_proof_asked_for_after_the_sector_changed_is_refused_by_its_manifest() {
    let proven = proven();
    let folder = sealed_copy();
    let mut sealed = open(folder.path()).unwrap();
    let spacetime = SpacetimeStatement {
        class: CLASS,
        lanes: sealed.replica_lanes(),
        challenges: proven.spacetime.0.challenges,
    };
    let group = group(9);
    let data_root = sealed.stage(data(group)).unwrap();
    let embed = |sealed: &mut Sealed, beacon: u8| {
        let rho = embed_rho(&[beacon; 32], sealed.key_root(), data_root, group);
        let roots = sealed.embed(group, rho).unwrap();
        let first = u64::from(group.index()) * CLASS.group_nodes();
        EmbedStatement {
            class: CLASS,
            challenges: vec![challenge(Position(first), &roots); 2],
        }
    };
    let first = embed(&mut sealed, 1);
    let second = embed(&mut sealed, 2);
    let manifest = folder.path().join("sector.json");
    let refused = |proofs: Result<Vec<ProofBytes>, ProveError>| {
        let error = proofs.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("ask for a proof of what it holds now"),
            "{text}"
        );
        assert!(matches!(error, ProveError::OtherRoots { path } if path == manifest));
    };
    // The group was written again, with another factor.
    let parameters = proven.parameters(CircuitId::embed(CLASS, 2));
    let workers = Workers::one(&parameters);
    refused(prove_embed(&workers, &sealed, &first, &mut rng()));
    prove_embed(&workers, &sealed, &second, &mut rng()).unwrap();
    sealed.finish_embed().unwrap();
    let error = prove_embed(&workers, &sealed, &second, &mut rng()).unwrap_err();
    assert!(matches!(error, ProveError::Sector(SealError::NotStaged(named)) if named == group));
    // The replica is another than at the deadline.
    let parameters = proven.parameters(CircuitId::spacetime(CLASS));
    let workers = Workers::one(&parameters);
    refused(prove_spacetime(&workers, &sealed, &spacetime, &mut rng()));
    // The seal of another sector, or of this one with other roots.
    let parameters = proven.parameters(CircuitId::seal(CLASS, 1));
    let workers = Workers::one(&parameters);
    for edit in [
        &(|s: &mut SealStatement| s.replica = ReplicaId(plus_one(s.replica.0))) as &dyn Fn(&mut _),
        &|s: &mut SealStatement| s.columns[7] = plus_one(s.columns[7]),
        &|s: &mut SealStatement| s.keys[0] = plus_one(s.keys[0]),
    ] {
        let mut statement = proven.seal.0.clone();
        edit(&mut statement);
        refused(prove_seal(&workers, &sealed, &statement, &mut rng()));
    }
    // The key of a group that was written since cannot be opened any more.
    let mut statement = proven.seal.0.clone();
    statement.challenges = vec![Position(u64::from(group.index()) * CLASS.group_nodes() + 5)];
    let error = prove_seal(&workers, &sealed, &statement, &mut rng()).unwrap_err();
    assert!(matches!(error, ProveError::Sector(SealError::NoData(named)) if named == group));
}

#[test]
fn a_challenge_out_of_range_is_refused_by_its_position() {
    let proven = proven();
    for position in [CLASS.nodes(), u64::MAX] {
        let outside = |proofs: Result<Vec<ProofBytes>, ProveError>| {
            let error = proofs.unwrap_err();
            assert!(error.to_string().contains(&position.to_string()), "{error}");
            assert!(matches!(
                error,
                ProveError::Statement(StatementError::OutsideSector { position: named, class: CLASS })
                    if named == position
            ));
        };
        let sealed = &proven.sealed;
        let parameters = proven.parameters(CircuitId::seal(CLASS, 1));
        let mut statement = proven.seal.0.clone();
        statement.challenges[1] = Position(position);
        outside(prove_seal(
            &Workers::one(&parameters),
            sealed,
            &statement,
            &mut rng(),
        ));
        let parameters = proven.parameters(CircuitId::embed(CLASS, 2));
        let mut statement = proven.embed.0.clone();
        statement.challenges[1].position = Position(position);
        outside(prove_embed(
            &Workers::one(&parameters),
            sealed,
            &statement,
            &mut rng(),
        ));
        let parameters = proven.parameters(CircuitId::spacetime(CLASS));
        let mut statement = proven.spacetime.0.clone();
        statement.challenges[15] = Position(position);
        outside(prove_spacetime(
            &Workers::one(&parameters),
            sealed,
            &statement,
            &mut rng(),
        ));
    }
}
