//! The paths of a request as a tree: which directories are only passed through, and what is backed up whole.

use std::{
    collections::BTreeMap, ffi::OsStr, os::fd::OwnedFd, os::unix::ffi::OsStrExt, path::Component, path::Path, path::PathBuf,
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags},
    io::Errno,
};

use crate::{
    error::{Error, Result},
    source::{
        handles::{Handles, Place},
        names::Names,
    },
};

/// A directory above the paths, or a path itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TargetTree {
    /// Set for a path of the request: everything below belongs to it.
    pub(super) whole: bool,
    pub(super) children: BTreeMap<Vec<u8>, Arc<TargetTree>>,
}

impl TargetTree {
    /// Arranges the paths. A path below another one is part of it already.
    ///
    /// # Errors
    /// If a path is not absolute, has `..` in it, or does not exist; or if there is none.
    pub(super) fn of(paths: &[PathBuf]) -> Result<Arc<Self>> {
        let mut tree = Self::default();
        for path in paths {
            let names = component_names(path)?;
            require(path, &names)?;
            tree.add(&names);
        }
        if tree == Self::default() {
            return Err(invalid(Path::new(""), "no path was given: name at least one"));
        }
        Ok(Arc::new(tree))
    }

    /// The names that are wanted in this directory, in order.
    pub(super) fn names(&self) -> Names {
        let mut names = Names::default();
        // They come from a request, which is not 4 GiB long.
        let _ = self.children.keys().try_for_each(|name| names.push(name));
        names
    }

    fn add(&mut self, names: &[&[u8]]) {
        if self.whole {
            return;
        }
        let Some((first, rest)) = names.split_first() else {
            *self = Self { whole: true, children: BTreeMap::new() };
            return;
        };
        let child = self.children.entry(first.to_vec()).or_default();
        // While the tree is built nobody else holds its parts.
        if let Some(child) = Arc::get_mut(child) {
            child.add(rest);
        }
    }
}

/// The root directory, from which everything is opened.
pub(super) fn open_root() -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, "/", flags, Mode::empty()).map_err(|errno| file_error("open", Path::new("/"), errno))
}

fn component_names(path: &Path) -> Result<Vec<&[u8]>> {
    if !path.is_absolute() {
        return Err(invalid(path, "the path is not absolute"));
    }
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.as_bytes()),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(invalid(path, "the path contains '..'")),
        }
    }
    Ok(names)
}

/// A path that does not exist is a mistake to be told, not an empty snapshot. Links above it are not followed: inside a volume they
/// belong to whoever can write there, and could point at our own secrets.
fn require(path: &Path, names: &[&[u8]]) -> Result<()> {
    let Some((last, parents)) = names.split_last() else { return Ok(()) };
    let handles = Handles::default();
    let mut place = Place::root(b"/", open_root()?);
    for name in parents {
        place = place.child(name);
        handles.open(&place).map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::LOOP | Errno::NOTDIR) => {
                invalid(&place.path(), "a directory above the path is a symbolic link or no directory: name the real path")
            }
            _ => Error::File { operation: "open", path: place.path().display().to_string(), source: Arc::new(error) },
        })?;
    }
    let directory = handles.open(&place).map_err(|error| Error::File {
        operation: "open",
        path: place.path().display().to_string(),
        source: Arc::new(error),
    })?;
    rustix::fs::statat(directory, OsStr::from_bytes(last), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| file_error("find", path, errno))?;
    Ok(())
}

fn file_error(operation: &'static str, path: &Path, errno: Errno) -> Error {
    Error::File { operation, path: path.display().to_string(), source: Arc::new(errno.into()) }
}

fn invalid(path: &Path, reason: &str) -> Error {
    let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, reason.to_owned());
    Error::File { operation: "back up", path: path.display().to_string(), source: Arc::new(source) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths_are_arranged_and_nested_ones_merged() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().canonicalize().unwrap();
        for name in ["a/deep/er", "b"] {
            std::fs::create_dir_all(base.join(name)).unwrap();
        }
        let paths = [base.join("a/deep/er"), base.join("b/"), base.join("a"), base.join("a/deep")];
        let tree = TargetTree::of(&paths).unwrap();
        let mut node = &tree;
        for name in component_names(&base).unwrap() {
            assert!(!node.whole);
            node = &node.children[name];
        }
        assert_eq!(node.children.keys().map(Vec::as_slice).collect::<Vec<_>>(), [b"a", b"b"]);
        assert!(node.children.values().all(|child| child.whole && child.children.is_empty()));
        assert!(TargetTree::of(&[PathBuf::from("/")]).unwrap().whole);
    }

    #[test]
    fn paths_that_cannot_be_meant_are_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().canonicalize().unwrap();
        std::os::unix::fs::symlink("/etc", base.join("link")).unwrap();
        for (path, said) in [
            (base.join("missing"), "missing"),
            (PathBuf::from("relative"), "not absolute"),
            (base.join("../x"), "'..'"),
            (base.join("link/passwd"), "symbolic link"),
        ] {
            let error = TargetTree::of(std::slice::from_ref(&path)).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        assert!(TargetTree::of(&[]).is_err());
        assert!(TargetTree::of(&[base.join("link")]).is_ok(), "a link that is a path itself is recorded as a link");
    }
}
