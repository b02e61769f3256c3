//! A batch of files: what of them is there already, and which blobs are wanted where.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{
            AtomicUsize,
            Ordering::{AcqRel, Relaxed},
        },
    },
};

use parking_lot::Mutex;

use super::{
    directories::DirectoryRecord,
    file::{FileTarget, Standing, has_content, next_data},
    links::LaterName,
    report::add,
    restorer::{Restorer, joined},
    settle::{Subject, settle},
};
use crate::{
    BlobId, Counters, PackId,
    error::{Error, Result},
    format::{BlobType, Content, Run},
    index::BlobLocation,
    source::{content::file_size, handles::Place},
};

/// Where a blob is wanted.
#[derive(Clone, Copy)]
pub(super) struct Use {
    /// The number of a file of the batch.
    pub(super) file: u32,
    /// Where in it the blob begins.
    pub(super) offset: u64,
    /// How often it follows itself from there on.
    pub(super) count: u64,
}

/// What one pack is read for.
pub(super) struct PackPlan {
    pub(super) pack: PackId,
    /// The first file that needs it; packs are read in the order of need.
    first_file: u32,
    pub(super) blobs: HashMap<BlobId, (BlobLocation, Vec<Use>)>,
}

/// A part of a file's content, by its place in the file: a blob some times in a row.
#[derive(Clone, Copy)]
struct Part {
    id: BlobId,
    offset: u64,
    /// Of the blob.
    length: u64,
    count: u64,
}

impl Part {
    /// All of its bytes.
    fn bytes(&self) -> u64 {
        self.length.saturating_mul(self.count)
    }
}

/// Bytes that a batch of files and directories takes in memory, about. One is restored while the next is collected. A pack that is
/// needed by files of two batches is read twice, which is rare, because files that were backed up together lie together.
pub(super) const BATCH_MEMORY: usize = 24 << 20;

/// What a part of a file takes besides its id: the plan of where its blob goes.
const PART_MEMORY: usize = 200;

/// What a walk has collected and that is restored together.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) files: Vec<FileTarget>,
    /// Further names of files of this batch or an earlier one.
    pub(super) names: Vec<LaterName>,
    /// Directories in which nothing will be made any more, those further down first.
    pub(super) directories: Vec<DirectoryRecord>,
    /// Bytes that all this takes, about.
    pub(super) memory: usize,
}

impl Batch {
    pub(super) fn add_file(&mut self, file: FileTarget) {
        let parts = file.node.content.as_ref().map_or(0, |content| content.runs().len());
        self.memory += size_of::<FileTarget>() + file.node.name.len() + parts * (size_of::<Run>() + PART_MEMORY);
        self.files.push(file);
    }

    pub(super) fn add_name(&mut self, name: LaterName) {
        self.memory += size_of::<LaterName>();
        self.names.push(name);
    }

    pub(super) fn add_directory(&mut self, record: DirectoryRecord) {
        self.memory += size_of::<DirectoryRecord>() + size_of::<Place>();
        self.directories.push(record);
    }
}

impl Restorer {
    /// Restores what a walk has collected: files, then their further names, then the metadata of the directories that are complete.
    pub(super) fn restore_batch(&self, batch: Batch) -> Result<()> {
        let Batch { files, names, directories, memory: _ } = batch;
        self.restore_files(&files)?;
        drop(files);
        self.link_names(names)?;
        self.settle_directories(directories)
    }

    /// Restores files with all there is to them.
    fn restore_files(&self, files: &[FileTarget]) -> Result<()> {
        let plans: Mutex<HashMap<PackId, PackPlan>> = Mutex::default();
        self.for_each(files, |number, file, buffer| {
            let number = u32::try_from(number).map_err(Error::internal)?;
            self.prepare(number, file, &plans, buffer);
            Ok(())
        })?;
        let mut packs: Vec<PackPlan> = plans.into_inner().into_values().collect();
        packs.sort_by_key(|plan| plan.first_file);
        self.fetch_packs(files, &packs)
    }

