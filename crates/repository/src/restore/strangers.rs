//! The names in a directory of the target that its tree does not have.

use std::{cmp::Ordering, collections::HashSet, io, os::fd::BorrowedFd};

use rustix::{fs::AtFlags, io::Errno};

use crate::{error::Result, format::Node, pack::TreeNodes, source::names::Names};

/// File systems bring this directory for what they find after a crash.
pub(super) const LOST_AND_FOUND: &[u8] = b"lost+found";

/// What stands in a directory and is not its tree's.
#[derive(Debug)]
pub(super) struct Apart {
    pub(super) strangers: Names,
    /// Those that may be what one of the snapshot's names leads to.
    pub(super) spared: Names,
}

/// Leaves those names that are not the snapshot's, whether or not the restore chose the entries of those that are.
pub(super) fn strangers(mut names: Names, nodes: &[Node], is_backup_root: bool) -> Names {
    let known: HashSet<&[u8]> = nodes.iter().map(|node| node.name.as_slice()).collect();
    names.retain(|name| !known.contains(name) && !is_kept(name, is_backup_root));
    names
}

/// The same of all that is listed in an open directory, by a tree of any size. A large one is gone through to its end, for only
/// there it proves to be what its id says; `check` says on the way whether to go on.
///
/// Spared is what a name of the snapshot leads to though another one is listed. File systems that fold case or normalise names do
/// that: what was restored as `README` stands there as `Readme`, if that is how it was called before.
///
/// # Errors
/// That of `check`, and those of the tree; the inner one is the file system's.
pub(super) fn tell_apart(
    directory: BorrowedFd<'_>,
    listed: Names,
    nodes: TreeNodes,
    is_backup_root: bool,
    check: impl Fn() -> Result<()>,
) -> Result<io::Result<Apart>> {
    let mut reached = Reached::new(directory);
    let found = match nodes.into_whole() {
        Ok(nodes) => {
            nodes.iter().filter(|node| !listed.contains(&node.name)).for_each(|node| reached.look(node));
            strangers(listed, &nodes, is_backup_root)
        }
        Err(stream) => strangers_beside(listed, stream, is_backup_root, &check, &mut reached)?,
    };
    reached.spare(found, check)
}

/// The names that a large tree does not have; what it has and is not listed is looked for.
fn strangers_beside(
    mut listed: Names,
    nodes: impl Iterator<Item = Result<Node>>,
    is_backup_root: bool,
    check: impl Fn() -> Result<()>,
    reached: &mut Reached<'_>,
) -> Result<Names> {
    let mut tree = Beside { nodes, check, ahead: None };
    let mut failure = None;
    listed.retain(|name| {
        if failure.is_some() {
            return true;
        }
        match tree.has(name, reached) {
            Ok(is_known) => !is_known && !is_kept(name, is_backup_root),
            Err(error) => {
                failure = Some(error);
                true
            }
        }
    });
    if let Some(error) = failure {
        return Err(error);
    }
    while let Some(node) = tree.advance()? {
        reached.look(&node);
    }
    Ok(listed)
}

/// The nodes of a large tree, gone through beside names that are in order as they are.
struct Beside<I, C> {
    nodes: I,
    /// Says whether to go on.
    check: C,
    /// It comes behind the name that was asked for last.
    ahead: Option<Node>,
}

impl<I: Iterator<Item = Result<Node>>, C: Fn() -> Result<()>> Beside<I, C> {
    /// Whether the tree has a name. What it has before that and nobody asked for is not listed.
    fn has(&mut self, name: &[u8], reached: &mut Reached<'_>) -> Result<bool> {
        while let Some(node) = self.advance()? {
            match node.name.as_slice().cmp(name) {
                Ordering::Less => reached.look(&node),
                Ordering::Equal => return Ok(true),
                Ordering::Greater => {
                    self.ahead = Some(node);
                    break;
                }
            }
        }
        Ok(false)
    }

    fn advance(&mut self) -> Result<Option<Node>> {
        if let Some(node) = self.ahead.take() {
            return Ok(Some(node));
        }
        (self.check)()?;
        self.nodes.next().transpose()
    }
}

/// What the snapshot's names lead to that are not listed in a directory.
struct Reached<'a> {
    directory: BorrowedFd<'a>,
    identities: HashSet<(u64, u64)>,
    failure: Option<io::Error>,
}

impl<'a> Reached<'a> {
    fn new(directory: BorrowedFd<'a>) -> Self {
        Self { directory, identities: HashSet::new(), failure: None }
    }

    /// Looks where a name leads that is not listed.
    fn look(&mut self, node: &Node) {
        let Some(name) = node.safe_name().filter(|_| self.failure.is_none()) else { return };
        match identity(self.directory, name) {
            Ok(found) => self.identities.extend(found),
            Err(error) => self.failure = Some(error),
        }
    }

