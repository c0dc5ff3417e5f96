#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use crate::message::encode;
use crate::tree::{LONGEST_STATE_PROOF, MemoryTree, decode_proof, encode_proof, prove};
use crate::units::{Amount, Height, PackId, SectorNumber, ShardIndex};
use crate::view::Writes;
use proptest::prelude::*;

const COUNT: u8 = 60;

fn address(number: u8) -> Address {
    Address([number; 32])
}

fn state() -> (TreeRoot, MemoryTree) {
    let accounts = (0..COUNT).map(|number| {
        let account = Account {
            balance: Amount(u128::from(number) + 1),
            nonce: number.into(),
        };
        (
            keys::account(&address(number)),
            Some(encode(&account).unwrap()),
        )
    });
    let name = Name {
        version: 3,
        root: vec![1, 2, 3],
        at: Height(9),
    };
    let mut writes: Writes = accounts.collect();
    writes.insert(
        keys::name(&address(1), "drive"),
        Some(encode(&name).unwrap()),
    );
    let mut tree = MemoryTree::default();
    let root = tree.apply(Height(0), &writes).unwrap();
    (root, tree)
}

fn answer(tree: &MemoryTree, key: &[u8]) -> (Option<Vec<u8>>, StateProof) {
    prove(tree, Height(0), key).unwrap()
}

fn evidence((value, proof): &(Option<Vec<u8>>, StateProof)) -> Evidence<'_> {
    Evidence {
        value: value.as_deref(),
        proof,
    }
}

#[test]
fn what_the_state_holds_is_shown_and_what_it_does_not_hold_too() {
    let (root, tree) = state();
    let of = |key: &[u8]| answer(&tree, key);
    let held = of(&keys::account(&address(7)));
    let shown = account(root, &address(7), evidence(&held))
        .unwrap()
        .unwrap();
    assert_eq!((shown.balance, shown.nonce), (Amount(8), 7));
    let stranger = address(200);
    let absent = of(&keys::account(&stranger));
    assert_eq!(account(root, &stranger, evidence(&absent)), Ok(None));
    let held = of(&keys::name(&address(1), "drive"));
    let shown = name(root, &address(1), "drive", evidence(&held)).unwrap();
    assert_eq!(shown.unwrap().version, 3);
    let absent = of(&keys::name(&address(1), "driv"));
    assert_eq!(name(root, &address(1), "driv", evidence(&absent)), Ok(None));
    let id = SectorId {
        provider: ProviderId(1),
        number: SectorNumber(2),
    };
    let absent = of(&keys::sector(id));
    assert_eq!(sector(root, id, evidence(&absent)), Ok(None));
    let absent = of(&keys::provider(ProviderId(1)));
    assert_eq!(provider(root, ProviderId(1), evidence(&absent)), Ok(None));
    let id = DealId {
        pack: PackId([1; 32]),
        shard: ShardIndex(0),
    };
    let absent = of(&keys::deal(&id));
    assert_eq!(deal(root, &id, evidence(&absent)), Ok(None));
    let absent = of(&keys::channel(ProviderId(1), &address(3)));
    let shown = channel(root, ProviderId(1), &address(3), evidence(&absent));
    assert_eq!(shown, Ok(None));
}

#[test]
fn a_proof_shows_nothing_of_another_key_root_value_or_kind() {
    let (root, tree) = state();
    let held = answer(&tree, &keys::account(&address(7)));
    let not_shown = |root| {
        Err(ProofError::NotShown {
            kind: "account",
            root,
        })
    };
    assert_eq!(account(root, &address(8), evidence(&held)), not_shown(root));
    let other = TreeRoot([1; 32]);
    assert_eq!(
        account(other, &address(7), evidence(&held)),
        not_shown(other)
    );
    // What is there is not absent, and what is absent is not there.
    let denied = (None, held.1.clone());
    assert_eq!(
        account(root, &address(7), evidence(&denied)),
        not_shown(root)
    );
    let absent = answer(&tree, &keys::account(&address(200)));
    let claimed = (held.0.clone(), absent.1);
    assert_eq!(
        account(root, &address(200), evidence(&claimed)),
        not_shown(root)
    );
    let richer = encode(&Account {
        balance: Amount(1 << 100),
        nonce: 7,
    });
    let richer = (Some(richer.unwrap()), held.1.clone());
    assert_eq!(
        account(root, &address(7), evidence(&richer)),
        not_shown(root)
    );
    let long = (Some(vec![0; LONGEST_OBJECT + 1]), held.1);
    assert!(matches!(
        account(root, &address(7), evidence(&long)),
        Err(ProofError::TooLong { .. })
    ));
}

#[test]
fn a_state_that_this_program_cannot_read_is_said_to_be_so() {
    let mut tree = MemoryTree::default();
    let key = keys::account(&address(1));
    let root = tree
        .apply(
            Height(0),
            &[(key.clone(), Some(b"later".to_vec()))]
                .into_iter()
                .collect(),
        )
        .unwrap();
    let shown = answer(&tree, &key);
    assert!(matches!(
        account(root, &address(1), evidence(&shown)),
        Err(ProofError::Undecodable(_))
    ));
}

#[test]
fn each_bit_of_a_proof_is_needed() {
    let (root, tree) = state();
    for key in [address(7), address(200)] {
        let (value, proof) = answer(&tree, &keys::account(&key));
        let bytes = encode_proof(&proof);
        assert_eq!(decode_proof(&bytes).unwrap(), proof);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let shown = decode_proof(&changed)
                    .ok()
                    .and_then(|proof| account(root, &key, evidence(&(value.clone(), proof))).ok());
                assert_eq!(shown, None, "byte {at}, bit {bit}");
            }
            assert!(decode_proof(&bytes[..at]).is_err(), "cut at {at}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(decode_proof(&longer).is_err());
    }
    assert!(decode_proof(&vec![0; LONGEST_STATE_PROOF + 1]).is_err());
    // A length that nothing follows takes no memory.
    assert!(decode_proof(&[0, 0xff, 0xff, 0xff, 0xff]).is_err());
}

#[test]
fn each_bit_of_a_value_is_needed() {
    let (root, tree) = state();
    let (value, proof) = answer(&tree, &keys::account(&address(7)));
    let value = value.unwrap();
    for at in 0..value.len() {
        for bit in 0..8 {
            let mut changed = value.clone();
            changed[at] ^= 1 << bit;
            let changed = (Some(changed), proof.clone());
            assert!(account(root, &address(7), evidence(&changed)).is_err());
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_proof_of_the_truth_or_of_nothing(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        splice: proptest::sample::Index,
    ) {
        let (root, tree) = state();
        let (_, proof) = answer(&tree, &keys::account(&address(7)));
        let honest = encode_proof(&proof);
        let cut = splice.index(honest.len());
        for bytes in [bytes.clone(), [&honest[..cut], &bytes].concat()] {
            if let Ok(read) = decode_proof(&bytes) {
                let denied = (None, read);
                prop_assert!(account(root, &address(7), evidence(&denied)).is_err());
            }
        }
    }
}
