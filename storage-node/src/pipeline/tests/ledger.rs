//! A ledger in memory with the real rules, behind the part of the HTTP API that a node asks.

use super::http;
use holdfast_market_core::admit::{Signed, admit};
use holdfast_market_core::beacon::BeaconSecret;
use holdfast_market_core::block::{OutcomeResult, Validator};
use holdfast_market_core::build::{self, Turn};
use holdfast_market_core::execute::execute;
use holdfast_market_core::genesis::{Balance, Genesis};
use holdfast_market_core::message::{Body, SignedMessage, decode};
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::query;
use holdfast_market_core::rules::{Rules, genesis_writes};
use holdfast_market_core::units::{
    Address, Amount, Height, MessageId, PackId, ProviderId, TreeRoot,
};
use holdfast_market_core::view::MemoryView;
use holdfast_proofs::keys::VerifyingKeys;
use holdfast_wire::ledger::{
    AccountView, ApiError, BeaconView, MessageStatus, ProviderDeal, Submitted,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

const BUILDER: Address = Address([99; 32]);

/// The ledger; a clone goes its own way from there.
#[derive(Clone)]
pub struct Ledger {
    pub rules: Arc<Rules>,
    pub genesis: Genesis,
    pub view: MemoryView,
    /// Messages that wait for a block, as they came.
    pub pool: Vec<SignedMessage>,
    outcomes: BTreeMap<MessageId, (Height, OutcomeResult)>,
    beacon: BeaconSecret,
}

/// The name of a body.
pub fn kind(body: &Body) -> String {
    let text = format!("{body:?}");
    let end = text.find(|c: char| !c.is_alphanumeric());
    text[..end.unwrap_or(text.len())].to_owned()
}

impl Ledger {
    pub fn new(parameters: Parameters, keys: &VerifyingKeys, balances: Vec<Balance>) -> Self {
        let beacon = BeaconSecret::from_seed(&[9; 32]);
        let genesis = Genesis {
            name: "pipeline".into(),
            time: 0,
            parameters,
            verifying_keys: keys.digest(),
            balances,
            validators: vec![Validator {
                key: BUILDER,
                beacon: beacon.public(),
                possession: beacon.possession(),
                power: 1,
            }],
        };
        let mut view = MemoryView::default();
        view.apply(&genesis_writes(&genesis).unwrap());
        Self {
            rules: Arc::new(Rules::new(&genesis, keys).unwrap()),
            genesis,
            view,
            pool: Vec::new(),
            outcomes: BTreeMap::new(),
            beacon,
        }
    }

    pub fn height(&self) -> Height {
        query::chain(&self.view).unwrap().height
    }

    pub fn next_nonce(&self, sender: &Address) -> u64 {
        let nonce = query::account(&self.view, sender).unwrap().nonce;
        let waiting = self.pool.iter().map(|signed| &signed.message);
        waiting
            .filter(|message| message.sender == *sender)
            .map(|message| message.nonce + 1)
            .fold(nonce, u64::max)
    }

    pub fn submit(&mut self, signed: SignedMessage) -> Result<MessageId, (u16, String)> {
        let id = signed.id().unwrap();
        if self.outcomes.contains_key(&id) || self.pool.contains(&signed) {
            return Ok(id);
        }
        let next = Height(self.height().0 + 1);
        admit(&self.view, &self.rules, &signed, next).map_err(|why| (400, why.to_string()))?;
        if signed.message.nonce != self.next_nonce(&signed.message.sender) {
            return Err((409, "another number is next".into()));
        }
        self.pool.push(signed);
        Ok(id)
    }

    /// The next block with what waits, but for what `held` names; what came of each.
    pub fn mine(&mut self, held: &str) -> Vec<(Body, OutcomeResult)> {
        let candidates = self.pool.iter();
        let candidates = candidates.filter(|signed| kind(&signed.message.body) != held);
        let candidates = candidates.cloned().collect();
        let selection =
            build::select(&self.view, &self.rules, candidates, &Signed::default()).unwrap();
        let turn = Turn {
            builder: BUILDER,
            beacon: self.beacon.clone(),
            time: 0,
            state_root: TreeRoot([0; 32]),
        };
        let kept = selection.kept;
        let block = build::block(&self.view, &self.rules, &turn, kept.clone()).unwrap();
        let height = block.header.height;
        let execution = execute(&self.view, &self.rules, &block).unwrap();
        self.view.apply(&execution.writes);
        assert!(query::supply(&self.view).unwrap().balances_out());
        let dropped: Vec<_> = selection.dropped.into_iter().map(|(one, _)| one).collect();
        self.pool.retain(|one| {
            !kept.contains(one) && !dropped.contains(one) && one.message.expiry > height
        });
        let outcomes = execution.outcomes.into_iter().map(|outcome| outcome.result);
        let done: Vec<_> = kept.into_iter().zip(outcomes).collect();
        for (signed, result) in &done {
            let id = signed.id().unwrap();
            self.outcomes.insert(id, (height, result.clone()));
        }
        done.into_iter()
            .map(|(signed, result)| (signed.message.body, result))
            .collect()
    }

    /// The deals of a provider as the API lists them.
    pub fn deals(&self, provider: ProviderId) -> Vec<ProviderDeal> {
        query::deals_of(&self.view, provider)
            .unwrap()
            .into_iter()
            .map(|(id, deal)| {
                let set = query::deal_set_record(&self.view, &id.pack)
                    .unwrap()
                    .unwrap();
                ProviderDeal {
                    id,
                    root: set.proposal.pack.shard_roots[id.shard.position()],
                    length: set.proposal.pack.shard_length,
                    terms: set.proposal.terms[id.shard.position()].clone(),
                    at: set.at,
                    deal,
                }
            })
            .collect()
    }

    fn answer(&mut self, line: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let words: Vec<&str> = line
            .split([' ', '/'])
            .filter(|word| !word.is_empty())
            .collect();
        let number = |text: &str| text.parse::<u64>().unwrap();
        let bytes = |text: &str| <[u8; 32]>::try_from(hex::decode(text).unwrap()).unwrap();
        match words.as_slice() {
            ["POST", "v1", "messages"] => match self.submit(decode("message", body).unwrap()) {
                Ok(id) => json(&Submitted { id }),
                Err((status, error)) => (status, json(&ApiError { error }).1),
            },
            ["GET", "v1", "messages", id] => {
                let id = MessageId(bytes(id));
                json(&match self.outcomes.get(&id) {
                    Some((height, result)) => MessageStatus::Included {
                        height: *height,
                        result: result.clone(),
                    },
                    None if self.pool.iter().any(|one| one.id().unwrap() == id) => {
                        MessageStatus::Pending
                    }
                    None => MessageStatus::Unknown,
                })
            }
            ["GET", "v1", "accounts", address] => {
                let address = Address(bytes(address));
                let account = query::account(&self.view, &address).unwrap();
                json(&AccountView {
                    balance: account.balance,
                    nonce: account.nonce,
                    next_nonce: self.next_nonce(&address),
                })
            }
            ["GET", "v1", "beacon", height] => json(&BeaconView {
                beacon: query::beacon(&self.view, Height(number(height)))
                    .unwrap()
                    .unwrap(),
            }),
            ["GET", "v1", "deal-sets", pack] => {
                let set = query::deal_set(&self.view, &PackId(bytes(pack)));
                json(&set.unwrap().unwrap())
            }
            ["GET", "v1", "providers"] => {
                json(&query::providers(&self.view, None, usize::MAX).unwrap())
            }
            ["GET", "v1", "providers", id, rest @ ..] => {
                let id = ProviderId(number(id));
                match rest {
                    [] => json(&query::provider(&self.view, id).unwrap().unwrap()),
                    ["sectors"] => json(&query::sectors_of(&self.view, id).unwrap()),
                    ["deals"] => json(&self.deals(id)),
                    other => panic!("nothing here answers {other:?}"),
                }
            }
            _ => panic!("nothing here answers {line}"),
        }
    }
}

fn json(value: &impl Serialize) -> (u16, Vec<u8>) {
    (200, serde_json::to_vec(value).unwrap())
}

/// Serves the ledger; answers where.
pub async fn serve(ledger: Arc<Mutex<Ledger>>) -> String {
    http::serve(move |line, body| ledger.lock().unwrap().answer(line, body)).await
}

/// A balance at the beginning.
pub fn rich(account: Address) -> Balance {
    Balance {
        account,
        amount: Amount::hold(1_000),
    }
}
