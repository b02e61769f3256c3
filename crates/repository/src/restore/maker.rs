//! What a new entry gets from the process that makes it, so that only what differs from its node need be set.

use std::os::fd::BorrowedFd;

use rustix::{
    buffer::spare_capacity,
    fs::{Mode, Stat},
    io::Errno,
};

use super::{
    request::Ownership,
    settle::{Made, Policy, is_plain},
};
use crate::format::{Node, file_mode};

/// The bits of `CapEff` for changing owners, and for passing through directories whatever their modes say.
const CAN_CHANGE_OWNERS: u64 = 1 << 0;
const CAN_PASS_ANYWHERE: u64 = 1 << 1 | 1 << 2;

const DEFAULT_LIST: &str = "system.posix_acl_default";

/// The process as a maker of entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Maker {
    /// User and group of what it makes.
    owner: (u32, u32),
    /// Bits of a mode that are left out of what it makes; all if that is unknown.
    umask: u32,
    capabilities: u64,
}

impl Maker {
    /// This process.
    pub(super) fn new() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        Self {
            owner: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
            umask: field("Umask:").and_then(|digits| u32::from_str_radix(digits, 8).ok()).unwrap_or(0o777),
            capabilities: field("CapEff:").and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0),
        }
    }

    /// Whether a directory that this run made is its own, so that an entry that it makes in there has this process's owner, has no
    /// access control list, and that nothing else is there.
    pub(super) fn owns(&self, handle: BorrowedFd<'_>, stat: &Stat) -> bool {
        let mut value = Vec::with_capacity(64);
        (stat.st_uid, stat.st_gid) == self.owner
            && matches!(
                rustix::fs::fgetxattr(handle, DEFAULT_LIST, spare_capacity(&mut value)),
                Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS)
            )
    }

    /// The mode with which the file of a node is made in such a directory, and what it then has. It is never more open than the
    /// node's: before its owner is the right one, the mode would speak of other people.
    pub(super) fn file(&self, node: &Node, policy: Policy) -> (Mode, Made) {
        let keeps_owner = policy.ownership == Ownership::Skip || (node.uid, node.gid) == self.owner;
        let mode = if keeps_owner && is_plain(node) { node.mode & file_mode::PERMISSIONS } else { 0o600 };
        (Mode::from_raw_mode(mode), self.made(mode))
    }

    /// What a new entry has that was made with this mode.
    pub(super) fn made(&self, mode: u32) -> Made {
        Made { owner: self.owner, mode: mode & !self.umask }
    }

    /// Whether entries of a directory can still be reached once it has the owner and the mode of its node.
    pub(super) fn can_pass(&self, node: &Node, policy: Policy) -> bool {
        let keeps_owner =
            policy.ownership == Ownership::Skip || node.uid == self.owner.0 || self.capabilities & CAN_CHANGE_OWNERS == 0;
        self.capabilities & CAN_PASS_ANYWHERE != 0 || keeps_owner && node.mode & 0o100 != 0
    }
}
