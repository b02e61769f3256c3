//! Reading files as objects.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{Attributes, GetOptions, GetResult, GetResultPayload, ObjectMeta, Result};
use rustix::fs::{FileType, Stat, fstat};
use rustix::io::Errno;

use super::buffers::{Buffers, POOLED};
use super::place::Root;
use super::{STORE, blocking, failed};

/// Bytes read at once; larger bodies come in pieces of this size. A usual pack is one piece, which nobody need put together.
const CHUNK: u64 = 32 * 1024 * 1024;

pub(super) fn open(root: &Root, key: &Path, options: &GetOptions, buffers: &Arc<Buffers>) -> Result<GetResult> {
    let (file, meta) = open_file(root, key)?;
    options.check_preconditions(&meta)?;
    let range = match &options.range {
        Some(range) => {
            range.as_range(meta.size).map_err(|error| object_store::Error::Generic { store: STORE, source: Box::new(error) })?
        }
        None => 0..meta.size,
    };
    let body =
        if options.head { futures::stream::empty().boxed() } else { body(file, key.clone(), range.clone(), Arc::clone(buffers)) };
    Ok(GetResult {
        payload: GetResultPayload::Stream(body),
        meta,
        range,
        attributes: Attributes::default(),
        extensions: object_store::Extensions::default(),
    })
}

pub(super) fn ranges(root: &Root, key: &Path, ranges: &[Range<u64>], buffers: &Arc<Buffers>) -> Result<Vec<Bytes>> {
    let (file, meta) = open_file(root, key)?;
    ranges
        .iter()
        .map(|range| {
            let clipped = range.start..range.end.min(meta.size);
            if range.start >= meta.size || range.end < range.start {
                let source = format!("range {range:?} of {key} is outside its {} bytes", meta.size).into();
                return Err(object_store::Error::Generic { store: STORE, source });
            }
            read(&file, key, clipped, buffers)
        })
        .collect()
}

pub(super) fn meta(key: Path, stat: &Stat) -> ObjectMeta {
    let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
    let nanos = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    let modified = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
    ObjectMeta {
        location: key,
        last_modified: modified.into(),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        e_tag: Some(e_tag(stat)),
        version: None,
    }
}

/// A file is replaced by rename only, so its inode and time identify its content.
pub(super) fn e_tag(stat: &Stat) -> String {
    format!("{:x}-{:x}.{:x}-{:x}", stat.st_ino, stat.st_mtime, stat.st_mtime_nsec, stat.st_size)
}

fn open_file(root: &Root, key: &Path) -> Result<(File, ObjectMeta)> {
    let descriptor = root.file(key)?;
    let stat = fstat(&descriptor).map_err(|errno| failed("stat", key, errno))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(failed("open", key, Errno::NOENT));
    }
    Ok((File::from(descriptor), meta(key.clone(), &stat)))
}

fn body(file: File, key: Path, range: Range<u64>, buffers: Arc<Buffers>) -> BoxStream<'static, Result<Bytes>> {
    let file = Arc::new(file);
    futures::stream::try_unfold(range, move |rest| {
        let (file, key, buffers) = (Arc::clone(&file), key.clone(), Arc::clone(&buffers));
        async move {
            if rest.is_empty() {
                return Ok(None);
            }
            let end = rest.end.min(rest.start + CHUNK);
            let chunk = blocking(move || read(&file, &key, rest.start..end, &buffers)).await?;
            Ok(Some((chunk, end..rest.end)))
        }
    })
    .boxed()
}

fn read(file: &File, key: &Path, range: Range<u64>, buffers: &Arc<Buffers>) -> Result<Bytes> {
    let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    // A file that shrank under us ends here with "unexpected end", never with silence.
    let fill = |buffer: &mut [u8]| file.read_exact_at(buffer, range.start).map_err(|error| failed("read", key, error));
    if length < POOLED {
        let mut buffer = vec![0; length];
        fill(&mut buffer)?;
        return Ok(buffer.into());
    }
    let mut buffer = buffers.take(length);
    fill(buffer.as_mut())?;
    Ok(Bytes::from_owner(buffer))
}
