//! Keeping what is stored for longer.

use super::network::{Network, noise, options, put};
use holdfast_client::error::ClientError;
use holdfast_client::meter::Meter;
use holdfast_client::renew::{Renewed, named, renew};
use holdfast_client::session::Session;
use holdfast_market_core::units::{Amount, PackId, Periods};

async fn renewed(
    session: &Session,
    names: &[&str],
    term: u64,
) -> Result<Vec<Renewed>, ClientError> {
    let catalogue = holdfast_client::published::current(session).await?;
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let objects = named(&catalogue, &names)?;
    renew(session, &objects, Periods(term), &Meter::hidden()).await
}

async fn terms(session: &Session, pack: PackId) -> Vec<u64> {
    let set = session.ledger().deal_set(pack).await.unwrap();
    set.deals.iter().map(|deal| deal.term.0).collect()
}

async fn balance(session: &Session) -> Amount {
    let account = session.ledger().account(session.address()).await;
    account.unwrap().balance
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_kept_for_longer_is_paid_once_and_by_those_that_go_on() {
    let network = Network::start(6, 8).await;
    let session = network.session();
    let mut packs = Vec::new();
    for name in ["diary", "photos"] {
        let source = network.path(name);
        std::fs::write(&source, noise(name.len() as u64, 200_000)).unwrap();
        let stored = put(&session, &source, &options(name, true)).await.unwrap();
        packs.push(stored.packs[0].pack);
    }
    // What nobody has accepted yet has to wait.
    let answer = renewed(&session, &["diary"], 12).await.unwrap();
    let why = answer[0].refused.clone().unwrap();
    assert!(
        why.contains("6 of the 6 shards") && why.contains("not accepted"),
        "{why}"
    );
    for node in &network.nodes {
        for pack in &packs {
            node.accept(*pack, |_| ()).await;
        }
    }
    // One leaves; the others go on.
    network.nodes[2].retire().await;
    let before = balance(&session).await;
    let answer = renewed(&session, &["diary"], 25).await.unwrap();
    assert_eq!(answer.len(), 1);
    let pack = &answer[0].packs[0];
    assert_eq!(pack.kept, 5);
    assert_eq!(pack.left_out, [network.nodes[2].provider]);
    let mut expected = vec![25; 6];
    let set = session.ledger().deal_set(packs[0]).await.unwrap();
    let gone = set
        .deals
        .iter()
        .position(|deal| deal.provider == network.nodes[2].provider)
        .unwrap();
    expected[gone] = 10;
    assert_eq!(terms(&session, packs[0]).await, expected);
    let paid = before.0 - balance(&session).await.0;
    let fees = paid - answer[0].escrow.0;
    assert!(fees > 0 && fees < Amount::hold(1).0 / 100, "{fees}");

    // Again, and together with the other: what is kept for so long already costs nothing.
    let answer = renewed(&session, &[], 25).await.unwrap();
    assert_eq!(answer[0].escrow, Amount::ZERO);
    assert_eq!(answer[0].packs[0].left_out, [network.nodes[2].provider]);
    assert_ne!(answer[1].escrow, Amount::ZERO);
    assert_eq!(terms(&session, packs[0]).await, expected);

    // Too few go on with one of them: nothing is paid for that, and the others are not hindered.
    for node in &network.nodes[3..] {
        node.retire().await;
    }
    let before = balance(&session).await;
    let answer = renewed(&session, &["photos", "photos"], 40).await.unwrap();
    assert_eq!(answer.len(), 1);
    let why = answer[0].refused.clone().unwrap();
    assert!(why.contains("2 can be renewed and 3 are needed"), "{why}");
    assert_eq!(balance(&session).await, before);
    let error = renewed(&session, &["poems"], 40).await.unwrap_err();
    assert!(error.to_string().contains("`poems`"), "{error}");
    session.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_provider_that_leaves_is_given_nothing_new() {
    let network = Network::start(4, 8).await;
    let session = network.session();
    network.nodes[1].retire().await;
    let source = network.path("diary");
    std::fs::write(&source, noise(7, 20_000)).unwrap();
    let mut wanted = options("diary", true);
    wanted.terms.total_shards = 4;
    let error = put(&session, &source, &wanted).await.unwrap_err();
    let sentence = error.to_string();
    assert!(
        sentence.contains("4 different providers are needed"),
        "{sentence}"
    );
    wanted.terms.total_shards = 3;
    wanted.terms.data_shards = 2;
    let stored = put(&session, &source, &wanted).await.unwrap();
    let shards = &stored.packs[0].shards;
    let gone = network.nodes[1].provider;
    assert!(shards.iter().all(|shard| shard.provider != gone));
    session.close().await;
}
