//! From what the system says of an entry to a node of a tree.

use rustix::fs::{FileType, Stat};

use super::{content::file_size, users::Users, xattr::Attributes};
use crate::format::{ExtendedAttribute, Node, NodeType, Time, file_mode};

/// The type of an entry.
#[must_use]
pub fn node_type(stat: &Stat) -> NodeType {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => NodeType::File,
        FileType::Directory => NodeType::Dir,
        FileType::Symlink => NodeType::Symlink,
        FileType::BlockDevice => NodeType::Device,
        FileType::CharacterDevice => NodeType::CharDevice,
        FileType::Fifo => NodeType::Fifo,
        FileType::Socket => NodeType::Socket,
        FileType::Unknown => NodeType::Irregular,
    }
}

/// A node with everything that the entry's metadata says; content, subtree, link target and attributes are still to be added.
///
/// As restic does by default, the time of access is recorded as the time of modification: else every reader of a file would
/// make the trees above it differ from those of the snapshot before. Device numbers are recorded where they tell hard links apart.
#[must_use]
pub fn node_of(name: &[u8], stat: &Stat, users: &Users) -> Node {
    let node_type = node_type(stat);
    let mtime = Time { seconds: stat.st_mtime, nanos: nanos(stat.st_mtime_nsec) };
    let counts_links = matches!(node_type, NodeType::File | NodeType::Symlink | NodeType::Device | NodeType::CharDevice);
    let links = if counts_links { stat.st_nlink } else { 0 };
    let is_device = matches!(node_type, NodeType::Device | NodeType::CharDevice);
    Node {
        name: name.to_vec(),
        mode: file_mode::from_unix(stat.st_mode),
        mtime,
        atime: mtime,
        ctime: change_time(stat),
        uid: stat.st_uid,
        gid: stat.st_gid,
        user: users.user(stat.st_uid).to_owned(),
        group: users.group(stat.st_gid).to_owned(),
        inode: stat.st_ino,
        device_id: if links > 1 { stat.st_dev } else { 0 },
        size: if node_type == NodeType::File { file_size(stat) } else { 0 },
        links,
        device: if is_device { stat.st_rdev } else { 0 },
        node_type,
        ..Node::default()
    }
}

/// The time of the last change of the inode.
#[must_use]
pub fn change_time(stat: &Stat) -> Time {
    Time { seconds: stat.st_ctime, nanos: nanos(stat.st_ctime_nsec) }
}

/// Whether a file is, by its metadata, the one that `previous` describes, so that its content need not be read.
#[must_use]
pub fn is_unchanged(stat: &Stat, previous: &Node) -> bool {
    previous.node_type == NodeType::File
        && previous.size == file_size(stat)
        && previous.inode == stat.st_ino
        && previous.mtime == Time { seconds: stat.st_mtime, nanos: nanos(stat.st_mtime_nsec) }
        && previous.ctime == change_time(stat)
}

/// Attributes in the form of a node.
#[must_use]
pub fn extended_attributes(attributes: Attributes) -> Vec<ExtendedAttribute> {
    attributes.readable.into_iter().map(|(name, value)| ExtendedAttribute { name, value }).collect()
}

fn nanos<T: TryInto<u32>>(nanos: T) -> u32 {
    nanos.try_into().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    #[test]
    fn a_node_says_what_the_system_says() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        std::fs::write(&path, b"12345").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o4751)).unwrap();
        let users = Users::default();
        let alone = node_of(b"f", &rustix::fs::lstat(&path).unwrap(), &users);
        assert_eq!((alone.size, alone.links, alone.device_id), (5, 1, 0));
        assert_eq!(alone.mode, file_mode::SETUID | 0o751);
        assert_eq!(alone.atime, alone.mtime);
        std::fs::hard_link(&path, directory.path().join("g")).unwrap();
        let metadata = std::fs::metadata(&path).unwrap();
        let stat = rustix::fs::lstat(&path).unwrap();
        let linked = node_of(b"f", &stat, &users);
        assert_eq!((linked.links, linked.device_id, linked.inode), (2, metadata.dev(), metadata.ino()));
        assert!(is_unchanged(&stat, &linked));
        assert!(!is_unchanged(&stat, &alone), "the link changed the inode's time");
    }
}
