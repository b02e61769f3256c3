//! One directory of a snapshot, in the order of its names and without those that cannot be believed.

use crate::TreeId;
use crate::error::Result;
use crate::format::Node;
use crate::pack::BlobReader;

/// A directory's entries.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// The entries by ascending name, each name once.
    pub nodes: Vec<Node>,
    /// Names that were refused: not fit for a directory, or there twice.
    pub refused: Vec<Vec<u8>>,
}

impl Directory {
    /// Reads a tree.
    ///
    /// # Errors
    /// As [`BlobReader::load_tree`].
    pub fn load(reader: &BlobReader, tree: &TreeId) -> Result<Self> {
        Ok(Self::of(reader.load_tree_blocking(tree)?.nodes))
    }

    fn of(mut nodes: Vec<Node>) -> Self {
        let mut refused = Vec::new();
        // Ours and restic's trees are in order; others are brought into it, for comparing goes by order.
        if !nodes.is_sorted_by(|left, right| left.name < right.name) {
            nodes.sort_by(|left, right| left.name.cmp(&right.name));
            nodes.dedup_by(|later, first| {
                let twice = later.name == first.name;
                if twice {
                    refused.push(std::mem::take(&mut later.name));
                }
                twice
            });
        }
        nodes.retain(|node| {
            let safe = node.safe_name().is_some();
            if !safe {
                refused.push(node.name.clone());
            }
            safe
        });
        Self { nodes, refused }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reliability S-40: no reader ever sees a name that would lead out of its directory, or two entries of one name.
    #[test]
    fn names_are_brought_into_order_and_the_others_refused() {
        let nodes = ["b", "..", "a", "b", "x/y", ""].map(|name| Node { name: name.into(), ..Node::default() });
        let directory = Directory::of(nodes.to_vec());
        let names: Vec<_> = directory.nodes.iter().map(|node| node.name.as_slice()).collect();
        assert_eq!(names, [b"a", b"b"]);
        let mut refused = directory.refused;
        refused.sort();
        assert_eq!(refused, [&b""[..], b"..", b"b", b"x/y"]);
    }
}
