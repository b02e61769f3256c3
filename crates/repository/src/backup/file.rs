//! Storing the content of files.

use std::{
    io,
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::AcqRel, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use rustix::{fs::Stat, io::Errno};

use super::{
    chunks::Chunks,
    directory::Directory,
    session::{Session, Task},
    tally::Change,
};
use crate::{
    Counters,
    chunker::{MAX_CHUNK, MIN_CHUNK},
    error::Result,
    format::{BlobType, Node, NodeType, Run},
    source::{
        SourceStep,
        content::{Content, Extent, file_size},
        metadata::{is_unchanged, node_of},
        xattr::Holder,
    },
};

/// Bytes read at a time from a large file: large enough for a disk to stream, small enough that little is copied to the next
/// chunk when a cut is found.
const READ_STEP: usize = 512 * 1024;

/// Readings of a small file that changes meanwhile, before it is stored as it was read last.
const SMALL_FILE_READINGS: usize = 2;

/// A large file whose chunks are being stored, perhaps by several threads.
pub(super) struct LargeFile {
    directory: Arc<Directory>,
    slot: usize,
    node: Mutex<Option<Node>>,
    change: Change,
    chunks: Mutex<Chunks>,
    /// Chunks that are being stored, and one for the reader.
    pending: AtomicUsize,
    lost: AtomicBool,
}

/// A chunk that another thread takes on.
pub(super) struct ChunkTask {
    file: Arc<LargeFile>,
    position: u64,
    data: Vec<u8>,
}

/// Buffers of chunks, kept because the memory of a fresh one costs the kernel more than the reading.
#[derive(Debug, Default)]
pub(super) struct ChunkBuffers(Mutex<Vec<Vec<u8>>>);

impl ChunkBuffers {
    /// More than this many are never idle with a bounded number of threads.
    const KEPT: usize = 16;

    fn take(&self) -> Vec<u8> {
        self.0.lock().pop().unwrap_or_else(|| Vec::with_capacity(MAX_CHUNK))
    }

    fn give_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut kept = self.0.lock();
        if kept.len() < Self::KEPT {
            kept.push(buffer);
        }
    }
}

/// How reading a file went.
enum Reading {
    Done,
    /// It is not a regular file any more.
    TurnedIntoSomethingElse,
}

impl Session {
    /// Takes a file over from the parent snapshot or reads it. `false` if it is no file any more and must be looked at again.
    pub(super) fn file(&self, directory: &Arc<Directory>, slot: usize, previous: Option<&Node>, stat: &Stat) -> Result<bool> {
        let counters = self.control.counters();
        Counters::add(&counters.files_total, 1);
        Counters::add(&counters.bytes_total, file_size(stat));
        let previous = previous.filter(|node| node.node_type == NodeType::File);
        if let Some(previous) = previous.filter(|previous| is_unchanged(stat, previous)) {
            let content = previous.content.clone().unwrap_or_default();
            if content.runs().iter().all(|run| self.index.contains(BlobType::Data, &run.id)) {
                let mut node = node_of(directory.names.get(slot), stat, &self.users);
                node.content = Some(content);
                // A change of an attribute would have changed the inode's time.
                node.extended_attributes.clone_from(&previous.extended_attributes);
                self.count_file(Change::Unmodified, node.size);
                self.complete(directory, slot, Some(node))?;
                return Ok(true);
            }
            tracing::debug!(path = %directory.path_of(slot).display(), "parts of an unchanged file are not in the index, it is stored again");
        }
        let change = if previous.is_some() { Change::Changed } else { Change::New };
        match self.read_file(directory, slot, change, stat) {
            Ok(Reading::Done) => Ok(true),
            Ok(Reading::TurnedIntoSomethingElse) => Ok(false),
            Err(Trouble::Fatal(error)) => Err(error),
            Err(Trouble::File(operation, error)) => {
                let path = directory.path_of(slot);
                match Errno::from_io_error(&error) {
                    Some(Errno::NOENT) if directory.targets.is_none() => self.vanished.add_io(path, operation, &error),
                    Some(Errno::LOOP) => return Ok(false),
                    _ => self.lost(path, operation, &error),
                }
                self.complete(directory, slot, None)?;
                Ok(true)
            }
        }
    }

