//! Owner, attributes, mode and times of an entry, brought to what its node says and looked at afterwards.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use rustix::{
    fs::{AtFlags, CWD, Gid, Mode, Stat, Timespec, Timestamps, Uid},
    io::Errno,
};

use super::request::{Ownership, Privileged};
use crate::{
    format::{ExtendedAttribute, Node, Time, file_mode},
    source::{problem::class_of, xattr::Holder},
};

/// The request's policy on metadata.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub(super) ownership: Ownership,
    pub(super) privileged: Privileged,
}

/// The entry whose metadata is set.
#[derive(Clone, Copy, Debug)]
pub(super) enum Subject<'a> {
    /// An open file or directory.
    Open(BorrowedFd<'a>),
    /// A FIFO, socket or device: a handle that does not open it, and where it stands.
    Unopened(BorrowedFd<'a>, BorrowedFd<'a>, &'a [u8]),
    /// A symbolic link, which has no mode of its own.
    Link(BorrowedFd<'a>, &'a [u8]),
}

/// Something that is not as the node says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) is_error: bool,
    pub(super) reason: String,
    pub(super) class: &'static str,
}

/// Attributes that are removed if the node does not have them; others are the platform's (security labels, capabilities that
/// writing has cleared already, quotas).
const REMOVABLE: [&[u8]; 3] = [b"user.", b"system.posix_acl_access", b"system.posix_acl_default"];

/// The label by which a node of the cluster keeps containers apart. It belongs to where the volume is mounted now, not to where it
/// was when it was backed up.
const PLATFORM_LABEL: &[u8] = b"security.selinux";

const SET_ID_BITS: u32 = 0o6000;

impl Subject<'_> {
    fn stat(self) -> io::Result<Stat> {
        Ok(match self {
            Self::Open(handle) | Self::Unopened(handle, ..) => rustix::fs::fstat(handle),
            Self::Link(directory, name) => rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW),
        }?)
    }

    fn set_owner(self, uid: Option<Uid>, gid: Option<Gid>) -> Result<(), Errno> {
        match self {
            Self::Open(handle) => rustix::fs::fchown(handle, uid, gid),
            Self::Unopened(handle, ..) => rustix::fs::chownat(handle, "", uid, gid, AtFlags::EMPTY_PATH),
            Self::Link(directory, name) => rustix::fs::chownat(directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW),
        }
    }

    fn set_mode(self, mode: Mode) -> Result<(), Errno> {
        match self {
            Self::Open(handle) => rustix::fs::fchmod(handle, mode),
            // The kernel has no call for this; the path leads through the handle to the entry itself.
            Self::Unopened(handle, ..) => rustix::fs::chmod(handle_path(handle), mode),
            Self::Link(..) => Ok(()),
        }
    }

    fn set_times(self, times: &Timestamps) -> Result<(), Errno> {
        match self {
            Self::Open(handle) => rustix::fs::futimens(handle, times),
            Self::Unopened(handle, ..) => rustix::fs::utimensat(CWD, handle_path(handle), times, AtFlags::empty()),
            Self::Link(directory, name) => rustix::fs::utimensat(directory, name, times, AtFlags::SYMLINK_NOFOLLOW),
        }
    }
}

impl<'a> Subject<'a> {
    fn holder(self) -> Holder<'a> {
        match self {
            Self::Open(handle) => Holder::Handle(handle),
            Self::Unopened(_, directory, name) | Self::Link(directory, name) => Holder::Entry(directory, name),
        }
    }
}

/// The path under which a process finds its own handle.
pub(super) fn handle_path(handle: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", handle.as_raw_fd())
}

/// What an entry has that this run has just made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    /// User and group.
    pub(super) owner: (u32, u32),
    /// Permissions.
    pub(super) mode: u32,
}

/// The system takes this number for "leave it as it is", so that nobody can have it.
const NO_OWNER: u32 = u32::MAX;

