//! What is refused is refused before anything is sent or paid, in one sentence with its figures, and
//! whoever does what the next step says succeeds.

use super::network::{Network, get, noise, options, put};
use super::stored::assert_same;
use holdfast_client::error::{ClientError, ErrorKind};
use holdfast_client::put::PutOptions;
use holdfast_client::session::Session;
use holdfast_market_core::message::Body;
use holdfast_market_core::units::{Amount, ByteCount, GRAINS_PER_HOLD};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// Puts, sees that it is refused as one says it to people, and that nothing has happened.
async fn refused(
    network: &Network,
    session: &Session,
    path: &Path,
    options: &PutOptions,
) -> ClientError {
    let view = || async { session.ledger().account(session.address()).await.unwrap() };
    let (before, shards) = (view().await, network.shards());
    let error = put(session, path, options).await.unwrap_err();
    assert_eq!(view().await, before, "{error}");
    assert_eq!(network.shards(), shards, "{error}");
    let journals = session.wallet().journal().unwrap();
    assert_eq!(std::fs::read_dir(journals).unwrap().count(), 0, "{error}");
    for text in [error.to_string().as_str(), error.next()] {
        assert!(!text.is_empty() && !text.contains('\n'), "{error:?}");
    }
    assert!(!error.to_string().ends_with('.'), "{error}");
    error
}

