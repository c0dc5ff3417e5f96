//! The life of two real sectors under the real rules: sealed, filled and proven with Groth16 proofs
//! that `execute` verifies, and with wrong ones at every step, which it refuses.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod chain;
mod prover;

use chain::{CLASS, CLIENT, Chain, PROVIDER, THIEF, parameters, sector_id};
use holdfast_market_core::challenge;
use holdfast_market_core::message::{
    Acceptance, Body, DealSetProposal, GroupRoot, PackHeader, PreCommit, ProviderOffer,
    ReplicaCommit, ShardTerms, SpacetimeProof,
};
use holdfast_market_core::receipt::Tier;
use holdfast_market_core::schedule;
use holdfast_market_core::state::{DealStatus, SectorStatus};
use holdfast_market_core::units::{
    Amount, Beacon, ByteCount, DealId, Height, NodeKey, Period, Periods, ProviderId, SectorId,
    SectorNumber, ShardIndex, ShardRoot,
};
use holdfast_proofs::proof::ProofBytes;
use holdfast_proofs::sealed::Sealed;
use holdfast_proofs::sector::Group;
use prover::Prover;

const REFUSED: &str = "does not show the statement";
const POINT: &str = "is wrong: ";

/// One bit of one proof, in each of its three points.
fn altered(proofs: &[ProofBytes]) -> Vec<Vec<ProofBytes>> {
    let at = |place: usize| {
        let mut altered = proofs.to_vec();
        altered[0].0[place] ^= 1;
        altered
    };
    [20, 90, 170].map(at).to_vec()
}

/// What must be refused in the place of these two proofs.
fn wrong(
    right: &[ProofBytes],
    of_another_sector: &[ProofBytes],
    at_another_beacon: &[ProofBytes],
) -> Vec<(&'static str, Vec<ProofBytes>, &'static str)> {
    let [first, second] = right else {
        panic!("{} proofs", right.len());
    };
    let mut all = vec![
        ("of another sector", of_another_sector.to_vec(), REFUSED),
        ("at another beacon", at_another_beacon.to_vec(), REFUSED),
        ("swapped", vec![*second, *first], REFUSED),
        ("the last wrong", vec![*first, *first], REFUSED),
        ("too few", vec![*first], "takes 2 proofs, 1"),
        ("none", Vec::new(), "takes 2 proofs, 0"),
        (
            "too many",
            vec![*first, *second, *second],
            "takes 2 proofs, 3",
        ),
    ];
    let altered = altered(right).into_iter();
    all.extend(altered.map(|proofs| ("a bit changed", proofs, POINT)));
    all
}

fn prove_seal(number: u64, proofs: &[ProofBytes]) -> Body {
    Body::ProveSeal {
        sector: sector_id(number),
        proofs: proofs.to_vec(),
    }
}

fn prove_embed(number: u64, proofs: &[ProofBytes]) -> Body {
    Body::ProveEmbed {
        sector: sector_id(number),
        proofs: proofs.to_vec(),
    }
}

/// The sector that provider 1 says it has.
fn stolen_sector() -> SectorId {
    SectorId {
        provider: ProviderId(1),
        number: SectorNumber(0),
    }
}

