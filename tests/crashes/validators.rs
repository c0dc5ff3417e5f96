//! Four validators, each of which dies at every crash point that it comes to, once.

use super::{alone, binary};
use holdfast_faults::network::{Network, patient_rules};
use holdfast_faults::{damage, figures, points};
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::units::{Address, Blocks, Height};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

const VALIDATORS: u8 = 4;
const PATIENCE: Duration = Duration::from_secs(240);
async fn heights(network: &Network) -> Vec<Option<Height>> {
    let mut heights = Vec::new();
    for name in network.names() {
        let status = network.ledger_of(&name).status().await;
        heights.push(status.ok().map(|status| status.height));
    }
    heights
}

/// Waits until every validator has so many blocks.
async fn all_reach(network: &mut Network, height: Height) {
    let what = format!("every validator has block {height}");
    network
        .until(&what, PATIENCE, async |network| {
            let heights = heights(network).await;
            heights
                .iter()
                .all(|one| one.is_some_and(|one| one >= height))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn validators_killed_at_every_point_in_turn_go_on_with_one_chain() {
    let _alone = alone().await;
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("points");
    std::fs::create_dir(&logs).unwrap();
    let rules = Parameters {
        block_interval_ms: 400,
        ..patient_rules()
    };
    let path = folder.path().join("net");
    let mut network = Network::of_validators(binary(), &path, VALIDATORS, rules).await;
    for name in network.names() {
        network.die_at_points(&name, &logs.join(&name));
    }
    network.start_all().await;
    // Each has proposed by then, and has been away.
    all_reach(&mut network, Height(12)).await;
    let somebody = Address([7; 32]).to_text("thold");
    let sent = network
        .run_until_done(&["wallet", "send", &somebody, "2.5"], PATIENCE)
        .await;
    let head = heights(&network).await.into_iter().flatten().max().unwrap();
    all_reach(&mut network, head.after(Blocks(12))).await;

    // One chain, and what was sent is in it.
    let mut chains = Vec::new();
    for name in network.names() {
        let blocks = network
            .ledger_of(&name)
            .blocks(Height(1), 64)
            .await
            .unwrap();
        let blocks: Vec<_> = blocks.into_iter().map(|one| one.block).take(24).collect();
        chains.push(blocks);
    }
    assert!(
        chains
            .iter()
            .all(|chain| *chain == chains[0] && chain.len() == 24)
    );
    assert!(sent["height"].as_u64().is_some(), "{sent}");
    network.run_until_done(&["audit"], PATIENCE).await;
    let unknown = damage::unknown_in_testnet(network.folder());
    assert_eq!(unknown, Vec::<PathBuf>::new());

    let all = points::all(Path::new(env!("CARGO_MANIFEST_DIR")));
    let theirs = |text: &str| text.starts_with("validators.") || text.starts_with("market.commit.");
    let mut kills = 0;
    for name in network.names() {
        let text = std::fs::read_to_string(logs.join(&name)).unwrap();
        let passed: BTreeSet<&str> = text.lines().collect();
        let missing: Vec<_> = all
            .iter()
            .filter(|point| theirs(point.text()))
            .filter(|point| !passed.iter().any(|name| point.matches(name)))
            .collect();
        assert!(missing.is_empty(), "{name} was not killed at {missing:?}");
        kills += passed.len();
    }
    assert_eq!(kills, network.kills());
    figures::record(
        "validators_killed",
        kills as f64,
        "kills",
        "each of four validators at every crash point of ordering and commit; one chain, audited",
    );
}
