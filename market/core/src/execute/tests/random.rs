//! Random messages, most of them invalid, in random order: tokens are conserved after every block
//! (`World::block` recounts), every lock is covered, and nothing panics.

use super::world::{ACCOUNTS, CLASS, World, address, deal_id, group, key, offer, sector_id};
use crate::audit::Replay;
use crate::block::{Certificate, CertifiedBlock};
use crate::channel::{Parties, SignedVoucher, Voucher};
use crate::facts::Checked;
use crate::message::{
    Body, EmbedCommit, LeaseClaim, PieceOpening, PreCommit, ReplicaCommit, SignedMessage,
    SigningContext, SpacetimeProof, decode, encode,
};
use crate::slice;
use crate::state::{DealStatus, SectorStatus};
use crate::units::{
    Amount, Blocks, Deadline, Height, PackId, Period, Periods, ProviderId, SectorNumber,
};
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_proofs::piece::{PieceShape, QuadOpening};
use holdfast_proofs::proof::ProofBytes;
use proptest::prelude::*;

/// One thing that happens: who, what, and three numbers that shape it.
#[derive(Clone, Debug)]
struct Event {
    who: usize,
    kind: u8,
    a: u64,
    b: u64,
    amount: u128,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let number = prop_oneof![6 => 0u64..4, 2 => 0u64..200, 1 => any::<u64>()];
    let amount = prop_oneof![
        4 => (0u128..50).prop_map(|hold| hold * 1_000_000_000),
        1 => any::<u128>(),
        1 => Just(0u128),
    ];
    // Account 0 runs the provider and account 1 owns the deals, so they act most.
    let who = prop_oneof![4 => Just(0usize), 2 => Just(1usize), 1 => 0..ACCOUNTS];
    let event =
        (who, 0u8..62, number.clone(), number, amount).prop_map(|(who, kind, a, b, amount)| {
            Event {
                who,
                kind,
                a,
                b,
                amount,
            }
        });
    proptest::collection::vec(event, 40..80)
}

/// What a world of random events remembers.
struct Random {
    world: World,
    packs: Vec<PackId>,
    proposals: Vec<crate::message::DealSetProposal>,
}

impl Random {
    fn pack(&self, a: u64) -> PackId {
        match self.packs.len() {
            0 => PackId([0; 32]),
            count => self.packs[a as usize % count],
        }
    }

