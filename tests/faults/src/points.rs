//! The crash points of the workspace, read from its sources, so that none can be forgotten.

use std::collections::BTreeSet;
use std::path::Path;

/// A point's name as the source has it: parts in braces are filled in while it runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(String);

impl Pattern {
    /// Whether a point that was passed is one of these.
    pub fn matches(&self, name: &str) -> bool {
        match self.0.split_once('{') {
            None => self.0 == name,
            Some((before, rest)) => {
                let after = rest.split_once('}').map_or("", |(_, after)| after);
                name.len() > before.len() + after.len()
                    && name.starts_with(before)
                    && name.ends_with(after)
            }
        }
    }

    /// How the name begins, as far as the source says.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// Every crash point of the workspace whose root is `root`.
pub fn all(root: &Path) -> BTreeSet<Pattern> {
    let mut found = BTreeSet::new();
    for part in [
        "proofs",
        "market",
        "wire",
        "storage-node",
        "client",
        "fuse-mount",
        "testnet",
        "src",
    ] {
        read(&root.join(part), &mut found);
    }
    found
}

fn read(path: &Path, found: &mut BTreeSet<Pattern>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            read(&entry.unwrap().path(), found);
        }
    } else if path.extension().is_some_and(|end| end == "rs") {
        let text = std::fs::read_to_string(path).unwrap();
        found.extend(names(&text));
    }
}

/// The first string after each call of `crash_point(`.
fn names(text: &str) -> Vec<Pattern> {
    text.split("crash_point(")
        .skip(1)
        .filter_map(|call| {
            let call = call.trim_start();
            let call = call.strip_prefix("&format!(").unwrap_or(call);
            let name = call.trim_start().strip_prefix('"')?;
            name.split_once('"').map(|(name, _)| Pattern(name.into()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_calls_and_from_nothing_else() {
        let text = r#"
            use crash::crash_point;
            pub fn crash_point(name: &str) {}
            crash_point("a.b");
            crash_point(&format!("node.{}.sent", kind));
            crash_point(
                &format!("long {}", name),
            );
        "#;
        let found: Vec<_> = names(text).into_iter().map(|name| name.0).collect();
        assert_eq!(found, ["a.b", "node.{}.sent", "long {}"]);
    }

    #[test]
    fn a_pattern_matches_what_it_becomes() {
        let pattern = Pattern("node.message.{}.sent".into());
        assert!(pattern.matches("node.message.seal.sent"));
        assert!(!pattern.matches("node.message..sent"));
        assert!(!pattern.matches("node.message.seal.journalled"));
        assert!(!Pattern("a".into()).matches("ab"));
    }
}
