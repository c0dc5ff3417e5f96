//! Audits of whole ledgers and of spoilt ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod chain;
mod changed;
mod drill;
mod parts;

use super::{Audit, AuditError, Options, Source, audit, audit_with};
use crate::run::Market;
use crate::store::Store;
use crate::store::columns::{self, Column};
use crate::store::tests::spoil;
use crate::testing::{Network, address};
use holdfast_market_core::audit::Finding;
use holdfast_market_core::block::CertifiedBlock;
use holdfast_market_core::keys;
use holdfast_market_core::message::{decode, encode};
use holdfast_market_core::state::Account;
use holdfast_market_core::units::{Address, Amount, Height};
use holdfast_wire::ledger::LedgerClient;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

async fn audit_folder(network: &Network) -> Result<Audit, AuditError> {
    let id = network.genesis.network().unwrap();
    let store = Store::open_read_only(&network.data(), id)?;
    run(network, Source::Folder(Box::new(store))).await
}

impl Network {
    /// Its folder, to be read.
    fn source(&self) -> Source {
        let id = self.genesis.network().unwrap();
        let store = Store::open_read_only(&self.data(), id).unwrap();
        Source::Folder(Box::new(store))
    }
}

/// On so many cores.
async fn run_on(network: &Network, source: Source, threads: usize) -> Result<Audit, AuditError> {
    let options = Options {
        threads: NonZeroUsize::new(threads),
        ..Options::default()
    };
    let (genesis, keys) = (&network.genesis, &network.verifying_keys);
    let told = audit_with(genesis, keys, &source, options, Arc::new(|_| ())).await;
    told.map(|(audit, _)| audit)
}

async fn run(network: &Network, source: Source) -> Result<Audit, AuditError> {
    audit(
        &network.genesis,
        &network.verifying_keys,
        source,
        Arc::new(|_| ()),
    )
    .await
}

fn grown(name: &str, blocks: u64) -> Network {
    let network = Network::new(name);
    let ledger = network.open();
    network.grow(&ledger, blocks);
    network
}

fn finding(result: Result<Audit, AuditError>) -> Finding {
    match result {
        Err(AuditError::Finding(finding)) => finding,
        Err(other) => panic!("no finding but: {other}"),
        Ok(_) => panic!("the audit found nothing"),
    }
}

#[tokio::test]
async fn a_whole_ledger_passes_and_its_limits_are_said() {
    let network = grown("whole", 70);
    let heights = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&heights);
    let id = network.genesis.network().unwrap();
    let store = Store::open_read_only(&network.data(), id).unwrap();
    let held = audit(
        &network.genesis,
        &network.verifying_keys,
        Source::Folder(Box::new(store)),
        Arc::new(move |progress| {
            assert_eq!(progress.head, Height(70));
            seen.fetch_add(1, Ordering::Relaxed);
        }),
    )
    .await
    .unwrap();
    assert_eq!((held.height, held.done, held.refused), (Height(70), 70, 0));
    assert_eq!(heights.load(Ordering::Relaxed), 70);
    assert!(held.conserved);
    assert!(
        held.limits
            .iter()
            .any(|limit| limit.contains("knows every challenge"))
    );
}

#[tokio::test]
async fn a_running_market_passes_through_its_api() {
    let network = grown("live", 3);
    let market = Market::open(network.config()).await.unwrap();
    let client = LedgerClient::new(&format!("http://{}", market.address().unwrap())).unwrap();
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(market.run(stopped));
    client
        .submit(&network.transfer(3, Address([4; 32]), Amount(9)))
        .await
        .unwrap();
    client.wait(Height(8)).await.unwrap();
    let held = run(&network, Source::Api(client.clone())).await.unwrap();
    assert!(held.height >= Height(8) && held.done == 4);

    // Its folder can be read beside it.
    let held = audit_folder(&network).await.unwrap();
    assert!(held.height >= Height(8));

    let other = Network::new("another");
    assert!(matches!(
        run(&other, Source::Api(client)).await,
        Err(AuditError::OtherNetwork { .. })
    ));
    stop.send(true).unwrap();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_flipped_byte_in_a_stored_block_is_found_at_its_height() {
    let network = grown("flipped", 9);
    let key = columns::height_key(Height(5));
    let mut length = 0;
    spoil(&network.data(), Column::Blocks, &key, |value| {
        let value = value.unwrap();
        length = value.len();
        value
    });
    // Wherever it is flipped: in the header, the messages, their signatures, the certificate.
    for place in (0..length).step_by(23).chain([length - 1]) {
        let flip = |value: Option<Vec<u8>>| {
            let mut value = value.unwrap();
            value[place] ^= 0x10;
            value
        };
        spoil(&network.data(), Column::Blocks, &key, flip);
        let found = finding(audit_folder(&network).await);
        assert_eq!(found.height, Height(5), "byte {place}: {found}");
        spoil(&network.data(), Column::Blocks, &key, flip);
    }
    audit_folder(&network).await.unwrap();
}

#[tokio::test]
async fn a_block_signed_by_somebody_else_is_found() {
    let network = grown("forged", 4);
    let stranger = crate::validator::ValidatorKeys::from_seed(&[3; 32]);
    let id = network.genesis.network().unwrap();
    spoil(
        &network.data(),
        Column::Blocks,
        &columns::height_key(Height(2)),
        |value| {
            let mut block: CertifiedBlock = decode("block", &value.unwrap()).unwrap();
            let signature = holdfast_market_core::message::SigningContext::Block
                .sign(id, stranger.consensus(), &block.block.header)
                .unwrap();
            block.certificate = holdfast_market_core::block::Certificate::Embedded { signature };
            encode(&block).unwrap()
        },
    );
    let found = finding(audit_folder(&network).await);
    assert_eq!(found.height, Height(2));
    assert!(found.reason.contains("certificate"), "{found}");
}

#[tokio::test]
async fn a_balance_changed_in_the_folder_is_found() {
    let network = grown("balance", 4);
    let key = keys::account(&address(&network.rich));
    spoil(&network.data(), Column::State, &key, |value| {
        let mut account: Account = decode("account", &value.unwrap()).unwrap();
        account.balance = account.balance.checked_add(Amount(1)).unwrap();
        encode(&account).unwrap()
    });
    let found = finding(audit_folder(&network).await);
    assert!(found.reason.contains("state"), "{found}");
}

#[tokio::test]
async fn outcomes_changed_in_the_folder_are_found_at_their_height() {
    let network = grown("outcomes", 4);
    spoil(
        &network.data(),
        Column::Outcomes,
        &columns::height_key(Height(3)),
        |value| {
            let mut value = value.unwrap();
            let last = value.len() - 1;
            value[last] ^= 1;
            value
        },
    );
    let result = audit_folder(&network).await;
    let height = match result {
        Err(AuditError::Finding(finding)) => finding.height,
        Err(AuditError::Store(crate::store::StoreError::Damaged { height, .. })) => height,
        other => panic!("{other:?}"),
    };
    assert_eq!(height, Height(3));
}
