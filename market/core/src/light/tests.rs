#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]
use super::*;
use crate::beacon::BeaconSecret;
use crate::finality::{Ballot, BallotKind, Precommit};
use crate::message::{SigningContext, decode, encode};
use crate::parameters::Parameters;
use crate::units::{Address, BeaconSignature, Round, Signature};
use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use std::sync::LazyLock;

const NETWORK_NAME: &str = "light";
const KEYS: u8 = 6;

fn key(index: u8) -> SigningKey {
    SigningKey::from_bytes(&[index + 1; 32])
}

fn address(index: u8) -> Address {
    Address(key(index).verifying_key().to_bytes())
}

/// Validators of power 1 each, in this order.
fn validators(indices: &[u8]) -> Vec<Validator> {
    static ALL: LazyLock<Vec<Validator>> = LazyLock::new(|| {
        let one = |index: u8| {
            let beacon = BeaconSecret::from_seed(&[index; 32]);
            Validator {
                key: address(index),
                beacon: beacon.public(),
                possession: beacon.possession(),
                power: 1,
            }
        };
        (0..10).map(one).collect()
    });
    let one = |index: &u8| ALL[usize::from(*index)].clone();
    indices.iter().map(one).collect()
}

fn genesis(name: &str, indices: &[u8]) -> Genesis {
    Genesis {
        name: name.into(),
        time: 0,
        parameters: Parameters::dev(),
        verifying_keys: [0; 32],
        balances: vec![],
        validators: validators(indices),
    }
}

/// Precommits of these for a header.
fn certified(network: NetworkId, header: &Header, indices: &[u8]) -> Certificate {
    let id = header.id().unwrap();
    let one = |index: &u8| {
        let ballot = Ballot {
            kind: BallotKind::Precommit,
            height: header.height,
            round: Round(0),
            block: Some(id),
            voter: address(*index),
        };
        Precommit {
            voter: ballot.voter,
            signature: SigningContext::Ballot
                .sign(network, &key(*index), &ballot)
                .unwrap(),
        }
    };
    let mut precommits: Vec<Precommit> = indices.iter().map(one).collect();
    precommits.sort_by_key(|one| one.voter);
    Certificate::Bft {
        round: Round(0),
        precommits,
    }
}

/// A chain whose block h is ordered by `sets[h - 1]` and names `sets[h]`; every block comes with all
/// that there is of it.
struct Chain {
    genesis: Genesis,
    sets: Vec<Vec<u8>>,
    blocks: Vec<LightBlock>,
}

impl Chain {
    fn new(sets: &[&[u8]]) -> Self {
        let genesis = genesis(NETWORK_NAME, sets[0]);
        let network = genesis.network().unwrap();
        let mut chain = Self {
            genesis,
            sets: sets.iter().map(|set| set.to_vec()).collect(),
            blocks: Vec::new(),
        };
        let mut parent = BlockId(network.0);
        for height in 1..sets.len() {
            let header = Header {
                height: Height(height as u64),
                parent,
                state_root: TreeRoot([height as u8; 32]),
                transactions_root: TreeRoot([0; 32]),
                receipts_root: TreeRoot([0; 32]),
                time: 0,
                builder: address(sets[height - 1][0]),
                beacon: BeaconSignature([0; 96]),
                next_validators: validators_root(&validators(sets[height])).unwrap(),
            };
            parent = header.id().unwrap();
            chain.blocks.push(chain.with(header));
        }
        chain
    }

    fn network(&self) -> NetworkId {
        self.genesis.network().unwrap()
    }

    /// A header at its height with a certificate of all who order there.
    fn with(&self, header: Header) -> LightBlock {
        let height = header.height.0 as usize;
        LightBlock {
            certificate: Some(certified(self.network(), &header, &self.sets[height - 1])),
            next_validators: Some(validators(&self.sets[height])),
            header,
        }
    }

