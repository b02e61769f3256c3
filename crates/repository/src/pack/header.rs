//! Reading the header of a pack, for check and for repairing an index.

use crate::control::Control;
use crate::crypto::Cipher;
use crate::error::{Error, Result};
use crate::format::{IndexPack, PACK_TRAILER, SEAL_OVERHEAD, parse_header};
use crate::limits::MAX_PACK_HEADER;
use crate::objects::FileType;
use crate::{PackId, Repository};

/// Most headers fit into this many bytes at the end of a pack: about a thousand blobs.
const FIRST_READ: u64 = 42 << 10;

/// Reads the header of a pack of `size` bytes with one or two requests.
pub(crate) async fn read_pack_header(repository: &Repository, id: &PackId, size: u64, control: &Control) -> Result<IndexPack> {
    let damaged = |reason: String| Error::damaged(FileType::Pack.key(id), reason);
    let start = size.saturating_sub(FIRST_READ);
    if size < (PACK_TRAILER + SEAL_OVERHEAD) as u64 {
        return Err(damaged(format!("it has {size} bytes")));
    }
    let mut tail = repository.objects().get_range(id, start, size, control).await?;
    let header = header_length(&tail).map_err(damaged)?;
    let needed = u64::from(header) + PACK_TRAILER as u64;
    if needed > size {
        return Err(damaged("its header is longer than itself".into()));
    }
    if needed > tail.len() as u64 {
        tail = repository.objects().get_range(id, size - needed, size, control).await?;
    }
    let end = tail.len() - PACK_TRAILER;
    let sealed = &tail[end - header as usize..end];
    let blobs = open_header(repository.cipher(), sealed, size - needed).map_err(damaged)?;
    Ok(IndexPack { id: *id, blobs })
}

/// The header of a pack that is in memory.
pub(crate) fn parse_pack(cipher: &Cipher, id: &PackId, pack: &[u8]) -> Result<IndexPack, String> {
    let header = header_length(pack)? as usize;
    let end = pack.len() - PACK_TRAILER;
    let start = end.checked_sub(header).ok_or("its header is longer than itself")?;
    let blobs = open_header(cipher, &pack[start..end], start as u64)?;
    Ok(IndexPack { id: *id, blobs })
}

fn header_length(tail: &[u8]) -> Result<u32, String> {
    let bytes = tail.last_chunk::<PACK_TRAILER>().ok_or("it ends before its header")?;
    let length = u32::from_le_bytes(*bytes);
    if length > MAX_PACK_HEADER || (length as usize) < SEAL_OVERHEAD {
        return Err(format!("its header would have {length} bytes"));
    }
    Ok(length)
}

fn open_header(cipher: &Cipher, sealed: &[u8], blobs_end: u64) -> Result<Vec<crate::format::IndexBlob>, String> {
    let mut plain = Vec::new();
    cipher.open_into(sealed, &mut plain).map_err(|error| format!("its header cannot be opened: {error}"))?;
    parse_header(&plain, blobs_end)
}
