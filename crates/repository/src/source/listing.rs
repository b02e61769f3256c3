//! The names in a directory.

use std::{io, os::fd::BorrowedFd};

use rustix::{fs::RawDir, io::Errno};

use super::names::Names;

/// Room for one answer of the kernel: about a thousand names.
const BUFFER: usize = 64 * 1024;

/// Names in the order of their bytes, as restic sorts them, and the error that ended the listing early, if one did.
#[derive(Debug, Default)]
pub struct Listing {
    /// The names without `.` and `..`.
    pub names: Names,
    /// Why there may be more.
    pub error: Option<io::Error>,
}

/// Lists a directory that was opened for listing and has not been listed yet.
#[must_use]
pub fn list(directory: BorrowedFd<'_>) -> Listing {
    let mut buffer = Vec::with_capacity(BUFFER);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    let mut listing = Listing::default();
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) => {
                let name = entry.file_name().to_bytes();
                if name != b"."
                    && name != b".."
                    && let Err(error) = listing.names.push(name)
                {
                    listing.error = Some(io::Error::other(error));
                    break;
                }
            }
            Err(Errno::INTR) => {}
            Err(error) => {
                listing.error = Some(error.into());
                break;
            }
        }
    }
    // A directory that changes while it is listed may show a name twice.
    listing.names.sort();
    listing
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::{ffi::OsStr, os::fd::AsFd, os::unix::ffi::OsStrExt};

    /// Reliability F5: names are bytes, and their order is that of bytes.
    #[test]
    fn names_are_bytes_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let mut names: Vec<Vec<u8>> = vec![
            b"b".to_vec(),
            b"B".to_vec(),
            b"a\nb".to_vec(),
            b"\xff\xfe".to_vec(),
            "ä".into(),
            b" x".to_vec(),
            b"a.b".to_vec(),
            b"a".to_vec(),
        ];
        names.extend((0..3_000).map(|number| format!("file-{number:05}-{}", "n".repeat(40)).into_bytes()));
        for name in &names {
            std::fs::write(directory.path().join(OsStr::from_bytes(name)), b"").unwrap();
        }
        let listing = list(std::fs::File::open(directory.path()).unwrap().as_fd());
        names.sort();
        assert_eq!(listing.names.iter().collect::<Vec<_>>(), names);
        assert!(listing.error.is_none());
    }
}