    fn read_file(&self, directory: &Arc<Directory>, slot: usize, change: Change, seen: &Stat) -> Result<Reading, Trouble> {
        let path = || directory.path_of(slot);
        for reading in 1.. {
            self.faults.before(SourceStep::Open, path).map_err(|error| Trouble::File("open", error))?;
            let above = self.handles.open(&directory.place).map_err(|error| Trouble::File("open the directory of", error))?;
            let content = Content::open(&self.handles, above.as_fd(), directory.names.get(slot), seen);
            let Some(content) = content.map_err(|error| Trouble::File("open", error))? else {
                return Ok(Reading::TurnedIntoSomethingElse);
            };
            let mut node = node_of(directory.names.get(slot), content.stat(), &self.users);
            self.read_attributes(&mut node, Holder::Handle(content.handle()), path);
            if content.size() >= MIN_CHUNK as u64 {
                self.read_large(directory, slot, &content, node, change)?;
                return Ok(Reading::Done);
            }
            let mut buffer = self.buffers.take();
            let read = self.read_step(&content, 0, content.size() as usize, &mut buffer, path);
            // A file may also end before its size although nothing has changed, where a network file system lost its end.
            let is_whole = buffer.len() as u64 == content.size();
            let is_consistent = read.is_ok() && is_whole && !content.has_changed().unwrap_or(true);
            if read.is_ok() && !is_consistent && reading < SMALL_FILE_READINGS {
                self.buffers.give_back(buffer);
                continue;
            }
            let stored = read.map_err(|error| Trouble::File("read", error)).and_then(|_| {
                node.size = buffer.len() as u64;
                let stored = if buffer.is_empty() { None } else { Some(self.saver.save_blob(BlobType::Data, &buffer)?.id) };
                Ok(stored.into_iter().collect())
            });
            self.buffers.give_back(buffer);
            node.content = Some(stored?);
            if !is_consistent {
                self.changed.add(path(), "the file changed while it was read", "changed");
            }
            self.count_file(change, node.size);
            self.complete(directory, slot, Some(node))?;
            break;
        }
        Ok(Reading::Done)
    }

    fn read_step(
        &self,
        content: &Content,
        offset: u64,
        length: usize,
        buffer: &mut Vec<u8>,
        path: impl Fn() -> std::path::PathBuf,
    ) -> io::Result<usize> {
        self.faults.before(SourceStep::Read { offset }, path)?;
        let count = content.read(offset, length, buffer)?;
        self.counting.read(count);
        Counters::add(&self.control.counters().bytes_read, count as u64);
        Ok(count)
    }

    /// Reads a large file chunk by chunk. Chunks go to threads that have nothing to do; if there is none, this one stores them.
    fn read_large(
        &self,
        directory: &Arc<Directory>,
        slot: usize,
        content: &Content,
        node: Node,
        change: Change,
    ) -> Result<(), Trouble> {
        let file = Arc::new(LargeFile {
            directory: directory.clone(),
            slot,
            node: Mutex::new(Some(node)),
            change,
            chunks: Mutex::default(),
            pending: AtomicUsize::new(1),
            lost: AtomicBool::new(false),
        });
        match self.read_chunks(&file, content) {
            Ok(length) => {
                if let Some(node) = file.node.lock().as_mut() {
                    node.size = length;
                }
                if length < content.size() || content.has_changed().unwrap_or(true) {
                    self.changed.add(directory.path_of(slot), "the file changed while it was read", "changed");
                }
            }
            Err(Trouble::Fatal(error)) => return Err(error.into()),
            Err(Trouble::File(operation, error)) => {
                // Chunks may be with other threads: whoever is last puts down that there is no file.
                file.lost.store(true, Relaxed);
                self.lost(directory.path_of(slot), operation, &error);
            }
        }
        Ok(self.chunk_done(&file)?)
    }