    /// Blocks from one height to another as a market sends them: with what is needed, no more.
    fn page(&self, from: usize, to: usize) -> Vec<LightBlock> {
        let mut page = self.blocks[from - 1..to].to_vec();
        let last = page.len() - 1;
        for (index, block) in page.iter_mut().enumerate() {
            let height = from + index;
            let changes = self.sets[height] != self.sets[height - 1];
            if !changes {
                block.next_validators = None;
                if index < last {
                    block.certificate = None;
                }
            }
        }
        page
    }

    fn begin(&self) -> LightChain {
        LightChain::begin(&self.genesis).unwrap()
    }

    /// What comes of following these from the genesis, and where the chain stands then.
    fn follow(&self, blocks: &[LightBlock]) -> (Result<(), LightError>, u64) {
        let mut chain = self.begin();
        let result = chain.follow(blocks);
        (result, chain.height().0)
    }
}

fn four() -> Chain {
    Chain::new(&[&[0, 1, 2, 3][..]; 7])
}

/// The sets of ten blocks: one joins, two are replaced, one is left alone.
fn changing() -> Chain {
    Chain::new(&[
        &[0, 1, 2, 3],
        &[0, 1, 2, 3],
        &[0, 1, 2, 3, 4],
        &[0, 1, 2, 3, 4],
        &[2, 3, 4, 5],
        &[5],
        &[5],
        &[0, 1, 2, 3],
    ])
}

#[test]
fn one_certificate_at_the_end_of_a_run_shows_all_of_it() {
    let chain = four();
    let page = chain.page(1, 6);
    assert_eq!(
        page.iter().filter(|one| one.certificate.is_some()).count(),
        1
    );
    let mut light = chain.begin();
    light.follow(&page).unwrap();
    assert_eq!(light.height(), Height(6));
    assert_eq!(light.block(), page[5].header.id().unwrap());
    assert_eq!(light.header(), Some(&page[5].header));
    // And block by block it comes to the same.
    let mut slowly = chain.begin();
    for height in 1..=6 {
        slowly.follow(&chain.page(height, height)).unwrap();
    }
    assert_eq!(slowly, light);
    // Without any certificate nothing is shown.
    assert_eq!(
        chain.follow(&page[..5]),
        (Err(LightError::NoCertificate(Height(5))), 0)
    );
    assert_eq!(chain.follow(&[]), (Ok(()), 0));
}

#[test]
fn validators_that_change_are_followed_from_set_to_set() {
    let chain = changing();
    let mut light = chain.begin();
    light.follow(&chain.page(1, 7)).unwrap();
    assert_eq!(light.validators(), validators(&[0, 1, 2, 3]));
    let mut slowly = chain.begin();
    slowly.follow(&chain.page(1, 3)).unwrap();
    assert_eq!(slowly.validators(), validators(&[0, 1, 2, 3, 4]));
    slowly.follow(&chain.page(4, 7)).unwrap();
    assert_eq!(slowly, light);
}

#[test]
fn a_header_that_names_other_validators_needs_a_certificate_of_its_own() {
    // Whoever forges block 2 names himself there and signs what follows.
    let chain = four();
    let mut page = chain.page(1, 3);
    let own = validators(&[9]);
    page[1].header.next_validators = validators_root(&own).unwrap();
    page[1].next_validators = Some(own.clone());
    page[2].header.parent = page[1].header.id().unwrap();
    page[2].header.next_validators = page[1].header.next_validators;
    page[2].certificate = Some(certified(chain.network(), &page[2].header, &[9]));
    assert_eq!(
        chain.follow(&page).0,
        Err(LightError::NoCertificate(Height(2)))
    );
    page[1].certificate = Some(certified(chain.network(), &page[1].header, &[9]));
    assert_eq!(
        chain.follow(&page).0,
        Err(LightError::Certificate(Height(2)))
    );
    // With the certificate and without the list it is not followed either.
    let chain = changing();
    let mut page = chain.page(1, 4);
    page[1].next_validators = None;
    assert_eq!(
        chain.follow(&page).0,
        Err(LightError::NoValidators(Height(2)))
    );
    page[1].next_validators = Some(validators(&[0, 1, 2, 3, 5]));
    assert_eq!(
        chain.follow(&page).0,
        Err(LightError::Validators(Height(2)))
    );
}

