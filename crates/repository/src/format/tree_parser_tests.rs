//! Trees in pieces are the same as in one, and hostile ones end in an error and little memory.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::format::{ExtendedAttribute, NodeType, Run, Time, Tree, TreeBuilder};

/// Parses in pieces of these lengths, the last one again and again.
fn parse_in_pieces(plain: &[u8], lengths: &[usize]) -> error::Result<Vec<Node>> {
    let mut parser = TreeParser::default();
    let (mut nodes, mut rest, mut lengths) = (Vec::new(), plain, lengths.iter().copied());
    let mut length = 1;
    while !rest.is_empty() {
        length = lengths.next().unwrap_or(length).max(1);
        let (mut piece, later) = rest.split_at(length.min(rest.len()));
        while let Some(node) = parser.feed(&mut piece)? {
            nodes.push(node);
        }
        assert!(piece.is_empty());
        rest = later;
    }
    parser.finish()?;
    Ok(nodes)
}

/// Writes in pieces, as a tree that is not held.
fn write_in_pieces(nodes: &[Node], piece: usize) -> Vec<u8> {
    let mut builder = TreeBuilder::new();
    let mut written = Vec::new();
    for node in nodes {
        builder
            .add_in_pieces(node, piece, &mut |out: &mut Vec<u8>| {
                written.append(out);
                Ok(())
            })
            .unwrap();
    }
    written.extend_from_slice(&builder.finish());
    written
}

fn any_node() -> impl Strategy<Value = Node> {
    let runs = proptest::collection::vec((0u8..4, 1u64..20), 0..6);
    let content = proptest::option::of(runs)
        .prop_map(|runs| runs.map(|runs| runs.iter().map(|(pick, count)| Run { id: Id::of(&[*pick]), count: *count }).collect()));
    let bytes = |most| proptest::collection::vec(any::<u8>(), 0..most);
    let texts = (any::<String>(), any::<String>());
    (proptest::collection::vec(any::<u8>(), 1..30), bytes(20), content, texts, any::<(u32, u64, bool)>(), bytes(40)).prop_map(
        |(name, link_target, content, (user, error), (mode, size, has_subtree), value)| Node {
            name,
            link_target,
            content,
            user,
            error,
            mode,
            size,
            subtree: has_subtree.then(|| Id::of(b"subtree")),
            node_type: NodeType::File,
            mtime: Time { seconds: 1_700_000_000, nanos: 7 },
            extended_attributes: vec![ExtendedAttribute { name: b"user.content\":[".to_vec(), value }],
            ..Node::default()
        },
    )
}

fn any_nodes() -> impl Strategy<Value = Vec<Node>> {
    proptest::collection::vec(any_node(), 0..12).prop_map(|mut nodes| {
        nodes.sort_by(|left, right| left.name.cmp(&right.name));
        nodes.dedup_by(|left, right| left.name == right.name);
        nodes
    })
}

proptest! {
    #[test]
    fn written_in_pieces_it_has_the_same_bytes(nodes in any_nodes(), piece in 1usize..2_000) {
        prop_assert_eq!(write_in_pieces(&nodes, piece), Tree::serialise(&nodes).unwrap());
    }

    #[test]
    fn parsed_in_pieces_it_has_the_same_nodes(nodes in any_nodes(), lengths in proptest::collection::vec(1usize..200, 1..20)) {
        let plain = Tree::serialise(&nodes).unwrap();
        prop_assert_eq!(&parse_in_pieces(&plain, &lengths).unwrap(), &nodes);
        prop_assert_eq!(Tree::parse(&plain).unwrap().nodes, nodes);
    }

    /// Reliability S-42.
    #[test]
    fn what_is_cut_off_or_changed_is_never_taken_for_another_tree(
        nodes in any_nodes(), at in any::<prop::sample::Index>(), byte in any::<u8>(), length in 1usize..100,
    ) {
        let plain = Tree::serialise(&nodes).unwrap();
        // The last byte is a line feed, which may be missing.
        prop_assert!(parse_in_pieces(&plain[..at.index(plain.len() - 1)], &[length]).is_err());
        let mut changed = plain.clone();
        changed[at.index(plain.len())] = byte;
        if let Ok(nodes) = parse_in_pieces(&changed, &[length]) {
            prop_assert_eq!(nodes, Tree::parse(&changed).unwrap().nodes);
        }
    }

    #[test]
    fn any_bytes_are_parsed_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), length in 1usize..50) {
        let _ = parse_in_pieces(&bytes, &[length]);
        let _ = parse_in_pieces(&[b"{\"nodes\":[{", bytes.as_slice()].concat(), &[length]);
    }
}

