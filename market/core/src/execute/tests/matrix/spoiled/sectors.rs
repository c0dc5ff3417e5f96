//! What can be wrong with sectors, embeds and their proofs.

use super::super::super::world::{group, sector_id};
use super::{Cases, NOTHING, each, no_deals, no_sectors, strangers};
use crate::message::{
    Body, EmbedCommit, GroupLayout, GroupRoot, LaneGroups, PlacedSubtree, PreCommit, ReplicaCommit,
    SectorRoots, SpacetimeProof,
};
use crate::units::{Deadline, Height, Period, ProviderId, SectorId, SectorNumber};
use holdfast_proofs::proof::ProofBytes;
use holdfast_proofs::sector::SectorClass;

pub(super) fn pre_commit(good: &PreCommit) -> Cases {
    let PreCommit {
        sector: _,
        class: _,
        ticket,
        columns: _,
        keys: _,
    } = good;
    let ticket = ticket.0;
    let mut cases = strangers(|provider| {
        let sector = SectorId {
            provider,
            ..good.sector
        };
        Body::PreCommitSector(PreCommit {
            sector,
            ..good.clone()
        })
    });
    cases.extend(each(
        good,
        Body::PreCommitSector,
        vec![
            (&|c| c.sector = sector_id(0), "sector 0/0 exists already"),
            (&|c| c.class = SectorClass::Mib512, "the sector's class"),
            (&|c| c.class = SectorClass::Gib32, "the sector's class"),
            (&|c| c.ticket = Height(0), "the ticket's height"),
            (&|c| c.ticket = Height(ticket - 300), "the ticket's height"),
            (&|c| c.ticket = Height(ticket + 1), "the ticket's height"),
            (&|c| c.ticket = Height(u64::MAX), "the ticket's height"),
        ],
    ));
    cases
}

pub(super) fn commit_embed(good: &EmbedCommit) -> Cases {
    let EmbedCommit {
        sector: _,
        groups,
        keys,
    } = good;
    let GroupLayout { group: _, subtrees } = &groups[0];
    let PlacedSubtree {
        deal,
        subtree: _,
        levels: _,
        unit: _,
    } = subtrees[0];
    let SectorRoots {
        lanes: _,
        groups: touched,
    } = keys;
    let LaneGroups { lane: _, roots: _ } = touched[0];
    let mut cases = no_sectors(|sector| {
        Body::CommitEmbed(EmbedCommit {
            sector,
            ..good.clone()
        })
    });
    let with = |id| {
        let mut bad = good.clone();
        bad.groups[0].subtrees[0].deal = id;
        Body::CommitEmbed(bad)
    };
    cases.extend(no_deals(deal, with, "there is no deal"));
    cases.extend(each(
        good,
        Body::CommitEmbed,
        vec![
            (&|c| c.groups.clear(), "the number of groups"),
            (
                &|c| c.groups = vec![c.groups[0].clone(); 65],
                "the number of groups",
            ),
            (
                &|c| c.groups.push(c.groups[0].clone()),
                "groups must be listed once",
            ),
            (
                &|c| c.groups[0].group = group(13),
                "the lanes of the written groups",
            ),
            (&|c| c.groups[0].subtrees.truncate(3), "0 for subtree 1"),
            (
                &|c| c.groups[0].subtrees[0] = c.groups[0].subtrees[1].clone(),
                "for subtree",
            ),
            (&|c| c.groups[0].subtrees[0].subtree = 1, "for subtree"),
            (
                &|c| c.groups[0].subtrees[0].subtree = u32::MAX,
                "for subtree 0",
            ),
            (
                &|c| c.groups[0].subtrees[0].levels = 0,
                "a subtree's levels",
            ),
            (
                &|c| c.groups[0].subtrees[0].levels = 4,
                "a subtree's levels",
            ),
            (
                &|c| c.groups[0].subtrees[0].levels = u32::MAX,
                "a subtree's levels",
            ),
            (
                &|c| c.groups[0].subtrees[1].unit = 0,
                "ascending order of place",
            ),
            (&|c| c.groups[0].subtrees[3].unit = 8, "outside its group"),
            (&|c| c.groups[0].subtrees[3].unit = u32::MAX, "group 5"),
            (&|c| c.keys.lanes[7] = c.keys.lanes[6], "the key roots"),
            (
                &|c| c.keys.groups.clear(),
                "the lanes of the written groups",
            ),
            (
                &|c| c.keys.groups.push(c.keys.groups[0].clone()),
                "the lanes of the written groups",
            ),
            (
                &|c| c.keys.groups[0].lane = group(63).lane(),
                "the lanes of the written groups",
            ),
            (
                &|c| c.keys.groups[0].roots[7] = c.keys.groups[0].roots[6],
                "the key roots",
            ),
        ],
    ));
    cases
}

