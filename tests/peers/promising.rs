//! Providers that sign and do not keep it, seen by whoever stores, reads and checks.

use crate::met;
use crate::network::{Manner, Network, get, noise, options, put};
use holdfast_client::check::{Checked, Done, Finding, check, demand, deposit};
use holdfast_client::meter::Meter;
use holdfast_client::placement::Survey;
use holdfast_client::put::Stored;
use holdfast_client::session::Session;
use holdfast_market_core::message::Body;
use holdfast_market_core::quote::{deal_collateral, deal_set, finder_share};
use holdfast_market_core::state::{Deal, DealStatus};
use holdfast_market_core::units::{Amount, Blocks, Height, PackId};

use std::process::Command;

/// Blocks in which a promise is to be kept: long enough for a put on a slow machine.
const PROMISE: Blocks = Blocks(250);
/// The node that lies.
const LIAR: usize = 2;

async fn stored(network: &Network, session: &Session) -> Stored {
    let file = network.path("file");
    std::fs::write(&file, noise(7, 200_000)).unwrap();
    put(session, &file, &options("file", false)).await.unwrap()
}

async fn checked(session: &Session) -> Checked {
    let catalogue = holdfast_client::published::current(session).await.unwrap();
    let record = holdfast_client::get::find(&catalogue, "file").unwrap();
    check(session, record, 8, &Meter::hidden()).await.unwrap()
}

