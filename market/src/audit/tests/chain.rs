//! A short chain with all that an audit looks at: a provider that seals, proves, misses and declares,
//! a proof that the rules refuse, transfers. Its proofs are no storage's: whoever knows what the points
//! of a verifying key were made of can make proofs of anything, and here they are the generators
//! themselves. They go through the very equation that real ones go through.

use crate::ledger::Ledger;
use crate::ordering::one_block;
use crate::testing::{Network, address};
use crate::validator::ValidatorKeys;
use bls12_381::{G1Affine, G2Affine, Scalar};
use holdfast_market_core::block::{Certificate, CertifiedBlock};
use holdfast_market_core::challenge;
use holdfast_market_core::finality::{Ballot, BallotKind, Precommit};
use holdfast_market_core::message::{
    Body, Message, PreCommit, ProviderOffer, SignedMessage, SigningContext, SpacetimeProof,
};
use holdfast_market_core::query;
use holdfast_market_core::quote;
use holdfast_market_core::schedule;
use holdfast_market_core::state::Sector;
use holdfast_market_core::units::{
    Address, Amount, Height, NodeKey, ProviderId, Round, SectorId, SectorNumber,
};
use holdfast_proofs::node::Node;
use holdfast_proofs::proof::ProofBytes;
use holdfast_proofs::sector::SectorClass;
use holdfast_proofs::statement::Statement;

pub const CLASS: SectorClass = SectorClass::Mib8;
pub const SECTOR: SectorId = SectorId {
    provider: ProviderId(0),
    number: SectorNumber(0),
};

/// Proofs of a statement under keys whose points are all the generators.
pub fn proofs(ledger: &Ledger, statement: &Statement) -> Vec<ProofBytes> {
    let verifier = &ledger.rules().verifier;
    let per_proof = verifier.per_proof(statement.circuit(), CLASS).unwrap();
    let inputs = statement.public_inputs(per_proof).unwrap();
    let proof = |inputs: &Vec<Node>| {
        let (a, b) = (Scalar::from(5), Scalar::from(7));
        let sum = inputs.iter().fold(Scalar::one(), |sum, input| {
            sum + Scalar::from_bytes(input.as_bytes()).unwrap()
        });
        let c = a * b - Scalar::one() - sum;
        let mut bytes = [0; 192];
        bytes[..48].copy_from_slice(&G1Affine::from(G1Affine::generator() * a).to_compressed());
        bytes[48..144].copy_from_slice(&G2Affine::from(G2Affine::generator() * b).to_compressed());
        bytes[144..].copy_from_slice(&G1Affine::from(G1Affine::generator() * c).to_compressed());
        ProofBytes(bytes)
    };
    inputs.iter().map(proof).collect()
}

/// Signed by the rich account, as its next message.
pub fn signed(network: &Network, nonce: u64, body: Body) -> SignedMessage {
    let mut message = Message {
        sender: address(&network.rich),
        nonce,
        fee: Amount::ZERO,
        expiry: Height(1_000_000),
        body,
    };
    message.fee = quote::fee(&network.genesis.parameters.economy, &message).unwrap();
    let id = network.genesis.network().unwrap();
    SignedMessage::new(id, &network.rich, message).unwrap()
}

fn nonce(network: &Network, ledger: &Ledger) -> u64 {
    let account = query::account(&ledger.view(), &address(&network.rich));
    account.unwrap().nonce
}

/// One block with these messages of the rich account.
pub fn block(network: &Network, ledger: &Ledger, bodies: Vec<Body>) -> CertifiedBlock {
    let first = nonce(network, ledger);
    for (number, body) in (first..).zip(bodies) {
        ledger.submit(signed(network, number, body)).unwrap();
    }
    let time = 1_700_000_000_000 + ledger.head().height.0 * 1000;
    one_block(ledger, &network.validator(), time).unwrap()
}

fn advance(network: &Network, ledger: &Ledger, height: Height) {
    while ledger.head().height < height {
        block(network, ledger, vec![]);
    }
}

pub fn sector(ledger: &Ledger) -> Sector {
    query::sector(&ledger.view(), SECTOR).unwrap().unwrap()
}

/// A proof for the sector's next deadline, which its window must be open for.
fn spacetime(ledger: &Ledger, spoil: bool) -> Body {
    let sector = sector(ledger);
    let parameters = &ledger.genesis().parameters;
    let (period, window) = schedule::next_window(parameters, &sector).unwrap();
    let beacon = query::beacon(&ledger.view(), window.open).unwrap().unwrap();
    let statement = challenge::spacetime_statement(&sector, period, &beacon);
    let mut proof = proofs(ledger, &Statement::Spacetime(statement)).remove(0);
    if spoil {
        // Two points of the curve, in the wrong places: well formed, and proof of nothing.
        let (a, c) = (proof.0[..48].to_vec(), proof.0[144..].to_vec());
        proof.0[..48].copy_from_slice(&c);
        proof.0[144..].copy_from_slice(&a);
    }
    Body::ProveSpacetime {
        provider: SECTOR.provider,
        period,
        deadline: sector.deadline,
        proofs: vec![SpacetimeProof {
            sector: SECTOR.number,
            proof,
        }],
    }
}

