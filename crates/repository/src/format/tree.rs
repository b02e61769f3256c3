//! A directory: its nodes in the order of their names.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

use super::Node;
use super::node::RawNode;
use crate::error::{self, Error};

/// A directory as read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    /// The entries in stored order; restic and we store them sorted by name.
    pub nodes: Vec<Node>,
}

#[derive(serde::Deserialize)]
struct ParsedTree {
    nodes: Nodes,
}

/// Nodes that are taken over one by one as they are parsed.
struct Nodes(Vec<Node>);

impl<'de> Deserialize<'de> for Nodes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(NodesVisitor)
    }
}

struct NodesVisitor;

impl<'de> Visitor<'de> for NodesVisitor {
    type Value = Nodes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the nodes of a directory")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Nodes, A::Error> {
        let mut nodes = Vec::new();
        while let Some(raw) = sequence.next_element::<RawNode<'de>>()? {
            nodes.push(Node::try_from(raw).map_err(de::Error::custom)?);
        }
        Ok(Nodes(nodes))
    }
}

impl Tree {
    /// Parses the plain bytes of a tree blob. Names are whatever the repository says: see [`Node::safe_name`].
    ///
    /// # Errors
    /// [`Error::InvalidTree`] if it is not a tree.
    pub fn parse(plain: &[u8]) -> error::Result<Self> {
        let parsed: ParsedTree =
            serde_json::from_slice(plain).map_err(|error| Error::InvalidTree { reason: error.to_string() })?;
        Ok(Self { nodes: parsed.nodes.0 })
    }

    /// The plain bytes of a tree blob with these nodes.
    ///
    /// # Errors
    /// [`Error::InvalidTree`] if the names are not in strictly ascending order.
    pub fn serialise(nodes: &[Node]) -> error::Result<Vec<u8>> {
        let mut builder = TreeBuilder::new();
        nodes.iter().try_for_each(|node| builder.add(node))?;
        Ok(builder.finish())
    }
}

/// Writes a tree node by node straight into its bytes.
#[derive(Debug)]
pub struct TreeBuilder {
    out: Vec<u8>,
    last_name: Option<Vec<u8>>,
}

