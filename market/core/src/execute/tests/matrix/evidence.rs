//! What can be wrong with two statements of a validator.

use super::super::world::{World, address, key};
use super::spoiled::{Cases, Spoil};
use crate::equivocation::{Equivocation, SignedBallot, SignedOffer};
use crate::finality::{Ballot, BallotKind, Offer};
use crate::message::{Body, SigningContext};
use crate::units::{BlockId, Height, NetworkId, Round, Signature};

const APART: &str = "are not of one validator";
const SAME: &str = "say the same";
const UNSIGNED: &str = "is not signed by the validator";

/// Evidence with one thing wrong, of ballots and of offers.
pub fn spoiled(good: &Equivocation) -> Cases {
    let Equivocation::Ballots { first, second } = good else {
        panic!("the table's evidence is of ballots");
    };
    let SignedBallot {
        ballot,
        signature: _,
    } = second;
    let Ballot {
        kind: _,
        height: _,
        round: _,
        block: _,
        voter: _,
    } = ballot;
    let network = World::with_staking().rules.network;
    let ballots = |second| Equivocation::Ballots {
        first: first.clone(),
        second,
    };
    let mut cases = Vec::new();
    let mut wrong = |evidence, reason| {
        cases.push((Body::SubmitEquivocation { evidence }, reason));
    };
    // Another statement than the second, and signed as such.
    let signed = |network: NetworkId, spoil: &dyn Fn(&mut Ballot)| {
        let mut ballot = ballot.clone();
        spoil(&mut ballot);
        by(network, 98, ballot)
    };
    let spoils: [Spoil<'_, Ballot>; 5] = [
        (&|b| b.kind = BallotKind::Prevote, APART),
        (&|b| b.height = Height(u64::MAX), APART),
        (&|b| b.round = Round(u32::MAX), APART),
        (&|b| b.voter = address(97), APART),
        (&|b| b.block = first.ballot.block, SAME),
    ];
    for (spoil, reason) in spoils {
        wrong(ballots(signed(network, spoil)), reason);
    }
    // Of another network, of somebody else, of another kind, or touched.
    wrong(ballots(signed(NetworkId([8; 32]), &|_| ())), UNSIGNED);
    wrong(ballots(by(network, 97, ballot.clone())), UNSIGNED);
    let offered = SigningContext::Offer.sign(network, &key(98), ballot);
    for signature in [
        offered.unwrap(),
        Signature([0; 64]),
        Signature([255; 64]),
        first.signature,
    ] {
        let ballot = ballot.clone();
        wrong(ballots(SignedBallot { ballot, signature }), UNSIGNED);
    }
    // All of it true, but of nobody here, or of a height that is still to come.
    let both = |voter: usize, height: u64| {
        let of = |block| {
            let ballot = Ballot {
                voter: address(voter),
                height: Height(height),
                block,
                ..ballot.clone()
            };
            by(network, voter, ballot)
        };
        Equivocation::Ballots {
            first: of(Some(BlockId([1; 32]))),
            second: of(None),
        }
    };
    wrong(both(50, 1), "there is no validator");
    for height in [4, 1 << 63, u64::MAX] {
        wrong(both(98, height), "the evidence cannot be included before");
    }
    offers(network, &mut wrong);
    cases
}

fn by(network: NetworkId, signer: usize, ballot: Ballot) -> SignedBallot {
    let signature = SigningContext::Ballot.sign(network, &key(signer), &ballot);
    SignedBallot {
        signature: signature.unwrap(),
        ballot,
    }
}

fn offers(network: NetworkId, wrong: &mut impl FnMut(Equivocation, &'static str)) {
    let offer = |block: u8| Offer {
        height: Height(1),
        round: Round(0),
        block: BlockId([block; 32]),
        valid_round: None,
        proposer: address(98),
    };
    let Offer {
        height: _,
        round: _,
        block: _,
        valid_round: _,
        proposer: _,
    } = offer(1);
    let sign = |signer: usize, offer: Offer| SignedOffer {
        signature: SigningContext::Offer
            .sign(network, &key(signer), &offer)
            .unwrap(),
        offer,
    };
    let mut pair = |second, reason| {
        let first = sign(98, offer(1));
        wrong(Equivocation::Offers { first, second }, reason);
    };
    let spoils: [Spoil<'_, Offer>; 4] = [
        (&|o| o.height = Height(2), APART),
        (&|o| o.round = Round(1), APART),
        (&|o| o.proposer = address(97), APART),
        (&|o| o.block = BlockId([1; 32]), SAME),
    ];
    for (spoil, reason) in spoils {
        let mut other = offer(2);
        spoil(&mut other);
        pair(sign(98, other), reason);
    }
    pair(sign(97, offer(2)), UNSIGNED);
    let signature = Signature([0; 64]);
    let offer = offer(2);
    pair(SignedOffer { offer, signature }, UNSIGNED);
}
