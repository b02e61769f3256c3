//! One directory of a snapshot, in the order of its names and without those that cannot be believed.

use std::vec::IntoIter;

use crate::TreeId;
use crate::error::Result;
use crate::format::Node;
use crate::pack::{BlobReader, TreeNodes};

/// What stands in a directory.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// An entry; they come by ascending name, each name once.
    Entry(Box<Node>),
    /// A name that was refused: not fit for a directory, or there twice.
    Refused(Vec<u8>),
}

/// A directory's entries. Of a large one that cannot be read any further an error comes last.
#[derive(Debug, Default)]
pub(super) struct Directory {
    refused: IntoIter<Vec<u8>>,
    nodes: TreeNodes,
}

impl Directory {
    /// Reads a tree.
    ///
    /// # Errors
    /// As [`BlobReader::tree_nodes`].
    pub fn load(reader: &BlobReader, tree: &TreeId) -> Result<Self> {
        Ok(Self::of(reader.tree_nodes_blocking(tree)?))
    }

    fn of(nodes: TreeNodes) -> Self {
        // Ours and restic's trees are in order; others are brought into it, for comparing goes by order.
        if nodes.is_ordered() {
            return Self { refused: IntoIter::default(), nodes };
        }
        match nodes.into_whole() {
            Ok(nodes) => Self::ordered(nodes),
            Err(nodes) => Self { refused: IntoIter::default(), nodes },
        }
    }

    fn ordered(mut nodes: Vec<Node>) -> Self {
        let mut refused = Vec::new();
        nodes.sort_by(|left, right| left.name.cmp(&right.name));
        nodes.dedup_by(|later, first| {
            let twice = later.name == first.name;
            if twice {
                refused.push(std::mem::take(&mut later.name));
            }
            twice
        });
        Self { refused: refused.into_iter(), nodes: nodes.into() }
    }

    /// The entries alone.
    pub fn entries(self) -> impl Iterator<Item = Result<Node>> {
        self.filter_map(|listed| match listed {
            Ok(Listed::Entry(node)) => Some(Ok(*node)),
            Ok(Listed::Refused(_)) => None,
            Err(error) => Some(Err(error)),
        })
    }
}

impl Iterator for Directory {
    type Item = Result<Listed>;

    fn next(&mut self) -> Option<Result<Listed>> {
        if let Some(name) = self.refused.next() {
            return Some(Ok(Listed::Refused(name)));
        }
        Some(self.nodes.next()?.map(|node| {
            let is_safe = node.safe_name().is_some();
            if is_safe { Listed::Entry(Box::new(node)) } else { Listed::Refused(node.name) }
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Reliability S-40: no reader ever sees a name that would lead out of its directory, or two entries of one name.
    #[test]
    fn names_are_brought_into_order_and_the_others_refused() {
        let nodes = ["b", "..", "a", "b", "x/y", ""].map(|name| Node { name: name.into(), ..Node::default() });
        let (mut names, mut refused) = (Vec::new(), Vec::new());
        for listed in Directory::of(nodes.to_vec().into()) {
            match listed.unwrap() {
                Listed::Entry(node) => names.push(node.name),
                Listed::Refused(name) => refused.push(name),
            }
        }
        assert_eq!(names, [b"a", b"b"]);
        refused.sort();
        assert_eq!(refused, [&b""[..], b"..", b"b", b"x/y"]);
    }
}
