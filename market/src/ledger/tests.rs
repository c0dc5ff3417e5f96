#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use crate::testing::Network;
use holdfast_market_core::block::transactions_root;
use holdfast_market_core::refusal::Refusal;
use holdfast_market_core::units::Amount;

#[test]
fn a_message_that_waits_is_in_no_block_under_another_signature() {
    let network = Network::new("signatures");
    let builder = network.open();
    builder
        .submit(network.transfer(0, Address([1; 32]), Amount(1)))
        .unwrap();
    let right = builder
        .propose(&network.validator(), 1_800_000_000_000)
        .unwrap();
    assert_eq!(right.messages.len(), 1);
    let mut forged = right.clone();
    forged.messages[0].signature.0[3] ^= 1;
    forged.header.transactions_root = transactions_root(&forged.messages).unwrap();
    // One market has checked the message when it came in, the other has never seen it.
    let other = Network::new("signatures");
    let stranger = other.open();
    assert_eq!(builder.network(), stranger.network());
    for ledger in [&builder, &stranger] {
        ledger.check(&right).unwrap();
        assert!(matches!(
            ledger.check(&forged),
            Err(LedgerError::Block {
                source: BlockError::Inadmissible {
                    index: 0,
                    why: Refusal::Signature
                },
                ..
            })
        ));
    }
}