/// Feeds a piece without end and says what was complained of, and how much was kept at most.
fn endless(head: &str, piece: &str) -> (String, usize) {
    let mut parser = TreeParser::default();
    let mut kept = 0;
    assert!(parser.feed(&mut head.as_bytes()).unwrap().is_none());
    for _ in 0..(1 << 30) / piece.len() {
        match parser.feed(&mut piece.as_bytes()) {
            Ok(_) => kept = kept.max(parser.text.text.capacity()),
            Err(error) => return (error.to_string(), kept),
        }
    }
    ("nothing".to_owned(), kept)
}

/// Reliability S-42: a node is bounded, whatever in it has no end.
#[test]
fn what_has_no_end_is_refused_early() {
    let long = "x".repeat(60_000);
    for (head, piece) in [
        ("{\"nodes\":[{\"name\":\"", long.as_str()),
        ("{\"nodes\":[{\"extended_attributes\":[", "{\"name\":\"a\"},"),
        ("{\"nodes\":[{\"x\":", "1111111111111111"),
        ("{\"nodes\":[{\"x\":\"", "\\\""),
    ] {
        let (complaint, kept) = endless(head, piece);
        assert!(complaint.contains("bytes"), "{head}: {complaint}");
        assert!(kept <= 2 * MAX_NODE_TEXT + 1024, "{head}: {kept}");
    }
    assert!(endless("{\"nodes\":[{\"x\":", "[").0.contains("levels"));
    assert!(endless("{\"nodes\":[{\"content\":[\"", "0").0.contains("list of blobs"));
    assert!(endless("{", "x").0.contains("does not begin"));
}

/// A file of nothing but a hole is long as JSON and short in memory.
#[test]
fn a_long_run_is_kept_as_one() {
    let node = Node {
        name: b"hole".to_vec(),
        content: Some([Run { id: Id::of(b"0"), count: 300_000 }].into_iter().collect()),
        ..Node::default()
    };
    let plain = write_in_pieces(std::slice::from_ref(&node), 1 << 16);
    assert!(plain.len() > 300_000 * 67);
    let mut parser = TreeParser::default();
    let mut input = plain.as_slice();
    let parsed = parser.feed(&mut input).unwrap().unwrap();
    assert_eq!(parsed, node);
    assert!(parser.text.text.capacity() < 4_096);
}

#[test]
fn disorder_is_refused_and_a_field_of_another_name_is_no_content() {
    let nodes = |names: &[&str]| {
        let listed: Vec<_> = names.iter().map(|name| format!("{{\"name\":\"{name}\",\"type\":\"file\"}}")).collect();
        format!("{{\"nodes\":[{}]}}", listed.join(","))
    };
    assert!(parse_in_pieces(nodes(&["a", "b"]).as_bytes(), &[3]).is_ok());
    for names in [["b", "a"], ["a", "a"]] {
        assert!(parse_in_pieces(nodes(&names).as_bytes(), &[3]).is_err());
    }
    assert!(parse_in_pieces(nodes(&[&"n".repeat(MAX_NAME + 1)]).as_bytes(), &[100]).is_err());
    let other = br#"{"nodes":[{"name":"a","type":"file","x\"content":["1"],"y":{"content":["2"]}}]}"#;
    assert_eq!(parse_in_pieces(other, &[7]).unwrap()[0].content, None);
    assert!(parse_in_pieces(br#"{"nodes":[{"name":"a","type":"file","content":["1"]}]}"#, &[7]).is_err());
    assert!(parse_in_pieces(br#"{"nodes":[{"name":"a","type":"file","content":[],"content":[]}]}"#, &[7]).is_err());
}
