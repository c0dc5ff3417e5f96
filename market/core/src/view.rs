//! Reading state: the one thing that the rules ask of whoever stores it.

use std::collections::BTreeMap;
use std::ops::Bound;

/// What a block changes: a value, or `None` where the key goes.
pub type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// State could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the ledger's state could not be read: {0}")]
pub struct ViewError(pub String);

/// State after some block.
pub trait ReadView {
    /// The value under a key.
    ///
    /// # Errors
    /// The store cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError>;

    /// Entries whose keys begin with `prefix`, ascending, those above `after` only, at most `limit`.
    ///
    /// # Errors
    /// The store cannot be read.
    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Entry>, ViewError>;
}

/// State in memory: for audits and tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryView(BTreeMap<Vec<u8>, Vec<u8>>);

impl From<BTreeMap<Vec<u8>, Vec<u8>>> for MemoryView {
    fn from(entries: BTreeMap<Vec<u8>, Vec<u8>>) -> Self {
        Self(entries)
    }
}

impl MemoryView {
    /// Takes over what a block (or genesis) changed.
    pub fn apply(&mut self, writes: &Writes) {
        for (key, value) in writes {
            match value {
                Some(value) => self.0.insert(key.clone(), value.clone()),
                None => self.0.remove(key),
            };
        }
    }

    /// The same, and what takes it back.
    pub(crate) fn exchange(&mut self, writes: &Writes) -> Writes {
        let exchanged = writes.iter().map(|(key, value)| {
            let before = match value {
                Some(value) => self.0.insert(key.clone(), value.clone()),
                None => self.0.remove(key),
            };
            (key.clone(), before)
        });
        exchanged.collect()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every entry, ascending.
    pub fn entries(&self) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>)> {
        self.0.iter()
    }
}

impl ReadView for MemoryView {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        Ok(self.0.get(key).cloned())
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Entry>, ViewError> {
        Ok(self
            .0
            .range::<[u8], _>((scan_start(prefix, after), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }
}

/// Where a scan begins.
pub(crate) fn scan_start<'a>(prefix: &'a [u8], after: Option<&'a [u8]>) -> Bound<&'a [u8]> {
    match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_scan_keeps_to_its_prefix_and_continues_after_a_key() {
        let mut view = MemoryView::default();
        let put = |key: &str| (key.as_bytes().to_vec(), Some(vec![1]));
        view.apply(&["a", "b1", "b2", "b3", "c"].into_iter().map(put).collect());
        let keys = |after: Option<&str>, limit| -> Vec<Vec<u8>> {
            view.scan(b"b", after.map(str::as_bytes), limit)
                .unwrap()
                .into_iter()
                .map(|(key, _)| key)
                .collect()
        };
        assert_eq!(keys(None, 2), [b"b1", b"b2"]);
        assert_eq!(keys(Some("b2"), 9), [b"b3"]);
        assert_eq!(keys(Some("a"), 1), [b"b1"]);
        assert_eq!(keys(Some("c"), 9), Vec::<Vec<u8>>::new());
    }
}
