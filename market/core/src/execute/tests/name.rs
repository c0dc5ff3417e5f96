//! Names: publishing, leases, and giving them away.

use super::super::name::MAX_LEASE;
use super::world::{World, address};
use crate::block::OutcomeResult;
use crate::message::{Body, LeaseClaim};
use crate::query;
use crate::state::{Lease, Name};
use crate::units::{Blocks, Height};

const LABEL: &str = "drive";

fn root(byte: u8) -> Vec<u8> {
    let digest = cid::multihash::Multihash::wrap(0x1e, &[byte; 32]).unwrap();
    cid::Cid::new_v1(0x55, digest).to_bytes()
}

fn publish(label: &str, version: u64, root: Vec<u8>) -> Body {
    Body::PublishName {
        label: label.into(),
        version,
        root,
        lease: None,
    }
}

/// Under the lease of account 0's name.
fn publish_leased(version: u64, token: u64) -> Body {
    Body::PublishName {
        label: LABEL.into(),
        version,
        root: root(4),
        lease: Some(claim(token)),
    }
}

fn claim(token: u64) -> LeaseClaim {
    LeaseClaim {
        owner: address(0),
        token,
    }
}

fn acquire(holder: usize, blocks: u64, token: Option<u64>) -> Body {
    Body::AcquireLease {
        label: LABEL.into(),
        holder: address(holder),
        blocks: Blocks(blocks),
        token,
    }
}

fn release(token: u64) -> Body {
    Body::ReleaseLease {
        lease: claim(token),
        label: LABEL.into(),
    }
}

fn transfer(owner: usize, to: usize) -> Body {
    Body::TransferName {
        owner: address(owner),
        label: LABEL.into(),
        to: address(to),
    }
}

fn name(world: &World, owner: usize) -> Option<Name> {
    query::name(&world.view, &address(owner), LABEL).unwrap()
}

/// Account 0 has published its name.
fn published() -> World {
    let mut world = World::new();
    world.done(0, publish(LABEL, 1, root(3)));
    world
}

#[test]
fn names_rise_and_take_a_content_identifier_only() {
    let mut world = World::new();
    world.done(0, publish("drive", 1, root(3)));
    world.done(0, publish("drive", 2, root(3)));
    world.refused(0, publish("drive", 2, root(3)), "the version");
    world.refused(0, publish("", 3, root(3)), "the label's length");
    world.refused(
        0,
        publish(&"x".repeat(65), 3, root(3)),
        "the label's length",
    );
    world.refused(0, publish("drive", 3, vec![]), "the root's length");
    world.refused(0, publish("drive", 3, vec![1; 65]), "the root's length");
    world.refused(0, publish("drive", 3, vec![0xff; 8]), "content identifier");
    let name = name(&world, 0).unwrap();
    assert_eq!((name.version, name.root), (2, root(3)));
    // Another's name of the same label is another name.
    world.done(1, publish("drive", 1, root(3)));
}

#[test]
fn while_a_name_is_leased_only_its_holder_publishes_it_and_afterwards_its_owner_does() {
    let mut world = published();
    world.done(0, acquire(2, 5, None));
    let until = world.height().0 + 4;
    let lease = Lease {
        holder: address(2),
        token: 1,
        until: Height(until),
    };
    assert_eq!(name(&world, 0).unwrap().lease, Some(lease));
    world.refused(0, publish(LABEL, 2, root(4)), "the name is leased to");
    world.done(2, publish_leased(2, 1));
    assert_eq!(name(&world, 0).unwrap().version, 2);
    // It is another's name all the same: without the lease the holder publishes one of its own.
    world.done(2, publish(LABEL, 1, root(5)));
    assert_eq!(name(&world, 2).unwrap().root, root(5));
    world.advance_to(Height(until));
    world.refused(
        2,
        publish_leased(3, 1),
        "no lease of this name with token 1",
    );
    world.done(0, publish(LABEL, 3, root(6)));
}

/// Two machines with one wallet: the account does not tell them apart, the token does.
#[test]
fn a_token_is_given_once_and_what_comes_late_under_an_earlier_one_changes_nothing() {
    let mut world = published();
    let both = world.block(vec![(0, acquire(0, 10, None)), (0, acquire(0, 10, None))]);
    assert_eq!(both[0].result, OutcomeResult::Done);
    assert!(matches!(&both[1].result, OutcomeResult::Refused(why) if why.contains("leased")));
    world.done(0, publish_leased(2, 1));
    world.done(0, release(1));
    world.done(0, acquire(0, 10, None));
    assert_eq!(name(&world, 0).unwrap().lease.unwrap().token, 2);
    world.refused(
        0,
        publish_leased(3, 1),
        "no lease of this name with token 1",
    );
    world.refused(0, release(1), "no lease of this name with token 1");
    world.refused(
        0,
        acquire(0, 10, Some(1)),
        "no lease of this name with token 1",
    );
    world.done(0, publish_leased(3, 2));
    // Run out or released, the next token is another.
    world.advance(10);
    world.done(0, acquire(1, 10, None));
    assert_eq!(name(&world, 0).unwrap().lease.unwrap().token, 3);
}

#[test]
fn a_lease_goes_on_with_its_token_as_long_as_it_is_held() {
    let mut world = published();
    world.done(0, acquire(2, 3, None));
    world.done(0, acquire(2, 3, Some(1)));
    let lease = name(&world, 0).unwrap().lease.unwrap();
    assert_eq!(
        (lease.token, lease.until),
        (1, Height(world.height().0 + 2))
    );
    // Not by another's word, and not for another holder.
    world.refused(2, acquire(2, 3, Some(1)), "has no name");
    world.refused(0, acquire(3, 3, Some(1)), "holds no lease");
    world.advance(3);
    world.refused(
        0,
        acquire(2, 3, Some(1)),
        "no lease of this name with token 1",
    );
}

