//! What is the same after any number of kills.

use holdfast_faults::network::{Message, Network};
use holdfast_market_core::block::OutcomeResult;
use holdfast_market_core::message::Body;
use holdfast_testnet::{LedgerView, ProviderView, Tree};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Whether every deal is in this state.
pub fn all_deals(view: &LedgerView, state: &str) -> bool {
    let mut deals = view.deal_sets.iter().flat_map(|set| &set.deals);
    deals.all(|deal| deal.state == state)
}

/// Whether the sectors of so many providers are proven.
pub fn all_active(found: &[&ProviderView], providers: usize) -> bool {
    found.len() == providers
        && found.iter().all(|provider| {
            !provider.sectors.is_empty()
                && provider
                    .sectors
                    .iter()
                    .all(|sector| sector.state == "active")
        })
}

/// Disks that fail cost faults, and no honest provider more than a tenth of its collateral: what each
/// was paid for is still there and proven. The books balance.
pub fn promises_were_kept(view: &LedgerView) {
    for provider in view.providers.iter().filter(|one| one.name.is_some()) {
        println!(
            "{}: {} deadlines met, {} missed, {} fined, {} paid",
            provider.name.as_deref().unwrap_or_default(),
            provider.proven,
            provider.missed,
            provider.fined,
            provider.paid
        );
        assert!(provider.proven > 0, "{provider:?}");
        let tenth = provider.collateral.0 / 10;
        assert!(provider.fined.0 <= tenth, "{provider:?}");
    }
    assert!(view.supply.balances_out(), "{:?}", view.supply);
}

/// Nobody was fined and nobody missed a deadline; the books balance.
pub fn nobody_paid_for_it(view: &LedgerView) {
    for provider in &view.providers {
        assert_eq!(provider.missed, 0, "{provider:?}");
        assert_eq!(provider.fined.0, 0, "{provider:?}");
        assert!(provider.proven > 0, "{provider:?}");
    }
    assert!(view.supply.balances_out(), "{:?}", view.supply);
}

/// What was stored comes back as it was; answers the bytes that do not.
pub async fn comes_back(network: &mut Network, source: &Path, name: &str, to: &Path) -> u64 {
    let arguments = ["get", name, "--to", to.to_str().unwrap()];
    network
        .run_until_done(&arguments, Duration::from_secs(120))
        .await;
    let back = Tree::read(&to.join(source.file_name().unwrap())).unwrap();
    let before = Tree::read(source).unwrap();
    assert_eq!(before.differences(&back), Vec::<String>::new());
    before.bytes().saturating_sub(back.bytes())
}

/// A fresh process verifies the whole ledger.
pub async fn audit_passes(network: &mut Network) {
    let audit = network
        .run_until_done(&["audit"], Duration::from_secs(180))
        .await;
    assert!(audit.is_object(), "{audit}");
}

/// What stands for the same thing: messages of the same words are the same thing said twice.
fn thing(body: &Body) -> Option<String> {
    Some(match body {
        Body::RegisterProvider { offer, .. } => format!("register {}", offer.endpoint),
        Body::PreCommitSector(commit) => format!("pre-commit {}", commit.sector),
        Body::ProveSeal { sector, .. } => format!("prove seal {sector}"),
        Body::AcceptDeals { deals, .. } => {
            let deals: Vec<_> = deals.iter().map(|deal| deal.shard.to_string()).collect();
            format!("accept {}", deals.join(" "))
        }
        Body::ProveSpacetime {
            provider,
            period,
            deadline,
            ..
        } => format!("spacetime {provider} {period} {deadline}"),
        Body::ProposeDealSet(proposal) => format!("deal set {}", proposal.pack.nonce),
        Body::PublishName { version, .. } => format!("name {version}"),
        _ => return None,
    })
}

/// No message was refused, and nothing was done twice.
pub fn said_once(messages: &[Message]) {
    let mut done: BTreeMap<String, usize> = BTreeMap::new();
    for message in messages {
        let result = &message.outcome.result;
        assert_eq!(
            *result,
            OutcomeResult::Done,
            "at {}: {:?}",
            message.height,
            message.body
        );
        if let Some(thing) = thing(&message.body) {
            *done.entry(thing).or_default() += 1;
        }
    }
    let twice: Vec<_> = done.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}
