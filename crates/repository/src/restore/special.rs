//! Entries without content: links, devices, FIFOs, sockets.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
    sync::Arc,
};

use rustix::{
    fs::{FileType, Mode, OFlags, Stat},
    io::Errno,
};

use super::{
    report::add,
    request::Privileged,
    restorer::Restorer,
    settle::{Finding, Subject, settle, settle_new},
    target,
};
use crate::{
    Counters,
    format::{Node, NodeType},
    source::handles::Place,
};

impl Restorer {
    /// Makes an entry that is neither a file nor a directory, if it is not there as it should be, and sets its metadata.
    /// In a directory that is this run's own nothing has its name.
    pub(super) fn special(&self, place: &Arc<Place>, node: &Node, is_in_own: bool, path: PathBuf) {
        let file_type = match &node.node_type {
            NodeType::Symlink => FileType::Symlink,
            NodeType::Device => FileType::BlockDevice,
            NodeType::CharDevice => FileType::CharacterDevice,
            NodeType::Fifo => FileType::Fifo,
            NodeType::Socket => FileType::Socket,
            other => {
                let reason = format!("entries of type {:?} cannot be restored", other.as_str());
                self.add_error(path, reason, "unsupported");
                return;
            }
        };
        let is_device = matches!(file_type, FileType::BlockDevice | FileType::CharacterDevice);
        if is_device && self.policy.privileged == Privileged::Drop {
            self.warnings.add(path, "the device was left out by policy", "refused");
            return;
        }
        let made = match self.make_link(place, node, is_in_own && file_type == FileType::Symlink) {
            Ok(None) => self.make_special(place, node, file_type),
            Ok(Some(findings)) => Ok(findings),
            Err(error) => Err(error),
        };
        match made {
            Ok(findings) => {
                self.add_findings(|| path.clone(), findings);
                add(&self.counting.others, 1);
                Counters::add(&self.control.counters().files_done, 1);
            }
            Err(error) => self.failed(path, &format!("make the {}", node.node_type.as_str()), &error),
        }
    }

    /// Makes a link in a few calls. `None` if something may have its name.
    fn make_link(&self, place: &Arc<Place>, node: &Node, is_new_link: bool) -> io::Result<Option<Vec<Finding>>> {
        if !is_new_link {
            return Ok(None);
        }
        let directory = self.handles.open(place)?;
        match rustix::fs::symlinkat(node.link_target.as_slice(), &directory, node.name.as_slice()) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let subject = Subject::Link(directory.as_fd(), &node.name);
        Ok(Some(settle_new(subject, node, self.policy, self.maker.made(0o777)).0))
    }

    fn make_special(&self, place: &Arc<Place>, node: &Node, file_type: FileType) -> io::Result<Vec<Finding>> {
        let directory = self.handles.open(place)?;
        let (directory, name) = (directory.as_fd(), node.name.as_slice());
        let standing = target::look(directory, name)?;
        if !standing.is_some_and(|stat| is_same(directory, node, file_type, &stat)) {
            if standing.is_some() {
                target::clear(&self.handles, &self.control, directory, name)?;
            }
            if file_type == FileType::Symlink {
                rustix::fs::symlinkat(node.link_target.as_slice(), directory, name)?;
            } else {
                rustix::fs::mknodat(directory, name, file_type, Mode::RUSR | Mode::WUSR, node.device)?;
            }
        }
        if file_type == FileType::Symlink {
            return Ok(settle(Subject::Link(directory, name), node, self.policy, false));
        }
        let handle = self.handles.open_beneath(directory, name, OFlags::PATH, Mode::empty())?;
        let stat = rustix::fs::fstat(&handle)?;
        if FileType::from_raw_mode(stat.st_mode) != file_type {
            return Err(Errno::STALE.into());
        }
        Ok(settle(Subject::Unopened(handle.as_fd(), directory, name), node, self.policy, false))
    }
}

/// Whether the entry that stands there is the one of the snapshot but for its metadata.
fn is_same(directory: BorrowedFd<'_>, node: &Node, file_type: FileType, stat: &Stat) -> bool {
    if FileType::from_raw_mode(stat.st_mode) != file_type {
        return false;
    }
    match file_type {
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(directory, node.name.as_slice(), Vec::new());
            target.is_ok_and(|target| target.as_bytes() == node.link_target)
        }
        FileType::BlockDevice | FileType::CharacterDevice => stat.st_rdev == node.device,
        _ => true,
    }
}