/// Where something stands in the chain.
#[derive(Clone, Copy)]
pub struct Places {
    pub transfer: Height,
    pub refused: Height,
    pub proven: Height,
}

/// Grows the chain: sealed, then a period proven (after a proof that is refused), one missed, one
/// known, and one proven again.
pub fn grow(network: &Network, ledger: &Ledger) -> Places {
    let parameters = network.genesis.parameters.clone();
    block(
        network,
        ledger,
        vec![Body::RegisterProvider {
            worker: address(&network.rich),
            offer: ProviderOffer {
                node: NodeKey([7; 32]),
                endpoint: "127.0.0.1:4000".into(),
                price: Amount::hold(1),
                read_price: Amount::ZERO,
            },
            collateral: Amount::hold(1_000),
        }],
    );
    let node = |text: &str| Node::derive("holdfast test", &[text.as_bytes()]);
    block(
        network,
        ledger,
        vec![Body::PreCommitSector(PreCommit {
            sector: SECTOR,
            class: CLASS,
            ticket: Height(1),
            columns: std::array::from_fn(|lane| node(&format!("column {lane}"))),
            keys: std::array::from_fn(|lane| node(&format!("key {lane}"))),
        })],
    );
    let drawn = schedule::seal_challenge_height(&parameters, ledger.head().height);
    advance(network, ledger, drawn);
    let beacon = query::beacon(&ledger.view(), drawn).unwrap().unwrap();
    let statement = challenge::seal_statement(&parameters, &sector(ledger), &beacon);
    let proofs = proofs(ledger, &Statement::Seal(statement));
    block(
        network,
        ledger,
        vec![Body::ProveSeal {
            sector: SECTOR,
            proofs,
        }],
    );
    let to = Address([1; 32]);
    block(
        network,
        ledger,
        vec![Body::Transfer {
            to,
            amount: Amount(1_000),
        }],
    );
    let transfer = ledger.head().height;
    let window = |ledger: &Ledger| {
        schedule::next_window(&parameters, &sector(ledger))
            .unwrap()
            .1
    };
    advance(network, ledger, window(ledger).open);
    block(network, ledger, vec![spacetime(ledger, true)]);
    let refused = ledger.head().height;
    block(network, ledger, vec![spacetime(ledger, false)]);
    let proven = ledger.head().height;
    // This one's end, and the whole of the next and the one after: neither is proven.
    for _ in 0..3 {
        let close = window(ledger).close;
        advance(network, ledger, Height(close.0 + 1));
    }
    block(
        network,
        ledger,
        vec![Body::Recover {
            provider: SECTOR.provider,
            sectors: vec![SECTOR.number],
        }],
    );
    advance(network, ledger, window(ledger).open);
    block(network, ledger, vec![spacetime(ledger, false)]);
    let close = window(ledger).close;
    advance(network, ledger, Height(close.0 + 4));
    Places {
        transfer,
        refused,
        proven,
    }
}

/// The same ledger ordered by four: each block is built by one and signed by three of them.
pub fn grow_by_four(networks: &[Network], ledger: &Ledger, blocks: u64) -> Vec<CertifiedBlock> {
    let keys: Vec<ValidatorKeys> = networks.iter().map(Network::validator).collect();
    let mut all = Vec::new();
    for _ in 0..blocks {
        let network = &networks[0];
        let height = ledger.head().height.0 + 1;
        let message = signed(
            network,
            nonce(network, ledger),
            Body::Transfer {
                to: Address([1; 32]),
                amount: Amount(height.into()),
            },
        );
        ledger.submit(message).unwrap();
        let builder = &keys[usize::try_from(height).unwrap() % keys.len()];
        let block = ledger.propose(builder, 1_700_000_000_000 + height).unwrap();
        let certified = CertifiedBlock {
            certificate: precommits(ledger, &keys[1..], &block.header),
            block,
        };
        ledger.commit(&certified).unwrap();
        all.push(certified);
    }
    all
}

/// What so many validators sign of a block.
pub fn precommits(
    ledger: &Ledger,
    keys: &[ValidatorKeys],
    header: &holdfast_market_core::block::Header,
) -> Certificate {
    let round = Round(0);
    let mut precommits: Vec<Precommit> = keys
        .iter()
        .map(|one| {
            let ballot = Ballot {
                kind: BallotKind::Precommit,
                height: header.height,
                round,
                block: Some(header.id().unwrap()),
                voter: one.address(),
            };
            let signature = SigningContext::Ballot.sign(ledger.network(), one.consensus(), &ballot);
            Precommit {
                voter: one.address(),
                signature: signature.unwrap(),
            }
        })
        .collect();
    precommits.sort_by_key(|one| one.voter);
    Certificate::Bft { round, precommits }
}
