//! `docs/THREATS.md` names the test that holds each line; here each name is looked up.

use std::collections::BTreeSet;
use std::path::Path;

/// Every function that stands under a test attribute, anywhere in the workspace.
fn tests(path: &Path, found: &mut BTreeSet<String>) {
    if path.is_dir() {
        let hidden =
            |name: &std::ffi::OsStr| name == "target" || name.as_encoded_bytes()[0] == b'.';
        for entry in std::fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            if !hidden(&entry.file_name()) {
                tests(&entry.path(), found);
            }
        }
    } else if path.extension().is_some_and(|end| end == "rs") {
        let text = std::fs::read_to_string(path).unwrap();
        let parts = text.split("#[test]").chain(text.split("#[tokio::test"));
        for part in parts {
            let name = part.split_once("fn ").map_or("", |(_, rest)| rest);
            let name = name.split('(').next().unwrap_or_default();
            found.insert(name.to_owned());
        }
    }
}

#[test]
fn every_test_that_the_page_of_threats_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = BTreeSet::new();
    tests(&root, &mut found);
    let page = std::fs::read_to_string(root.join("docs/THREATS.md")).unwrap();
    let mut named = 0;
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let Some(cell) = line.trim_end_matches([' ', '|']).rsplit('|').next() else {
            continue;
        };
        // Names of tests are sentences; commands and numbers are not.
        for name in cell
            .split('`')
            .filter(|name| name.matches('_').count() >= 4)
        {
            assert!(found.contains(name), "no test is called {name}");
            named += 1;
        }
    }
    assert!(named >= 50, "{named} names");
}
