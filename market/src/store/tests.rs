//! The store under restarts, kills and damage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::columns::{self, Column};
use super::{Store, StoreError};
use crate::damage::{self, Owner, kind_of};
use crate::ledger::{Ledger, LedgerError};
use crate::ordering::one_block;
use crate::testing::{Network, address};
use holdfast_market_core::query;
use holdfast_market_core::units::{Address, Amount, Height};
use holdfast_wire::folder::FolderError;
use rocksdb::{DB, Options};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// Opens the database behind the store's back.
pub(crate) fn spoil(
    folder: &Path,
    column: Column,
    key: &[u8],
    change: impl FnOnce(Option<Vec<u8>>) -> Vec<u8>,
) {
    let db = DB::open_cf(
        &Options::default(),
        folder.join("ledger"),
        Column::ALL.map(Column::name),
    )
    .unwrap();
    let handle = db.cf_handle(column.name()).unwrap();
    let value = change(db.get_cf(handle, key).unwrap());
    db.put_cf(handle, key, value).unwrap();
}

fn reopen(network: &Network) -> Result<Ledger, LedgerError> {
    Ledger::open(
        &network.data(),
        network.genesis.clone(),
        &network.verifying_keys,
    )
}

#[test]
fn a_ledger_opened_again_stands_where_it_stood() {
    let network = Network::new("again");
    let ledger = network.open();
    let blocks = network.grow(&ledger, 5);
    let (head, supply) = (ledger.head(), query::supply(&ledger.view()).unwrap());
    drop(ledger);
    let ledger = network.open();
    assert_eq!(ledger.head(), head);
    assert_eq!(query::supply(&ledger.view()).unwrap(), supply);
    assert_eq!(ledger.blocks(Height(2)..=Height(4)).unwrap(), blocks[1..4]);
    assert_eq!(ledger.blocks(Height(5)..=Height(9)).unwrap(), blocks[4..]);
    network.grow(&ledger, 1);
    assert_eq!(ledger.head().height, Height(6));
}

#[test]
fn a_folder_in_use_is_refused_and_free_again_afterwards() {
    let network = Network::new("held");
    let ledger = network.open();
    let Err(error) = reopen(&network) else {
        panic!("opened twice");
    };
    assert!(matches!(
        error,
        LedgerError::Store(StoreError::Folder(FolderError::InUse { .. }))
    ));
    drop(ledger);
    reopen(&network).unwrap();
}

#[test]
fn a_ledger_of_another_network_is_refused_by_name() {
    let network = Network::new("one");
    drop(network.open());
    let other = Network::new("two");
    let Err(error) = Ledger::open(
        &network.data(),
        other.genesis.clone(),
        &other.verifying_keys,
    ) else {
        panic!("opened another network's folder");
    };
    let sentence = error.to_string();
    for id in [&network.genesis, &other.genesis].map(|one| one.network().unwrap()) {
        assert!(sentence.contains(&id.to_string()), "{sentence}");
    }
    // Read-only opening does not pass the folder's identity file; the database says it itself.
    let asked = other.genesis.network().unwrap();
    assert!(matches!(
        Store::open_read_only(&network.data(), asked),
        Err(StoreError::OtherNetwork { expected, .. }) if expected == asked
    ));
}

#[test]
fn a_store_of_another_version_is_refused_by_name() {
    let network = Network::new("version");
    drop(network.open());
    spoil(&network.data(), Column::Meta, columns::FORMAT_KEY, |_| {
        b"holdfast market store 0".to_vec()
    });
    let Err(error) = reopen(&network) else {
        panic!("opened another version's folder");
    };
    assert!(error.to_string().contains("holdfast market store 0"));
}

#[test]
fn a_folder_without_a_ledger_cannot_be_audited() {
    let network = Network::new("empty");
    assert!(matches!(
        Store::open_read_only(&network.data(), network.genesis.network().unwrap()),
        Err(StoreError::Absent(_))
    ));
}

