//! Nodes that charge for reading, as processes: the reader pays by vouchers, the nodes redeem them,
//! also one that was killed, and what was not read for comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use holdfast_faults::network::{Network, patient_rules};
use holdfast_market_core::block::OutcomeResult;
use holdfast_market_core::message::Body;
use holdfast_market_core::parameters::Parameters;
use holdfast_market_core::units::{Amount, Blocks};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(300);
/// In grains a GiB: a MiB is worth redeeming.
const PRICE: &str = "1000000000000";

fn number(value: &serde_json::Value) -> u128 {
    let text = value.to_string();
    text.trim_matches('"').parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_charge_for_reading_are_paid_though_they_are_killed() {
    let binary = Path::new(env!("CARGO_BIN_EXE_holdfast"));
    let folder = tempfile::tempdir().unwrap();
    let rules = Parameters {
        // A node that was killed has time to come back and redeem.
        dispute_window: Blocks(60),
        ..patient_rules()
    };
    let mut network = Network::make(binary, &folder.path().join("net"), 2, rules).await;
    network.set_environment(vec![("HOLDFAST_READ_PRICE".into(), PRICE.into())]);
    network.start_all().await;
    let source = folder.path().join("film");
    let bytes: Vec<u8> = (0u32..4_000_000).map(|i| (i % 251) as u8).collect();
    std::fs::write(&source, &bytes).unwrap();
    let put = [
        "put",
        source.to_str().unwrap(),
        "--data-shards",
        "1",
        "--total-shards",
        "2",
    ];
    network.run_until_done(&put, PATIENCE).await;
    let to = folder.path().join("back");
    // Too little is allowed at first, and said.
    let get = ["get", "film", "--to", to.to_str().unwrap(), "--most", "0"];
    let refused = network.run(&get).await;
    assert!(!refused.status.success());
    assert!(refused.said.contains("--most"), "{}", refused.said);
    let get = ["get", "film", "--to", to.to_str().unwrap(), "--most", "600"];
    let got = network.run_until_done(&get, PATIENCE).await;
    assert_eq!(std::fs::read(to.join("film")).unwrap(), bytes);
    let paid = number(&got["paid"]);
    assert!(paid > 0, "{got}");

    // The nodes have the vouchers, whatever happens to them.
    for node in ["node-0", "node-1"] {
        network.kill(node);
    }
    let channels = network
        .run_until_done(&["wallet", "channels"], PATIENCE)
        .await;
    let opened = channels["channels"].as_array().unwrap().len();
    assert!(opened >= 1, "{channels}");
    let closed = network
        .run_until_done(&["wallet", "close-channels"], PATIENCE)
        .await;
    assert_eq!(closed["closed"].as_array().unwrap().len(), opened);
    network
        .until("the channels are closed", PATIENCE, async |network| {
            let answer = network.run(&["wallet", "channels"]).await;
            answer.object["channels"] == serde_json::json!([])
        })
        .await;
    // A later voucher of a channel stands for those before.
    let mut redeemed = BTreeMap::new();
    for message in network.messages().await {
        if let Body::RedeemVoucher { voucher } = message.body {
            assert_eq!(message.outcome.result, OutcomeResult::Done);
            let voucher = voucher.voucher;
            redeemed.insert(voucher.channel, voucher.amount.0);
        }
    }
    let redeemed: u128 = redeemed.values().sum();
    // What a node had not written down yet when it was killed is worth less than a MiB.
    let lost = paid.saturating_sub(redeemed);
    let mib = PRICE.parse::<u128>().unwrap() / 1024;
    assert!(lost < opened as u128 * mib, "{redeemed} of {paid}");
    assert!(redeemed > 0 && redeemed <= paid);
    let view = network.view().await.unwrap();
    assert!(view.supply.balances_out(), "{:?}", view.supply);
    assert_eq!(Amount::ZERO, view.providers[0].fined);
}