pub(super) fn commit_replica(good: &ReplicaCommit) -> Cases {
    let ReplicaCommit {
        sector: _,
        before: _,
        after,
    } = good;
    // Any root can be committed to: the proof shows whether it is the replica's.
    let GroupRoot { group: _, root: _ } = after[0];
    let mut cases = no_sectors(|sector| {
        Body::CommitReplica(ReplicaCommit {
            sector,
            ..good.clone()
        })
    });
    cases.extend(each(
        good,
        Body::CommitReplica,
        vec![
            (
                &|c| c.before.lanes[0] = c.before.lanes[1],
                "the replica roots",
            ),
            (
                &|c| c.before.groups.clear(),
                "the lanes of the written groups",
            ),
            (
                &|c| c.before.groups[0].lane = group(63).lane(),
                "the lanes of the written groups",
            ),
            (
                &|c| c.before.groups[0].roots[0] = c.before.groups[0].roots[1],
                "the replica roots",
            ),
            (&|c| c.after.clear(), "the list of groups"),
            (&|c| c.after[0].group = group(6), "the list of groups"),
            (&|c| c.after.push(c.after[0].clone()), "the list of groups"),
        ],
    ));
    cases
}

pub(super) fn spacetime(
    provider: ProviderId,
    period: Period,
    deadline: Deadline,
    good: &[SpacetimeProof],
) -> Cases {
    let with = |provider, period, deadline, proofs: Vec<SpacetimeProof>| Body::ProveSpacetime {
        provider,
        period,
        deadline,
        proofs,
    };
    let mut cases = strangers(|id| with(id, period, deadline, good.to_vec()));
    for later in [period.0 + 1, 1 << 63, u64::MAX - 1, u64::MAX] {
        let body = with(provider, Period(later), deadline, good.to_vec());
        cases.push((body, "a proof for this deadline cannot be included before"));
    }
    for other in [3, 4, u32::MAX] {
        let body = with(provider, period, Deadline(other), good.to_vec());
        cases.push((body, "the deadline is"));
    }
    let proof = |sector| SpacetimeProof {
        sector: SectorNumber(sector),
        proof: ProofBytes([1; 192]),
    };
    let listed = |numbers: &mut dyn Iterator<Item = u64>| {
        let proofs = numbers.map(proof).collect();
        with(provider, period, deadline, proofs)
    };
    cases.push((listed(&mut [].into_iter()), "the number of proofs"));
    cases.push((listed(&mut (0..257)), "the number of proofs"));
    cases.push((
        listed(&mut [0, 0].into_iter()),
        "sectors must be listed once",
    ));
    cases.push((
        listed(&mut [1, 0].into_iter()),
        "sectors must be listed once",
    ));
    for number in NOTHING {
        cases.push((listed(&mut [number].into_iter()), "there is no sector 0/"));
        cases.push((
            listed(&mut [0, number].into_iter()),
            "there is no sector 0/",
        ));
    }
    cases
}

pub(super) fn lists(
    provider: ProviderId,
    good: &[SectorNumber],
    with: impl Fn(ProviderId, Vec<SectorNumber>) -> Body,
) -> Cases {
    let mut cases = strangers(|id| with(id, good.to_vec()));
    let listed = |numbers: &[u64]| {
        let numbers = numbers.iter().map(|number| SectorNumber(*number));
        with(provider, numbers.collect())
    };
    let many: Vec<u64> = (0..257).collect();
    cases.push((listed(&[]), "the number of sectors"));
    cases.push((listed(&many), "the number of sectors"));
    cases.push((listed(&[0, 0]), "sectors must be listed once"));
    cases.push((listed(&[1, 0]), "sectors must be listed once"));
    for number in NOTHING {
        cases.push((listed(&[number]), "there is no sector 0/"));
        cases.push((listed(&[0, number]), "there is no sector 0/"));
    }
    cases
}
