//! Honest proofs under statements that they were not made for.

use crate::support::{CLASS, SEED, proven};
use crate::{plus_one, refused};
use holdfast_proofs::challenge::{seal_challenges, spacetime_challenges};
use holdfast_proofs::node::Node;
use holdfast_proofs::proof::Circuit;
use holdfast_proofs::replica::ReplicaId;
use holdfast_proofs::sector::{Position, SectorClass};
use holdfast_proofs::statement::{
    EmbedStatement, SealStatement, SpacetimeStatement, Statement, StatementError,
};
use holdfast_proofs::verify::VerifyError;

#[test]
fn a_seal_proof_shows_no_other_seal() {
    let proven = proven();
    let (honest, proofs) = &proven.seal;
    let refused = |what: &str, edit: &dyn Fn(&mut SealStatement)| {
        let mut statement = honest.clone();
        edit(&mut statement);
        refused(proven, Statement::Seal(statement), proofs, what);
    };
    let other = |edit: &dyn Fn(&mut holdfast_proofs::replica::ReplicaSeed)| {
        let mut seed = SEED;
        edit(&mut seed);
        ReplicaId::derive(&seed)
    };
    refused("replica id", &|s| {
        s.replica = ReplicaId(plus_one(s.replica.0))
    });
    refused("network", &|s| {
        s.replica = other(&|seed| seed.network[0] ^= 1)
    });
    refused("provider", &|s| {
        s.replica = other(&|seed| seed.provider += 1)
    });
    refused("sector", &|s| s.replica = other(&|seed| seed.number += 1));
    refused("ticket", &|s| {
        s.replica = other(&|seed| seed.ticket[31] ^= 1)
    });
    refused("challenge", &|s| s.challenges[1].0 ^= 2);
    refused("challenges of another beacon", &|s| {
        s.challenges = seal_challenges(&[9; 32], s.replica, CLASS, 2);
    });
    refused("challenges swapped", &|s| s.challenges.swap(0, 1));
    refused("columns and keys swapped", &|s| {
        std::mem::swap(&mut s.columns, &mut s.keys);
    });
    refused("lanes turned", &|s| s.columns.rotate_left(1));
    let lane = usize::from(honest.challenges[0].lane(CLASS).index());
    refused("column root", &|s| {
        s.columns[lane] = plus_one(s.columns[lane])
    });
    refused("key root", &|s| s.keys[lane] = plus_one(s.keys[lane]));
    // Every other root is bound by the statement too, used or not: it is a public input.
    for lane in 0..8 {
        refused("a column root", &|s| s.columns[lane] = Node::ZERO);
        refused("a key root", &|s| s.keys[lane] = Node::ZERO);
    }
}

#[test]
fn an_embed_proof_shows_no_other_embed() {
    let proven = proven();
    let (honest, proofs) = &proven.embed;
    for index in 0..honest.challenges.len() {
        let refused = |what: &str, edit: &dyn Fn(&mut EmbedStatement)| {
            let mut statement = honest.clone();
            edit(&mut statement);
            refused(proven, Statement::Embed(statement), proofs, what);
        };
        refused("rho", &|s| {
            s.challenges[index].rho = plus_one(s.challenges[index].rho);
        });
        refused("key root", &|s| {
            s.challenges[index].key_root = plus_one(s.challenges[index].key_root);
        });
        refused("data root", &|s| {
            s.challenges[index].data_root = plus_one(s.challenges[index].data_root);
        });
        refused("replica root", &|s| {
            s.challenges[index].replica_root = plus_one(s.challenges[index].replica_root);
        });
        refused("position", &|s| s.challenges[index].position.0 ^= 1);
        refused("nothing embedded", &|s| {
            s.challenges[index].replica_root = s.challenges[index].key_root;
        });
    }
}

