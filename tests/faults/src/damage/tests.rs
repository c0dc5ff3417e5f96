//! The table is whole: each kind has its test, and each pattern means what it says.

use crate::damage::*;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn the_table_names_files_by_their_whole_path() {
    let kind = |owner, path| kind_of(owner, Path::new(path)).map(|kind| kind.path);
    assert_eq!(
        kind(Owner::Node, "sectors/0/groups/09-1.replica"),
        Some("sectors/*/groups/*.replica")
    );
    assert_eq!(
        kind(Owner::Node, "node.db/000012.log"),
        Some("node.db/*.log")
    );
    assert_eq!(
        kind(Owner::Node, "node.db/LOG.old.17"),
        Some("node.db/LOG*")
    );
    assert_eq!(kind(Owner::Node, "node.db/000012.log.x"), None);
    assert_eq!(kind(Owner::Node, "phrase.key/x"), None);
    assert_eq!(kind(Owner::Market, "phrase.key"), None);
}

#[test]
fn every_kind_has_its_test_in_the_sources() {
    let sources = sources();
    for kind in KINDS {
        let name = format!("fn {}()", kind.test);
        let found = sources.iter().any(|(_, text)| text.contains(&name));
        assert!(found, "{kind:?}");
    }
    // figure: kinds_of_file_damaged
    crate::figures::record(
        "kinds_of_file_damaged",
        KINDS.len() as f64,
        "kinds",
        "of all that a node, a market, a client and a network's folder keep",
    );
}

/// Every source of the workspace.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = Vec::new();
    for part in [
        "proofs",
        "market",
        "wire",
        "storage-node",
        "client",
        "testnet",
        "src",
        "tests",
    ] {
        for path in files(&root.join(part)) {
            if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found
}

#[test]
fn damage_is_the_same_for_the_same_seed() {
    assert_eq!(Damage::all(100, 3, 5), Damage::all(100, 3, 5));
    assert_ne!(Damage::all(100, 3, 5), Damage::all(100, 3, 6));
    assert_eq!(Damage::all(0, 3, 5), [Damage::Unreadable, Damage::Gone]);
}
