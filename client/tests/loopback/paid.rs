//! Reading from providers that charge for it: bit by bit, within a limit, and nobody more than he
//! offers.

use super::network::{Network, Reading, WEALTH, noise, options, put};
use super::stored::assert_same;
use holdfast_client::error::ClientError;
use holdfast_client::get::Got;
use holdfast_client::meter::Meter;
use holdfast_client::session::Session;
use holdfast_market_core::message::Body;
use holdfast_market_core::quote::per_gib;
use holdfast_market_core::units::{Amount, ByteCount, Height};

const PRICE: Amount = Amount::hold(2);

fn at_price(_: usize) -> Reading {
    Reading {
        offered: PRICE,
        asked: PRICE,
    }
}

async fn get(session: &Session, name: &str, to: &std::path::Path) -> Result<Got, ClientError> {
    let catalogue = holdfast_client::published::current(session).await?;
    let record = holdfast_client::get::find(&catalogue, name)?;
    holdfast_client::get::get(session, record, to, false, &Meter::hidden()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_read_is_paid_by_vouchers_and_the_rest_of_the_deposit_comes_back() {
    let network = Network::charging(3, 60, at_price).await;
    let session = network.session();
    let source = network.path("film");
    // More than a provider's credit from each.
    std::fs::write(&source, noise(1, 9_000_000)).unwrap();
    let mut options = options("film", true);
    (options.terms.data_shards, options.terms.total_shards) = (1, 3);
    let stored = put(&session, &source, &options).await.unwrap();
    let before = session.ledger().account(session.address()).await.unwrap();
    // Who leaves keeps what it has, and serves it.
    for node in &network.nodes {
        node.retire().await;
    }

    let got = get(&session, "film", &network.path("back")).await.unwrap();
    assert_same(&source, &got.path);
    assert_eq!(got.around, Vec::<String>::new());
    // What was verified last is paid with the next read.
    let whole = per_gib(PRICE, ByteCount(9_000_000)).unwrap();
    let credit = per_gib(PRICE, holdfast_wire::protocol::READ_CREDIT).unwrap();
    assert!(got.paid <= Amount(whole.0 + whole.0 / 20), "{got:?}");
    assert!(got.paid.0 + 3 * credit.0 >= whole.0, "{got:?}");

    let mut paid = 0;
    for node in &network.nodes {
        for voucher in node.vouchers() {
            paid += voucher.voucher.amount.0;
            if voucher.voucher.amount > Amount::ZERO {
                node.redeem(voucher).await;
            }
        }
    }
    assert_eq!(Amount(paid), got.paid);
    let channels = session
        .ledger()
        .channels_of(session.address())
        .await
        .unwrap();
    assert!(!channels.is_empty());
    let mut last = Height(0);
    for channel in &channels {
        let provider = channel.id.provider;
        let body = Body::CloseChannel { provider };
        last = session.sender().send(body).await.unwrap().height;
    }
    let window = session.parameters().dispute_window;
    session
        .ledger()
        .wait_until(last.after(window))
        .await
        .unwrap();
    let channels = session
        .ledger()
        .channels_of(session.address())
        .await
        .unwrap();
    assert_eq!(channels, []);
    let after = session.ledger().account(session.address()).await.unwrap();
    let fees = before.balance.0 - after.balance.0 - paid;
    // An opening and a closing for each channel, at a thousandth of a HOLD or so.
    assert!(fees < Amount::hold(1).0 / 50, "{fees}");
    assert!(after.balance.0 < WEALTH.0 - stored.escrow.0 - paid);
    let supply = session.ledger().supply().await.unwrap();
    assert!(supply.balances_out(), "{supply:?}");
    session.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_asks_more_than_he_offers_is_gone_around_and_gets_nothing() {
    let network = Network::charging(4, 8, |number| Reading {
        offered: PRICE,
        asked: if number == 1 {
            Amount(PRICE.0 + 1)
        } else {
            PRICE
        },
    })
    .await;
    let session = network.session();
    let source = network.path("diary");
    std::fs::write(&source, noise(2, 300_000)).unwrap();
    let mut options = options("diary", true);
    options.terms.total_shards = 4;
    put(&session, &source, &options).await.unwrap();
    let got = get(&session, "diary", &network.path("back")).await.unwrap();
    assert_same(&source, &got.path);
    let dear = network.nodes[1].provider;
    let named = got.around.iter().any(|sentence| {
        sentence.contains(&format!("provider {dear}"))
            && sentence.contains("its offer on the ledger")
    });
    // Where its shard was not needed, it was not asked.
    assert!(named || got.around.is_empty(), "{:?}", got.around);
    assert_eq!(network.nodes[1].vouchers(), []);
    let channels = session
        .ledger()
        .channels_of(session.address())
        .await
        .unwrap();
    assert!(channels.iter().all(|channel| channel.id.provider != dear));
    session.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_more_is_put_aside_for_reading_than_was_allowed() {
    let network = Network::charging(3, 8, at_price).await;
    let session = network.session();
    let source = network.path("diary");
    std::fs::write(&source, noise(3, 300_000)).unwrap();
    let mut options = options("diary", true);
    options.terms.total_shards = 3;
    put(&session, &source, &options).await.unwrap();
    let before = session.ledger().account(session.address()).await.unwrap();
    session.purse().allow(Amount(1));
    let refused = get(&session, "diary", &network.path("back"))
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("--most"), "{refused}");
    let after = session.ledger().account(session.address()).await.unwrap();
    assert_eq!(before, after);
    session.purse().allow(Amount::hold(1));
    let got = get(&session, "diary", &network.path("again"))
        .await
        .unwrap();
    assert_same(&source, &got.path);
    session.close().await;
}