#[test]
fn a_head_that_does_not_fit_the_rest_is_damage_with_its_height() {
    let changes: [(Column, Vec<u8>); 3] = [
        (Column::Meta, columns::HEAD_KEY.to_vec()),
        (Column::Blocks, columns::height_key(Height(3)).to_vec()),
        (Column::Blocks, columns::height_key(Height(4)).to_vec()),
    ];
    for (column, key) in changes {
        let network = Network::new("damage");
        let ledger = network.open();
        network.grow(&ledger, 3);
        drop(ledger);
        spoil(&network.data(), column, &key, |value| {
            let mut value = value.unwrap_or_else(|| b"a block that no head names".to_vec());
            let middle = value.len() / 2;
            value[middle] ^= 1;
            value
        });
        let Err(error) = reopen(&network) else {
            panic!("opened a damaged folder");
        };
        let LedgerError::Store(StoreError::Damaged { height, .. }) = &error else {
            panic!("{error}");
        };
        assert!(*height == Height(3) || column == Column::Meta, "{error}");
    }
}

#[test]
fn old_tree_nodes_go_and_the_tree_stays_whole() {
    let network = Network::new("prune");
    let ledger = network.open();
    let blocks = super::TREE_HISTORY + 40;
    network.grow(&ledger, blocks);
    let store = ledger.store();
    assert!(store.tree_root(Height(blocks)).unwrap().is_some());
    let kept = Height(blocks - super::TREE_HISTORY + 1);
    assert!(store.tree_root(kept).unwrap().is_some());
    assert!(store.tree_root(Height(10)).unwrap().is_none());
    let shown = ledger.prove(holdfast_market_core::keys::SUPPLY).unwrap();
    assert_eq!(shown.state_root, ledger.head().state_root);
}

#[test]
fn a_state_object_and_its_absence_are_shown_under_the_root_of_the_next_header() {
    use holdfast_market_core::{keys, tree};
    let network = Network::new("proofs");
    let ledger = network.open();
    network.grow(&ledger, 3);
    let account = keys::account(&address(&network.rich));
    let nobody = keys::account(&Address([77; 32]));
    let (shown, absent) = (
        ledger.prove(&account).unwrap(),
        ledger.prove(&nobody).unwrap(),
    );
    let next = network.grow(&ledger, 1).remove(0);
    let root = next.block.header.state_root;
    assert!(tree::is_shown(
        root,
        &account,
        shown.value.as_deref(),
        &shown.proof
    ));
    assert!(absent.value.is_none());
    assert!(tree::is_shown(root, &nobody, None, &absent.proof));
    // Neither shows anything else.
    let mut other = shown.value.clone().unwrap();
    other[0] ^= 1;
    assert!(!tree::is_shown(root, &account, Some(&other), &shown.proof));
    assert!(!tree::is_shown(root, &account, None, &shown.proof));
    assert!(!tree::is_shown(root, &nobody, None, &shown.proof));
    assert!(!tree::is_shown(
        ledger.head().state_root,
        &account,
        shown.value.as_deref(),
        &shown.proof
    ));
}

const CHILD: &str = "HOLDFAST_MARKET_TEST_CHILD";

/// In the child process: commits blocks until it is killed, and says each height once its commit has
/// returned.
fn commit_until_killed(folder: &Path) -> ! {
    let network = Network::in_folder("killed", folder);
    let ledger = network.open();
    let keys = network.validator();
    let mut nonce = query::account(&ledger.view(), &address(&network.rich))
        .unwrap()
        .nonce;
    loop {
        for _ in 0..3 {
            let message = network.transfer(nonce, Address([5; 32]), Amount(1));
            ledger.submit(message).unwrap();
            nonce += 1;
        }
        let block = one_block(&ledger, &keys, 0).unwrap();
        println!("committed {}", block.block.header.height);
    }
}