impl Default for TreeBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl TreeBuilder {
    /// A tree without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::with_buffer(Vec::with_capacity(1024))
    }

    /// The same in a buffer that has been used before; its content is dropped.
    #[must_use]
    pub fn with_buffer(mut out: Vec<u8>) -> Self {
        out.clear();
        out.extend_from_slice(b"{\"nodes\":[");
        Self { out, last_name: None }
    }

    /// Adds the next node.
    ///
    /// # Errors
    /// [`Error::InvalidTree`] if its name does not come after the last one's.
    pub fn add(&mut self, node: &Node) -> error::Result<()> {
        self.begin(node)?;
        node.write(&mut self.out);
        Ok(())
    }

    /// The same for a tree that is not held: whenever `piece` bytes or more have gathered, `take` gets them and empties the
    /// buffer. [`Self::finish`] gives what is left.
    ///
    /// # Errors
    /// As [`Self::add`], and that of `take`.
    pub fn add_in_pieces(
        &mut self,
        node: &Node,
        piece: usize,
        take: &mut impl FnMut(&mut Vec<u8>) -> error::Result<()>,
    ) -> error::Result<()> {
        self.begin(node)?;
        node.write_in_pieces(&mut self.out, piece, take)?;
        if self.out.len() >= piece { take(&mut self.out) } else { Ok(()) }
    }

    fn begin(&mut self, node: &Node) -> error::Result<()> {
        match &mut self.last_name {
            Some(last) if *last >= node.name => {
                let shown = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
                return Err(Error::InvalidTree {
                    reason: format!("{:?} does not come after {:?}", shown(&node.name), shown(last)),
                });
            }
            Some(last) => {
                last.clone_from(&node.name);
                self.out.push(b',');
            }
            None => self.last_name = Some(node.name.clone()),
        }
        Ok(())
    }

    /// The finished bytes.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.out.extend_from_slice(b"]}\n");
        self.out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::format::{ExtendedAttribute, Id, NodeType, Time};

    #[test]
    fn an_empty_tree_has_restic_s_bytes() {
        assert_eq!(TreeBuilder::new().finish(), b"{\"nodes\":[]}\n");
    }

    #[test]
    fn a_node_has_restic_s_bytes() {
        let time = Time { seconds: 1_700_000_000, nanos: 120 };
        let node = Node {
            name: b"a<\"\xff".to_vec(),
            node_type: NodeType::Symlink,
            mode: 0x0800_01ff,
            mtime: time,
            atime: time,
            ctime: time,
            uid: 1,
            link_target: b"t\xfe".to_vec(),
            extended_attributes: vec![ExtendedAttribute { name: b"user.x".to_vec(), value: vec![1, 2] }],
            ..Node::default()
        };
        let expected = concat!(
            r#"{"nodes":[{"name":"a\u003c\\\"\\xff","type":"symlink","mode":134218239,"mtime":"2023-11-14T22:13:20.00000012Z","#,
            r#""atime":"2023-11-14T22:13:20.00000012Z","ctime":"2023-11-14T22:13:20.00000012Z","uid":1,"gid":0,"linktarget":"t\ufffd","#,
            r#""linktarget_raw":"dP4=","extended_attributes":[{"name":"user.x","value":"AQI="}],"content":null}]}"#,
            "\n"
        );
        let written = Tree::serialise(std::slice::from_ref(&node)).unwrap();
        assert_eq!(String::from_utf8(written.clone()).unwrap(), expected);
        assert_eq!(Tree::parse(&written).unwrap().nodes, [node]);
    }

    #[test]
    fn disorder_and_hostile_json_are_refused() {
        let node = |name: &str| Node { name: name.into(), ..Node::default() };
        assert!(Tree::serialise(&[node("b"), node("a")]).is_err());
        assert!(Tree::serialise(&[node("a"), node("a")]).is_err());
        assert!(Tree::parse(br#"{"nodes":[{"name":"a\\q","type":"file"}]}"#).is_err());
        assert!(Tree::parse(b"").is_err());
        assert!(Tree::parse(format!("{{\"x\":{}", "[".repeat(100_000)).as_bytes()).is_err());
    }

    #[test]
    fn names_that_would_leave_a_directory_are_not_safe() {
        for name in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0"] {
            assert_eq!(Node { name: name.to_vec(), ..Node::default() }.safe_name(), None);
        }
        assert!(Node { name: b"..a".to_vec(), ..Node::default() }.safe_name().is_some());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            name in proptest::collection::vec(any::<u8>(), 1..40),
            target in proptest::collection::vec(any::<u8>(), 0..20),
            value in proptest::collection::vec(any::<u8>(), 0..20),
            numbers in any::<(u32, u32, u32, u64, u64, u64, u64, u64)>(),
            seconds in -60_000_000_000i64..250_000_000_000,
            nanos in 0u32..1_000_000_000,
            ids in proptest::option::of(proptest::collection::vec(any::<[u8; 32]>(), 0..3)),
            texts in any::<(String, String, String)>(),
        ) {
            let time = Time { seconds, nanos };
            let node = Node {
                name, link_target: target, mode: numbers.0, uid: numbers.1, gid: numbers.2, inode: numbers.3, device_id: numbers.4,
                size: numbers.5, links: numbers.6, device: numbers.7, mtime: time, atime: time, ctime: time,
                user: texts.0, group: texts.1, error: texts.2,
                extended_attributes: vec![ExtendedAttribute { name: b"user.a".to_vec(), value }],
                content: ids.map(|ids| ids.into_iter().map(Id).collect()),
                node_type: NodeType::File, subtree: None,
            };
            let written = Tree::serialise(std::slice::from_ref(&node)).unwrap();
            prop_assert_eq!(Tree::parse(&written).unwrap().nodes, [node]);
        }
    }
}
