//! Paths of a snapshot, as bytes.

use super::directory::Directory;
use super::walk::Entry;
use crate::TreeId;
use crate::error::{Error, Result};
use crate::format::NodeType;
use crate::pack::BlobReader;

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Located {
    /// The root, which is a tree without an entry of its own.
    Root(TreeId),
    /// An entry.
    Entry(Entry),
}

/// Finds what stands at `path` below the tree `root`. A `..` takes back the name before it, as in a path that is typed; links are
/// not followed.
///
/// # Errors
/// [`Error::NotInSnapshot`] if nothing stands there, else as [`BlobReader::tree_nodes`].
pub fn locate(reader: &BlobReader, root: &TreeId, path: &[u8]) -> Result<Located> {
    let names = names(path);
    let mut tree = *root;
    let mut walked = Vec::new();
    for (position, name) in names.iter().enumerate() {
        walked.push(b'/');
        walked.extend_from_slice(name);
        let mut entries = Directory::load(reader, &tree)?.entries();
        let found = entries.find(|entry| entry.as_ref().map_or(true, |node| node.name.as_slice() >= *name)).transpose()?;
        let Some(node) = found.filter(|node| node.name == *name) else { return Err(not_there(&walked, "it does not exist")) };
        if position + 1 == names.len() {
            return Ok(Located::Entry(Entry { path: walked, node }));
        }
        tree = match (node.node_type, node.subtree) {
            (NodeType::Dir, Some(tree)) => tree,
            (kind, _) => return Err(not_there(&walked, &format!("it is no directory but a {}", kind.as_str()))),
        };
    }
    Ok(Located::Root(*root))
}

/// The tree of the directory at `path`.
///
/// # Errors
/// As [`locate`], and [`Error::NotInSnapshot`] if something else than a directory stands there.
pub fn directory_at(reader: &BlobReader, root: &TreeId, path: &[u8]) -> Result<TreeId> {
    match locate(reader, root, path)? {
        Located::Root(tree) => Ok(tree),
        Located::Entry(Entry { path, node }) => match (node.node_type, node.subtree) {
            (NodeType::Dir, Some(tree)) => Ok(tree),
            (kind, _) => Err(not_there(&path, &format!("it is no directory but a {}", kind.as_str()))),
        },
    }
}

fn not_there(path: &[u8], reason: &str) -> Error {
    Error::NotInSnapshot { path: path.escape_ascii().to_string(), reason: reason.to_owned() }
}

/// The names of a path.
fn names(path: &[u8]) -> Vec<&[u8]> {
    let mut names = Vec::new();
    for name in path.split(|&byte| byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    names
}

/// The path as the walk writes it: from the root, without a slash at its end; empty for the root itself.
pub(super) fn normal(path: &[u8]) -> Vec<u8> {
    names(path).into_iter().flat_map(|name| [b"/", name].concat()).collect()
}

/// Whether `path` is `directory` or lies below it; both as [`normal`] gives them.
pub(super) fn is_at_or_below(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_normal_and_names_are_compared_whole() {
        assert_eq!(normal(b"//a/./b/../c/"), b"/a/c");
        assert_eq!(normal(b"/../.."), b"");
        assert!(is_at_or_below(b"/a/b", b"/a") && is_at_or_below(b"/a", b"/a") && is_at_or_below(b"/a", b""));
        assert!(!is_at_or_below(b"/ab", b"/a") && !is_at_or_below(b"/a", b"/a/b"));
    }
}