    fn body(&mut self, event: &Event) -> Option<Body> {
        let Event { a, b, amount, .. } = *event;
        let world = &mut self.world;
        let provider = ProviderId(a % 3);
        let sector = sector_id(a);
        let amount = Amount(amount);
        Some(match event.kind {
            0 => Body::Transfer {
                to: address(b as usize % ACCOUNTS),
                amount,
            },
            1 => Body::RegisterProvider {
                worker: address(b as usize % 3),
                offer: offer(),
                collateral: amount,
            },
            2 => Body::AddCollateral { provider, amount },
            3 => Body::WithdrawCollateral { provider, amount },
            4 | 5 => world.pre_commit(a),
            6 => Body::PreCommitSector(PreCommit {
                sector,
                class: CLASS,
                ticket: Height(b),
                columns: Default::default(),
                keys: Default::default(),
            }),
            7 => Body::ProveSeal {
                sector,
                proofs: vec![ProofBytes([b as u8; 192]); 1],
            },
            8 | 9 => {
                let mut proposal = world.proposal(a);
                if b % 5 == 0 {
                    proposal.terms[0].price = amount;
                    proposal.repair_budget = amount;
                }
                if b % 2 == 0 {
                    // One shard that is lost may be repaired.
                    proposal.repair_threshold = 2;
                }
                self.packs.push(proposal.pack.id().unwrap());
                self.proposals.push(proposal.clone());
                Body::ProposeDealSet(proposal)
            }
            10 => Body::CancelDealSet { pack: self.pack(a) },
            11..=14 => {
                let pack = self.pack(a);
                self.world.accept(deal_id(pack, (b % 2) as u8))
            }
            15..=17 => {
                let pack = self.pack(a);
                let deals = [deal_id(pack, 0), deal_id(pack, 1)];
                let count = 1 + (b % 2) as usize;
                let layout = self.world.layout(group((b % 8) as u8), &deals[..count]);
                self.world.commit_embed(vec![layout])
            }
            18 => Body::CommitEmbed(EmbedCommit {
                sector,
                groups: Vec::new(),
                keys: crate::message::SectorRoots {
                    lanes: Default::default(),
                    groups: Vec::new(),
                },
            }),
            19 | 20 => world.commit_replica((b % 8) as u8),
            21 => Body::CommitReplica(ReplicaCommit {
                sector,
                before: crate::message::SectorRoots {
                    lanes: Default::default(),
                    groups: Vec::new(),
                },
                after: Vec::new(),
            }),
            22 => Body::ProveEmbed {
                sector,
                proofs: Vec::new(),
            },
            23 => Body::ProveSpacetime {
                provider,
                period: Period(b),
                deadline: Deadline(a as u32),
                proofs: vec![SpacetimeProof {
                    sector: SectorNumber(a),
                    proof: ProofBytes([1; 192]),
                }],
            },
            24 => Body::DeclareFault {
                provider,
                sectors: vec![SectorNumber(a)],
            },
            25 | 26 => Body::Recover {
                provider: ProviderId(0),
                sectors: vec![SectorNumber(a)],
            },
            27 if b % 4 == 0 => Body::TerminateSector { sector },
            28 => {
                let proposal = self
                    .proposals
                    .get(a as usize % self.proposals.len().max(1))?;
                Body::ClaimBrokenPromise {
                    receipt: self.world.receipt(proposal, (b % 2) as u8),
                }
            }
            29 => Body::DemandOpening {
                deal: deal_id(self.pack(a), (b % 2) as u8),
                quad: b,
            },
            30 | 31 => {
                let shard = (b % 2) as u8;
                let quad = self
                    .world
                    .view_deal(self.pack(a), shard)
                    .map_or(b % 157, |demanded| demanded);
                let opening = honest(&self.world, shard, quad);
                let deal = deal_id(self.pack(a), shard);
                match event.kind {
                    30 => Body::AnswerOpening { deal, opening },
                    _ => Body::SubmitFraud { deal, opening },
                }
            }
            32 => Body::PublishName {
                label: "x".repeat(a as usize % 70),
                version: b,
                root: vec![1, 0x55, 0, 0],
                lease: None,
            },
            45 | 46 => Body::PublishName {
                label: "x".into(),
                version: amount.0 as u64,
                root: vec![1, 0x55, 0, 0],
                lease: (b % 2 == 0).then_some(LeaseClaim {
                    owner: address(a as usize % 2),
                    token: b / 2 % 5,
                }),
            },
            47 => Body::AcquireLease {
                label: "x".into(),
                holder: address(a as usize % 3),
                blocks: Blocks(b),
                token: (a % 3 == 0).then_some(amount.0 as u64 % 5),
            },
            48 => Body::ReleaseLease {
                lease: LeaseClaim {
                    owner: address(a as usize % 2),
                    token: b % 5,
                },
                label: "x".into(),
            },
            49 => Body::TransferName {
                owner: address(a as usize % 2),
                label: "x".into(),
                to: address(b as usize % 2),
            },
            50 => Body::AttachReadBudget {
                pack: self.pack(a),
                reader: address(b as usize % 3),
                deposit: amount,
                providers: (a % 4) as u8,
                until: Height(self.world.height().0.saturating_add(b)),
            },
            51 => Body::RevokeGrant {
                reader: address(b as usize % 3),
                providers: (0..a % 3).map(ProviderId).collect(),
            },
            52 => Body::TopUpRepair {
                pack: self.pack(a),
                amount,
            },
            53..=56 => Body::ClaimRepair {
                deal: deal_id(self.pack(a), (b % 2) as u8),
                provider: ProviderId(1),
            },
            57 | 58 => {
                let deal = deal_id(self.pack(a), (b % 2) as u8);
                self.world.accept_by(ProviderId(1), deal)
            }
            40 => Body::OpenChannel {
                provider,
                deposit: amount,
            },
            41 => Body::CloseChannel { provider },
            42 => {
                let payer = b as usize % ACCOUNTS;
                let reader = (b / 8) as usize % 3;
                let reader = if b % 3 == 0 { reader } else { payer };
                let parties = Parties {
                    payer: address(payer),
                    reader: address(reader),
                };
                let channel = crate::query::channel(&world.view, provider, &parties);
                let voucher = Voucher {
                    channel: channel.unwrap()?.id,
                    amount,
                };
                let network = world.rules.network;
                Body::RedeemVoucher {
                    voucher: SignedVoucher::new(network, &key(reader), voucher).unwrap(),
                }
            }
            43 => Body::RenewDealSet {
                pack: self.pack(a),
                periods: Periods(b % 6),
                least: (amount.0 % 3) as u8,
            },
            44 if b % 3 == 0 => Body::Retire { provider },
            44 => Body::EndSector { sector },
            _ => return None,
        })
    }