#[test]
fn killed_at_any_moment_it_keeps_every_block_that_it_acknowledged() {
    if let Ok(folder) = std::env::var(CHILD) {
        commit_until_killed(Path::new(&folder));
    }
    let network = Network::new("killed");
    let mut acknowledged = 0;
    for round in 0..4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "store::tests::killed_at_any_moment_it_keeps_every_block_that_it_acknowledged",
            ])
            .args(["--nocapture", "--test-threads=1"])
            .env(CHILD, network.folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Each round is cut at another place between two acknowledgements.
        let mut heard = 0;
        for line in lines {
            let line = line.unwrap();
            let Some((_, height)) = line.split_once("committed ") else {
                continue;
            };
            acknowledged = height.trim().parse().unwrap();
            heard += 1;
            if heard == 5 + round * 7 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(heard >= 5 + round * 7);

        let ledger = network.open();
        let head = ledger.head();
        assert!(
            head.height.0 == acknowledged || head.height.0 == acknowledged + 1,
            "acknowledged {acknowledged}, found {}",
            head.height
        );
        let supply = query::supply(&ledger.view()).unwrap();
        assert!(supply.balances_out());
        let paid = query::account(&ledger.view(), &Address([5; 32])).unwrap();
        assert_eq!(paid.balance, Amount(u128::from(head.height.0) * 3));
    }
}

/// Everything that the ledger in a copy of the network's folder holds, in words: also every block.
fn content(network: &Network, folder: &Path) -> Result<String, String> {
    let keys = &network.verifying_keys;
    let ledger = Ledger::open(folder, network.genesis.clone(), keys);
    let ledger = ledger.map_err(|error| error.to_string())?;
    let head = ledger.head();
    let supply = query::supply(&ledger.view()).map_err(|error| error.to_string())?;
    let mut text = format!("{head:?} {supply:?}");
    for height in 1..=head.height.0 {
        let block = ledger.store().block(Height(height));
        let outcomes = ledger.store().outcomes(Height(height));
        let block = block.map_err(|error| error.to_string())?;
        let outcomes = outcomes.map_err(|error| error.to_string())?;
        text.push_str(&format!("{block:?} {outcomes:?}"));
    }
    Ok(text)
}

#[test]
fn damage_to_any_file_of_the_ledger_is_refused_by_name_or_changes_nothing() {
    let network = Network::new("flipped");
    for _ in 0..2 {
        // Opened again, what was in the log is in tables.
        network.grow(&network.open(), 4);
    }
    let data = network.data();
    assert_eq!(
        damage::unknown(Owner::Market, &data),
        [""; 0].map(Path::new)
    );
    // Of a copy: opening puts what the log has into tables.
    let copy = tempfile::tempdir().unwrap();
    damage::copy(&data, copy.path());
    let whole = content(&network, copy.path()).unwrap();
    let mut refused = std::collections::BTreeMap::new();
    for file in damage::files(&data) {
        let below = file.strip_prefix(&data).unwrap();
        let kind = kind_of(Owner::Market, below).unwrap();
        if !below.starts_with("ledger") && !kind.path.ends_with(".mark") {
            continue;
        }
        damage::each(&data, below, 0, 12, |folder, damage| {
            let what = format!("{}, {damage}", below.display());
            let name = folder.to_str().unwrap();
            let found = content(&network, folder);
            let count: &mut u32 = refused.entry(kind.path).or_default();
            if damage::assert_named_or_same(found, &whole, name, &what) {
                *count += 1;
                let again = content(&network, folder);
                damage::assert_named_or_same(again, &whole, name, &what);
            }
        });
    }
    println!("refused: {refused:?}");
    for kind in [
        "ledger/*.sst",
        "ledger/*.log",
        "ledger/MANIFEST-*",
        "ledger/CURRENT",
    ] {
        assert!(refused[kind] > 0, "{kind}: {refused:?}");
    }
    // Only where a folder has its name: it cannot be written anew.
    assert_eq!(refused["ledger.mark"], 1);
}