/// Whether an entry has nothing but an owner, a mode without set-id bits, and times.
pub(super) fn is_plain(node: &Node) -> bool {
    file_mode::permissions_to_unix(node.mode) & SET_ID_BITS == 0
        && ![node.uid, node.gid].contains(&NO_OWNER)
        && node.extended_attributes.iter().all(|attribute| attribute.name == PLATFORM_LABEL)
}

/// [`settle`] for an entry that this run has just made: only what differs is set, without a look before. The entry as it is then,
/// if it could be seen.
pub(super) fn settle_new(subject: Subject<'_>, node: &Node, policy: Policy, made: Made) -> (Vec<Finding>, Option<Stat>) {
    if is_plain(node)
        && let Ok(stat) = settle_plain(subject, node, policy, made)
    {
        return (Vec::new(), Some(stat));
    }
    (settle(subject, node, policy, false), subject.stat().ok())
}

/// Fails if anything is refused or is not as it should be afterwards.
fn settle_plain(subject: Subject<'_>, node: &Node, policy: Policy, made: Made) -> io::Result<Stat> {
    let mode = file_mode::permissions_to_unix(node.mode);
    let owner = if policy.ownership == Ownership::Skip { made.owner } else { (node.uid, node.gid) };
    if owner != made.owner {
        subject.set_owner(Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)))?;
    }
    let has_mode = !matches!(subject, Subject::Link(..));
    if has_mode && mode != made.mode {
        subject.set_mode(Mode::from_raw_mode(mode))?;
    }
    subject.set_times(&Timestamps { last_access: timespec(node.atime), last_modification: timespec(node.mtime) })?;
    let stat = subject.stat()?;
    let is_right = (stat.st_uid, stat.st_gid) == owner && (!has_mode || stat.st_mode & 0o7777 == mode);
    if is_right { Ok(stat) } else { Err(Errno::AGAIN.into()) }
}

/// Sets everything that differs, in the order in which one does not undo the other: a change of owner clears set-id bits and
/// capabilities, an access control list changes the mode's group bits, and everything changes times.
///
/// `lenient` makes warnings of refusals: for a directory that belongs to the platform, such as the root of a volume.
pub(super) fn settle(subject: Subject<'_>, node: &Node, policy: Policy, lenient: bool) -> Vec<Finding> {
    let mut findings = Findings { lenient, list: Vec::new() };
    if let Err(error) = settle_all(subject, node, policy, &mut findings) {
        findings.refused("read back the metadata", &error, true);
    }
    findings.list
}

fn settle_all(subject: Subject<'_>, node: &Node, policy: Policy, findings: &mut Findings) -> io::Result<()> {
    let before = subject.stat()?;
    let mut touched = set_owner(subject, node, policy, &before, findings);
    touched |= set_attributes(subject, node, policy, findings);
    let owner = subject.stat()?;
    let has_owner = (owner.st_uid, owner.st_gid) == (node.uid, node.gid);
    let mode = wanted_mode(node, policy, has_owner, findings);
    let has_mode = !matches!(subject, Subject::Link(..));
    if has_mode
        && (touched || before.st_mode & 0o7777 != mode)
        && let Err(errno) = subject.set_mode(Mode::from_raw_mode(mode))
    {
        findings.refused("set the mode", &errno.into(), true);
    }
    if !has_mtime(&before, node.mtime)
        && let Err(errno) =
            subject.set_times(&Timestamps { last_access: timespec(node.atime), last_modification: timespec(node.mtime) })
    {
        findings.refused("set the times", &errno.into(), true);
    }
    let after = subject.stat()?;
    if has_mode && findings.list.is_empty() && after.st_mode & 0o7777 != mode {
        findings.add(
            format!("the mode is {:o} instead of {mode:o}: the system dropped bits", after.st_mode & 0o7777),
            "permission",
            true,
        );
    }
    Ok(())
}

