//! Writing out what a snapshot holds: a file as its bytes, a directory as a tar archive.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::path::normal;
use super::tar::TarWriter;
use super::walk::{Choice, Entry, Step, Walk};
use crate::TreeId;
use crate::control::Control;
use crate::error::{Error, Result};
use crate::format::{BlobType, Content, Node, NodeType, Run};
use crate::pack::BlobReader;
use crate::source::Problems;
use crate::source::handles::to_path;
use crate::source::problem::ProblemLog;

/// Blobs that are fetched ahead of the one being written: enough to hide a remote store's latency.
const AHEAD: usize = 8;
/// Most plain bytes of blobs that are held at once, in bytes; a single larger blob is held all the same.
const AHEAD_BYTES: usize = 32 << 20;

/// Writes a file's content in order, every blob verified before a byte of it is written. Returns the number of bytes. Call it on a
/// thread of the runtime that may block.
///
/// # Errors
/// [`Error::NotInSnapshot`] if it is no file; [`Error::InvalidTree`] if its content does not add up to its size; as
/// [`BlobReader::load_blob`]; [`Error::Internal`] if the reading broke off; [`Error::File`] if `out` fails.
pub fn dump_file(reader: &BlobReader, entry: &Entry, out: &mut impl Write) -> Result<u64> {
    if entry.node.node_type != NodeType::File {
        let reason = format!("it is no file but a {}", entry.node.node_type.as_str());
        return Err(Error::NotInSnapshot { path: entry.path.escape_ascii().to_string(), reason });
    }
    let length = content_length(reader, &entry.node)?;
    for blob in Fetching::start(reader, &entry.node, length)? {
        out.write_all(&blob?).map_err(cannot_write)?;
    }
    out.flush().map_err(cannot_write)?;
    Ok(length)
}

/// Writes what lies below a directory as a tar archive, with paths from the root of the snapshot. `path` is the directory's own.
///
/// Files, directories and links are archived, with owners, modes, times and extended attributes; devices, FIFOs and sockets are not,
/// as restic does it, and further names of a file carry its content again. What cannot be read is left out and returned. Call it on
/// a thread of the runtime that may block.
///
/// # Errors
/// As [`dump_file`]: once a file's header is written its content must follow, so a blob that turns out unreadable then ends the
/// archive.
pub fn dump_directory(
    reader: &BlobReader,
    tree: TreeId,
    path: &[u8],
    out: &mut impl Write,
    control: &Control,
) -> Result<Problems> {
    let problems = ProblemLog::default();
    let mut archive = TarWriter::new(out);
    let all = |_: &[u8], _: &Node| Choice { show: true, descend: true };
    for step in Walk::below(reader, tree, normal(path), control, all) {
        match step? {
            Step::Problem(problem) => problems.add(problem.path, problem.reason, problem.class),
            Step::Entry(entry) => archive_entry(reader, &entry, &mut archive, &problems)?,
        }
    }
    archive.finish().map_err(cannot_write)?;
    Ok(problems.take())
}

fn archive_entry<W: Write>(reader: &BlobReader, entry: &Entry, archive: &mut TarWriter<W>, problems: &ProblemLog) -> Result<()> {
    let length = match entry.node.node_type {
        NodeType::Dir | NodeType::Symlink => 0,
        NodeType::File => match content_length(reader, &entry.node) {
            Ok(length) => length,
            Err(error) => {
                problems.add(to_path(&entry.path), error.to_string(), "damaged");
                return Ok(());
            }
        },
        _ => return Ok(()),
    };
    archive.begin(&entry.path, &entry.node, length).map_err(cannot_write)?;
    if length > 0 {
        for blob in Fetching::start(reader, &entry.node, length)? {
            archive.data(&blob?).map_err(cannot_write)?;
        }
    }
    archive.end().map_err(cannot_write)
}

/// The length of a file's content, which must be its size: a file that is short must not pass for a whole one.
fn content_length(reader: &BlobReader, node: &Node) -> Result<u64> {
    let mut length: u64 = 0;
    for Run { id, count } in node.content.iter().flat_map(Content::runs).copied() {
        let plain = reader.index().plain_length(BlobType::Data, &id).ok_or_else(|| Error::BlobUnreadable {
            blob_type: BlobType::Data,
            id,
            reason: "the index does not have it".to_owned(),
        })?;
        length = length.saturating_add(u64::from(plain).saturating_mul(count));
    }
    if length != node.size {
        let reason = format!("a file of {} bytes has content of {length} bytes", node.size);
        return Err(Error::InvalidTree { reason });
    }
    Ok(length)
}

fn cannot_write(error: io::Error) -> Error {
    Error::File { operation: "write", path: "the output".to_owned(), source: Arc::new(error) }
}

/// The blobs of a file in order, fetched ahead by a task of the runtime. Dropping it ends the task.
struct Fetching {
    runs: mpsc::Receiver<Result<(Bytes, u64)>>,
    /// A blob that comes so many times more.
    again: Option<(Bytes, u64)>,
    /// Bytes that must still come.
    missing: u64,
}

impl Fetching {
    fn start(reader: &BlobReader, node: &Node, length: u64) -> Result<Self> {
        let runs = node.content.as_ref().map(|content| content.runs().to_vec()).unwrap_or_default();
        let lengths = runs.iter().filter_map(|run| reader.index().plain_length(BlobType::Data, &run.id));
        let largest = lengths.max().unwrap_or(0).max(1) as usize;
        let ahead = (AHEAD_BYTES / largest).clamp(1, AHEAD);
        let (sender, fetched) = mpsc::channel(1);
        Handle::try_current().map_err(Error::internal)?.spawn(fetch(reader.clone(), runs, ahead, sender));
        Ok(Self { runs: fetched, again: None, missing: length })
    }

    /// What is wrong if no more blobs come. It is said once.
    fn broken_off(&mut self) -> Option<Error> {
        let missing = std::mem::take(&mut self.missing);
        (missing > 0).then(|| Error::internal(format!("the reading broke off {missing} bytes before the end")))
    }
}

async fn fetch(reader: BlobReader, runs: Vec<Run>, ahead: usize, sender: mpsc::Sender<Result<(Bytes, u64)>>) {
    let mut loads = futures::stream::iter(runs)
        .map(|run| {
            let reader = reader.clone();
            async move { reader.load_blob(BlobType::Data, &run.id).await.map(|blob| (blob, run.count)) }
        })
        .buffered(ahead);
    while let Some(load) = loads.next().await {
        let failed = load.is_err();
        if sender.send(load).await.is_err() || failed {
            return;
        }
    }
}

impl Iterator for Fetching {
    type Item = Result<Bytes>;

    /// A task that broke off ends like one that is done. Only the bytes tell that something is missing.
    fn next(&mut self) -> Option<Self::Item> {
        let (blob, count) = match self.again.take() {
            Some(run) => run,
            None => match self.runs.blocking_recv() {
                Some(Ok(run)) => run,
                Some(Err(error)) => return Some(Err(error)),
                None => return self.broken_off().map(Err),
            },
        };
        let Some(missing) = self.missing.checked_sub(blob.len() as u64) else {
            return Some(Err(Error::internal("the content is longer than its blobs are said to be")));
        };
        self.missing = missing;
        if count > 1 {
            self.again = Some((blob.clone(), count - 1));
        }
        Some(Ok(blob))
    }
}
