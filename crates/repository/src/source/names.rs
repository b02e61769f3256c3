//! Many names in one piece of memory: a directory of a million entries would else take a hundred bytes for each.

/// Where a name stands.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    length: u32,
}

/// Names, of which all together may have 4 GiB. A name takes its own bytes and eight more.
#[derive(Debug, Clone, Default)]
pub struct Names {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

/// The names together are longer than can be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its names have more than 4 GiB")]
pub struct TooManyNames;

impl Names {
    /// Adds a name at the end.
    ///
    /// # Errors
    /// [`TooManyNames`] if there is no room for it.
    pub fn push(&mut self, name: &[u8]) -> Result<(), TooManyNames> {
        let start = u32::try_from(self.bytes.len()).map_err(|_| TooManyNames)?;
        let length = u32::try_from(name.len()).map_err(|_| TooManyNames)?;
        self.bytes.extend_from_slice(name);
        self.spans.push(Span { start, length });
        Ok(())
    }

    /// Brings the names into the order of their bytes and drops those that are there twice.
    pub fn sort(&mut self) {
        let bytes = &self.bytes;
        self.spans.sort_unstable_by(|left, right| in_bytes(bytes, *left).cmp(in_bytes(bytes, *right)));
        self.spans.dedup_by(|later, first| in_bytes(bytes, *later) == in_bytes(bytes, *first));
    }

    /// Number of names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The name at a place below [`Self::len`]; empty beyond.
    #[must_use]
    pub fn get(&self, at: usize) -> &[u8] {
        self.spans.get(at).map_or(&[], |span| in_bytes(&self.bytes, *span))
    }

    /// The names in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.spans.iter().map(|span| in_bytes(&self.bytes, *span))
    }

    /// Whether a name is among them, which must be in the order of their bytes.
    #[must_use]
    pub fn contains(&self, name: &[u8]) -> bool {
        self.spans.binary_search_by(|span| in_bytes(&self.bytes, *span).cmp(name)).is_ok()
    }

    /// Takes the last name away.
    pub fn pop(&mut self) -> Option<Vec<u8>> {
        self.spans.pop().map(|span| in_bytes(&self.bytes, span).to_vec())
    }

    /// Keeps the names of which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8]) -> bool) {
        let bytes = &self.bytes;
        self.spans.retain(|span| keep(in_bytes(bytes, *span)));
    }
}

fn in_bytes(bytes: &[u8], span: Span) -> &[u8] {
    let start = span.start as usize;
    bytes.get(start..start + span.length as usize).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_are_sorted_and_kept_as_a_list_would_be(list in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..4), 0..30)) {
            let mut names = Names::default();
            list.iter().for_each(|name| names.push(name).unwrap());
            names.sort();
            let mut expected = list;
            expected.sort();
            expected.dedup();
            prop_assert_eq!(names.iter().collect::<Vec<_>>(), expected.iter().map(Vec::as_slice).collect::<Vec<_>>());
            names.retain(|name| name.len() != 1);
            expected.retain(|name| name.len() != 1);
            prop_assert_eq!(names.len(), expected.len());
            prop_assert!((0..expected.len()).all(|at| names.get(at) == expected[at]));
            prop_assert!(expected.iter().all(|name| names.contains(name)) && !names.contains(b"longer than any"));
            prop_assert_eq!(names.pop(), expected.pop());
        }
    }

    /// Engine §5: a million names of a usual length stay under 40 MB.
    #[test]
    fn a_name_takes_eight_bytes_beyond_its_own() {
        assert_eq!(size_of::<Span>(), 8);
    }
}