#[test]
fn a_certificate_short_of_power_of_others_or_of_another_network_is_refused() {
    let chain = four();
    let header = &chain.blocks[0].header;
    let with = |certificate| {
        let mut block = chain.page(1, 1);
        block[0].certificate = Some(certificate);
        chain.follow(&block)
    };
    let network = chain.network();
    assert_eq!(with(certified(network, header, &[0, 1, 3])), (Ok(()), 1));
    let refused = (Err(LightError::Certificate(Height(1))), 0);
    assert_eq!(with(certified(network, header, &[0, 1])), refused);
    assert_eq!(with(certified(network, header, &[])), refused);
    assert_eq!(with(certified(network, header, &[0, 1, 2, 5])), refused);
    let other = genesis("another", &[0, 1, 2, 3]).network().unwrap();
    assert_eq!(with(certified(other, header, &[0, 1, 2, 3])), refused);
    let next = &chain.blocks[1].header;
    assert_eq!(with(certified(network, next, &[0, 1, 2, 3])), refused);
    let embedded = Certificate::Embedded {
        signature: SigningContext::Block
            .sign(network, &key(0), header)
            .unwrap(),
    };
    assert_eq!(with(embedded), refused);
    // Who ordered blocks before does not any more.
    let chain = changing();
    let mut page = chain.page(1, 6);
    let last = &mut page[5];
    last.certificate = Some(certified(network, &last.header, &[2, 3, 4, 5]));
    assert_eq!(
        chain.follow(&page),
        (Err(LightError::Certificate(Height(6))), 5)
    );
}

#[test]
fn one_signer_is_followed_by_its_signature() {
    let mut chain = Chain::new(&[&[3], &[3], &[3]]);
    let network = chain.network();
    let sign = |header: &Header, network| Certificate::Embedded {
        signature: SigningContext::Block
            .sign(network, &key(3), header)
            .unwrap(),
    };
    for block in &mut chain.blocks {
        block.certificate = Some(sign(&block.header, network));
    }
    assert_eq!(chain.follow(&chain.page(1, 2)), (Ok(()), 2));
    let header = chain.blocks[1].header.clone();
    chain.blocks[1].certificate = Some(sign(&header, NetworkId([1; 32])));
    assert_eq!(
        chain.follow(&chain.page(1, 2)),
        (Err(LightError::Certificate(Height(2))), 0)
    );
}

#[test]
fn what_is_old_skips_or_does_not_link_is_refused_by_its_height() {
    let chain = four();
    let mut light = chain.begin();
    light.follow(&chain.page(1, 3)).unwrap();
    let stands = light.clone();
    for (from, to, error) in [
        (
            3,
            4,
            LightError::Older {
                given: Height(3),
                followed: Height(3),
            },
        ),
        (
            1,
            6,
            LightError::Older {
                given: Height(1),
                followed: Height(3),
            },
        ),
        (
            5,
            6,
            LightError::Gap {
                given: Height(5),
                expected: Height(4),
            },
        ),
    ] {
        assert_eq!(light.follow(&chain.page(from, to)), Err(error));
        assert_eq!(light, stands);
    }
    let mut swapped = chain.page(4, 6);
    swapped.swap(0, 1);
    assert!(matches!(
        light.follow(&swapped),
        Err(LightError::Gap { .. })
    ));
    // Blocks with another history behind them.
    let other = Chain::new(&[
        &[0, 1, 2, 3],
        &[0, 1, 2, 3],
        &[3, 2, 1, 0],
        &[0, 1, 2, 3],
        &[0, 1, 2, 3],
    ]);
    assert_eq!(
        light.follow(&other.page(4, 4)),
        Err(LightError::NotLinked(Height(4)))
    );
    // Another network's first block.
    let mut foreign = Chain::new(&[&[0, 1, 2, 3][..]; 3]).page(1, 2);
    foreign[0].header.parent = BlockId([9; 32]);
    assert_eq!(
        chain.follow(&foreign),
        (Err(LightError::NotLinked(Height(1))), 0)
    );
    // The last height of all is followed by none.
    let mut header = chain.blocks[0].header.clone();
    header.height = Height(u64::MAX);
    let mut end = LightChain::at(chain.network(), header, validators(&[0, 1, 2, 3])).unwrap();
    let mut next = chain.page(1, 1);
    next[0].header.height = Height(u64::MAX);
    assert!(matches!(end.follow(&next), Err(LightError::Older { .. })));
}