fn set_owner(subject: Subject<'_>, node: &Node, policy: Policy, before: &Stat, findings: &mut Findings) -> bool {
    if policy.ownership == Ownership::Skip || (before.st_uid, before.st_gid) == (node.uid, node.gid) {
        return false;
    }
    if [node.uid, node.gid].contains(&NO_OWNER) {
        let reason = format!("the owner {}:{} is left out: {NO_OWNER} is no number of a user or group", node.uid, node.gid);
        findings.add(reason, "refused", policy.ownership == Ownership::Required);
        return false;
    }
    let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
    let Err(errno) = subject.set_owner(Some(uid), Some(gid)) else { return true };
    // Whoever is not root may still give a file to a group of his.
    let group_set = before.st_gid != node.gid && subject.set_owner(None, Some(gid)).is_ok();
    if !group_set || before.st_uid != node.uid {
        let operation = format!("set the owner {}:{}", node.uid, node.gid);
        findings.refused(&operation, &errno.into(), policy.ownership == Ownership::Required);
    }
    group_set
}

fn set_attributes(subject: Subject<'_>, node: &Node, policy: Policy, findings: &mut Findings) -> bool {
    let holder = subject.holder();
    let current = match holder.read() {
        Ok(attributes) => attributes.readable,
        Err(error) => {
            if !node.extended_attributes.is_empty() {
                findings.refused("list the extended attributes", &error, true);
            }
            return false;
        }
    };
    let mut touched = false;
    for ExtendedAttribute { name, value } in &node.extended_attributes {
        let shown = String::from_utf8_lossy(name);
        if name == PLATFORM_LABEL || current.iter().any(|(have, with)| have == name && with == value) {
            continue;
        }
        if policy.privileged == Privileged::Drop && (name.starts_with(b"security.") || name.starts_with(b"trusted.")) {
            findings.add(format!("the extended attribute {shown} was left out by policy"), "refused", false);
            continue;
        }
        match holder.set(name, value) {
            Ok(()) => touched = true,
            Err(error) => findings.refused(&format!("set the extended attribute {shown}"), &error, true),
        }
    }
    for (name, _) in current {
        let is_wanted = node.extended_attributes.iter().any(|attribute| attribute.name == name);
        if is_wanted || !REMOVABLE.iter().any(|removable| name.starts_with(removable)) {
            continue;
        }
        match holder.remove(&name) {
            Ok(()) => touched = true,
            Err(error) => {
                findings.refused(&format!("remove the extended attribute {}", String::from_utf8_lossy(&name)), &error, true);
            }
        }
    }
    touched
}

/// The mode to set. A program with a set-id bit and another owner than it had would give that owner's power to everybody.
fn wanted_mode(node: &Node, policy: Policy, has_owner: bool, findings: &mut Findings) -> u32 {
    let mode = file_mode::permissions_to_unix(node.mode);
    let gives_power = mode & SET_ID_BITS != 0 && mode & 0o111 != 0 && node.mode & file_mode::DIR == 0;
    let reason = match policy.privileged {
        Privileged::Drop => "by policy",
        Privileged::Restore if !has_owner => "because the owner is not the one of the snapshot",
        Privileged::Restore => return mode,
    };
    if !gives_power {
        return mode;
    }
    findings.add(format!("the set-user-id or set-group-id bit was left out {reason}"), "refused", false);
    mode & !SET_ID_BITS
}

fn has_mtime(stat: &Stat, time: Time) -> bool {
    stat.st_mtime == time.seconds && u32::try_from(stat.st_mtime_nsec).is_ok_and(|nanos| nanos == time.nanos)
}

fn timespec(time: Time) -> Timespec {
    Timespec { tv_sec: time.seconds, tv_nsec: time.nanos.into() }
}