/// Both sectors committed to and proven sealed, sector 1 a block after sector 0; and what showed the
/// seal of sector 0.
fn sealed(
    chain: &mut Chain,
    prover: &mut Prover,
) -> (
    [(Sealed, [holdfast_proofs::node::Node; 64]); 2],
    Vec<ProofBytes>,
) {
    let ticket = Height(0);
    let sectors = [0, 1].map(|number| prover.seal(chain, number, ticket));
    let commits = [0u64, 1].map(|number| {
        let commitment = &sectors[number as usize].1;
        let body = Body::PreCommitSector(PreCommit {
            sector: sector_id(number),
            class: CLASS,
            ticket,
            columns: commitment.columns,
            keys: commitment.keys,
        });
        (PROVIDER, body)
    });
    let mut commits = commits.to_vec();
    // A thief commits to what it saw others commit to, as its own.
    let mut stolen = commits[0].1.clone();
    if let Body::PreCommitSector(commit) = &mut stolen {
        commit.sector = stolen_sector();
    }
    commits.push((THIEF, stolen));
    for result in chain.block(commits) {
        assert_eq!(result, holdfast_market_core::block::OutcomeResult::Done);
    }
    let drawn = schedule::seal_challenge_height(&parameters(), chain.height());
    chain.advance_to(drawn);
    let mut prove = |chain: &Chain, number: u64, beacon: &Beacon| {
        let statement = challenge::seal_statement(&parameters(), &chain.sector(number), beacon);
        prover.prove_seal(&sectors[number as usize].0, &statement)
    };
    let beacon = chain.beacon(drawn);
    let proofs = [0, 1].map(|number| prove(chain, number, &beacon));
    let earlier = prove(chain, 0, &chain.beacon(Height(drawn.0 - 1)));
    let wrong = wrong(&proofs[0], &proofs[1], &earlier);
    chain.refused(
        wrong
            .iter()
            .map(|(what, proofs, why)| (*what, prove_seal(0, proofs), *why))
            .collect(),
    );
    for number in [0, 1] {
        chain.done(PROVIDER, prove_seal(number, &proofs[number as usize]));
        assert!(matches!(
            chain.sector(number).status,
            SectorStatus::Active { .. }
        ));
    }
    assert_eq!(chain.held.seal, 4);
    chain.refused(vec![("again", prove_seal(0, &proofs[0]), "pre-committed")]);
    let sectors = sectors.map(|(sealed, commitment)| (sealed, commitment.key_groups));
    let [seal, _] = proofs;
    (sectors, seal)
}

/// A pack of two shards, one for each sector, accepted by provider 0.
fn accepted(chain: &mut Chain) -> [DealId; 2] {
    let terms = ShardTerms {
        provider: ProviderId(0),
        tier: Tier::Hot,
        price: Amount::hold(1),
        term: Periods(3),
        fund_by: chain
            .height()
            .after(holdfast_market_core::units::Blocks(20)),
    };
    let pack = PackHeader {
        owner: prover::client(),
        nonce: 1,
        k: 1,
        n: 2,
        length: ByteCount(20_000),
        shard_roots: [0, 1]
            .map(|index| ShardRoot(*blake3::hash(&prover::shard(index)).as_bytes()))
            .to_vec(),
        shard_length: ByteCount(20_000),
    };
    let id = pack.id().unwrap();
    let proposal = DealSetProposal {
        pack,
        terms: vec![terms.clone(), terms],
        repair_threshold: 1,
        repair_budget: Amount::ZERO,
    };
    chain.done(CLIENT, Body::ProposeDealSet(proposal));
    let deals = [0, 1].map(|index| DealId {
        pack: id,
        shard: ShardIndex(index),
    });
    let acceptances = deals.map(|shard| Acceptance {
        shard,
        piece_roots: prover::piece_roots(shard.shard.0),
    });
    chain.done(
        PROVIDER,
        Body::AcceptDeals {
            provider: ProviderId(0),
            deals: acceptances.to_vec(),
        },
    );
    deals
}

