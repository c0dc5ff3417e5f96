//! A chain that the real rules execute, block by block, with real beacons.

use holdfast_market_core::beacon::BeaconSecret;
use holdfast_market_core::block::{OutcomeResult, Validator};
use holdfast_market_core::build::{self, Turn};
use holdfast_market_core::execute::{ProofTally, execute};
use holdfast_market_core::genesis::{Balance, Genesis};
use holdfast_market_core::message::{Body, Message, SignedMessage};
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::query;
use holdfast_market_core::quote;
use holdfast_market_core::rules::{Rules, genesis_writes};
use holdfast_market_core::state::{Deal, Sector};
use holdfast_market_core::units::{
    Address, Amount, Beacon, DealId, Height, ProviderId, SectorId, SectorNumber, TreeRoot,
};
use holdfast_market_core::view::MemoryView;
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_proofs::sector::SectorClass;

pub const CLASS: SectorClass = SectorClass::Mib8;
/// Owner and worker of provider 0.
pub const PROVIDER: usize = 0;
pub const CLIENT: usize = 1;
/// Owner and worker of provider 1, who has nothing and takes what others show.
pub const THIEF: usize = 2;

pub struct Chain {
    pub rules: Rules,
    view: MemoryView,
    turn: Turn,
    /// Proofs that held so far.
    pub held: ProofTally,
}

fn key(index: usize) -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[index as u8 + 1; 32])
}

pub fn address(index: usize) -> Address {
    Address(key(index).verifying_key().to_bytes())
}

pub fn sector_id(number: u64) -> SectorId {
    SectorId {
        provider: ProviderId(0),
        number: SectorNumber(number),
    }
}

/// Two proofs for a seal and two for an embed, so that their order can be wrong.
pub fn parameters() -> Parameters {
    Parameters {
        classes: vec![CLASS],
        seal_challenges: 2,
        seal_challenges_per_proof: 1,
        embed_challenges: 2,
        embed_challenges_per_piece: 1,
        embed_challenges_per_proof: 2,
        ..Parameters::dev()
    }
}

impl Chain {
    pub fn new(keys: &VerifyingKeys) -> Self {
        let beacon = BeaconSecret::from_seed(&[9; 32]);
        let builder = address(9);
        let genesis = Genesis {
            name: "proofs".into(),
            time: 0,
            parameters: parameters(),
            verifying_keys: keys.digest(),
            balances: [PROVIDER, CLIENT, THIEF]
                .map(|index| Balance {
                    account: address(index),
                    amount: Amount::hold(1_000),
                })
                .to_vec(),
            validators: vec![Validator {
                key: builder,
                beacon: beacon.public(),
                possession: beacon.possession(),
                power: 1,
            }],
        };
        let rules = Rules::new(&genesis, keys).unwrap();
        let mut view = MemoryView::default();
        view.apply(&genesis_writes(&genesis).unwrap());
        let turn = Turn {
            builder,
            beacon,
            time: 0,
            state_root: TreeRoot([0; 32]),
        };
        Self {
            rules,
            view,
            turn,
            held: ProofTally::default(),
        }
    }

    pub fn height(&self) -> Height {
        query::chain(&self.view).unwrap().height
    }

    pub fn beacon(&self, height: Height) -> Beacon {
        query::beacon(&self.view, height).unwrap().unwrap()
    }

    pub fn sector(&self, number: u64) -> Sector {
        query::sector(&self.view, sector_id(number))
            .unwrap()
            .unwrap()
    }

    pub fn deal(&self, id: &DealId) -> Deal {
        query::deal(&self.view, id).unwrap().unwrap()
    }

    /// One block of these messages; what came of each.
    pub fn block(&mut self, bodies: Vec<(usize, Body)>) -> Vec<OutcomeResult> {
        let mut nonces = [PROVIDER, CLIENT, THIEF]
            .map(|index| query::account(&self.view, &address(index)).unwrap().nonce);
        let messages = bodies
            .into_iter()
            .map(|(who, body)| {
                let mut message = Message {
                    sender: address(who),
                    nonce: nonces[who],
                    fee: Amount::ZERO,
                    expiry: Height(u64::MAX),
                    body,
                };
                nonces[who] += 1;
                message.fee = quote::fee(&self.rules.parameters.economy, &message).unwrap();
                SignedMessage::new(self.rules.network, &key(who), message).unwrap()
            })
            .collect();
        let block = build::block(&self.view, &self.rules, &self.turn, messages).unwrap();
        let execution = execute(&self.view, &self.rules, &block).unwrap();
        self.view.apply(&execution.writes);
        self.held = self.held.plus(&execution.proofs);
        let supply = query::supply(&self.view).unwrap();
        assert_eq!(query::recount(&self.view).unwrap(), supply);
        let outcomes = execution.outcomes.into_iter();
        outcomes.map(|outcome| outcome.result).collect()
    }

    pub fn done(&mut self, who: usize, body: Body) {
        assert_eq!(self.block(vec![(who, body)]), [OutcomeResult::Done]);
    }

    /// Every one of these is refused, for the reason beside it; the sectors stay as they are and no
    /// proof counts.
    pub fn refused(&mut self, wrong: Vec<(&str, Body, &str)>) {
        self.refused_from(PROVIDER, wrong);
    }

    /// The same, where another sends them.
    pub fn refused_from(&mut self, who: usize, wrong: Vec<(&str, Body, &str)>) {
        let state = |chain: &Self| ([0, 1].map(|number| chain.sector(number)), chain.held);
        let before = state(self);
        let bodies = wrong.iter().map(|(_, body, _)| (who, body.clone()));
        let results = self.block(bodies.collect());
        for ((what, _, reason), result) in wrong.iter().zip(results) {
            match result {
                OutcomeResult::Refused(why) if why.contains(reason) => {}
                other => panic!("{what}: {other:?}, not refused because {reason:?}"),
            }
        }
        assert_eq!(state(self), before);
    }

    pub fn advance_to(&mut self, height: Height) {
        assert!(self.height() <= height, "block {height} is past");
        while self.height() < height {
            self.block(Vec::new());
        }
    }
}