    /// Reads up to the size that the file had when it was opened; returns how long it was.
    fn read_chunks(&self, file: &Arc<LargeFile>, content: &Content) -> Result<u64, Trouble> {
        let path = || file.directory.path_of(file.slot);
        let mut buffer = self.buffers.take();
        let mut offset = 0;
        let mut scanned = 0;
        loop {
            self.control.check()?;
            if let Some(cut) = self.chunker.cut(&buffer, scanned) {
                let mut next = self.buffers.take();
                next.extend_from_slice(&buffer[cut..]);
                buffer.truncate(cut);
                self.chunk(file, std::mem::replace(&mut buffer, next))?;
                scanned = 0;
                continue;
            }
            scanned = buffer.len();
            let step = if scanned < MIN_CHUNK { MIN_CHUNK - scanned + READ_STEP } else { READ_STEP };
            let step = step.min(MAX_CHUNK - scanned);
            match content.extent(offset).map_err(|error| Trouble::File("find holes in", error))? {
                Extent::End => break,
                Extent::Hole(length) if buffer.is_empty() && length >= MIN_CHUNK as u64 => {
                    // A run of zeros is cut at the minimum: all of its chunks are the same, however many there are.
                    let count = length / MIN_CHUNK as u64;
                    self.zero_chunks(file, count)?;
                    offset += count * MIN_CHUNK as u64;
                }
                Extent::Hole(length) => {
                    let length = length.min(step as u64);
                    buffer.resize(scanned + length as usize, 0);
                    offset += length;
                }
                Extent::Data(length) => {
                    let wanted = length.min(step as u64) as usize;
                    let count = self
                        .read_step(content, offset, wanted, &mut buffer, path)
                        .map_err(|error| Trouble::File("read", error))?;
                    if count == 0 {
                        // It is shorter than it was.
                        break;
                    }
                    offset += count as u64;
                    content.passed(offset);
                }
            }
        }
        content.end();
        if buffer.is_empty() {
            self.buffers.give_back(buffer);
        } else {
            self.chunk(file, buffer)?;
        }
        Ok(offset)
    }

    fn chunk(&self, file: &Arc<LargeFile>, data: Vec<u8>) -> Result<()> {
        let position = file.chunks.lock().open();
        file.pending.fetch_add(1, AcqRel);
        let task = ChunkTask { file: file.clone(), position, data };
        match self.queue.hand_over(Task::Chunk(task)) {
            Err(Task::Chunk(task)) => self.store_chunk(task),
            _ => Ok(()),
        }
    }

    /// Notes chunks of a hole, none of which is read.
    fn zero_chunks(&self, file: &LargeFile, count: u64) -> Result<()> {
        let id = match self.zero_chunk.get() {
            Some(id) => *id,
            None => {
                let id = self.saver.save_blob(BlobType::Data, &[0; MIN_CHUNK])?.id;
                *self.zero_chunk.get_or_init(|| id)
            }
        };
        file.chunks.lock().push_run(Run { id, count });
        Ok(())
    }

    /// Stores a chunk of a large file.
    pub(super) fn store_chunk(&self, task: ChunkTask) -> Result<()> {
        let ChunkTask { file, position, data } = task;
        if !file.lost.load(Relaxed) {
            let id = self.saver.save_blob(BlobType::Data, &data)?.id;
            file.chunks.lock().put(position, id);
        }
        self.buffers.give_back(data);
        self.chunk_done(&file)
    }

    /// Finishes the file if this was the last of its chunks.
    fn chunk_done(&self, file: &Arc<LargeFile>) -> Result<()> {
        if file.pending.fetch_sub(1, AcqRel) != 1 {
            return Ok(());
        }
        let mut node = file.node.lock().take().filter(|_| !file.lost.load(Relaxed));
        if let Some(node) = &mut node {
            node.content = Some(std::mem::take(&mut *file.chunks.lock()).finish());
            self.count_file(file.change, node.size);
        }
        self.complete(&file.directory, file.slot, node)
    }
}

/// Why a file was not stored: its own fault, or the end of the backup.
enum Trouble {
    File(&'static str, io::Error),
    Fatal(crate::Error),
}

impl From<crate::Error> for Trouble {
    fn from(error: crate::Error) -> Self {
        Self::Fatal(error)
    }
}
