//! The names in folders, as they are now, and the changes of them that are not durable yet.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

/// A name in a folder and what it stands for.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// Which file or folder.
    pub(super) inode: u64,
    /// Where a listing goes on after it.
    pub(super) cookie: u64,
}

/// One folder.
#[derive(Clone, Default)]
pub(super) struct Names {
    pub(super) now: BTreeMap<OsString, Entry>,
    pub(super) durable: BTreeMap<OsString, u64>,
}

/// A name given or taken away.
pub(super) struct Change {
    pub(super) folder: u64,
    pub(super) name: OsString,
    /// What it stands for, or nothing.
    pub(super) inode: Option<u64>,
}

/// Changes of names that are not durable, oldest first. Each step is whole or not at all.
#[derive(Default)]
pub(super) struct Pending(Vec<Vec<Change>>);

impl Pending {
    pub(super) fn push(&mut self, step: Vec<Change>) {
        self.0.push(step);
    }

    /// Takes out what a sync of `folder` makes durable: its own changes, and whatever those of more
    /// than one folder depend on.
    pub(super) fn take_for(&mut self, folder: u64) -> Vec<Change> {
        let mut folders = BTreeSet::from([folder]);
        let mut taken = Vec::new();
        let mut left = Vec::new();
        for step in std::mem::take(&mut self.0).into_iter().rev() {
            if step.iter().any(|change| folders.contains(&change.folder)) {
                folders.extend(step.iter().map(|change| change.folder));
                taken.push(step);
            } else {
                left.push(step);
            }
        }
        left.reverse();
        self.0 = left;
        taken.into_iter().rev().flatten().collect()
    }

    /// Takes everything out, and answers of each folder's changes the first ones, as many as
    /// `keep(of how many)` says.
    pub(super) fn take_first(&mut self, mut keep: impl FnMut(usize) -> usize) -> Vec<Change> {
        let steps = std::mem::take(&mut self.0);
        let folders = |step: &[Change]| -> BTreeSet<u64> {
            step.iter().map(|change| change.folder).collect()
        };
        let mut left: BTreeMap<u64, usize> = BTreeMap::new();
        for folder in steps.iter().flat_map(|step| folders(step)) {
            *left.entry(folder).or_default() += 1;
        }
        for count in left.values_mut() {
            *count = keep(*count);
        }
        let mut kept = Vec::new();
        for step in steps {
            let touched = folders(&step);
            let stays = touched
                .iter()
                .all(|folder| left.get(folder).is_some_and(|count| *count > 0));
            for folder in touched {
                if let Some(count) = left.get_mut(&folder) {
                    // One that is lost takes all later ones of its folders with it.
                    *count = if stays { *count - 1 } else { 0 };
                }
            }
            if stays {
                kept.extend(step);
            }
        }
        kept
    }

    /// What the changes name.
    pub(super) fn inodes(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flatten().filter_map(|change| change.inode)
    }
}