    /// Does the same with each item, on all threads, each of which has something of its own; the first error counts.
    pub(super) fn for_each<T: Sync, S: Default>(
        &self,
        items: &[T],
        work: impl Fn(usize, &T, &mut S) -> Result<()> + Sync,
    ) -> Result<()> {
        let next = AtomicUsize::new(0);
        let take_some = || {
            let mut own = S::default();
            loop {
                let number = next.fetch_add(1, Relaxed);
                let Some(item) = items.get(number) else { return Ok(()) };
                self.check()?;
                work(number, item, &mut own)?;
            }
        };
        let threads = self.workers.min(items.len());
        if threads < 2 {
            return take_some();
        }
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(take_some)).collect();
            threads.into_iter().map(|thread| joined(thread.join())).fold(Ok(()), Result::and)
        })
    }

    /// Finds out what of a file must be written. A file for which that is nothing is finished at once.
    fn prepare(&self, number: u32, file: &FileTarget, plans: &Mutex<HashMap<PackId, PackPlan>>, buffer: &mut Vec<u8>) {
        let parts = self.parts(file);
        let Differing { parts: wanted, behind_end } = match self.compare(file, parts, buffer) {
            Ok(wanted) => wanted,
            Err(error) => {
                file.failed.store(true, Relaxed);
                // That we were stopped says nothing about the file.
                if self.check().is_ok() {
                    self.failed(file.path(), "restore the file", &error);
                }
                return;
            }
        };
        if wanted.is_empty() {
            let is_undamaged = file.damage.lock().is_empty();
            if is_undamaged && file.is_whole(0, &[]) && self.restore_whole(file, &[]) {
                return;
            }
            self.finish(file, is_undamaged && behind_end == 0 && file.identity().is_some());
            return;
        }
        // It is opened again when its parts come; until then many others may be compared.
        file.close();
        file.remaining.store(wanted.len(), Relaxed);
        let located: Vec<_> = wanted.into_iter().map(|part| (self.index.locate(BlobType::Data, &part.id), part)).collect();
        let mut missing = Vec::new();
        {
            let mut plans = plans.lock();
            for (location, part) in located {
                let Some(location) = location else {
                    missing.push(part);
                    continue;
                };
                let plan = plans.entry(location.pack).or_insert_with(|| PackPlan {
                    pack: location.pack,
                    first_file: number,
                    blobs: HashMap::new(),
                });
                plan.first_file = plan.first_file.min(number);
                plan.blobs.entry(part.id).or_insert_with(|| (location, Vec::new())).1.push(Use {
                    file: number,
                    offset: part.offset,
                    count: part.count,
                });
            }
        }
        for part in missing {
            self.part_damaged(file, part.offset, part.bytes(), "its blob is not in the repository's index");
        }
    }

    /// The parts of a file whose place is known. Of a blob that the index does not know neither the length is known, so that what
    /// follows it can be placed only by counting back from the end; a range that cannot be placed is noted as damaged.
    fn parts(&self, file: &FileTarget) -> Vec<Part> {
        let runs = file.node.content.as_ref().map(Content::runs).unwrap_or_default();
        let lengths: Vec<Option<u64>> =
            runs.iter().map(|run| self.index.plain_length(BlobType::Data, &run.id).map(u64::from)).collect();
        let place = |numbers: std::ops::Range<usize>, mut offset: u64| {
            let mut parts = Vec::with_capacity(numbers.len());
            for number in numbers {
                let Run { id, count } = runs[number];
                let part = Part { id, offset, length: lengths[number].unwrap_or(0), count };
                offset = offset.saturating_add(part.bytes());
                parts.push(part);
            }
            (parts, offset)
        };
        let size = file.node.size;
        let Some(first_unknown) = lengths.iter().position(Option::is_none) else {
            let (parts, end) = place(0..runs.len(), 0);
            if end != size {
                let reason = format!("the blobs of the content have {end} bytes");
                file.damage.lock().add(end.min(size), end.abs_diff(size), &reason);
                let _ = file.leave_hole();
            }
            return parts;
        };
        let last_unknown = lengths.iter().rposition(Option::is_none).unwrap_or(first_unknown);
        let (mut parts, hole_start) = place(0..first_unknown, 0);
        let (_, tail) = place(last_unknown + 1..runs.len(), 0);
        let hole_end = size.saturating_sub(tail).max(hole_start);
        let reason = format!("blob {} is not in the repository's index", runs[first_unknown].id);
        file.damage.lock().add(hole_start, hole_end - hole_start, &reason);
        let _ = file.leave_hole();
        parts.extend(place(last_unknown + 1..runs.len(), hole_end).0);
        parts
    }

    /// What must be written; what the target has already is left out.
    fn compare(&self, file: &FileTarget, parts: Vec<Part>, buffer: &mut Vec<u8>) -> io::Result<Differing> {
        match file.standing(&self.handles, &self.control)? {
            Standing::Nothing => Ok(self.without_holes(file, parts)),
            Standing::File(handle, stat) => {
                let differing = self.differing(&handle, file_size(&stat), parts, buffer)?;
                self.written(differing.behind_end);
                file.keep(handle, &stat);
                Ok(differing)
            }
            Standing::Untouchable(handle, stat) => {
                let all = parts.clone();
                let differing = self.differing(&handle, file_size(&stat), parts, buffer)?;
                if differing.parts.is_empty() && file_size(&stat) == file.node.size {
                    file.keep(handle, &stat);
                    return Ok(differing);
                }
                let directory = self.handles.open(&file.place)?;
                super::target::clear(&self.handles, &self.control, directory.as_fd(), &file.node.name)?;
                Ok(self.without_holes(file, all))
            }
        }
    }

    fn without_holes(&self, file: &FileTarget, mut parts: Vec<Part>) -> Differing {
        let mut holes = 0;
        parts.retain(|part| {
            let is_hole = part.id == self.zero_chunk.0;
            holes += if is_hole { part.bytes() } else { 0 };
            !is_hole
        });
        if holes > 0 {
            let _ = file.leave_hole();
            self.written(holes);
        }
        Differing { parts, behind_end: 0 }
    }

    fn differing(&self, handle: &OwnedFd, size: u64, parts: Vec<Part>, buffer: &mut Vec<u8>) -> io::Result<Differing> {
        let mut differing = Differing::default();
        for part in parts {
            // The length is what the index says, which may be anything.
            if (part.id, part.length) == (self.zero_chunk.0, self.zero_chunk.1 as u64) {
                self.differing_zeros(handle, size, part, buffer, &mut differing)?;
                continue;
            }
            for number in 0..part.count {
                let one = Part { offset: part.offset + number * part.length, count: 1, ..part };
                self.compare_one(handle, size, one, buffer, &mut differing)?;
            }
        }
        Ok(differing)
    }

    /// A run of zeros may be as long as the file: what is a hole there or lies behind its end is passed over at one look.
    fn differing_zeros(
        &self,
        handle: &OwnedFd,
        size: u64,
        zeros: Part,
        buffer: &mut Vec<u8>,
        differing: &mut Differing,
    ) -> io::Result<()> {
        let mut rest = zeros;
        while rest.count > 0 {
            let empty = match next_data(handle, rest.offset) {
                Some(data) if data < size => (data - rest.offset) / rest.length,
                _ => rest.count,
            };
            let passed = empty.min(rest.count);
            // What lies behind the end comes into being as a hole when the file is given its length.
            let there = passed.min(size.saturating_sub(rest.offset) / rest.length);
            self.unchanged(there * rest.length);
            differing.behind_end += (passed - there) * rest.length;
            let mut looked_at = passed;
            if passed < rest.count {
                let one = Part { offset: rest.offset + passed * rest.length, count: 1, ..rest };
                self.compare_one(handle, size, one, buffer, differing)?;
                looked_at += 1;
            }
            rest = Part { offset: rest.offset + looked_at * rest.length, count: rest.count - looked_at, ..rest };
        }
        Ok(())
    }

    fn compare_one(
        &self,
        handle: &OwnedFd,
        size: u64,
        part: Part,
        buffer: &mut Vec<u8>,
        differing: &mut Differing,
    ) -> io::Result<()> {
        self.check().map_err(io::Error::other)?;
        let is_there =
            part.offset + part.length <= size && has_content(handle, part.offset, part.length as usize, &part.id, buffer)?;
        if is_there {
            self.unchanged(part.length);
        } else {
            differing.add(part);
        }
        Ok(())
    }

    fn unchanged(&self, bytes: u64) {
        add(&self.counting.bytes_unchanged, bytes);
        Counters::add(&self.control.counters().bytes_done, bytes);
    }

    /// Counts content that was written.
    pub(super) fn written(&self, bytes: u64) {
        add(&self.counting.bytes_written, bytes);
        Counters::add(&self.control.counters().bytes_done, bytes);
    }

    /// Notes a range that cannot be restored.
    pub(super) fn part_damaged(&self, file: &FileTarget, offset: u64, length: u64, reason: &str) {
        file.damage.lock().add(offset, length, reason);
        let _ = file.leave_hole();
        self.part_done(file);
    }

    /// Restores a new file that has this content and nothing else. `false` if that cannot be done in one go.
    pub(super) fn restore_whole(&self, file: &FileTarget, content: &[u8]) -> bool {
        match file.create_whole(self, content) {
            Ok(None) => return false,
            Ok(Some(findings)) => {
                self.written(content.len() as u64);
                self.finished(file, findings, false);
            }
            Err(error) => self.file_failed(file, &error),
        }
        true
    }

    /// Counts down the parts of a file and finishes it with the last one.
    pub(super) fn part_done(&self, file: &FileTarget) {
        if file.remaining.fetch_sub(1, AcqRel) == 1 {
            self.finish(file, false);
        }
    }

    /// Gives a file its length and metadata and lets go of it.
    fn finish(&self, file: &FileTarget, was_unchanged: bool) {
        if !file.failed.load(Relaxed) {
            let finished = file.open(&self.handles, &self.control).and_then(|handle| {
                file.set_length(&handle)?;
                let findings = settle(Subject::Open(handle.as_fd()), &file.node, self.policy, false);
                if !was_unchanged {
                    self.sync_late(&handle)?;
                    self.note_written(&handle, file.node.size);
                }
                Ok(findings)
            });
            match finished {
                Ok(findings) => self.finished(file, findings, was_unchanged),
                Err(error) => {
                    file.failed.store(true, Relaxed);
                    self.failed(file.path(), "restore the file", &error);
                }
            }
        }
        let mut damage = file.damage.lock();
        if !damage.is_empty() {
            self.add_error(file.path(), damage.describe(), "damaged");
        }
        drop(damage);
        file.close();
    }

    fn finished(&self, file: &FileTarget, findings: Vec<super::settle::Finding>, was_unchanged: bool) {
        self.add_findings(|| file.path(), findings);
        let counter = if was_unchanged { &self.counting.files_unchanged } else { &self.counting.files_restored };
        add(counter, 1);
        Counters::add(&self.control.counters().files_done, 1);
        if let (Some(group), Some(identity)) = (&file.group, file.identity()) {
            group.restored(identity);
        }
    }
}