#[test]
fn a_chain_is_begun_at_a_block_whose_name_is_known() {
    let chain = changing();
    let (height, name) = (Height(4), chain.blocks[3].header.id().unwrap());
    let begun = |place, block| LightChain::trust(chain.network(), place, block);
    let mut light = begun((height, name), chain.blocks[3].clone()).unwrap();
    light.follow(&chain.page(5, 7)).unwrap();
    let mut whole = chain.begin();
    whole.follow(&chain.page(1, 7)).unwrap();
    assert_eq!(light, whole);
    // Another block, or the same at another height, or without its validators, or with others.
    assert!(matches!(
        begun((height, name), chain.blocks[2].clone()),
        Err(LightError::OtherBlock { .. })
    ));
    assert!(matches!(
        begun((Height(3), name), chain.blocks[3].clone()),
        Err(LightError::OtherBlock { .. })
    ));
    let mut bare = chain.blocks[3].clone();
    bare.next_validators = None;
    assert_eq!(
        begun((height, name), bare.clone()),
        Err(LightError::NoValidators(height))
    );
    bare.next_validators = Some(validators(&[0, 1]));
    assert_eq!(
        begun((height, name), bare),
        Err(LightError::Validators(height))
    );
    let header = chain.blocks[3].header.clone();
    let wrong = LightChain::at(chain.network(), header, validators(&[5]));
    assert_eq!(wrong, Err(LightError::Validators(height)));
}

#[test]
fn a_list_of_validators_is_neither_empty_nor_longer_than_a_network_has() {
    let chain = four();
    let named = |validators: Vec<Validator>| {
        let mut header = chain.blocks[0].header.clone();
        header.next_validators = validators_root(&validators).unwrap();
        let mut block = chain.with(header);
        block.next_validators = Some(validators);
        chain.follow(&[block]).0
    };
    let one = validators(&[0]);
    assert_eq!(named(one.clone()), Ok(()));
    assert_eq!(named(vec![one[0].clone(); MOST_VALIDATORS]), Ok(()));
    for count in [0, MOST_VALIDATORS + 1] {
        let height = Height(1);
        assert_eq!(
            named(vec![one[0].clone(); count]),
            Err(LightError::Count { height, count })
        );
    }
    assert!(matches!(
        LightChain::begin(&genesis(NETWORK_NAME, &[])),
        Err(LightError::Count { .. })
    ));
}

#[test]
fn a_block_below_a_known_one_is_shown_by_the_line_between_them() {
    let chain = changing();
    let ids: Vec<BlockId> = chain
        .blocks
        .iter()
        .map(|block| block.header.id().unwrap())
        .collect();
    let mut line = Line::from(Height(2), ids[1]);
    for block in &chain.blocks[2..] {
        line.push(&block.header).unwrap();
    }
    assert_eq!(line.end(), (Height(7), ids[6]));
    let mut line = Line::from(Height(2), BlockId([7; 32]));
    assert_eq!(
        line.push(&chain.blocks[2].header),
        Err(LightError::NotLinked(Height(3)))
    );
    assert!(matches!(
        line.push(&chain.blocks[3].header),
        Err(LightError::Gap { .. })
    ));
}