struct Findings {
    lenient: bool,
    list: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, reason: String, class: &'static str, is_error: bool) {
        self.list.push(Finding { is_error: is_error && !self.lenient, reason, class });
    }

    fn refused(&mut self, operation: &str, error: &io::Error, is_error: bool) {
        self.add(format!("cannot {operation}: {error}"), class_of(error), is_error);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::{fs::File, os::fd::AsFd, os::unix::fs::MetadataExt};

    const POLICY: Policy = Policy { ownership: Ownership::Required, privileged: Privileged::Restore };

    fn node(mode: u32) -> Node {
        let time = Time { seconds: 1_000_000_000, nanos: 123_456_789 };
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        Node { mode: file_mode::from_unix(mode), mtime: time, atime: time, uid, gid, ..Node::default() }
    }

    #[test]
    fn modes_and_times_are_exact_and_a_second_time_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = File::create(directory.path().join("f")).unwrap();
        assert_eq!(settle(Subject::Open(file.as_fd()), &node(0o104_751), POLICY, false), []);
        let metadata = file.metadata().unwrap();
        assert_eq!((metadata.mode() & 0o7777, metadata.mtime(), metadata.mtime_nsec()), (0o4751, 1_000_000_000, 123_456_789));
        assert_eq!(settle(Subject::Open(file.as_fd()), &node(0o104_751), POLICY, false), []);
        assert_eq!(file.metadata().unwrap().ctime_nsec(), metadata.ctime_nsec(), "an entry that is right is not touched");
    }

    /// A number that means "leave it as it is" would be a false success.
    #[test]
    fn an_owner_that_nobody_can_be_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let file = File::create(directory.path().join("f")).unwrap();
        for nobody in [Node { uid: u32::MAX, ..node(0o644) }, Node { gid: u32::MAX, ..node(0o644) }] {
            let findings = settle(Subject::Open(file.as_fd()), &nobody, POLICY, false);
            assert!(findings.len() == 1 && findings[0].is_error, "{findings:?}");
        }
    }

    /// Reliability S-41.
    #[test]
    fn set_id_bits_are_left_out_by_policy() {
        let directory = tempfile::tempdir().unwrap();
        let file = File::create(directory.path().join("f")).unwrap();
        let policy = Policy { privileged: Privileged::Drop, ..POLICY };
        let findings = settle(Subject::Open(file.as_fd()), &node(0o104_755), policy, false);
        assert!(findings.len() == 1 && !findings[0].is_error, "{findings:?}");
        assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o755);
    }

    #[test]
    fn a_set_id_bit_needs_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let file = File::create(directory.path().join("f")).unwrap();
        let other = Node { uid: 4_711, ..node(0o106_755) };
        let policy = Policy { ownership: Ownership::Skip, ..POLICY };
        let findings = settle(Subject::Open(file.as_fd()), &other, policy, false);
        assert!(findings.len() == 1 && !findings[0].is_error, "{findings:?}");
        assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o755);
    }

    #[test]
    fn fifos_and_links_are_settled_without_being_opened() {
        let directory = tempfile::tempdir().unwrap();
        let top = File::open(directory.path()).unwrap();
        rustix::fs::mknodat(&top, "fifo", rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        std::os::unix::fs::symlink("nowhere", directory.path().join("link")).unwrap();
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::NOFOLLOW;
        let handle = rustix::fs::openat(&top, "fifo", flags, Mode::empty()).unwrap();
        assert_eq!(settle(Subject::Unopened(handle.as_fd(), top.as_fd(), b"fifo"), &node(0o010_624), POLICY, false), []);
        assert_eq!(settle(Subject::Link(top.as_fd(), b"link"), &node(0o120_777), POLICY, false), []);
        let fifo = directory.path().join("fifo").symlink_metadata().unwrap();
        assert_eq!((fifo.mode() & 0o7777, fifo.mtime()), (0o624, 1_000_000_000));
        assert_eq!(directory.path().join("link").symlink_metadata().unwrap().mtime(), 1_000_000_000);
    }
}
