//! What every ordering engine must keep to, whatever it is made of: one suite for all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::Ordering;
use crate::ledger::{Committed, Ledger, LedgerError};
use crate::testing::{Network, address, followed};
use holdfast_market_core::block::CertifiedBlock;
use holdfast_market_core::query;
use holdfast_market_core::units::{Address, Amount, Height};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the suite over engines that `engine` makes for the network's validator.
pub async fn conforms<E: Ordering>(engine: impl Fn(&Network) -> E) {
    let network = Network::new("conformance");
    let ledger = Arc::new(network.open());

    // It makes blocks, and what waits is in one of them, executed.
    let receiver = Address([7; 32]);
    for nonce in 0..5 {
        ledger
            .submit(network.transfer(nonce, receiver, Amount(10)))
            .unwrap();
    }
    run_until(&ledger, engine(&network), Height(6)).await;
    let paid = query::account(&ledger.view(), &receiver).unwrap().balance;
    assert_eq!(paid, Amount(50));
    assert_eq!(ledger.pending(), 0);

    // Stopped, it commits nothing more.
    let stopped = ledger.head();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(ledger.head(), stopped);

    // Its blocks are a chain, final by their certificates, and each message is in it once.
    let blocks = ledger.blocks(Height(1)..=stopped.height).unwrap();
    check_chain(&network, &ledger, &blocks);

    // Committing them again, in any order, does nothing.
    for block in blocks.iter().rev() {
        assert_eq!(ledger.commit(block).unwrap(), Committed::Known);
    }
    assert_eq!(ledger.head(), stopped);

    // Another ledger that takes the same blocks stands where this one stands.
    let follower = Network::new("conformance");
    let follower = follower.open();
    for block in &blocks {
        follower.check(&block.block).unwrap();
        assert_eq!(follower.commit(block).unwrap(), Committed::New);
    }
    assert_eq!(follower.head(), stopped);

    // A gap and another block at a height that is taken are refused, and change nothing.
    let mut other = blocks[2].clone();
    other.block.header.time += 1;
    assert!(matches!(
        ledger.commit(&other),
        Err(LedgerError::Conflict { .. })
    ));
    let mut far = blocks[2].clone();
    far.block.header.height = Height(stopped.height.0 + 2);
    assert!(matches!(ledger.commit(&far), Err(LedgerError::Gap { .. })));
    assert_eq!(ledger.head(), stopped);

    // Opened again, it goes on where it stood.
    drop(ledger);
    let ledger = Arc::new(network.open());
    assert_eq!(ledger.head(), stopped);
    let further = Height(stopped.height.0 + 3);
    run_until(&ledger, engine(&network), further).await;
    let blocks = ledger.blocks(Height(1)..=further).unwrap();
    check_chain(&network, &ledger, &blocks);
}

async fn run_until<E: Ordering>(ledger: &Arc<Ledger>, engine: E, height: Height) {
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(engine.run(Arc::clone(ledger), stopped));
    let mut heads = ledger.follow();
    tokio::time::timeout(PATIENCE, heads.wait_for(|head| head.height >= height))
        .await
        .expect("blocks in time")
        .unwrap();
    stop.send(true).unwrap();
    tokio::time::timeout(PATIENCE, running)
        .await
        .expect("a stop in time")
        .unwrap()
        .unwrap();
}

fn check_chain(network: &Network, ledger: &Ledger, blocks: &[CertifiedBlock]) {
    let id = network.genesis.network().unwrap();
    let mut parent = holdfast_market_core::units::BlockId(id.0);
    let mut nonces = Vec::new();
    for (index, certified) in blocks.iter().enumerate() {
        let header = &certified.block.header;
        assert_eq!(header.height.0, index as u64 + 1);
        assert_eq!(header.parent, parent);
        assert!(certified.is_final(id, &network.genesis.validators));
        parent = header.id().unwrap();
        for message in &certified.block.messages {
            assert_eq!(message.message.sender, address(&network.rich));
            nonces.push(message.message.nonce);
        }
        let outcomes = ledger.store().outcomes(header.height).unwrap().unwrap();
        assert_eq!(outcomes.len(), certified.block.messages.len());
    }
    assert_eq!(nonces, [0, 1, 2, 3, 4]);
    // Who reads headers alone comes to the same block.
    assert_eq!(followed(ledger).block(), ledger.head().block);
}
