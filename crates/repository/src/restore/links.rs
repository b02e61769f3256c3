//! Hard links: the first name of a file is restored as a file, the others are linked to it when it is done.

use std::{
    collections::HashMap,
    io,
    os::fd::AsFd,
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;
use rustix::{fs::AtFlags, io::Errno};

use super::{report::add, restorer::Restorer, target};
use crate::{
    Counters,
    error::Result,
    format::{Content, Id, Node},
    source::handles::Place,
};

/// Files with several names of which not all have been met, by device and inode of the source.
#[derive(Default)]
pub(super) struct LinkGroups(Mutex<HashMap<(u64, u64), Names>>);

struct Names {
    group: Arc<Group>,
    met: u64,
    expected: u64,
}

/// A file with several names: the first one, which is restored.
pub(super) struct Group {
    place: Arc<Place>,
    name: Vec<u8>,
    content: Id,
    /// Device and inode of the restored file, once it is complete.
    restored: OnceLock<(u64, u64)>,
}

/// A further name of a file.
pub(super) struct LaterName {
    group: Arc<Group>,
    place: Arc<Place>,
    name: Vec<u8>,
}

/// What a file is among its names.
pub(super) enum Joined {
    /// It has no other name, or none in the snapshot's sense.
    Alone,
    /// The first one: it is restored as a file, and its group is told when it is complete.
    First(Arc<Group>),
    /// It will be linked to the first one when that is restored.
    Later(LaterName),
}

impl LinkGroups {
    pub(super) fn join(&self, place: &Arc<Place>, node: &Node) -> Joined {
        if node.links < 2 || node.inode == 0 {
            return Joined::Alone;
        }
        let content = content_id(node);
        let key = (node.device_id, node.inode);
        let mut groups = self.0.lock();
        let Some(names) = groups.get_mut(&key) else {
            let (place, name) = (place.clone(), node.name.clone());
            let group = Arc::new(Group { place, name, content, restored: OnceLock::new() });
            groups.insert(key, Names { group: group.clone(), met: 1, expected: node.links });
            return Joined::First(group);
        };
        names.met += 1;
        names.expected = names.expected.max(node.links);
        let group = names.group.clone();
        if names.met >= names.expected {
            groups.remove(&key);
        }
        // A repository that gives one inode two contents is lying, or the file changed between two looks: both are kept as they are.
        if group.content != content {
            return Joined::Alone;
        }
        Joined::Later(LaterName { group, place: place.clone(), name: node.name.clone() })
    }

    /// Whether all names of all files have been met.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

impl Group {
    /// Tells that the first name is restored.
    pub(super) fn restored(&self, identity: (u64, u64)) {
        // It is restored once only.
        let _ = self.restored.set(identity);
    }
}

/// A sum over what the content is made of.
fn content_id(node: &Node) -> Id {
    let mut runs = Vec::new();
    for run in node.content.iter().flat_map(Content::runs) {
        runs.extend_from_slice(&run.id.0);
        runs.extend_from_slice(&run.count.to_le_bytes());
    }
    Id::of(&runs)
}

impl Restorer {
    /// Makes further names of files whose first names are done.
    pub(super) fn link_names(&self, names: Vec<LaterName>) -> Result<()> {
        for LaterName { group, place, name } in names {
            self.check()?;
            match self.link_name(&group, &place, &name) {
                Ok(()) => {
                    add(&self.counting.hard_links, 1);
                    Counters::add(&self.control.counters().files_done, 1);
                }
                Err(error) => {
                    let operation = format!("link it to {}", group.place.entry_path(&group.name).display());
                    self.failed(place.entry_path(&name), &operation, &error);
                }
            }
        }
        Ok(())
    }

    fn link_name(&self, group: &Group, place: &Arc<Place>, name: &[u8]) -> io::Result<()> {
        let Some(identity) = group.restored.get() else {
            return Err(io::Error::other("that file could not be restored"));
        };
        let directory = self.handles.open(place)?;
        let is_linked = |stat: Option<rustix::fs::Stat>| stat.is_some_and(|stat| (stat.st_dev, stat.st_ino) == *identity);
        let standing = target::look(directory.as_fd(), name)?;
        if is_linked(standing) {
            return Ok(());
        }
        if standing.is_some() {
            target::clear(&self.handles, &self.control, directory.as_fd(), name)?;
        }
        let first = self.handles.open(&group.place)?;
        rustix::fs::linkat(first, group.name.as_slice(), &directory, name, AtFlags::empty())?;
        if is_linked(target::look(directory.as_fd(), name)?) {
            return Ok(());
        }
        // Somebody put another file in the place of the first one.
        rustix::fs::unlinkat(&directory, name, AtFlags::empty())?;
        Err(Errno::STALE.into())
    }
}
