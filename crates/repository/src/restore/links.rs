//! Hard links: the first name of a file is restored as a file, the others are linked to it at the end.

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
    format::{Id, Node},
    source::handles::Place,
};

/// Files with several names, by device and inode of the source.
#[derive(Default)]
pub(super) struct LinkGroups(Mutex<Groups>);

#[derive(Default)]
struct Groups {
    by_inode: HashMap<(u64, u64), usize>,
    groups: Vec<Arc<Group>>,
    later: Vec<(usize, Arc<Place>, Vec<u8>)>,
}

struct Group {
    place: Arc<Place>,
    name: Vec<u8>,
    content: Id,
    /// Device and inode of the restored file, once it is complete.
    restored: OnceLock<(u64, u64)>,
}

/// What a file is among its names.
pub(super) enum Joined {
    /// It has no other name, or none in the snapshot's sense.
    Alone,
    /// The first one: it is restored as a file, and its group is told when it is complete.
    First(usize),
    /// It will be linked to the first one at the end.
    Later,
}

impl LinkGroups {
    pub(super) fn join(&self, place: &Arc<Place>, node: &Node) -> Joined {
        if node.links < 2 || node.inode == 0 {
            return Joined::Alone;
        }
        let content = content_id(node);
        let mut state = self.0.lock();
        let next = state.groups.len();
        let group = *state.by_inode.entry((node.device_id, node.inode)).or_insert(next);
        if group == next {
            state.groups.push(Arc::new(Group {
                place: place.clone(),
                name: node.name.clone(),
                content,
                restored: OnceLock::new(),
            }));
            return Joined::First(group);
        }
        // A repository that gives one inode two contents is lying, or the file changed between two looks: both are kept as they are.
        if state.groups[group].content != content {
            return Joined::Alone;
        }
        state.later.push((group, place.clone(), node.name.clone()));
        Joined::Later
    }

    /// Tells that the first name of a group is restored.
    pub(super) fn restored(&self, group: usize, identity: (u64, u64)) {
        let group = self.0.lock().groups[group].clone();
        // It is restored once only.
        let _ = group.restored.set(identity);
    }
}

fn content_id(node: &Node) -> Id {
    let ids: Vec<u8> = node.content.iter().flatten().flat_map(|id| id.0).collect();
    Id::of(&ids)
}

impl Restorer {
    /// Makes the further names of files.
    pub(super) fn link_names(&self) -> Result<()> {
        let (groups, later) = {
            let mut state = self.groups.0.lock();
            (std::mem::take(&mut state.groups), std::mem::take(&mut state.later))
        };
        for (group, place, name) in later {
            self.check()?;
            let group = &groups[group];
            match self.link_name(group, &place, &name) {
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
            target::clear(&self.handles, directory.as_fd(), name)?;
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