/// The word of a text after another one.
fn word_after<'a>(text: &'a str, before: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap();
    rest.split_whitespace().next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn more_than_there_is_room_for_is_refused_and_what_is_said_to_fit_does() {
    let network = Network::start(6, 3).await;
    let session = network.session();
    let large = network.path("large");
    // Without bytes on the disk.
    let file = std::fs::File::create(&large).unwrap();
    file.set_len(100 << 20).unwrap();
    let error = refused(&network, &session, &large, &options("large", false)).await;
    assert_eq!(error.kind(), ErrorKind::Refused);
    let text = error.to_string();
    // Twice its size and a little for what encryption adds, and six times three times two groups.
    assert!(text.contains("MiB on 6 different providers"), "{text}");
    assert!(
        text.contains("the 6 providers that answer have 4.4 MiB free"),
        "{text}"
    );
    let fits: f64 = word_after(error.next(), "at most about ").parse().unwrap();
    assert!(error.next().contains("MiB now"), "{}", error.next());

    #[allow(clippy::cast_sign_loss)]
    let length = (fits * f64::from(1 << 20)) as u64;
    file.set_len(length).unwrap();
    put(&session, &large, &options("large", false))
        .await
        .unwrap();
    file.set_len(100 << 20).unwrap();
    let error = refused(&network, &session, &large, &options("again", false)).await;
    assert!(!error.to_string().contains("have 4.4 MiB"), "{error}");
    session.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn where_no_sector_is_sealed_yet_not_even_an_empty_file_fits() {
    let network = Network::start(6, 0).await;
    let session = network.session();
    let none = network.path("nothing");
    std::fs::write(&none, b"").unwrap();
    let error = refused(&network, &session, &none, &options("nothing", false)).await;
    assert!(error.next().starts_with("nothing fits now"), "{error:?}");
    assert!(error.to_string().contains("have 0 bytes free"), "{error}");
    session.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fewer_live_providers_than_shards_are_counted_and_what_would_fit_does() {
    let network = Network::start(6, 2).await;
    let session = network.session();
    let file = network.path("file");
    std::fs::write(&file, noise(3, 10_000)).unwrap();
    for node in &network.nodes[4..] {
        node.kill().await;
    }
    let error = refused(&network, &session, &file, &options("file", false)).await;
    assert_eq!(error.kind(), ErrorKind::Refused);
    let text = error.to_string();
    assert!(
        text.starts_with("6 different providers are needed and 4 of the network's 6 answer"),
        "{text}"
    );
    let number = |before: &str| -> u8 {
        word_after(error.next(), before)
            .trim_end_matches(',')
            .parse()
            .unwrap()
    };
    let mut fewer = options("file", false);
    fewer.terms.data_shards = number("--data-shards ");
    fewer.terms.total_shards = number("--total-shards ");
    assert_eq!((fewer.terms.data_shards, fewer.terms.total_shards), (2, 4));
    put(&session, &file, &fewer).await.unwrap();
    assert_same(&file, &get(&session, "file", &network.path("back")).await);
    session.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_empty_purse_is_told_what_is_missing_and_with_that_it_stores() {
    let network = Network::start(6, 2).await;
    let (rich, poor) = (network.session(), network.poor_session("poor"));
    let file = network.path("file");
    std::fs::write(&file, noise(4, 100_000)).unwrap();
    let error = refused(&network, &poor, &file, &options("file", false)).await;
    assert_eq!(error.kind(), ErrorKind::Refused);
    let text = error.to_string();
    assert!(text.contains("the wallet has 0 HOLD: "), "{text}");
    let missing = word_after(error.next(), "send ");
    let address = poor.text_of(poor.address());
    assert_eq!(word_after(error.next(), " to "), format!("{address};"));

    let (whole, part) = missing.split_once('.').unwrap_or((missing, "0"));
    let grains: u128 = format!("{part:0<9}").parse().unwrap();
    let amount = Amount(whole.parse::<u128>().unwrap() * GRAINS_PER_HOLD + grains);
    let to = poor.address();
    let one_grain_less = Amount(amount.0 - 1);
    let transfer = |amount| rich.sender().send(Body::Transfer { to, amount });
    transfer(one_grain_less).await.unwrap();
    let error = refused(&network, &poor, &file, &options("file", false)).await;
    assert!(
        error.next().starts_with("send 0.000000001 HOLD"),
        "{error:?}"
    );
    transfer(Amount(1)).await.unwrap();
    put(&poor, &file, &options("file", false)).await.unwrap();
    assert_same(&file, &get(&poor, "file", &network.path("back")).await);
    rich.close().await;
    poor.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_missing_unreadable_or_no_file_is_refused_by_name() {
    let network = Network::start(0, 0).await;
    let session = network.session();
    let missing = network.path("no-such-file");
    let error = refused(&network, &session, &missing, &options("x", false)).await;
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(
        error.to_string().ends_with("no-such-file does not exist"),
        "{error}"
    );

    let folder = network.path("folder");
    std::fs::create_dir(&folder).unwrap();
    // A way that leads nowhere: not even root reads what lies behind it.
    symlink("round", network.path("round")).unwrap();
    let behind = network.path("round").join("file");
    let secret = folder.join("secret");
    std::fs::write(&secret, b"mine").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o000)).unwrap();
    let mut unreadable = vec![(behind, "round/file")];
    if std::fs::File::open(&secret).is_err() {
        unreadable.push((folder.clone(), "secret"));
    }
    for (path, name) in unreadable {
        let error = refused(&network, &session, &path, &options("x", false)).await;
        assert_eq!(error.kind(), ErrorKind::Failed);
        let text = error.to_string();
        assert!(text.contains(&format!("{name} cannot be read: ")), "{text}");
    }
    std::fs::remove_file(&secret).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(folder.join("a-socket")).unwrap();
    let error = refused(&network, &session, &folder, &options("x", false)).await;
    assert!(
        error.to_string().contains("a-socket is a socket"),
        "{error}"
    );
    session.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_name_that_is_taken_is_refused_and_replaced_only_when_told_to() {
    let network = Network::start(6, 4).await;
    let session = network.session();
    let file = network.path("file");
    std::fs::write(&file, noise(1, 1000)).unwrap();
    put(&session, &file, &options("file", false)).await.unwrap();
    std::fs::write(&file, noise(2, 2000)).unwrap();
    let error = refused(&network, &session, &file, &options("file", false)).await;
    assert!(error.next().contains("--replace"), "{error:?}");
    let replace = PutOptions {
        replace: true,
        ..options("file", false)
    };
    let stored = put(&session, &file, &replace).await.unwrap();
    assert_eq!(stored.bytes, ByteCount(2000));
    assert_same(&file, &get(&session, "file", &network.path("back")).await);
    session.close().await;
}
