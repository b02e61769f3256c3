//! One file of the target: what of it is there already, and writing the rest.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use rustix::{
    fs::{FallocateFlags, FileType, Mode, OFlags, SeekFrom, Stat},
    io::Errno,
};

use super::{
    damage::Damage,
    links::Group,
    restorer::Restorer,
    settle::{Finding, Subject, settle_new},
    target,
};
use crate::{
    Control,
    format::{Content, Id, Node},
    source::{
        content::file_size,
        handles::{Handles, Place},
    },
};

/// Runs of zeros of at least this many bytes become holes in new files. Shorter ones would cost more in the file system's map than
/// they save.
const HOLE_FROM: usize = 32 * 1024;

/// The grain of holes on nearly all file systems.
const PAGE: usize = 4096;

/// A file that is being restored.
pub(super) struct FileTarget {
    pub(super) place: Arc<Place>,
    pub(super) node: Node,
    /// The group of hard links of which this is the first name.
    pub(super) group: Option<Arc<Group>>,
    /// Its directory is this run's own, so nothing stands there.
    is_in_own: bool,
    /// Parts that are still to be written.
    pub(super) remaining: AtomicUsize,
    pub(super) failed: AtomicBool,
    pub(super) damage: Mutex<Damage>,
    /// Content that is there already is kept and only differing parts are written; set once before any writing.
    in_place: AtomicBool,
    has_holes: AtomicBool,
    handle: Mutex<Option<Arc<OwnedFd>>>,
    identity: OnceLock<(u64, u64)>,
}

/// What stands where a file is to be restored.
pub(super) enum Standing {
    /// Nothing, or something that was removed.
    Nothing,
    /// A file that can be compared and written in place.
    File(Arc<OwnedFd>, Stat),
    /// A file that must not be written in place: it has other names, or it is not writable. It can be compared.
    Untouchable(Arc<OwnedFd>, Stat),
}

impl FileTarget {
    pub(super) fn new(place: Arc<Place>, node: Node, group: Option<Arc<Group>>, is_in_own: bool) -> Self {
        Self {
            place,
            node,
            group,
            is_in_own,
            remaining: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            damage: Mutex::default(),
            in_place: AtomicBool::new(false),
            has_holes: AtomicBool::new(false),
            handle: Mutex::default(),
            identity: OnceLock::new(),
        }
    }

    pub(super) fn path(&self) -> std::path::PathBuf {
        self.place.entry_path(&self.node.name)
    }

    /// Device and inode, once it is there.
    pub(super) fn identity(&self) -> Option<(u64, u64)> {
        self.identity.get().copied()
    }