/// `holdfast check file` on the network: its exit code and what it printed.
fn command(network: &Network, more: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(["check", "file"])
        .args(more)
        .arg("--network")
        .arg(network.at())
        .env_remove("HOLDFAST_WALLET")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

async fn deals(session: &Session, pack: PackId) -> Vec<Deal> {
    session.ledger().deal_set(pack).await.unwrap().deals
}

async fn wait_for(session: &Session, height: Height) {
    session.ledger().wait_until(height).await.unwrap();
}

/// The shards of the liar, and that all others are in order.
fn of_the_liar(network: &Network, checked: &Checked) -> Vec<holdfast_client::check::CheckedShard> {
    let liar = network.nodes[LIAR].provider;
    let (its, others): (Vec<_>, Vec<_>) = checked
        .shards
        .iter()
        .cloned()
        .partition(|shard| shard.provider == liar);
    for shard in others {
        assert!(shard.finding.is_in_order(), "{shard:?}");
    }
    assert!(!its.is_empty());
    its
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_provider_that_signs_and_drops_is_read_around_named_and_claimed_from() {
    let network = Network::promising(6, 8, PROMISE).await;
    let session = network.session();
    let stored = stored(&network, &session).await;
    let pack = stored.packs[0].pack;
    let at = stored.packs[0].height;
    // The others accept; embedding is not part of this network, and so each of them is behind too
    // when the promise falls due.
    for (number, node) in network.nodes.iter().enumerate() {
        if number != LIAR {
            node.accept(pack, |_| {}).await;
        }
    }
    network.nodes[LIAR].behave(Manner::Dropped);
    // Reading goes around it.
    let back = get(&session, "file", &network.path("back")).await;
    assert!(std::fs::read(back).unwrap() == noise(7, 200_000));
    // A check says so, and nobody can be claimed from before the time.
    let before = checked(&session).await;
    for shard in of_the_liar(&network, &before) {
        assert_eq!(shard.finding, Finding::Unopened);
        assert!(shard.words.contains("no such shard"), "{}", shard.words);
        assert_eq!(shard.done, None);
    }
    wait_for(&session, at.after(PROMISE)).await;
    let account = session.ledger().account(session.address()).await.unwrap();
    let liar = network.nodes[LIAR].provider;
    let held = session.ledger().provider(liar).await.unwrap();
    let after = checked(&session).await;
    for shard in &after.shards {
        assert_eq!(shard.finding, Finding::Broken, "{shard:?}");
        assert!(
            matches!(shard.done, Some(Done::PromiseClaimed { .. })),
            "{shard:?}"
        );
    }
    // What was never accepted pays what accepting would have locked; a tenth is the finder's, and
    // the escrow is back with who paid it.
    let deals = deals(&session, pack).await;
    let economy = &session.parameters().economy;
    let penalty = deal_collateral(economy, deals[0].length).unwrap();
    let fined = session.ledger().provider(liar).await.unwrap();
    assert_eq!(held.collateral.0 - fined.collateral.0, penalty.0);
    let reward = finder_share(economy, penalty).unwrap();
    let done = of_the_liar_any(&network, &after);
    assert!(matches!(done, Done::PromiseClaimed { reward: told, .. } if told == reward));
    for deal in &deals {
        assert_eq!(deal.status, DealStatus::Broken { claimed: true });
        assert_eq!(deal.escrow, Amount::ZERO);
    }
    let now = session.ledger().account(session.address()).await.unwrap();
    assert!(now.balance.0 + Amount::hold(1).0 > account.balance.0);
    // Claimed once: a second look finds nothing more to do.
    let again = checked(&session).await;
    assert_eq!(again.found(), 0, "{again:?}");
    met("a provider that signs and drops");
    session.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_promise_that_nobody_claimed_in_time_is_over_and_costs_no_fee() {
    let network = Network::promising(6, 8, PROMISE).await;
    let session = network.session();
    let stored = stored(&network, &session).await;
    let promised = stored.packs[0].height.after(PROMISE);
    let last = promised.after(session.parameters().dispute_window);
    wait_for(&session, last).await;
    let before = session.ledger().account(session.address()).await.unwrap();
    let found = checked(&session).await;
    assert_eq!(found.found(), 0, "{found:?}");
    for shard in &found.shards {
        assert_eq!((&shard.finding, &shard.done), (&Finding::Over, &None));
        let words = format!("its promise was broken, and not claimed by height {last}");
        assert_eq!(shard.words, words);
    }
    let after = session.ledger().account(session.address()).await.unwrap();
    assert_eq!(after, before);
    for deal in deals(&session, stored.packs[0].pack).await {
        assert_eq!(deal.status, DealStatus::Broken { claimed: false });
    }
    met("a provider whose broken promise nobody claims in time");
    session.close().await;
}

fn of_the_liar_any(network: &Network, checked: &Checked) -> Done {
    let liar = network.nodes[LIAR].provider;
    let mut its = checked.shards.iter().filter(|one| one.provider == liar);
    its.next().unwrap().done.clone().unwrap()
}

/// Another file of the same length: every quad of it is another.
fn others(bytes: &mut Vec<u8>) {
    for byte in bytes {
        *byte ^= 0x2a;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn wrong_piece_roots_are_found_by_sampling_and_fined() {
    let network = Network::promising(6, 8, Blocks(1 << 20)).await;
    let session = network.session();
    let stored = stored(&network, &session).await;
    let pack = stored.packs[0].pack;
    for (number, node) in network.nodes.iter().enumerate() {
        if number == LIAR {
            node.accept(pack, others).await;
        } else {
            node.accept(pack, |_| {}).await;
        }
    }
    network.nodes[LIAR].behave(Manner::OpensAsStated(others));
    let liar = network.nodes[LIAR].provider;
    let its = |deals: Vec<Deal>| {
        deals
            .into_iter()
            .find(|deal| deal.provider == liar)
            .unwrap()
    };
    let before = its(deals(&session, pack).await);
    let held = session.ledger().provider(liar).await.unwrap();
    let account = session.ledger().account(session.address()).await.unwrap();
    assert!(before.locked > Amount::ZERO);
    let found = checked(&session).await;
    let shards = of_the_liar(&network, &found);
    assert_eq!(found.found(), shards.len());
    let reward = finder_share(&session.parameters().economy, before.locked).unwrap();
    for shard in shards {
        assert_eq!(shard.finding, Finding::Fraud, "{shard:?}");
        let Some(Done::FraudShown {
            reward: told,
            refund,
            ..
        }) = shard.done
        else {
            panic!("{shard:?}");
        };
        assert_eq!((told, refund), (reward, before.escrow));
    }
    // Its collateral for the deal goes, the deal fails, its escrow returns, and the finder is paid.
    let after = its(deals(&session, pack).await);
    assert!(
        matches!(after.status, DealStatus::Failed { .. }),
        "{after:?}"
    );
    assert_eq!((after.locked, after.escrow), (Amount::ZERO, Amount::ZERO));
    let fined = session.ledger().provider(liar).await.unwrap();
    assert_eq!(held.collateral.0 - fined.collateral.0, before.locked.0);
    assert_eq!(fined.record.frauds, 1);
    let now = session.ledger().account(session.address()).await.unwrap();
    let gained = now.balance.0 + Amount::hold(1).0 / 10;
    assert!(gained > account.balance.0 + reward.0 + before.escrow.0);
    // The object is still there, from the others.
    let back = get(&session, "file", &network.path("back")).await;
    assert!(std::fs::read(back).unwrap() == noise(7, 200_000));
    met("a provider that accepts with wrong piece roots");
    session.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_opens_nothing_is_named_and_silence_on_the_ledger_is_fined() {
    let network = Network::promising(6, 8, Blocks(1 << 20)).await;
    let session = network.session();
    let stored = stored(&network, &session).await;
    let pack = stored.packs[0].pack;
    for node in &network.nodes {
        node.accept(pack, |_| {}).await;
    }
    let (code, text, _) = command(&network, &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.ends_with("file: 6 shards, all in order\n"), "{text}");
    let liar = network.nodes[LIAR].provider;
    for (manner, words) in [
        (Manner::RefusesToOpen, "it refuses: "),
        (Manner::OpensRubbish, "is worthless: "),
        (Manner::OpensSilently, "it gave no answer in"),
    ] {
        network.nodes[LIAR].behave(manner);
        let found = checked(&session).await;
        for shard in of_the_liar(&network, &found) {
            assert_eq!(shard.finding, Finding::Unopened, "{shard:?}");
            assert!(shard.words.contains(words), "{manner:?}: {}", shard.words);
        }
        met(format!("a provider asked for openings: {manner:?}"));
    }
    network.nodes[LIAR].behave(Manner::RefusesToOpen);
    // As people see it: a table, and on stderr what is wrong and the next step.
    let (code, text, error) = command(&network, &["--samples", "2"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("it refuses: this node has no such shard"),
        "{text}"
    );
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines[0], "error: 1 of 6 shards of file not in order");
    assert!(
        lines[1].starts_with("next: `holdfast check file --demand`"),
        "{error}"
    );
    let (code, text, _) = command(&network, &["--json"]);
    assert_eq!(code, Some(1));
    let object: serde_json::Value = serde_json::from_str(&text).unwrap();
    let findings: Vec<&str> = object["shards"]
        .as_array()
        .unwrap()
        .iter()
        .map(|shard| shard["finding"].as_str().unwrap())
        .collect();
    let unopened = findings.iter().filter(|finding| **finding == "unopened");
    assert_eq!((findings.len(), unopened.count()), (6, 1));
    let mut found = checked(&session).await;
    assert_eq!(found.unopened(), 1);
    let before = session.ledger().account(session.address()).await.unwrap();
    demand(&session, &mut found, &Meter::hidden()).await;
    assert_eq!(found.unopened(), 0);
    let Done::OpeningDemanded {
        deposit: taken,
        due,
        ..
    } = of_the_liar_any(&network, &found)
    else {
        panic!("{found:?}");
    };
    assert_eq!(taken, deposit(&session).await.unwrap());
    let after = session.ledger().account(session.address()).await.unwrap();
    assert!(before.balance.0 - after.balance.0 >= taken.0);
    // While it is open another check says so, and demands and pays nothing more.
    let mut again = checked(&session).await;
    let its = of_the_liar(&network, &again);
    let open = format!("; demanded, due {due}");
    assert!(its[0].words.ends_with(&open), "{}", its[0].words);
    assert_eq!((again.found(), again.unopened()), (1, 0));
    demand(&session, &mut again, &Meter::hidden()).await;
    let paid = session.ledger().account(session.address()).await.unwrap();
    assert_eq!(paid.balance, after.balance);
    wait_for(&session, due.after(Blocks(2))).await;
    let failed = deals(&session, pack).await;
    let failed = failed.iter().find(|deal| deal.provider == liar).unwrap();
    assert!(
        matches!(failed.status, DealStatus::Failed { .. }),
        "{failed:?}"
    );
    let now = session.ledger().account(session.address()).await.unwrap();
    assert!(now.balance.0 > after.balance.0 + taken.0);
    met("a provider that is silent on the ledger");
    session.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_put_by_way_of_an_assistant_that_lies_is_stored_all_the_same_and_says_who_lied() {
    for manner in [Manner::SpreadsNothing, Manner::HangsUp] {
        let network = Network::start(6, 8).await;
        let session = network.session();
        for node in &network.nodes {
            node.behave(manner);
        }
        let stored = stored(&network, &session).await;
        // Who assisted is named, and what it said of others is told as its word.
        let named = stored
            .around
            .iter()
            .filter(|fault| fault.contains("assist"));
        assert!(named.count() > 0, "{:?}", stored.around);
        let back = get(&session, "file", &network.path("back")).await;
        assert!(std::fs::read(back).unwrap() == noise(7, 200_000));
        met(format!("an assistant in a put: {manner:?}"));
        session.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deals_that_cannot_be_funded_or_are_cancelled_take_nothing_from_anybody() {
    let network = Network::promising(6, 8, PROMISE).await;
    let session = network.session();
    let stored = stored(&network, &session).await;
    let pack = stored.packs[0].pack;
    let set = session.ledger().deal_set(pack).await.unwrap();
    // The same deals, of another owner who has nothing.
    let poor = network.poor_session("poor");
    let rich = session.sender();
    let fees = Body::Transfer {
        to: poor.address(),
        amount: Amount::hold(1),
    };
    rich.send(fees).await.unwrap();
    let mut proposal = set.proposal.clone();
    proposal.pack.owner = poor.address();
    for terms in &mut proposal.terms {
        terms.price = Amount(terms.price.0 * 1000);
    }
    assert!(deal_set(&proposal).unwrap() > Amount::hold(1));
    let unfunded = proposal.pack.id().unwrap();
    let error = poor.sender().send(Body::ProposeDealSet(proposal)).await;
    assert!(error.unwrap_err().to_string().contains("HOLD"));
    assert!(session.ledger().deal_set(unfunded).await.is_err());
    // Somebody else's set is not theirs to cancel; what its owner cancels is over, all of its escrow
    // is back, and nobody can be claimed from for it.
    let cancel = Body::CancelDealSet { pack };
    let theirs = poor.sender().send(cancel.clone()).await.unwrap_err();
    assert!(theirs.to_string().contains("owner"), "{theirs}");
    let escrow: u128 = set.deals.iter().map(|deal| deal.escrow.0).sum();
    let before = session.ledger().account(session.address()).await.unwrap();
    rich.send(cancel).await.unwrap();
    let after = session.ledger().account(session.address()).await.unwrap();
    assert!(after.balance.0 > before.balance.0 + escrow - Amount::hold(1).0 / 100);
    for deal in deals(&session, pack).await {
        assert_eq!(
            (deal.status, deal.escrow),
            (DealStatus::Cancelled, Amount::ZERO)
        );
        let provider = session.ledger().provider(deal.provider).await.unwrap();
        assert_eq!(provider.collateral, Amount::hold(100));
    }
    wait_for(&session, stored.packs[0].height.after(PROMISE)).await;
    let found = checked(&session).await;
    assert!(
        found
            .shards
            .iter()
            .all(|shard| shard.finding == Finding::Over)
    );
    met("a client that proposes deals it cannot fund");
    met("a client that cancels after it has its receipts");
    poor.close().await;
    session.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_claims_to_be_another_provider_is_given_nothing() {
    let network = Network::start(7, 8).await;
    let session = network.session();
    let liar = &network.nodes[LIAR];
    liar.claim(network.nodes[LIAR + 1].provider);
    let survey = Survey::ask(session.ledger(), session.peers())
        .await
        .unwrap();
    assert_eq!(survey.live().len(), 6);
    assert!(survey.live().iter().all(|live| live.id != liar.provider));
    let stored = stored(&network, &session).await;
    let mut shards = stored.packs.iter().flat_map(|pack| &pack.shards);
    assert!(shards.all(|shard| shard.provider != liar.provider));
    assert_eq!(liar.shards(), 0);
    met("a provider that claims another's number");
    session.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_get_says_who_sent_something_else() {
    let network = Network::start(6, 8).await;
    let session = network.session();
    stored(&network, &session).await;
    for node in &network.nodes[..3] {
        node.behave(Manner::ReadsRubbish);
    }
    let catalogue = holdfast_client::published::current(&session).await.unwrap();
    let record = holdfast_client::get::find(&catalogue, "file").unwrap();
    let to = network.path("back");
    let got = holdfast_client::get::get(&session, record, &to, false, &Meter::hidden()).await;
    let got = got.unwrap();
    assert!(std::fs::read(&got.path).unwrap() == noise(7, 200_000));
    assert!(!got.around.is_empty());
    let liars: Vec<String> = network.nodes[..3]
        .iter()
        .map(|node| format!("provider {} ", node.provider))
        .collect();
    for fault in &got.around {
        assert!(liars.iter().any(|liar| fault.starts_with(liar)), "{fault}");
        assert!(fault.contains("it says that the shard has"), "{fault}");
    }
    met("a provider whose answers to a get are rubbish");
    session.close().await;
}
