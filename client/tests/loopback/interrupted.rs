//! A put whose process is killed, at any moment, is gone on with by the same command: nothing is
//! paid twice, and every list of what is stored says the same.

use super::line::{Cut, Line};
use super::network::{Network, WEALTH, get, noise, options, put, until};
use super::stored::{assert_all_tell, assert_same};
use holdfast_client::journal::Journal;
use holdfast_client::put::{PutOptions, Stored};
use holdfast_client::session::Session;
use holdfast_market_core::state::DealStatus;
use holdfast_market_core::units::{Amount, Height};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// In the process that is killed: the network's folder, the wallet's, what to store, and how.
const CHILD: &str = "HOLDFAST_TEST_PUT";

/// Begins to store `source` under its own name in a process of its own.
fn begin(test: &str, folder: &Path, wallet: &Path, source: &Path, direct: bool) -> Child {
    let task = serde_json::json!([folder, wallet, source, direct]).to_string();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("interrupted::{test}"), "--nocapture"])
        .env(CHILD, task)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Whether this is that process; then it has stored what it was told to.
async fn is_child() -> bool {
    let Ok(task) = std::env::var(CHILD) else {
        return false;
    };
    let (folder, wallet, source, direct): (PathBuf, PathBuf, PathBuf, bool) =
        serde_json::from_str(&task).unwrap();
    let session = Session::open(&folder, Some(&wallet)).unwrap();
    let name = name_of(&source);
    put(&session, &source, &options(&name, direct))
        .await
        .unwrap();
    true
}

fn name_of(source: &Path) -> String {
    source.file_name().unwrap().to_str().unwrap().to_owned()
}

/// What the wallet has, and how many messages it has sent.
async fn account(session: &Session) -> (Amount, u64) {
    let view = session.ledger().account(session.address()).await.unwrap();
    (view.balance, view.nonce)
}

/// Fees of the wallet's messages, as the blocks have them.
async fn fees(session: &Session) -> Amount {
    let mut sum = 0;
    let mut from = Height(1);
    loop {
        let blocks = session.ledger().blocks(from, 64).await.unwrap();
        let Some(last) = blocks.last() else {
            return Amount(sum);
        };
        from = Height(last.block.header.height.0 + 1);
        for block in &blocks {
            for signed in &block.block.messages {
                if signed.message.sender == session.address() {
                    sum += signed.message.fee.0;
                }
            }
        }
    }
}

