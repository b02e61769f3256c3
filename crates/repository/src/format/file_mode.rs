//! Go's `os.FileMode` bits, which restic stores, and the kernel's `st_mode` bits.

/// Directory.
pub const DIR: u32 = 1 << 31;
/// Symbolic link.
pub const SYMLINK: u32 = 1 << 27;
/// Device; with [`CHAR_DEVICE`] a character device, else a block device.
pub const DEVICE: u32 = 1 << 26;
/// Named pipe.
pub const NAMED_PIPE: u32 = 1 << 25;
/// Socket.
pub const SOCKET: u32 = 1 << 24;
/// Set user id on execution.
pub const SETUID: u32 = 1 << 23;
/// Set group id on execution.
pub const SETGID: u32 = 1 << 22;
/// Character device.
pub const CHAR_DEVICE: u32 = 1 << 21;
/// Sticky.
pub const STICKY: u32 = 1 << 20;
/// Neither of the known types.
pub const IRREGULAR: u32 = 1 << 19;
/// Permission bits, the same in both.
pub const PERMISSIONS: u32 = 0o777;

const S_IFMT: u32 = 0o170_000;
const S_IFSOCK: u32 = 0o140_000;
const S_IFLNK: u32 = 0o120_000;
const S_IFREG: u32 = 0o100_000;
const S_IFBLK: u32 = 0o060_000;
const S_IFDIR: u32 = 0o040_000;
const S_IFCHR: u32 = 0o020_000;
const S_IFIFO: u32 = 0o010_000;
const S_ISUID: u32 = 0o4000;
const S_ISGID: u32 = 0o2000;
const S_ISVTX: u32 = 0o1000;

/// `st_mode` to Go's bits.
#[must_use]
pub fn from_unix(st_mode: u32) -> u32 {
    let kind = match st_mode & S_IFMT {
        S_IFREG => 0,
        S_IFDIR => DIR,
        S_IFLNK => SYMLINK,
        S_IFBLK => DEVICE,
        S_IFCHR => DEVICE | CHAR_DEVICE,
        S_IFIFO => NAMED_PIPE,
        S_IFSOCK => SOCKET,
        _ => IRREGULAR,
    };
    let special = [(S_ISUID, SETUID), (S_ISGID, SETGID), (S_ISVTX, STICKY)];
    special.iter().filter(|(unix, _)| st_mode & unix != 0).fold(kind | st_mode & PERMISSIONS, |mode, (_, go)| mode | go)
}

/// Go's bits to `st_mode`; the type bits too.
#[must_use]
pub fn to_unix(mode: u32) -> u32 {
    let kind = if mode & DIR != 0 {
        S_IFDIR
    } else if mode & SYMLINK != 0 {
        S_IFLNK
    } else if mode & DEVICE != 0 {
        if mode & CHAR_DEVICE != 0 { S_IFCHR } else { S_IFBLK }
    } else if mode & NAMED_PIPE != 0 {
        S_IFIFO
    } else if mode & SOCKET != 0 {
        S_IFSOCK
    } else {
        S_IFREG
    };
    kind | permissions_to_unix(mode)
}

/// The permission bits with set-id and sticky, as `chmod` takes them.
#[must_use]
pub fn permissions_to_unix(mode: u32) -> u32 {
    let special = [(S_ISUID, SETUID), (S_ISGID, SETGID), (S_ISVTX, STICKY)];
    special.iter().filter(|(_, go)| mode & go != 0).fold(mode & PERMISSIONS, |unix, (bit, _)| unix | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_and_special_bit_survives_both_ways() {
        for kind in [S_IFSOCK, S_IFLNK, S_IFREG, S_IFBLK, S_IFDIR, S_IFCHR, S_IFIFO] {
            for bits in 0..=0o7777 {
                assert_eq!(to_unix(from_unix(kind | bits)), kind | bits);
            }
        }
        // Values of Go's documentation: a directory with mode 1777.
        assert_eq!(from_unix(0o041_777), 0x8010_01ff);
    }
}
