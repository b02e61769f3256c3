//! Going through directories.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, OFlags, Stat},
    io::Errno,
};

use super::{
    directory::{Directory, Entries, Opened},
    session::{EnterTask, Session, Task, find_node},
    streamed::{Portion, Previous, StreamedEntries, UNREADABLE},
    tally::Change,
    window::ENTRIES_PER_TASK,
};
use crate::{
    control::Counters,
    error::{Error, Result},
    format::{Node, NodeType, Time},
    pack::TreeNodes,
    source::{
        SourceStep,
        handles::Place,
        listing,
        metadata::{extended_attributes, node_of, node_type},
        names::Names,
        xattr::Holder,
    },
};

/// Looks at an entry that turns into something else under our eyes.
const LOOKS: usize = 3;

impl Session {
    /// Opens and lists a directory and deals out its entries.
    pub(super) fn enter(&self, task: EnterTask) -> Result<()> {
        let EnterTask { place, above, previous_tree, was_there, targets, device, looks } = task;
        // At a path of the request the targets end: all of it is wanted.
        let targets = targets.filter(|targets| !targets.whole);
        let passing_through = targets.is_some();
        let opened =
            self.faults.before(SourceStep::List, || place.path()).and_then(|()| self.open_directory(&place, passing_through));
        let handle = match opened {
            Ok(handle) => handle,
            Err(error)
                if looks < LOOKS
                    && matches!(Errno::from_io_error(&error), Some(Errno::NOTDIR | Errno::LOOP))
                    && above.is_some() =>
            {
                let mut directories = Vec::new();
                if let Some((above, slot)) = above {
                    self.entry(&above, slot, above.previous(slot), looks, &mut directories)?;
                }
                self.queue.push_all(directories);
                return Ok(());
            }
            Err(error) => return self.directory_lost(above, place.path(), error),
        };
        let stat = match rustix::fs::fstat(&handle) {
            Ok(stat) => stat,
            Err(errno) => return self.directory_lost(above, place.path(), errno.into()),
        };
        let mut node = node_of(place.name(), &stat, &self.users);
        self.read_attributes(&mut node, Holder::Handle(handle.as_fd()), || place.path());
        // A file system that is mounted on a directory below a path is not entered; the directory itself is recorded.
        let is_foreign = !passing_through && device.is_some_and(|device| device != stat.st_dev);
        let names = match &targets {
            Some(targets) => targets.names(),
            None if is_foreign => Names::default(),
            None => {
                let listing = listing::list(handle.as_fd());
                match listing.error {
                    // It was removed between opening and listing.
                    Some(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => {
                        return self.directory_lost(above, place.path(), error);
                    }
                    Some(error) => self.lost(place.path(), "list all of the directory", &error),
                    None => {}
                }
                listing.names
            }
        };
        // What a request names itself is wanted, whatever its patterns say.
        let names = if passing_through { names } else { self.without_excluded(&place, names) };
        drop(handle);
        let (previous, entries) = self.previous_and_entries(previous_tree, &names);
        let directory = Directory::new(Opened {
            previous,
            entries,
            device: (self.one_file_system && !passing_through).then_some(device.unwrap_or(stat.st_dev)),
            place,
            above,
            node,
            previous_tree,
            was_there,
            targets,
            names,
        });
        self.deal_out(&directory)
    }

    fn open_directory(&self, place: &Arc<Place>, passing_through: bool) -> io::Result<Arc<OwnedFd>> {
        let flags = OFlags::DIRECTORY;
        match self.handles.open_for_listing(place, flags | OFlags::NOATIME) {
            // Only the owner may leave the time of access alone.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::PERM) => self.handles.open_for_listing(place, flags),
            // To pass through a directory it need not be readable.
            Err(error) if passing_through && Errno::from_io_error(&error) == Some(Errno::ACCESS) => self.handles.open(place),
            other => other,
        }
    }

    fn directory_lost(&self, above: Option<(Arc<Directory>, usize)>, path: PathBuf, error: io::Error) -> Result<()> {
        match above {
            Some((above, slot)) => {
                self.entry_gone_or_lost(&above, path, "open the directory", &error);
                self.complete(&above, slot, None)
            }
            None => Err(Error::File { operation: "open", path: path.display().to_string(), source: Arc::new(error) }),
        }
    }

    /// An entry that is gone since its directory was listed is no error; a path of the request that is gone is one. A stale handle
    /// is no evidence that something is gone (reliability F2).
    fn entry_gone_or_lost(&self, directory: &Directory, path: PathBuf, operation: &str, error: &io::Error) {
        if directory.targets.is_none() && Errno::from_io_error(error) == Some(Errno::NOENT) {
            self.vanished.add_io(path, operation, error);
        } else {
            self.lost(path, operation, error);
        }
    }

    fn without_excluded(&self, place: &Place, mut names: Names) -> Names {
        if self.excludes.is_empty() {
            return names;
        }
        let mut path = place.entry_path_bytes(b"");
        let base = path.len();
        names.retain(|name| {
            path.truncate(base);
            path.extend_from_slice(name);
            !self.excludes.matches(&path)
        });
        names
    }

    /// The directory's entries in the parent snapshot as far as they are held, and where its own will be gathered.
    fn previous_and_entries(&self, tree: Option<crate::TreeId>, names: &Names) -> (Vec<Node>, Entries) {
        let is_streamed = self.is_streamed(names.len());
        let (held, stream) = match self.previous_nodes(tree).into_whole() {
            Ok(nodes) => (nodes, TreeNodes::default()),
            Err(stream) if is_streamed => (Vec::new(), stream),
            Err(stream) => (Previous::matching(stream, names), TreeNodes::default()),
        };
        if !is_streamed {
            return (held, Entries::held(names.len()));
        }
        let entries = StreamedEntries::new(names.len(), self.streaming.window, self.saver.tree_writer(), Previous::new(stream));
        (held, Entries::Streamed(entries))
    }

    /// The directory's entries in the parent snapshot. If they cannot be read, everything is read again instead.
    fn previous_nodes(&self, tree: Option<crate::TreeId>) -> TreeNodes {
        let Some(tree) = tree else { return TreeNodes::default() };
        match self.reader.tree_nodes_blocking(&tree) {
            Ok(nodes) if nodes.is_ordered() => nodes,
            Ok(_) => TreeNodes::default(),
            Err(error) => {
                tracing::warn!(%tree, %error, "{UNREADABLE}");
                TreeNodes::default()
            }
        }
    }

    fn deal_out(&self, directory: &Arc<Directory>) -> Result<()> {
        let entries = match &directory.entries {
            Entries::Held(entries) => entries,
            Entries::Streamed(entries) => {
                return match self.go_on(directory, entries)? {
                    Some(tree) => self.close_directory(directory.clone(), tree),
                    None => Ok(()),
                };
            }
        };
        let count = directory.names.len();
        if count == 0 {
            return self.close_directory(directory.clone(), self.store_entries(entries)?);
        }
        let portion = |slots| Portion { slots, previous: Vec::new() };
        let first = count.min(ENTRIES_PER_TASK);
        let later = (first..count)
            .step_by(ENTRIES_PER_TASK)
            .map(|start| Task::Entries(directory.clone(), portion(start..(start + ENTRIES_PER_TASK).min(count))))
            .collect();
        self.queue.push_all(later);
        self.entries(directory, portion(0..first))
    }

    /// Looks at some entries of a directory; those that are directories are left for later.
    pub(super) fn entries(&self, directory: &Arc<Directory>, portion: Portion) -> Result<()> {
        let mut directories = Vec::new();
        let Portion { slots, previous: streamed } = portion;
        for slot in slots {
            self.control.check()?;
            let previous = find_node(&streamed, directory.names.get(slot)).or_else(|| directory.previous(slot));
            self.entry(directory, slot, previous, 0, &mut directories)?;
        }
        self.queue.push_all(directories);
        Ok(())
    }

    fn entry(
        &self,
        directory: &Arc<Directory>,
        slot: usize,
        previous: Option<&Node>,
        looks: usize,
        directories: &mut Vec<Task>,
    ) -> Result<()> {
        let targets = directory.targets.as_ref().and_then(|targets| targets.children.get(directory.names.get(slot)));
        for look in looks..LOOKS {
            let stat = match self.look(directory, slot) {
                Ok(stat) => stat,
                Err(error) => {
                    self.entry_gone_or_lost(directory, directory.path_of(slot), "read the metadata", &error);
                    return self.complete(directory, slot, None);
                }
            };
            match node_type(&stat) {
                NodeType::Dir => {
                    let previous = previous.filter(|node| node.node_type == NodeType::Dir);
                    directories.push(Task::Enter(EnterTask {
                        place: directory.place.child(directory.names.get(slot)),
                        above: Some((directory.clone(), slot)),
                        previous_tree: previous.and_then(|node| node.subtree),
                        was_there: previous.is_some(),
                        targets: targets.cloned(),
                        device: directory.device,
                        looks: look + 1,
                    }));
                    return Ok(());
                }
                _ if targets.is_some_and(|targets| !targets.whole) => {
                    self.lost(directory.path_of(slot), "pass through", &Errno::NOTDIR.into());
                    return self.complete(directory, slot, None);
                }
                NodeType::File => {
                    if self.file(directory, slot, previous, &stat)? {
                        return Ok(());
                    }
                }
                _ => match self.other(directory, slot, &stat) {
                    Ok(Some(node)) => {
                        self.counting.other();
                        return self.complete(directory, slot, Some(node));
                    }
                    Ok(None) => {}
                    Err(error) => {
                        self.entry_gone_or_lost(directory, directory.path_of(slot), "read the entry", &error);
                        return self.complete(directory, slot, None);
                    }
                },
            }
        }
        self.lost(directory.path_of(slot), "read the entry: it keeps turning into something else", &Errno::AGAIN.into());
        self.complete(directory, slot, None)
    }

    fn look(&self, directory: &Directory, slot: usize) -> io::Result<Stat> {
        self.faults.before(SourceStep::Stat, || directory.path_of(slot))?;
        let handle = self.handles.open(&directory.place)?;
        Ok(rustix::fs::statat(handle, directory.names.get(slot), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// The node of a link, device, FIFO or socket, none of which is ever opened. `None` if it is no longer what it was.
    fn other(&self, directory: &Arc<Directory>, slot: usize, stat: &Stat) -> io::Result<Option<Node>> {
        let name = directory.names.get(slot);
        let handle = self.handles.open(&directory.place)?;
        let mut node = node_of(name, stat, &self.users);
        if node.node_type == NodeType::Symlink {
            node.link_target = match rustix::fs::readlinkat(&handle, name, Vec::new()) {
                Err(Errno::INVAL) => return Ok(None),
                target => target?.into_bytes(),
            };
        }
        self.read_attributes(&mut node, Holder::Entry(handle.as_fd(), name), || directory.path_of(slot));
        Ok(Some(node))
    }

    /// Reads the attributes into the node; what cannot be read becomes a warning. The next backup must not take such a file over as
    /// unchanged, or what is missing would be missing from then on in silence: without a time of change it is read again.
    pub(super) fn read_attributes(&self, node: &mut Node, holder: Holder<'_>, path: impl Fn() -> PathBuf) {
        let attributes = match holder.read() {
            Ok(attributes) => attributes,
            // A handle that only passes through has no attributes to give.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::BADF) => return,
            Err(error) => {
                self.warnings.add_io(path(), "list the extended attributes", &error);
                node.ctime = Time::default();
                return;
            }
        };
        for (name, error) in &attributes.unreadable {
            let operation = format!("read the extended attribute {}", String::from_utf8_lossy(name));
            self.warnings.add_io(path(), &operation, error);
            node.ctime = Time::default();
        }
        node.extended_attributes = extended_attributes(attributes);
    }

    /// Counts a file that will be in the snapshot.
    pub(super) fn count_file(&self, change: Change, size: u64) {
        self.counting.file(change, size);
        let counters = self.control.counters();
        Counters::add(&counters.files_done, 1);
        Counters::add(&counters.bytes_done, size);
        if change == Change::Unmodified {
            Counters::add(&counters.files_unchanged, 1);
        }
    }
}