    /// What proofs would do, where state is ready for it.
    fn by_hand(&mut self, event: &Event) {
        let world = &mut self.world;
        match event.kind {
            33..=35 => {
                for number in 0..4 {
                    let ready = crate::query::sector(&world.view, sector_id(number)).unwrap();
                    match ready.map(|sector| sector.status) {
                        Some(SectorStatus::PreCommitted { .. }) if event.kind == 33 => {
                            world.activate(number);
                        }
                        Some(
                            SectorStatus::Active { .. } | SectorStatus::Faulty { recovering: true },
                        ) if event.kind != 33 => {
                            world.prove(number);
                        }
                        _ => {}
                    }
                }
            }
            36 => {
                let sector = crate::query::sector(&world.view, sector_id(0)).unwrap();
                let embed = sector.and_then(|sector| sector.embed);
                if embed.is_some_and(|embed| embed.replica.is_some()) {
                    world.land_embed();
                }
            }
            59 => {
                // What the second provider has accepted and not embedded.
                let sector = crate::units::SectorId {
                    provider: ProviderId(1),
                    ..sector_id(0)
                };
                let found = crate::query::sector(&world.view, sector).unwrap().unwrap();
                if !matches!(found.status, SectorStatus::Active { .. }) {
                    return;
                }
                for (id, deal) in crate::query::deals_of(&world.view, ProviderId(1)).unwrap() {
                    if deal.status == DealStatus::Accepted {
                        world.embed_by_hand(sector, (event.b % 64) as u8, id);
                        return;
                    }
                }
            }
            60 => {
                // A fraud is shown.
                let id = deal_id(self.pack(event.a), (event.b % 2) as u8);
                let deal = crate::query::deal(&self.world.view, &id).unwrap();
                if let Some(deal) = deal.filter(|deal| deal.locked != Amount::ZERO) {
                    self.world.by_hand(|context| {
                        context.fail_deal(&id, deal, "shown a fraud", Some(&address(5)))
                    });
                }
            }
            61 => {
                let height = world.height().0 + event.b % 40;
                world.prove_until(Height(height));
            }
            37 | 38 => world.advance(event.b % 8),
            39 => world.advance(event.a % 40),
            _ => {}
        }
    }
}

impl World {
    fn view_deal(&self, pack: PackId, shard: u8) -> Option<u64> {
        let deal = crate::query::deal(&self.view, &deal_id(pack, shard)).unwrap()?;
        deal.demand.map(|demand| demand.quad)
    }
}

fn honest(world: &World, shard: u8, quad: u64) -> PieceOpening {
    let bytes = super::world::shard_bytes(shard);
    let shape = PieceShape::of(20_000, world.rules.parameters.piece_levels).unwrap();
    let start = quad * 127;
    PieceOpening {
        quad,
        slice: slice::encode(&bytes, &(start..(start + 127).min(20_000))).unwrap(),
        opening: QuadOpening::read(bytes.as_slice(), &shape, quad).unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn tokens_are_conserved_over_random_messages(events in events()) {
        let mut random = Random { world: World::with_sector(), packs: Vec::new(), proposals: Vec::new() };
        random.world.join(2);
        for event in &events {
            // The second provider's worker is account 2.
            let who = if (53..59).contains(&event.kind) { 2 } else { event.who };
            match random.body(event) {
                Some(body) => drop(random.world.block(vec![(who, body)])),
                None => random.by_hand(event),
            }
        }
        // Whatever was begun comes to its end.
        random.world.advance(100);
    }

    #[test]
    fn bytes_that_are_no_message_are_refused_without_a_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), place in any::<usize>()) {
        prop_assert!(decode::<SignedMessage>("message", &bytes).is_err());
        // A message with one byte changed never passes for the message itself.
        let world = World::new();
        let signed = world.sign(0, 0, Body::Transfer { to: address(1), amount: Amount(5) });
        let good = encode(&signed).unwrap();
        bytes = good.clone();
        let place = place % bytes.len();
        bytes[place] ^= 1;
        if let Ok(changed) = decode::<SignedMessage>("message", &bytes) {
            prop_assert!(crate::admit::admit(&world.view, &world.rules, &changed, Height(1)).is_err());
        }
    }
}

/// Rules without the check that there are keys for every class.
fn rules(genesis: &crate::genesis::Genesis, keys: &VerifyingKeys) -> crate::rules::Rules {
    crate::rules::Rules {
        network: genesis.network().unwrap(),
        parameters: genesis.parameters.clone(),
        verifier: holdfast_proofs::verify::Verifier::from_keys(keys).unwrap(),
    }
}