#[test]
fn two_real_sectors_are_sealed_filled_and_proven_and_every_wrong_proof_is_refused() {
    let mut prover = Prover::new();
    let mut chain = Chain::new(&prover.keys);
    let registrations = [PROVIDER, THIEF].map(|who| {
        let registration = Body::RegisterProvider {
            worker: chain::address(who),
            offer: ProviderOffer {
                node: NodeKey([7; 32]),
                endpoint: "127.0.0.1:4000".into(),
                price: Amount::hold(1),
                read_price: Amount::ZERO,
            },
            collateral: Amount::hold(100),
        };
        (who, registration)
    });
    for result in chain.block(registrations.to_vec()) {
        assert_eq!(result, holdfast_market_core::block::OutcomeResult::Done);
    }
    let ([(mut zero, zero_keys), (mut one, one_keys)], seal) = sealed(&mut chain, &mut prover);
    let deals = accepted(&mut chain);
    spacetime_of_bare_keys(&mut chain, &mut prover, &zero);

    // The thief's replica has another id, so what shows the seal of the one shows nothing of the
    // other.
    let of_the_thief = Body::ProveSeal {
        sector: stolen_sector(),
        proofs: seal.clone(),
    };
    chain.refused_from(
        THIEF,
        vec![
            ("another provider's seal", of_the_thief, REFUSED),
            (
                "another provider's seal for it",
                prove_seal(0, &seal),
                "only the worker",
            ),
        ],
    );

    // Embedding, step by step. Sector 1 will commit to a replica that it did not write.
    let groups = [9, 50].map(|index| Group::new(index).unwrap());
    for (number, keys) in [(0u64, &zero_keys), (1, &one_keys)] {
        let place = number as usize;
        let lanes = chain.sector(number).replica_lanes;
        let commit = prover::embed_commit(number, groups[place], deals[place], lanes, keys);
        chain.done(PROVIDER, Body::CommitEmbed(commit));
    }
    let embeds = [0, 1].map(|number| chain.sector(number).embed.unwrap());
    chain.advance_to(schedule::rho_height(&parameters(), &embeds[1]));
    let rho = |chain: &Chain, number: u64| {
        let embed = &embeds[number as usize];
        let beacon = chain.beacon(schedule::rho_height(&parameters(), embed));
        challenge::rhos(&chain.sector(number), embed, &beacon)[0].1
    };
    let written = prover::write(&mut zero, groups[0], 0, rho(&chain, 0));
    assert_eq!(written.data, embeds[0].groups[0].data_root);
    assert_eq!(written.key, embeds[0].groups[0].key_root);
    let written_one = prover::write(&mut one, groups[1], 1, rho(&chain, 1));
    let before = |number: u64, sealed: &Sealed| {
        let group = groups[number as usize];
        prover::roots(sealed.replica_lanes(), &sealed.replica_groups(), group)
    };
    let commit = |number: u64, before, root| {
        Body::CommitReplica(ReplicaCommit {
            sector: sector_id(number),
            before,
            after: vec![GroupRoot {
                group: groups[number as usize],
                root,
            }],
        })
    };
    let mut forged = before(0, &zero);
    forged.groups[0].roots[0] = written.replica;
    chain.refused(vec![
        (
            "another sector's replica",
            commit(
                0,
                prover::roots(one.replica_lanes(), &one.replica_groups(), groups[0]),
                written.replica,
            ),
            "the replica roots",
        ),
        (
            "a group root that is not there",
            commit(0, forged, written.replica),
            "the replica roots",
        ),
    ]);
    let honest = commit(0, before(0, &zero), written.replica);
    let bare = commit(1, before(1, &one), written_one.key);
    for result in chain.block(vec![(PROVIDER, honest), (PROVIDER, bare)]) {
        assert_eq!(result, holdfast_market_core::block::OutcomeResult::Done);
    }

    let embeds = [0, 1].map(|number| chain.sector(number).embed.unwrap());
    let drawn =
        schedule::embed_challenge_height(&parameters(), embeds[0].replica.as_ref().unwrap());
    chain.advance_to(drawn);
    let statement = |chain: &Chain, number: u64, beacon: &Beacon| {
        let embed = &embeds[number as usize];
        let rho = chain.beacon(schedule::rho_height(&parameters(), embed));
        let sector = chain.sector(number);
        challenge::embed_statement(&parameters(), &sector, embed, &rho, beacon).unwrap()
    };
    let beacon = chain.beacon(drawn);
    let right = prover.prove_embed(&zero, &statement(&chain, 0, &beacon));
    let earlier = chain.beacon(Height(drawn.0 - 1));
    let earlier = prover.prove_embed(&zero, &statement(&chain, 0, &earlier));
    // Proofs of what sector 1 really holds, which is not what it committed to.
    let mut of_one = statement(&chain, 1, &beacon);
    for challenge in &mut of_one.challenges {
        assert_eq!(challenge.replica_root, written_one.key);
        challenge.replica_root = written_one.replica;
    }
    let of_one = prover.prove_embed(&one, &of_one);
    let mut all: Vec<_> = wrong(&right, &of_one, &earlier)
        .into_iter()
        .map(|(what, proofs, why)| (what, prove_embed(0, &proofs), why))
        .collect();
    all.push((
        "a replica that was not written",
        prove_embed(1, &of_one),
        REFUSED,
    ));
    chain.refused(all);
    let of_the_thief = Body::ProveEmbed {
        sector: stolen_sector(),
        proofs: right.clone(),
    };
    chain.refused_from(
        THIEF,
        vec![
            ("another provider's embed", of_the_thief, "this needs an"),
            (
                "another provider's embed for it",
                prove_embed(0, &right),
                "only the worker",
            ),
        ],
    );
    chain.done(PROVIDER, prove_embed(0, &right));
    assert_eq!(chain.held.embed, 2);
    zero.finish_embed().unwrap();
    let landed = chain.sector(0);
    assert_eq!(landed.replica_lanes, zero.replica_lanes());
    assert_eq!(landed.replica_root, zero.replica_root());
    let DealStatus::Proven { from, .. } = chain.deal(&deals[0]).status else {
        panic!("{:?}", chain.deal(&deals[0]).status);
    };
    assert_eq!(chain.deal(&deals[1]).status, DealStatus::Accepted);
    chain.refused(vec![(
        "again",
        prove_embed(0, &right),
        "this needs an embed",
    )]);

    spacetime_of_data(&mut chain, &mut prover, (&zero, &one), from);
    let deal = chain.deal(&deals[0]);
    assert_eq!((deal.paid, deal.refunded), (Periods(1), Periods(0)));
    // Nobody could prove what sector 1 committed to: its embed is over and its deposit burnt.
    assert!(chain.sector(1).embed.is_none());
    assert_eq!(chain.deal(&deals[1]).status, DealStatus::Accepted);
    assert_eq!(chain.deal(&deals[1]).sector, None);
}

