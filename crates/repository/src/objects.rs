//! Objects of a repository in the store: keys, bounded reads, writes, listings, deletes.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{GetOptions, GetResult, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use storage::ErrorKind;

use crate::buffer::BufferPool;
use crate::control::{Control, Counters};
use crate::error::{Error, Result};
use crate::format::Id;
use crate::limits;

/// How objects that must not exist yet are created; the store's probe decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CreateMode {
    /// The store honours `If-None-Match: *` (or creates files exclusively).
    #[default]
    Conditional,
    /// The store ignores conditions: look before, write, look again.
    ListBased,
}

/// The kinds of objects of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum FileType {
    Config,
    Key,
    Lock,
    Snapshot,
    Index,
    Pack,
}

impl FileType {
    /// The directory, as restic names it.
    pub fn directory(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Key => "keys",
            Self::Lock => "locks",
            Self::Snapshot => "snapshots",
            Self::Index => "index",
            Self::Pack => "data",
        }
    }

    fn most_bytes(self) -> u64 {
        match self {
            Self::Config | Self::Key | Self::Lock => limits::MAX_SMALL_OBJECT,
            Self::Snapshot => limits::MAX_SNAPSHOT_OBJECT,
            Self::Index => limits::MAX_INDEX_OBJECT,
            Self::Pack => limits::MAX_PACK_OBJECT,
        }
    }

    /// Most bytes after decompression. Only an index shrinks so much that more than its stored size is needed (reliability S-42).
    pub fn most_plain_bytes(self) -> usize {
        match self {
            Self::Index => limits::MAX_UNPACKED_PLAIN,
            other => usize::try_from(other.most_bytes()).unwrap_or(usize::MAX),
        }
    }

    /// The key of an object of this type.
    pub fn key(self, id: &Id) -> String {
        match self {
            Self::Config => "config".to_owned(),
            Self::Pack => {
                let hex = id.to_string();
                format!("data/{}/{hex}", &hex[..2])
            }
            _ => format!("{}/{id}", self.directory()),
        }
    }
}

/// An object seen in a listing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listed {
    pub id: Id,
    pub size: u64,
    /// When the store took it, by the store's clock.
    pub modified: Timestamp,
}

/// Bytes of a pack.
#[derive(Debug, Clone)]
pub(crate) struct PackPart {
    pub bytes: Bytes,
    /// Of the whole pack.
    pub pack_size: u64,
}

/// Access to the objects of one repository.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    store: Arc<dyn ObjectStore>,
    buffers: Arc<BufferPool>,
}

/// Reads of at least this size go into pooled buffers.
const POOLED: u64 = 1 << 20;

/// How often an object is deleted that a store keeps while it says that it is gone.
const DELETE_TRIES: usize = 3;