fn unfinished(session: &Session, source: &Path) -> Option<Journal> {
    let wallet = session.wallet();
    let journals = wallet.journal().unwrap();
    let source = source.canonicalize().unwrap();
    Journal::find(&journals, wallet.wrapping_key(), &source, &name_of(&source)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_before_and_after_every_message_to_the_ledger_it_goes_on_and_pays_once() {
    const TEST: &str =
        "killed_before_and_after_every_message_to_the_ledger_it_goes_on_and_pays_once";
    if is_child().await {
        return;
    }
    let network = Network::start(6, 20).await;
    let session = network.session();
    // Two packs: two proposals, and the name.
    let cuts = (1..=3).flat_map(|message| [Cut::Before(message), Cut::After(message)]);
    let mut names = Vec::new();
    let mut escrow = Amount::ZERO;
    for (number, cut) in cuts.enumerate() {
        let source = network.path(&format!("file {number}"));
        std::fs::write(&source, noise(number as u64, 1_000_000)).unwrap();
        let (_, sent) = account(&session).await;
        let before = network.shards().iter().sum::<usize>();
        let mut line = Line::to(network.client.api(), cut).await;
        let folder = network.folder_by_way_of(&format!("way {number}"), &line.api);
        let direct = number % 2 == 1;
        let mut child = begin(TEST, &folder, session.wallet().path(), &source, direct);
        line.cut().await;
        if let Cut::After(message) = cut {
            // It is executed, and the one who sent it never knows.
            while account(&session).await.1 < sent + message as u64 {}
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let journal = unfinished(&session, &source).unwrap();
        let known = journal.progress.packs.iter();
        let funded: Vec<bool> = known.map(|pack| pack.funded.is_some()).collect();
        let (Cut::Before(message) | Cut::After(message)) = cut;
        let expected: &[bool] = [&[false][..], &[true, false], &[true, true]][message - 1];
        assert_eq!(funded, expected, "{cut:?}");

        let name = name_of(&source);
        let stored = put(&session, &source, &options(&name, direct))
            .await
            .unwrap();
        assert!(stored.resumed && stored.published, "{cut:?}: {stored:?}");
        assert_eq!(stored.packs.len(), 2);
        // Two proposals and the name, whoever of the two sent them.
        assert_eq!(account(&session).await.1, sent + 3, "{cut:?}");
        // And no shard more than there would be without the interruption.
        assert_eq!(
            network.shards().iter().sum::<usize>(),
            before + 12,
            "{cut:?}"
        );
        escrow = Amount(escrow.0 + stored.escrow.0);
        names.push(name);
        let paid = Amount(escrow.0 + fees(&session).await.0);
        assert_eq!(
            account(&session).await.0,
            WEALTH.saturating_sub(paid),
            "{cut:?}"
        );
        let back = get(
            &session,
            &names[number],
            &network.path(&format!("back {number}")),
        )
        .await;
        assert_same(&source, &back);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_all_tell(&network, &session, &names).await;
    session.close().await;
}

/// Begins a put that three nodes take their shards of and three do not, and kills it then.
async fn kill_after_k_shards(
    network: &Network,
    session: &Session,
    test: &str,
    source: &Path,
    direct: bool,
) {
    let before = network.shards();
    network.nodes[3..].iter().for_each(|node| node.close());
    let mut child = begin(test, &network.at(), session.wallet().path(), source, direct);
    let expected: Vec<usize> = (0..6)
        .map(|node| before[node] + usize::from(node < 3))
        .collect();
    until("three of six shards are stored", || {
        network.shards() == expected
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    network.nodes[3..].iter().for_each(|node| node.open());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_when_k_of_n_shards_are_stored_it_goes_on_with_the_same_shards() {
    const TEST: &str = "killed_when_k_of_n_shards_are_stored_it_goes_on_with_the_same_shards";
    if is_child().await {
        return;
    }
    let network = Network::start(6, 4).await;
    let session = network.session();
    for (name, direct) in [("assisted", false), ("direct", true)] {
        let source = network.path(name);
        std::fs::write(&source, noise(5, 300_000)).unwrap();
        let (balance, sent) = account(&session).await;
        let shards = network.shards();
        kill_after_k_shards(&network, &session, TEST, &source, direct).await;
        let journal = unfinished(&session, &source).unwrap();
        let header = journal.progress.packs[0].header.clone();
        assert!(journal.progress.packs[0].receipts.is_empty());
        assert_eq!(account(&session).await, (balance, sent));

        let stored = put(&session, &source, &options(name, direct))
            .await
            .unwrap();
        assert!(stored.resumed && stored.published);
        assert_eq!(stored.packs[0].pack, header.id().unwrap());
        assert_eq!(account(&session).await.1, sent + 2);
        let one_more: Vec<usize> = shards.iter().map(|shards| shards + 1).collect();
        assert_eq!(network.shards(), one_more);
        let back = get(&session, name, &network.path("back")).await;
        assert_same(&source, &back);
    }
    assert_all_tell(&network, &session, &["assisted", "direct"]).await;
    session.close().await;
}

/// How every deal of an object stands.
async fn statuses(session: &Session, stored: &Stored) -> Vec<DealStatus> {
    let mut statuses = Vec::new();
    for pack in &stored.packs {
        let set = session.ledger().deal_set(pack.pack).await.unwrap();
        statuses.extend(set.deals.into_iter().map(|deal| deal.status));
    }
    statuses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn begun_again_after_the_source_changed_what_was_paid_comes_back() {
    const TEST: &str = "begun_again_after_the_source_changed_what_was_paid_comes_back";
    if is_child().await {
        return;
    }
    let network = Network::start(6, 8).await;
    let session = network.session();
    let source = network.path("diary");
    std::fs::write(&source, noise(1, 1_000_000)).unwrap();
    // The first of two packs is paid, and the process does not know.
    let mut line = Line::to(network.client.api(), Cut::After(1)).await;
    let folder = network.folder_by_way_of("way", &line.api);
    let mut child = begin(TEST, &folder, session.wallet().path(), &source, false);
    line.cut().await;
    while account(&session).await.1 < 1 {}
    child.kill().unwrap();
    child.wait().unwrap();
    let old = unfinished(&session, &source).unwrap();
    let old = old.progress.packs[0].header.id().unwrap();

    std::fs::write(&source, noise(2, 1_000_001)).unwrap();
    let stored = put(&session, &source, &options("diary", false))
        .await
        .unwrap();
    assert!(!stored.resumed && stored.published);
    let set = session.ledger().deal_set(old).await.unwrap();
    assert!(
        set.deals
            .iter()
            .all(|deal| deal.status == DealStatus::Cancelled)
    );
    let new = statuses(&session, &stored).await;
    assert!(new.len() == 12 && new.iter().all(|status| *status == DealStatus::Proposed));
    // The old proposal, its end, two new proposals and the name.
    let (balance, sent) = account(&session).await;
    assert_eq!(sent, 5);
    let paid = Amount(stored.escrow.0 + fees(&session).await.0);
    assert_eq!(balance, WEALTH.saturating_sub(paid));
    assert_all_tell(&network, &session, &["diary"]).await;
    let back = get(&session, "diary", &network.path("back")).await;
    assert_same(&source, &back);
    session.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn begun_again_after_the_source_changed_what_is_paid_in_whole_is_finished_and_not_cancelled()
{
    const TEST: &str =
        "begun_again_after_the_source_changed_what_is_paid_in_whole_is_finished_and_not_cancelled";
    if is_child().await {
        return;
    }
    let network = Network::start(6, 8).await;
    let session = network.session();
    // The catalogue is as good as published, or is, and the process does not know.
    for (number, cut) in [Cut::Before(3), Cut::After(3)].into_iter().enumerate() {
        let name = format!("diary {number}");
        let source = network.path(&name);
        let before = noise(1, 1_000_000);
        std::fs::write(&source, &before).unwrap();
        let (_, sent) = account(&session).await;
        let mut line = Line::to(network.client.api(), cut).await;
        let folder = network.folder_by_way_of(&format!("way {number}"), &line.api);
        let mut child = begin(TEST, &folder, session.wallet().path(), &source, false);
        line.cut().await;
        if let Cut::After(message) = cut {
            while account(&session).await.1 < sent + message as u64 {}
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let old = unfinished(&session, &source).unwrap().progress;

        std::fs::write(&source, noise(2, 1_000_001)).unwrap();
        let again = put(&session, &source, &options(&name, false)).await;
        let refusal = again.unwrap_err().to_string();
        let expected =
            format!("`{name}` is stored already, as it was when its upload was interrupted");
        assert_eq!(refusal, expected, "{cut:?}");
        for pack in &old.packs {
            let set = session.ledger().deal_set(pack.header.id().unwrap()).await;
            let mut deals = set.unwrap().deals.into_iter();
            assert!(
                deals.all(|deal| deal.status == DealStatus::Proposed),
                "{cut:?}"
            );
        }
        assert_eq!(account(&session).await.1, sent + 3, "{cut:?}");
        let back = get(&session, &name, &network.path(&format!("back {number}"))).await;
        assert_eq!(std::fs::read(back).unwrap(), before, "{cut:?}");

        let replace = PutOptions {
            replace: true,
            ..options(&name, false)
        };
        let stored = put(&session, &source, &replace).await.unwrap();
        assert!(!stored.resumed && stored.published, "{cut:?}: {stored:?}");
        let back = get(&session, &name, &network.path(&format!("new {number}"))).await;
        assert_same(&source, &back);
    }
    assert_all_tell(&network, &session, &["diary 0", "diary 1"]).await;
    session.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_stored_under_its_name_since_stays_when_an_old_upload_is_begun_again() {
    const TEST: &str =
        "what_was_stored_under_its_name_since_stays_when_an_old_upload_is_begun_again";
    if is_child().await {
        return;
    }
    let network = Network::start(6, 8).await;
    let session = network.session();
    let [old, new] = ["old", "new"].map(|folder| {
        let folder = network.path(folder);
        std::fs::create_dir(&folder).unwrap();
        folder.join("diary")
    });
    std::fs::write(&old, noise(1, 1_000_000)).unwrap();
    // All of it is paid for, and its name is not published.
    let mut line = Line::to(network.client.api(), Cut::Before(3)).await;
    let folder = network.folder_by_way_of("way", &line.api);
    let mut child = begin(TEST, &folder, session.wallet().path(), &old, false);
    line.cut().await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(unfinished(&session, &old).unwrap().is_paid());

    // Another takes the name.
    std::fs::write(&new, noise(2, 300_000)).unwrap();
    let stored = put(&session, &new, &options("diary", false)).await.unwrap();
    assert!(stored.published);
    std::fs::write(&old, noise(3, 1_000_001)).unwrap();
    let refused = put(&session, &old, &options("diary", false)).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "`diary` is stored already"
    );
    assert!(unfinished(&session, &old).is_none());
    let back = get(&session, "diary", &network.path("back")).await;
    assert_same(&new, &back);
    assert_all_tell(&network, &session, &["diary"]).await;
    session.close().await;
}