#[test]
fn a_spacetime_proof_shows_no_other_deadline_or_sector() {
    let proven = proven();
    let (honest, proofs) = &proven.spacetime;
    let refused = |what: &str, edit: &dyn Fn(&mut SpacetimeStatement)| {
        let mut statement = honest.clone();
        edit(&mut statement);
        refused(proven, Statement::Spacetime(statement), proofs, what);
    };
    for lane in 0..8 {
        refused("lane root", &|s| s.lanes[lane] = plus_one(s.lanes[lane]));
    }
    refused("the keys' roots", &|s| s.lanes = proven.seal.0.keys);
    refused("another deadline", &|s| {
        s.challenges = spacetime_challenges(&[1; 32], proven.seal.0.replica, CLASS);
    });
    for leaf in 0..16 {
        refused("a challenge", &|s| s.challenges[leaf].0 ^= 1);
    }
}

#[test]
fn proofs_are_not_exchanged_dropped_or_added() {
    let proven = proven();
    let (seal, seal_proofs) = &proven.seal;
    let (embed, embed_proofs) = &proven.embed;
    let (spacetime, spacetime_proofs) = &proven.spacetime;
    let mut swapped = seal_proofs.clone();
    swapped.swap(0, 1);
    refused(proven, Statement::Seal(seal.clone()), &swapped, "swapped");
    let mut swapped = embed_proofs.clone();
    swapped.swap(0, 1);
    refused(proven, Statement::Embed(embed.clone()), &swapped, "swapped");
    refused(
        proven,
        Statement::Embed(embed.clone()),
        seal_proofs,
        "seal proofs for an embed",
    );
    refused(
        proven,
        Statement::Spacetime(spacetime.clone()),
        &embed_proofs[..1],
        "an embed proof for spacetime",
    );
    for proofs in [&seal_proofs[..1], &[], &[seal_proofs[0]; 3]] {
        assert_eq!(
            proven
                .verifier
                .verify_both(&Statement::Seal(seal.clone()), proofs),
            Err(VerifyError::ProofCount {
                expected: 2,
                found: proofs.len()
            })
        );
    }
    // A point of one proof in another.
    let mut mixed = spacetime_proofs[0];
    mixed.0[..48].copy_from_slice(&seal_proofs[0].0[..48]);
    refused(
        proven,
        Statement::Spacetime(spacetime.clone()),
        &[mixed],
        "A of another proof",
    );
}

#[test]
fn statements_that_nothing_could_show_are_refused_by_name() {
    let proven = proven();
    let (honest, proofs) = &proven.seal;
    let answer = |edit: &dyn Fn(&mut SealStatement)| {
        let mut statement = honest.clone();
        edit(&mut statement);
        proven
            .verifier
            .verify_both(&Statement::Seal(statement), proofs)
    };
    assert_eq!(
        answer(&|s| s.challenges.clear()),
        Err(VerifyError::Statement(StatementError::NoChallenges))
    );
    assert_eq!(
        answer(&|s| s.challenges[0] = Position(CLASS.lane_nodes())),
        Err(VerifyError::Statement(StatementError::LaneStart(
            CLASS.lane_nodes()
        )))
    );
    assert_eq!(
        answer(&|s| s.challenges[0] = Position(CLASS.nodes())),
        Err(VerifyError::Statement(StatementError::OutsideSector {
            position: CLASS.nodes(),
            class: CLASS
        }))
    );
    assert_eq!(
        answer(&|s| s.class = SectorClass::Mib64),
        Err(VerifyError::MissingKey {
            circuit: Circuit::Seal,
            class: SectorClass::Mib64
        })
    );
    let (mut embed, proofs) = proven.embed.clone();
    embed.challenges.pop();
    assert_eq!(
        proven
            .verifier
            .verify_both(&Statement::Embed(embed), &proofs),
        Err(VerifyError::Statement(StatementError::PartialProof {
            count: 3,
            per_proof: 2
        }))
    );
    let (mut spacetime, proofs) = proven.spacetime.clone();
    spacetime.challenges.swap(1, 2);
    assert!(matches!(
        proven
            .verifier
            .verify_both(&Statement::Spacetime(spacetime), &proofs),
        Err(VerifyError::Statement(StatementError::WrongLane {
            index: 1,
            lane: 0,
            ..
        }))
    ));
}