#[test]
fn a_lease_with_any_field_wrong_is_refused() {
    let mut world = published();
    world.refused(0, acquire(2, 0, None), "the number of blocks");
    world.refused(0, acquire(2, MAX_LEASE.0 + 1, None), "the number of blocks");
    world.refused(0, acquire(2, u64::MAX, None), "the number of blocks");
    world.refused(1, acquire(1, 9, None), "has no name `drive`");
    world.refused(0, acquire(2, 9, Some(0)), "holds no lease");
    world.refused(0, release(0), "holds no lease");
    world.refused(0, publish_leased(2, 0), "holds no lease");
    let labelled = |label: String| Body::AcquireLease {
        label,
        holder: address(0),
        blocks: Blocks(9),
        token: None,
    };
    world.refused(0, labelled(String::new()), "the label's length");
    world.refused(0, labelled("x".repeat(65)), "the label's length");
    world.done(0, acquire(2, MAX_LEASE.0, None));
    world.refused(3, release(1), "holds no lease");
    world.refused(3, publish_leased(2, 1), "holds no lease");
    world.refused(0, publish_leased(2, 1), "holds no lease");
    world.refused(2, publish_leased(2, 2), "holds no lease");
    // Nor does a lease let the version fall.
    world.refused(2, publish_leased(1, 1), "the version");
    // Its owner ends it, and so does its holder.
    world.done(0, release(1));
    world.done(0, acquire(2, 9, None));
    world.done(2, release(2));
    world.refused(2, release(2), "holds no lease");
    world.done(0, publish(LABEL, 2, root(7)));
}

#[test]
fn a_name_is_given_away_by_two_words_and_leaves_behind_where_it_went() {
    let mut world = published();
    world.refused(1, transfer(0, 1), "only the owner");
    world.done(0, transfer(0, 1));
    assert_eq!(name(&world, 0).unwrap().offered, Some(address(1)));
    world.refused(2, transfer(0, 2), "only the owner");
    world.refused(2, transfer(0, 1), "only the owner");
    world.done(1, transfer(0, 1));
    assert_eq!(name(&world, 0), None);
    let moved =
        |world: &World, from: usize| query::moved_name(&world.view, &address(from), LABEL).unwrap();
    assert_eq!(moved(&world, 0), Some(address(1)));
    let given = name(&world, 1).unwrap();
    assert_eq!((given.version, given.root), (1, root(3)));
    assert_eq!(given.offered, None);
    // Whoever follows the old owner finds no other name there.
    world.refused(0, publish(LABEL, 9, root(9)), "was given to");
    world.refused(0, transfer(0, 2), "was given to");
    world.refused(0, acquire(0, 9, None), "was given to");
    world.refused(1, publish(LABEL, 1, root(9)), "the version");
    world.done(1, publish(LABEL, 2, root(9)));
    // Given on and then back, it is where it was, and the others know where.
    world.done(1, transfer(1, 2));
    world.done(2, transfer(1, 2));
    world.done(2, transfer(2, 1));
    world.done(1, transfer(2, 1));
    world.done(1, transfer(1, 0));
    world.done(0, transfer(1, 0));
    assert_eq!(name(&world, 0).unwrap().version, 2);
    assert_eq!(
        [0, 1, 2].map(|from| moved(&world, from)),
        [None, Some(address(0)), Some(address(1))]
    );
}

#[test]
fn a_name_takes_nobodys_place() {
    let mut world = published();
    world.done(1, publish(LABEL, 1, root(8)));
    world.done(0, transfer(0, 1));
    world.refused(1, transfer(0, 1), "exists already");
    // Nor that of one that was given away from there.
    world.done(1, transfer(1, 2));
    world.done(2, transfer(1, 2));
    world.refused(1, transfer(0, 1), "exists already");
    assert_eq!(name(&world, 0).unwrap().root, root(3));
}

#[test]
fn an_offer_is_taken_back_and_a_leased_name_is_not_given_away() {
    let mut world = published();
    world.refused(2, transfer(2, 2), "has no name");
    world.done(0, transfer(0, 1));
    world.done(0, transfer(0, 0));
    world.refused(1, transfer(0, 1), "only the owner");
    world.done(0, transfer(0, 1));
    world.done(0, acquire(2, 9, None));
    world.refused(1, transfer(0, 1), "the name is leased to");
    world.done(2, release(1));
    world.done(1, transfer(0, 1));
    // Tokens go on with the name.
    let again = Body::AcquireLease {
        label: LABEL.into(),
        holder: address(1),
        blocks: Blocks(9),
        token: None,
    };
    world.done(1, again);
    assert_eq!(name(&world, 1).unwrap().lease.unwrap().token, 2);
    world.refused(2, publish_leased(9, 1), "was given to");
}

#[test]
fn a_holder_does_not_use_up_the_versions_of_a_name() {
    let mut world = published();
    world.done(0, acquire(2, 50, None));
    let version = name(&world, 0).unwrap().version;
    world.refused(2, publish_leased(u64::MAX, 1), "the version is");
    world.refused(
        2,
        publish_leased(version + (1 << 20) + 1, 1),
        "the version is",
    );
    world.done(2, publish_leased(version + (1 << 20), 1));
    // Its owner may, and has none after the last.
    world.done(0, release(1));
    world.done(0, publish(LABEL, u64::MAX, root(5)));
    world.refused(0, publish(LABEL, u64::MAX, root(6)), "the version is");
}