impl Objects {
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, buffers: Arc::default() }
    }

    /// Reads a whole object; refuses before reading if it is larger than its type allows. A body that is not whole is asked for
    /// once more: it may have been cut on its way, and what happens on the way is no damage.
    pub async fn get(&self, file: FileType, id: &Id, control: &Control) -> Result<Bytes> {
        match self.get_once(file, id, control).await {
            Err(Error::Damaged { .. }) => self.get_once(file, id, control).await,
            answer => answer,
        }
    }

    async fn get_once(&self, file: FileType, id: &Id, control: &Control) -> Result<Bytes> {
        let key = file.key(id);
        control
            .run(async {
                let result = self.store.get(&path(&key)?).await.map_err(|source| store_error("read", &key, source))?;
                if result.meta.size > file.most_bytes() {
                    return Err(Error::BeyondLimit {
                        what: "size of an object",
                        found: result.meta.size,
                        limit: file.most_bytes(),
                    });
                }
                self.body(&key, result, control).await
            })
            .await
    }

    /// The body of an answer; a large one in a buffer that is used again.
    async fn body(&self, key: &str, result: GetResult, control: &Control) -> Result<Bytes> {
        let length = result.range.end - result.range.start;
        let failed = |source| store_error("read", key, source);
        let bytes = if length < POOLED {
            result.bytes().await.map_err(failed)?
        } else {
            let mut pieces = result.into_stream();
            let first = pieces.try_next().await.map_err(failed)?.unwrap_or_default();
            if first.len() as u64 == length {
                // A file comes in one piece, in a buffer that its store uses again.
                first
            } else {
                let mut buffer = self.buffers.take(usize::try_from(length).map_err(Error::internal)?);
                buffer.push(&first);
                while buffer.used() as u64 <= length
                    && let Some(piece) = pieces.try_next().await.map_err(failed)?
                {
                    buffer.push(&piece);
                }
                Bytes::from_owner(buffer)
            }
        };
        if bytes.len() as u64 != length {
            return Err(Error::damaged(key, format!("the store sends {} bytes instead of {length}", bytes.len())));
        }
        Counters::add(&control.counters().bytes_downloaded, length);
        Ok(bytes)
    }

    /// Reads a part of a pack; what is not whole is asked for once more, as by [`Self::get`].
    pub async fn get_range(&self, pack: &Id, start: u64, end: u64, control: &Control) -> Result<Bytes> {
        match self.get_range_once(pack, start, end, control).await {
            Err(Error::Damaged { .. }) => self.get_range_once(pack, start, end, control).await,
            answer => answer,
        }
    }

    async fn get_range_once(&self, pack: &Id, start: u64, end: u64, control: &Control) -> Result<Bytes> {
        let key = FileType::Pack.key(pack);
        control
            .run(async {
                let options = GetOptions { range: Some((start..end).into()), ..GetOptions::default() };
                let result = match self.store.get_opts(&path(&key)?, options).await {
                    Ok(result) => result,
                    Err(source) => return Err(self.why_no_range(pack, end, store_error("read", &key, source)).await),
                };
                if result.range != (start..end) {
                    return Err(Error::damaged(&key, format!("it ends before byte {end}")));
                }
                self.body(&key, result, control).await
            })
            .await
    }

    /// Reads what a pack has of a range: less than was asked for if the pack ends before. Never into a pooled buffer: what is kept
    /// for long must not hold a large one.
    pub async fn get_part(&self, pack: &Id, start: u64, end: u64, control: &Control) -> Result<PackPart> {
        let key = FileType::Pack.key(pack);
        control
            .run(async {
                let options = GetOptions { range: Some((start..end).into()), ..GetOptions::default() };
                let result = match self.store.get_opts(&path(&key)?, options).await {
                    Ok(result) => result,
                    Err(source) => return Err(self.why_no_range(pack, end, store_error("read", &key, source)).await),
                };
                let (range, pack_size) = (result.range.clone(), result.meta.size);
                let bytes = result.bytes().await.map_err(|source| store_error("read", &key, source))?;
                if range.start != start || range.end > end || bytes.len() as u64 != range.end - start {
                    return Err(Error::damaged(&key, format!("the store sends {} bytes of the range {range:?}", bytes.len())));
                }
                Counters::add(&control.counters().bytes_downloaded, bytes.len() as u64);
                Ok(PackPart { bytes, pack_size })
            })
            .await
    }

    /// Why a part could not be read. Stores refuse a range beyond the end each in words of their own, so the size tells.
    async fn why_no_range(&self, pack: &Id, end: u64, refusal: Error) -> Error {
        match self.head(FileType::Pack, pack).await {
            Ok(Some(listed)) if listed.size < end => {
                Error::damaged(FileType::Pack.key(pack), format!("it has {} bytes and ends before byte {end}", listed.size))
            }
            _ => refusal,
        }
    }

    /// Writes an object. Ids are sums of the content, so writing one twice is harmless.
    pub async fn put(&self, file: FileType, id: &Id, bytes: Bytes) -> Result<()> {
        let key = file.key(id);
        self.store.put(&path(&key)?, PutPayload::from_bytes(bytes)).await.map_err(|source| store_error("write", &key, source))?;
        Ok(())
    }

    /// Writes an object and looks whether the store has all of it: an acknowledgement alone is no evidence (reliability D2).
    pub async fn put_verified(&self, file: FileType, id: &Id, bytes: Bytes) -> Result<()> {
        let size = bytes.len() as u64;
        self.put(file, id, bytes).await?;
        if file == FileType::Index && planted!(IndexUnconfirmed) {
            return Ok(());
        }
        let lied = |reason: String| Error::StoreLied { key: file.key(id), reason };
        match self.head(file, id).await? {
            Some(listed) if listed.size == size => Ok(()),
            Some(listed) => Err(lied(format!("it has {} bytes instead of {size}", listed.size))),
            None => Err(lied("it is not there".to_owned())),
        }
    }

    /// Writes the config, which must not exist yet.
    pub async fn create_config(&self, bytes: Bytes) -> Result<()> {
        let key = FileType::Config.key(&Id([0; 32]));
        let options = PutOptions::from(PutMode::Create);
        match self.store.put_opts(&path(&key)?, PutPayload::from_bytes(bytes), options).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Err(Error::RepositoryExists { key })
            }
            Err(source) => Err(store_error("create", &key, source)),
        }
    }

    /// Size and time of an object; `None` if it does not exist.
    pub async fn head(&self, file: FileType, id: &Id) -> Result<Option<Listed>> {
        let key = file.key(id);
        match self.store.head(&path(&key)?).await {
            Ok(meta) => Ok(Some(Listed { id: *id, size: meta.size, modified: timestamp(&meta) })),
            // That the bucket is missing is no evidence about the object (invariant I8).
            Err(source) if ErrorKind::of(&source) == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(store_error("look at", &key, source)),
        }
    }

    /// Lists all objects of a type. An error half-way is an error: a partial list is never returned (reliability D4).
    pub async fn list(&self, file: FileType, control: &Control) -> Result<Vec<Listed>> {
        let directory = file.directory();
        let prefix = path(directory)?;
        control
            .run(async {
                let mut listed = Vec::new();
                let mut entries = self.store.list(Some(&prefix));
                while let Some(meta) = entries.try_next().await.map_err(|source| store_error("list", directory, source))? {
                    // Names of another form (temporary files, a gateway's markers) are not objects of the repository.
                    if let Some(Ok(id)) = meta.location.filename().map(str::parse) {
                        listed.push(Listed { id, size: meta.size, modified: timestamp(&meta) });
                    }
                }
                Ok(listed)
            })
            .await
    }

    /// Deletes an object and looks whether it is gone, for an acknowledgement alone is no evidence; some times, if it is not.
    pub async fn delete_verified(&self, file: FileType, id: &Id) -> Result<()> {
        for _ in 0..DELETE_TRIES {
            self.delete(file, id).await?;
            if self.head(file, id).await?.is_none() {
                return Ok(());
            }
        }
        Err(Error::StoreLied { key: file.key(id), reason: "it is there after it was deleted".to_owned() })
    }

    /// Deletes an object; that it is gone already is success.
    pub async fn delete(&self, file: FileType, id: &Id) -> Result<()> {
        let key = file.key(id);
        match self.store.delete(&path(&key)?).await {
            Ok(()) => Ok(()),
            Err(source) if ErrorKind::of(&source) == ErrorKind::NotFound => Ok(()),
            Err(source) => Err(store_error("delete", &key, source)),
        }
    }

    /// Deletes several objects with as few requests as the store needs; the first error counts, what follows it may be gone as well.
    /// That some are gone already is success.
    pub async fn delete_all(&self, file: FileType, ids: &[Id], control: &Control) -> Result<()> {
        control.check()?;
        let mut ids = ids.to_vec();
        // Neighbours stand in the same directory, which a local store syncs once.
        ids.sort_unstable();
        let paths: Vec<_> = ids.iter().map(|id| path(&file.key(id))).collect::<Result<_>>()?;
        let mut deleted = self.store.delete_stream(futures::stream::iter(paths.into_iter().map(Ok)).boxed());
        while let Some(result) = deleted.next().await {
            match result {
                Ok(_) => {}
                Err(source) if ErrorKind::of(&source) == ErrorKind::NotFound => {}
                Err(source) => return Err(store_error("delete from", file.directory(), source)),
            }
        }
        Ok(())
    }

    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }
}

fn path(key: &str) -> Result<Path> {
    Path::parse(key).map_err(|source| store_error("name", key, source.into()))
}

fn timestamp(meta: &object_store::ObjectMeta) -> Timestamp {
    let nanos = i32::try_from(meta.last_modified.timestamp_subsec_nanos()).unwrap_or(0);
    Timestamp::new(meta.last_modified.timestamp(), nanos).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn store_error(operation: &'static str, key: &str, source: object_store::Error) -> Error {
    Error::Store { operation, key: key.to_owned(), source: Arc::new(source) }
}
