//! What the demo stores when nobody names anything: files of the clone that it stands in.

use crate::error::{TestnetError, at};
use std::path::{Path, PathBuf};

/// Files that a clone has: text, a lock file of some size, a program with its mode bits, a folder.
const PICKS: [&str; 6] = [
    "README.md",
    "Cargo.lock",
    "LICENSE-MIT",
    "dev",
    "docs/ARCHITECTURE.md",
    "proofs/SECURITY.md",
];

/// Copies what of [`PICKS`] is in `clone` into a new folder, with modes and times, and an empty file
/// and an empty folder beside them. Answers the names; none where this is no clone.
pub(super) fn pick(clone: &Path, to: &Path) -> Result<Vec<&'static str>, TestnetError> {
    let mut picked = Vec::new();
    for name in PICKS {
        let from = clone.join(name);
        if from.is_file() {
            copy(&from, &to.join(name))?;
            picked.push(name);
        }
    }
    if !picked.is_empty() {
        let folder = to.join("empty-folder");
        std::fs::create_dir_all(&folder).map_err(at(&folder))?;
        let file = to.join("empty-file");
        std::fs::write(&file, b"").map_err(at(&file))?;
    }
    Ok(picked)
}

fn copy(from: &Path, to: &Path) -> Result<(), TestnetError> {
    let parent: PathBuf = to.parent().map(Path::to_owned).unwrap_or_default();
    std::fs::create_dir_all(&parent).map_err(at(&parent))?;
    // Mode bits come along; times do not.
    std::fs::copy(from, to).map_err(at(from))?;
    let modified = std::fs::metadata(from)
        .and_then(|metadata| metadata.modified())
        .map_err(at(from))?;
    std::fs::File::open(to)
        .and_then(|file| file.set_modified(modified))
        .map_err(at(to))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tree::Tree;

    #[test]
    fn picks_keep_their_modes_and_times() {
        let folder = tempfile::tempdir().unwrap();
        let clone = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let to = folder.path().join("picks");
        let picked = pick(&clone, &to).unwrap();
        assert!(picked.contains(&"dev") && picked.contains(&"Cargo.lock"));
        for name in picked {
            let before = Tree::read(&clone.join(name)).unwrap();
            let after = Tree::read(&to.join(name)).unwrap();
            assert_eq!(before.differences(&after), Vec::<String>::new(), "{name}");
        }
        assert!(to.join("empty-folder").is_dir());
    }

    #[test]
    fn there_is_nothing_to_pick_outside_a_clone() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("picks");
        assert!(pick(folder.path(), &to).unwrap().is_empty());
        assert!(!to.exists());
    }
}