    /// Takes what was reached out of the strangers.
    fn spare(self, mut strangers: Names, check: impl Fn() -> Result<()>) -> Result<io::Result<Apart>> {
        let Self { directory, identities, failure } = self;
        if let Some(error) = failure {
            return Ok(Err(error));
        }
        let (mut spared, mut met) = (Names::default(), HashSet::new());
        if identities.is_empty() {
            return Ok(Ok(Apart { strangers, spared }));
        }
        for name in strangers.iter() {
            check()?;
            match identity(directory, name) {
                Ok(Some(found)) if identities.contains(&found) => {
                    met.insert(found);
                    if let Err(error) = spared.push(name) {
                        return Ok(Err(io::Error::other(error)));
                    }
                }
                Ok(_) => {}
                Err(error) => return Ok(Err(error)),
            }
        }
        // Some file systems number an entry anew for each of its names; then nobody knows which of the strangers it is.
        if met.len() < identities.len() {
            return Ok(Ok(Apart { strangers: Names::default(), spared: strangers }));
        }
        strangers.retain(|name| !spared.contains(name));
        Ok(Ok(Apart { strangers, spared }))
    }
}

fn is_kept(name: &[u8], is_backup_root: bool) -> bool {
    is_backup_root && name == LOST_AND_FOUND
}

/// Device and inode of what a name leads to. A name that the file system cannot hold leads to nothing.
fn identity(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<(u64, u64)>> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some((stat.st_dev, stat.st_ino))),
        Err(Errno::NOENT | Errno::NAMETOOLONG | Errno::INVAL | Errno::ILSEQ) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Error;
    use std::{fs, os::fd::AsFd};

    fn names(list: &[&str]) -> Names {
        let mut names = Names::default();
        list.iter().for_each(|name| names.push(name.as_bytes()).unwrap());
        names
    }

    fn texts(names: &Names) -> Vec<String> {
        names.iter().map(|name| String::from_utf8(name.to_vec()).unwrap()).collect()
    }

    fn nodes(names: &[&str]) -> Vec<Node> {
        names.iter().map(|name| Node { name: name.as_bytes().to_vec(), ..Node::default() }).collect()
    }

    /// Strangers and what is spared: by a tree that is held, and the same by one that is read as a stream.
    fn told(directory: BorrowedFd<'_>, listed: &[&str], nodes: &[Node], is_backup_root: bool) -> [Vec<String>; 2] {
        let held = tell_apart(directory, names(listed), nodes.to_vec().into(), is_backup_root, || Ok(())).unwrap().unwrap();
        let mut reached = Reached::new(directory);
        let stream = nodes.iter().cloned().map(Ok);
        let found = strangers_beside(names(listed), stream, is_backup_root, || Ok(()), &mut reached).unwrap();
        let streamed = reached.spare(found, || Ok(())).unwrap().unwrap();
        let [held, streamed] = [held, streamed].map(|apart| [texts(&apart.strangers), texts(&apart.spared)]);
        assert_eq!(held, streamed);
        held
    }

    #[test]
    fn the_names_that_are_not_the_trees_are_left() {
        let directory = tempfile::tempdir().unwrap();
        let top = fs::File::open(directory.path()).unwrap();
        let nodes = nodes(&["b", "d", "f", "h"]);
        let listed = ["a", "b", "c", "f", "lost+found", "z"];
        for (is_root, expected) in [(true, &["a", "c", "z"][..]), (false, &["a", "c", "lost+found", "z"][..])] {
            assert_eq!(texts(&strangers(names(&listed), &nodes, is_root)), expected);
            let [strangers, spared] = told(top.as_fd(), &listed, &nodes, is_root);
            assert_eq!(strangers, expected);
            assert!(spared.is_empty());
        }
    }

    /// A stream that breaks off, or a restore that is to end, leaves nothing to be removed.
    #[test]
    fn what_cannot_be_gone_through_to_its_end_tells_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let top = fs::File::open(directory.path()).unwrap();
        let broken = || nodes(&["b", "d"]).into_iter().map(Ok).chain([Err(Error::internal("it breaks off"))]);
        for listed in [&["a", "b"][..], &["a", "z"][..], &[][..]] {
            let mut reached = Reached::new(top.as_fd());
            assert!(strangers_beside(names(listed), broken(), false, || Ok(()), &mut reached).is_err());
            let stopped = strangers_beside(names(listed), broken(), false, || Err(Error::Cancelled), &mut reached);
            assert!(matches!(stopped, Err(Error::Cancelled)));
        }
    }

    /// A second name that is kept out of the listing stands in for a file system that folds case.
    #[test]
    fn what_a_name_of_the_snapshot_leads_to_is_no_stranger() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["Readme", "both", "surplus"] {
            fs::write(path(name), name).unwrap();
        }
        fs::hard_link(path("Readme"), path("README")).unwrap();
        let top = fs::File::open(directory.path()).unwrap();
        let too_long = "n".repeat(300);
        let nodes = nodes(&["..", "README", "both", "gone", &too_long]);
        let told = |listed: &[&str]| told(top.as_fd(), listed, &nodes, false);
        let both = |strangers: &[&str], spared: &[&str]| [strangers, spared].map(|list| texts(&names(list)));
        assert_eq!(told(&["Readme", "both", "surplus"]), both(&["surplus"], &["Readme"]));
        // Where the snapshot's name stands there itself, another name of the file is none of the snapshot's.
        assert_eq!(told(&["README", "Readme", "both", "surplus"]), both(&["Readme", "surplus"], &[]));
        // It leads to something that no name in the directory leads to.
        fs::remove_file(path("README")).unwrap();
        fs::write(path("README"), "numbered anew").unwrap();
        assert_eq!(told(&["Readme", "both", "surplus"]), both(&[], &["Readme", "surplus"]));
    }
}