fn any_set() -> impl Strategy<Value = Vec<u8>> {
    let all: Vec<u8> = (0..KEYS).collect();
    proptest::sample::subsequence(all, 1..=usize::from(KEYS))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_chain_is_followed_in_any_pages_and_no_change_to_a_page_is(
        sets in proptest::collection::vec(any_set(), 2..9),
        repeat in proptest::collection::vec(0..3u8, 8),
        pages in proptest::collection::vec(1..5usize, 8),
        at: proptest::sample::Index,
        what in 0..9u8,
    ) {
        // A set mostly stays for some blocks.
        let sets: Vec<&[u8]> = sets.iter().zip(repeat.iter().cycle())
            .flat_map(|(set, times)| vec![set.as_slice(); usize::from(*times) + 1])
            .collect();
        let chain = Chain::new(&sets);
        let last = chain.blocks.len();
        let mut light = chain.begin();
        let mut next = 1;
        let mut sizes = pages.iter().cycle();
        while next <= last {
            let to = last.min(next + sizes.next().unwrap() - 1);
            light.follow(&chain.page(next, to)).unwrap();
            next = to + 1;
        }
        prop_assert_eq!(light.height().0 as usize, last);
        prop_assert_eq!(light.validators(), validators(sets[last]));

        // The whole chain as one page, with one thing in it changed: its end is never reached.
        let mut page = chain.page(1, last);
        let index = at.index(last);
        let block = &mut page[index];
        match what {
            0 => block.header.state_root.0[5] ^= 1,
            1 => block.header.time += 1,
            2 => block.header.parent.0[0] ^= 1,
            3 => block.header.height.0 += 1,
            4 => block.header.next_validators.0[3] ^= 1,
            5 => block.next_validators = Some(validators(&[9])),
            6 => { page.remove(index); }
            7 => match &mut block.certificate {
                Some(Certificate::Bft { precommits, .. }) => precommits[0].signature.0[9] ^= 1,
                _ => block.certificate = Some(certified(chain.network(), &block.header, &[9])),
            },
            _ => page[last - 1].certificate = None,
        }
        let mut light = chain.begin();
        let result = light.follow(&page);
        // A chain that lacks its end is a shorter chain, and a true one.
        if what == 6 && index + 1 == last {
            prop_assert!((light.height().0 as usize) < last);
        } else {
            prop_assert!(result.is_err());
        }
        // What it stands at is a block of the chain all the same.
        let stands = light.height().0 as usize;
        if stands > 0 {
            prop_assert_eq!(light.block(), chain.blocks[stands - 1].header.id().unwrap());
        }
    }

    #[test]
    fn no_byte_of_a_light_block_can_be_another_one(
        height in 1..8usize,
        at: proptest::sample::Index,
        bit in 0..8u8,
    ) {
        let chain = changing();
        let honest = chain.page(1, height);
        let bytes = encode(&honest).unwrap();
        let mut changed = bytes.clone();
        changed[at.index(bytes.len())] ^= 1 << bit;
        let followed = match decode::<Vec<LightBlock>>("list of light blocks", &changed) {
            Ok(blocks) => chain.follow(&blocks),
            Err(_) => (Err(LightError::NoCertificate(Height(0))), 0),
        };
        prop_assert!(followed.0.is_err());
        prop_assert_eq!(decode::<Vec<LightBlock>>("list", &bytes).unwrap(), honest);
    }
}

#[test]
fn a_signature_that_is_not_needed_is_checked_where_it_comes() {
    let chain = four();
    let mut page = chain.page(1, 4);
    page[1].certificate = Some(Certificate::Bft {
        round: Round(0),
        precommits: vec![Precommit {
            voter: address(0),
            signature: Signature([7; 64]),
        }],
    });
    assert_eq!(
        chain.follow(&page),
        (Err(LightError::Certificate(Height(2))), 0)
    );
}
