//! Which operations on which files fail.

/// What a rule lets fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Read,
    Write,
    Sync,
}

/// The rules; any that fits lets the operation fail.
#[derive(Default)]
pub(super) struct Faults(Vec<(Act, String)>);

impl Faults {
    pub(super) fn add(&mut self, act: Act, pattern: &str) {
        self.0.push((act, pattern.trim_start_matches('/').into()));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether there is a rule for `act` at all; paths are only worked out where there is.
    pub(super) fn concern(&self, act: Act) -> bool {
        self.0.iter().any(|(one, _)| *one == act)
    }

    pub(super) fn hit(&self, act: Act, path: &str) -> bool {
        self.0
            .iter()
            .any(|(one, pattern)| *one == act && fits(pattern.as_bytes(), path.as_bytes()))
    }
}

/// Whether `text` is what `pattern` describes, in which `*` stands for any run of bytes.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => {
            (0..=text.len()).any(|skip| text.get(skip..).is_some_and(|tail| fits(rest, tail)))
        }
        Some((first, rest)) => text
            .split_first()
            .is_some_and(|(one, tail)| one == first && fits(rest, tail)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        let fitting = [
            ("*", ""),
            ("*", "a/b"),
            ("a", "a"),
            ("a*", "a/b/c"),
            ("*.log", "node.db/000004.log"),
            ("sectors/*/tree*", "sectors/0/tree.1"),
        ];
        for (pattern, text) in fitting {
            assert!(
                fits(pattern.as_bytes(), text.as_bytes()),
                "{pattern} {text}"
            );
        }
        for (pattern, text) in [("", "a"), ("a", "ab"), ("*.log", "log"), ("a*c", "ab")] {
            assert!(
                !fits(pattern.as_bytes(), text.as_bytes()),
                "{pattern} {text}"
            );
        }
    }
}