/// A chain of accounts' and providers' messages with true state roots and certificates.
fn certified() -> (crate::genesis::Genesis, VerifyingKeys, Vec<CertifiedBlock>) {
    use crate::tree::MemoryTree;
    let keys = VerifyingKeys::new();
    let mut world = World::new();
    world.genesis.verifying_keys = keys.digest();
    world.rules.network = world.genesis.network().unwrap();
    let writes = crate::rules::genesis_writes(&world.genesis).unwrap();
    world.view = Default::default();
    world.view.apply(&writes);
    let mut tree = MemoryTree::default();
    let mut root = tree.apply(Height(0), &writes).unwrap();
    let mut blocks = Vec::new();
    for height in 0..70u64 {
        let body = match height {
            0 => Body::RegisterProvider {
                worker: address(0),
                offer: offer(),
                collateral: Amount::hold(50),
            },
            1 => Body::ProposeDealSet(world.proposal(1)),
            2 => Body::WithdrawCollateral {
                provider: ProviderId(0),
                amount: Amount::hold(45),
            },
            _ => Body::Transfer {
                to: address(2),
                amount: Amount(height.into()),
            },
        };
        let who = if height == 1 { 1 } else { 0 };
        let signed = world.sign(who, world.account(who).nonce, body);
        let mut turn = world.turn();
        turn.state_root = root;
        let block = crate::build::block(&world.view, &world.rules, &turn, vec![signed]).unwrap();
        let execution = crate::execute::execute(&world.view, &world.rules, &block).unwrap();
        world.view.apply(&execution.writes);
        root = tree.apply(block.header.height, &execution.writes).unwrap();
        let signature = SigningContext::Block
            .sign(world.rules.network, &super::world::key(99), &block.header)
            .unwrap();
        blocks.push(CertifiedBlock {
            block,
            certificate: Certificate::Embedded { signature },
        });
    }
    (world.genesis, keys, blocks)
}

#[test]
fn an_audit_replays_an_honest_chain_and_names_what_was_touched() {
    let (genesis, keys, blocks) = certified();
    let replay = |blocks: &[CertifiedBlock]| {
        let mut replay = Replay::under(&genesis, rules(&genesis, &keys)).unwrap();
        for block in blocks {
            replay.push(block)?;
        }
        replay.finish()
    };
    // All at once and taken back, and then one by one with signatures that were looked at before.
    let network = genesis.network().unwrap();
    let replay = |blocks: &[CertifiedBlock]| {
        let said = replay(blocks);
        let mut ahead = Replay::under(&genesis, rules(&genesis, &keys)).unwrap();
        let mut previous = crate::beacon::at_genesis(network);
        let checked: Vec<Checked> = blocks
            .iter()
            .map(|block| {
                let before = previous;
                previous = crate::beacon::value(&block.block.header.beacon);
                Checked::of(network, block.clone(), before, &genesis.validators)
            })
            .collect();
        let start = ahead.saved().unwrap();
        match ahead.ahead(&checked) {
            Ok(all) => {
                assert_eq!(&ahead.finish(), &said);
                ahead.take_back(all);
            }
            Err(_) => assert!(said.is_err()),
        }
        assert_eq!(ahead.saved().unwrap(), start);
        let again = checked
            .iter()
            .try_for_each(|one| ahead.push_checked(one).map(drop));
        assert_eq!(&again.and_then(|()| ahead.finish()), &said);
        said
    };
    let report = replay(&blocks).unwrap();
    assert_eq!(
        (report.height, report.done, report.refused),
        (Height(70), 69, 1)
    );
    assert!(report.limits[0].contains("knows every challenge"));
    assert!(report.supply.balances_out());
    let touched = |place: usize, touch: fn(&mut CertifiedBlock)| {
        let mut blocks = blocks.clone();
        touch(&mut blocks[place]);
        replay(&blocks).unwrap_err()
    };
    let certificate = |block: &mut CertifiedBlock| {
        block.certificate = Certificate::Embedded {
            signature: crate::units::Signature([0; 64]),
        };
    };
    assert_eq!(touched(3, certificate).height, Height(4));
    let time = |block: &mut CertifiedBlock| block.block.header.time += 1;
    assert!(touched(3, time).reason.contains("certificate"));
    let state = |block: &mut CertifiedBlock| block.block.header.state_root.0[0] ^= 1;
    assert!(touched(9, state).reason.contains("certificate"));
    let mut without = blocks.clone();
    without.remove(5);
    assert!(replay(&without).unwrap_err().reason.contains("root"));
    // Signed anew by the one validator, a touched message or root is still found.
    let resign = |block: &mut CertifiedBlock| {
        let signature = SigningContext::Block
            .sign(network, &super::world::key(99), &block.block.header)
            .unwrap();
        block.certificate = Certificate::Embedded { signature };
    };
    let mut forged = blocks.clone();
    forged[6].block.header.state_root.0[0] ^= 1;
    resign(&mut forged[6]);
    assert!(
        replay(&forged)
            .unwrap_err()
            .reason
            .contains("the state before it")
    );
    let mut forged = blocks.clone();
    forged[6].block.messages[0].message.fee = Amount::hold(1);
    let root = crate::block::transactions_root(&forged[6].block.messages).unwrap();
    forged[6].block.header.transactions_root = root;
    resign(&mut forged[6]);
    let finding = replay(&forged).unwrap_err();
    assert_eq!(finding.height, Height(7));
    assert!(
        finding.message.is_some() && finding.reason.contains("signature"),
        "{finding}"
    );
}