    /// Opens what stands there; removes what is no file.
    pub(super) fn standing(&self, handles: &Handles, control: &Control) -> io::Result<Standing> {
        if self.is_in_own {
            return Ok(Standing::Nothing);
        }
        let directory = handles.open(&self.place)?;
        let name = self.node.name.as_slice();
        let Some(stat) = target::look(directory.as_fd(), name)? else { return Ok(Standing::Nothing) };
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            target::clear(handles, control, directory.as_fd(), name)?;
            return Ok(Standing::Nothing);
        }
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        let (handle, is_writable) = match handles.open_beneath(directory.as_fd(), name, flags | OFlags::RDWR, Mode::empty()) {
            Ok(handle) => (handle, true),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::ACCESS | Errno::PERM | Errno::TXTBSY | Errno::ROFS) => {
                    match handles.open_beneath(directory.as_fd(), name, flags | OFlags::RDONLY, Mode::empty()) {
                        Ok(handle) => (handle, false),
                        Err(_) => return Ok(Standing::Nothing),
                    }
                }
                Some(Errno::NOENT) => return Ok(Standing::Nothing),
                _ => return Err(error),
            },
        };
        let stat = rustix::fs::fstat(&handle)?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(Errno::AGAIN.into());
        }
        let handle = Arc::new(handle);
        // Another name of the file may stand outside of the target: writing into it would reach there.
        let is_alone = stat.st_nlink == 1;
        Ok(if is_writable && is_alone { Standing::File(handle, stat) } else { Standing::Untouchable(handle, stat) })
    }

    /// Keeps a file that stands there, to be written in place or only settled.
    pub(super) fn keep(&self, handle: Arc<OwnedFd>, stat: &Stat) {
        self.in_place.store(true, Relaxed);
        let _ = self.identity.set((stat.st_dev, stat.st_ino));
        *self.handle.lock() = Some(handle);
    }

    /// Whether a range of zeros can be left out because the file is new.
    pub(super) fn leave_hole(&self) -> bool {
        let is_new = !self.in_place.load(Relaxed);
        if is_new {
            self.has_holes.store(true, Relaxed);
        }
        is_new
    }

    /// The open file; it is made when it is first needed and opened again if it was closed to save handles.
    pub(super) fn open(&self, handles: &Handles, control: &Control) -> io::Result<Arc<OwnedFd>> {
        let mut slot = self.handle.lock();
        if let Some(handle) = &*slot {
            return Ok(handle.clone());
        }
        let directory = handles.open(&self.place)?;
        let name = self.node.name.as_slice();
        let handle = if self.identity.get().is_some() {
            handles.open_beneath(directory.as_fd(), name, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty())?
        } else {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
            let create = || handles.open_beneath(directory.as_fd(), name, flags, Mode::RUSR | Mode::WUSR);
            match create() {
                Err(error) if Errno::from_io_error(&error) == Some(Errno::EXIST) => {
                    target::clear(handles, control, directory.as_fd(), name)?;
                    create()?
                }
                other => other?,
            }
        };
        let stat = rustix::fs::fstat(&handle)?;
        if *self.identity.get_or_init(|| (stat.st_dev, stat.st_ino)) != (stat.st_dev, stat.st_ino) {
            return Err(Errno::STALE.into());
        }
        let handle = Arc::new(handle);
        *slot = Some(handle.clone());
        Ok(handle)
    }

    /// Whether this is all of the content of a file that does not stand there.
    pub(super) fn is_whole(&self, offset: u64, content: &[u8]) -> bool {
        let parts = self.node.content.as_ref().map_or(0, Content::len);
        self.is_in_own && offset == 0 && parts <= 1 && content.len() as u64 == self.node.size
    }

    /// Makes the file with all there is to it in as few calls as there can be: most files of most trees are small. `None` if
    /// something has taken its name.
    pub(super) fn create_whole(&self, restorer: &Restorer, content: &[u8]) -> io::Result<Option<Vec<Finding>>> {
        let directory = restorer.handles.open(&self.place)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let (mode, made) = restorer.maker.file(&self.node, restorer.policy);
        let handle = match restorer.handles.open_beneath(directory.as_fd(), &self.node.name, flags, mode) {
            Ok(handle) => handle,
            Err(error) if Errno::from_io_error(&error) == Some(Errno::EXIST) => return Ok(None),
            Err(error) => return Err(error),
        };
        self.write(&handle, 0, content)?;
        self.set_length(&handle)?;
        let (findings, stat) = settle_new(Subject::Open(handle.as_fd()), &self.node, restorer.policy, made);
        restorer.sync_late(&handle)?;
        if let Some(stat) = stat {
            let _ = self.identity.set((stat.st_dev, stat.st_ino));
        }
        Ok(Some(findings))
    }

    /// Lets go of the handle until it is needed again.
    pub(super) fn close(&self) {
        *self.handle.lock() = None;
    }

    /// Writes a part of the content.
    pub(super) fn write(&self, handle: &OwnedFd, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.in_place.load(Relaxed) {
            if data.len() >= HOLE_FROM && is_zero(data) && punch(handle, offset, data.len() as u64) {
                return Ok(());
            }
            return write_all(handle, offset, data);
        }
        let mut done = 0;
        for (start, end) in DataRuns::new(data, offset) {
            if start > done {
                self.has_holes.store(true, Relaxed);
            }
            write_all(handle, offset + start as u64, &data[start..end])?;
            done = end;
        }
        if done < data.len() {
            self.has_holes.store(true, Relaxed);
        }
        Ok(())
    }

    /// Gives the file its length, which holes at the end or an older longer content make necessary.
    pub(super) fn set_length(&self, handle: &OwnedFd) -> io::Result<()> {
        let needed = if self.in_place.load(Relaxed) {
            file_size(&rustix::fs::fstat(handle)?) != self.node.size
        } else {
            self.has_holes.load(Relaxed)
        };
        if needed {
            rustix::fs::ftruncate(handle, self.node.size)?;
        }
        Ok(())
    }
}

