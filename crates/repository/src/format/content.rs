//! The blobs of a file in order. Equal ones that follow each other are kept once: a hole of a tebibyte is two million times the
//! same chunk of zeros.

use std::fmt;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

use super::Id;

/// Digits of an id with quotes and comma in a list of JSON.
pub(super) const LISTED_ID: u64 = 67;

/// The same blob some times in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The blob.
    pub id: Id,
    /// How often it stands here, at least once.
    pub count: u64,
}

/// The blobs of a file in order.
///
/// Runs that follow each other are of different blobs, so equal contents have equal runs.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Content {
    runs: Vec<Run>,
}

impl Content {
    /// No blobs: the content of an empty file.
    #[must_use]
    pub const fn new() -> Self {
        Self { runs: Vec::new() }
    }

    /// Adds a blob at the end.
    pub fn push(&mut self, id: Id) {
        self.push_run(Run { id, count: 1 });
    }

    /// Adds the same blob some times at the end.
    pub fn push_run(&mut self, run: Run) {
        match self.runs.last_mut() {
            _ if run.count == 0 => {}
            Some(last) if last.id == run.id => last.count += run.count,
            _ => self.runs.push(run),
        }
    }

    /// Number of blobs, each counted as often as it stands there.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.runs.iter().map(|run| run.count).sum()
    }

    /// Whether there is no blob.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The blobs as runs. This is how they are gone through wherever one look at a blob is enough.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The blobs one by one, each as often as it stands there.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter { rest: &self.runs, taken: 0 }
    }
}

impl From<Vec<Id>> for Content {
    fn from(ids: Vec<Id>) -> Self {
        ids.into_iter().collect()
    }
}

impl FromIterator<Id> for Content {
    fn from_iter<I: IntoIterator<Item = Id>>(ids: I) -> Self {
        let mut content = Self::new();
        ids.into_iter().for_each(|id| content.push(id));
        content
    }
}

impl FromIterator<Run> for Content {
    fn from_iter<I: IntoIterator<Item = Run>>(runs: I) -> Self {
        let mut content = Self::new();
        runs.into_iter().for_each(|run| content.push_run(run));
        content
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.runs.iter().map(|run| (run.id, run.count))).finish()
    }
}

/// The blobs of a content one by one.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    rest: &'a [Run],
    /// How many of the first run were given out.
    taken: u64,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Id;

    fn next(&mut self) -> Option<&'a Id> {
        let (first, later) = self.rest.split_first()?;
        self.taken += 1;
        if self.taken >= first.count {
            (self.rest, self.taken) = (later, 0);
        }
        Some(&first.id)
    }
}

impl<'a> IntoIterator for &'a Content {
    type Item = &'a Id;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The blobs of a content that is used up.
#[derive(Debug)]
pub struct IntoIter {
    runs: std::vec::IntoIter<Run>,
    run: Option<Run>,
}

impl Iterator for IntoIter {
    type Item = Id;

    fn next(&mut self) -> Option<Id> {
        let run = match self.run {
            Some(run) => run,
            None => self.runs.next()?,
        };
        self.run = (run.count > 1).then_some(Run { count: run.count - 1, ..run });
        Some(run.id)
    }
}

impl IntoIterator for Content {
    type Item = Id;
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        IntoIter { runs: self.runs.into_iter(), run: None }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;
        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the ids of a file's blobs")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Content, A::Error> {
                let mut content = Content::new();
                while let Some(id) = sequence.next_element()? {
                    content.push(id);
                }
                Ok(content)
            }
        }
        deserializer.deserialize_seq(ContentVisitor)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tebibyte_of_zeros_takes_one_run() {
        let zeros = Id::of(b"zeros");
        let mut content = Content::new();
        content.push(Id::of(b"head"));
        content.push_run(Run { id: zeros, count: 1_000_000 });
        content.push_run(Run { id: zeros, count: 1_097_151 });
        content.push_run(Run { id: Id::of(b"nothing"), count: 0 });
        assert_eq!((content.len(), content.runs().len()), (2_097_152, 2));
        assert_eq!(content.iter().filter(|id| **id == zeros).count(), 2_097_151);
    }

    proptest! {
        #[test]
        fn runs_are_the_same_as_the_list(picks in proptest::collection::vec(0u8..3, 0..40), cut in 0usize..40) {
            let ids: Vec<Id> = picks.iter().map(|pick| Id::of(&[*pick])).collect();
            let content: Content = ids.iter().copied().collect();
            prop_assert_eq!(content.len(), ids.len() as u64);
            prop_assert_eq!(content.iter().copied().collect::<Vec<_>>(), ids.clone());
            prop_assert_eq!(content.clone().into_iter().collect::<Vec<_>>(), ids.clone());
            let json = serde_json::to_string(&ids).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Content>(&json).unwrap(), &content);
            // Equality does not depend on how it was put together.
            let (head, tail) = ids.split_at(cut.min(ids.len()));
            let mut joined: Content = head.iter().copied().collect();
            tail.iter().copied().collect::<Content>().runs().iter().for_each(|run| joined.push_run(*run));
            prop_assert_eq!(joined, content);
        }
    }
}