/// What of a file must be written.
#[derive(Default)]
struct Differing {
    /// The parts, those that follow each other joined again.
    parts: Vec<Part>,
    /// Bytes of zeros behind the end of the file that stands there.
    behind_end: u64,
}

impl Differing {
    fn add(&mut self, part: Part) {
        match self.parts.last_mut() {
            Some(last) if last.id == part.id && last.offset + last.bytes() == part.offset => last.count += part.count,
            _ => self.parts.push(part),
        }
    }
}

/// Files that are open for writing are closed again when there are too many of them.
pub(super) struct OpenFiles<'a> {
    files: &'a [FileTarget],
    ring: Mutex<std::collections::VecDeque<u32>>,
}

impl<'a> OpenFiles<'a> {
    const MOST: usize = 256;

    pub(super) fn new(files: &'a [FileTarget]) -> Self {
        Self { files, ring: Mutex::default() }
    }

    /// The open file of this number; the one that was opened longest ago may be closed for it.
    pub(super) fn open(&self, restorer: &Restorer, number: u32) -> io::Result<Arc<OwnedFd>> {
        let handle = self.files[number as usize].open(&restorer.handles, &restorer.control)?;
        let mut ring = self.ring.lock();
        if ring.back() != Some(&number) {
            ring.push_back(number);
        }
        let oldest = if ring.len() > Self::MOST { ring.pop_front() } else { None };
        drop(ring);
        if let Some(oldest) = oldest.filter(|oldest| *oldest != number) {
            self.files[oldest as usize].close();
        }
        Ok(handle)
    }
}