/// Whether `length` bytes of a file at `offset` have this hash.
pub(super) fn has_content(handle: &OwnedFd, offset: u64, length: usize, id: &Id, buffer: &mut Vec<u8>) -> io::Result<bool> {
    buffer.resize(length, 0);
    let mut done = 0;
    while done < length {
        match rustix::io::pread(handle, &mut buffer[done..], offset + done as u64) {
            Ok(0) => return Ok(false),
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Id::of(buffer) == *id)
}

/// Where the first data from `offset` on is, so that a hole need not be read to know that it is zero; `None` if there is none up
/// to the end. Where holes are not known, all is data.
pub(super) fn next_data(handle: &OwnedFd, offset: u64) -> Option<u64> {
    match rustix::fs::seek(handle, SeekFrom::Data(offset)) {
        Ok(data) => Some(data.max(offset)),
        Err(Errno::NXIO) => None,
        Err(_) => Some(offset),
    }
}

fn write_all(handle: &OwnedFd, mut offset: u64, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        match rustix::io::pwrite(handle, data, offset) {
            Ok(0) => return Err(Errno::IO.into()),
            Ok(count) => {
                data = &data[count..];
                offset += count as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Makes a hole where there may be data. Not every file system can.
fn punch(handle: &OwnedFd, offset: u64, length: u64) -> bool {
    // The file must reach that far, else the end of it would be missing.
    let reaches = rustix::fs::fstat(handle).is_ok_and(|stat| file_size(&stat) >= offset + length);
    reaches && rustix::fs::fallocate(handle, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, length).is_ok()
}

pub(super) fn is_zero(data: &[u8]) -> bool {
    let (words, tail) = data.as_chunks::<16>();
    words.iter().all(|word| *word == [0; 16]) && tail.iter().all(|&byte| byte == 0)
}

/// The stretches of a part that must be written: everything but long runs of zero pages, by the file's own pages.
struct DataRuns<'a> {
    data: &'a [u8],
    /// Bytes up to the first page boundary of the file.
    lead: usize,
    position: usize,
}

impl<'a> DataRuns<'a> {
    fn new(data: &'a [u8], offset: u64) -> Self {
        let lead = (PAGE - (offset % PAGE as u64) as usize) % PAGE;
        Self { data, lead: lead.min(data.len()), position: 0 }
    }

    /// The end of the page that `position` is in.
    fn page_end(&self, position: usize) -> usize {
        let end = if position < self.lead { self.lead } else { self.lead + ((position - self.lead) / PAGE + 1) * PAGE };
        end.min(self.data.len())
    }

    /// The end of the run of zero pages from `position` on; `position` itself if there is none.
    fn zeros_end(&self, position: usize) -> usize {
        let mut end = position;
        while end < self.data.len() {
            let next = self.page_end(end);
            if !is_zero(&self.data[end..next]) {
                break;
            }
            end = next;
        }
        end
    }
}

impl Iterator for DataRuns<'_> {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<(usize, usize)> {
        let length = self.data.len();
        if length < HOLE_FROM {
            let start = std::mem::replace(&mut self.position, length);
            return (start < length).then_some((start, length));
        }
        let zeros = self.zeros_end(self.position);
        let start = if zeros - self.position >= HOLE_FROM { zeros } else { self.position };
        if start >= length {
            self.position = length;
            return None;
        }
        let mut end = start.max(zeros);
        while end < length {
            let zeros = self.zeros_end(end);
            if zeros - end >= HOLE_FROM {
                break;
            }
            end = if zeros > end { zeros } else { self.page_end(end) };
        }
        self.position = end;
        Some((start, end))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn runs(data: &[u8], offset: u64) -> Vec<(usize, usize)> {
        DataRuns::new(data, offset).collect()
    }

    #[test]
    fn long_runs_of_zeros_are_left_out_and_short_ones_written() {
        let mut data = vec![0; 300_000];
        assert_eq!(runs(&data, 0), []);
        data[100_000] = 1;
        assert_eq!(runs(&data, 0), [(98_304, 102_400)]);
        data[110_000] = 1;
        assert_eq!(runs(&data, 0), [(98_304, 110_592)]);
        data[299_999] = 1;
        assert_eq!(runs(&data, 0), [(98_304, 110_592), (299_008, 300_000)]);
        assert_eq!(runs(&[0; 100], 0), [(0, 100)]);
        assert_eq!(runs(&[], 0), []);
        assert_eq!(runs(&[1; 50_000], 7), [(0, 50_000)]);
    }

    #[test]
    fn nothing_but_zeros_is_ever_left_out() {
        let mut state = 1_u64;
        let mut random = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % bound
        };
        for _ in 0..200 {
            let mut data = vec![0; 1 + random(400_000)];
            for _ in 0..random(6) {
                let at = random(data.len());
                data[at] = 1;
            }
            let mut written = vec![0; data.len()];
            let mut last = 0;
            for (start, end) in runs(&data, random(10_000) as u64) {
                assert!(start >= last && end > start);
                written[start..end].copy_from_slice(&data[start..end]);
                last = end;
            }
            assert_eq!(written, data);
        }
    }
}