fn prove_spacetime(chain: &Chain, period: Period, proof: ProofBytes) -> Body {
    let sector = chain.sector(0);
    Body::ProveSpacetime {
        provider: ProviderId(0),
        period,
        deadline: sector.deadline,
        proofs: vec![SpacetimeProof {
            sector: sector.id.number,
            proof,
        }],
    }
}

/// The first deadline of sector 0, which holds no data yet.
fn spacetime_of_bare_keys(chain: &mut Chain, prover: &mut Prover, zero: &Sealed) {
    let sector = chain.sector(0);
    let period = sector.next;
    let window = schedule::window(&parameters(), period, sector.deadline);
    chain.advance_to(window.open);
    let beacon = chain.beacon(window.open);
    let statement = challenge::spacetime_statement(&sector, period, &beacon);
    let proof = prover.prove_spacetime(zero, &statement);
    chain.done(PROVIDER, prove_spacetime(chain, period, proof));
    assert_eq!(chain.sector(0).proven, Some(period));
    assert_eq!(chain.held.spacetime, 1);
}

/// The deadline of the first period that pays the deal in sector 0, after its embed.
fn spacetime_of_data(
    chain: &mut Chain,
    prover: &mut Prover,
    (zero, one): (&Sealed, &Sealed),
    period: Period,
) {
    let deadline = chain.sector(0).deadline;
    let window = schedule::window(&parameters(), period, deadline);
    chain.advance_to(window.open);
    let mut prove = |number: u64, sealed: &Sealed, drawn: Height| {
        let sector = chain.sector(number);
        let beacon = chain.beacon(drawn);
        let statement = challenge::spacetime_statement(&sector, period, &beacon);
        prover.prove_spacetime(sealed, &statement)
    };
    let right = prove(0, zero, window.open);
    let earlier = prove(0, zero, Height(window.open.0 - 1));
    let of_another = prove(1, one, window.open);
    let mut swapped = right;
    swapped.0[..48].copy_from_slice(&right.0[144..]);
    swapped.0[144..].copy_from_slice(&right.0[..48]);
    let mut all = vec![
        ("of another sector", of_another, REFUSED),
        ("at another beacon", earlier, REFUSED),
        ("its first point and its last swapped", swapped, REFUSED),
    ];
    let altered = altered(&[right]).into_iter();
    all.extend(altered.map(|proofs| ("a bit changed", proofs[0], POINT)));
    let wrong = all
        .into_iter()
        .map(|(what, proof, why)| (what, prove_spacetime(chain, period, proof), why))
        .collect();
    chain.refused(wrong);
    let mut of_the_thief = prove_spacetime(chain, period, right);
    if let Body::ProveSpacetime { provider, .. } = &mut of_the_thief {
        *provider = stolen_sector().provider;
    }
    chain.refused_from(
        THIEF,
        vec![
            ("another provider's replica", of_the_thief, "this needs"),
            (
                "another provider's replica for it",
                prove_spacetime(chain, period, right),
                "only the worker",
            ),
        ],
    );
    chain.done(PROVIDER, prove_spacetime(chain, period, right));
    assert_eq!(chain.held.spacetime, 2);
    chain.refused(vec![(
        "again",
        prove_spacetime(chain, period, right),
        "exists already",
    )]);
    chain.advance_to(window.close);
    assert_eq!(chain.sector(0).next, Period(period.0 + 1));
    assert_eq!(chain.sector(0).faults, Periods(0));
}
