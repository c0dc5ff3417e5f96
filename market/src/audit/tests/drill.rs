//! The drill: what it says of a changed ledger is what an audit says where that very byte is changed in
//! a market's database.

use super::chain;
use super::{audit_folder, finding};
use crate::audit::drill::{Verdict, drill};
use crate::store::columns::{self, Column};
use crate::store::tests::spoil;
use crate::testing::Network;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_drill_says_is_what_an_audit_says_of_that_byte() {
    let network = Network::new("drill");
    let ledger = network.open();
    chain::grow(&network, &ledger);
    drop(ledger);
    let steps = AtomicUsize::new(0);
    let drilled = drill(
        &network.genesis,
        &network.verifying_keys,
        network.source(),
        Arc::new(|_| ()),
        |done, all| {
            assert_eq!((done, all), (steps.fetch_add(1, Ordering::Relaxed), 12));
        },
    )
    .await
    .unwrap();
    assert_eq!(steps.into_inner(), 12);
    assert!(drilled.unchanged.conserved);
    assert_eq!(drilled.missed(), Vec::<&str>::new());
    // This chain proves a seal and spacetime, and writes no deals.
    let absent: Vec<_> = drilled
        .places
        .iter()
        .filter(|place| place.verdict == Verdict::Absent)
        .map(|place| place.part)
        .collect();
    assert_eq!(absent, ["an embed proof"]);
    assert_eq!(drilled.refused(), 11);

    for place in &drilled.places {
        let Some(byte) = place.byte.filter(|byte| byte.block.0 > 0) else {
            continue;
        };
        let key = columns::height_key(byte.block);
        let change = |value: Option<Vec<u8>>| {
            let mut value = value.unwrap();
            value[byte.offset] ^= 1;
            value
        };
        spoil(&network.data(), Column::Blocks, &key, change);
        let found = finding(audit_folder(&network).await);
        spoil(&network.data(), Column::Blocks, &key, change);
        let said = Verdict::Refused {
            block: Some(found.height),
            message: found.message,
            reason: found.reason,
        };
        assert_eq!(place.verdict, said, "{}", place.part);
    }
    audit_folder(&network).await.unwrap();
}

#[tokio::test]
async fn a_ledger_that_does_not_hold_is_told_and_not_drilled() {
    let network = super::grown("drill of a spoilt one", 4);
    let key = columns::height_key(holdfast_market_core::units::Height(2));
    spoil(&network.data(), Column::Blocks, &key, |value| {
        let mut value = value.unwrap();
        *value.last_mut().unwrap() ^= 1;
        value
    });
    let (genesis, keys) = (&network.genesis, &network.verifying_keys);
    let step = |_, _| panic!("it was drilled");
    let result = drill(genesis, keys, network.source(), Arc::new(|_| ()), step).await;
    assert!(matches!(
        result,
        Err(crate::audit::AuditError::Finding(found)) if found.height.0 == 2
    ));
}
