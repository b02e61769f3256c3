//! A store in memory that can be forked: a fork costs a copy of the names.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::interposed::answer;

/// Bytes and the time at which the store took them.
pub type Objects = BTreeMap<Path, (Bytes, SystemTime)>;

/// Objects in memory. Its clock is the runtime's, which stands still while there is work.
pub struct MapStore {
    objects: Mutex<Objects>,
    start: Instant,
}

impl MapStore {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { objects: Mutex::default(), start: Instant::now() })
    }

    /// A store of its own with the same objects and the same clock.
    pub fn fork(&self) -> Arc<Self> {
        Arc::new(Self { objects: Mutex::new(self.objects()), start: self.start })
    }

    pub fn objects(&self) -> Objects {
        self.objects.lock().clone()
    }

    pub fn bytes(&self, key: &Path) -> Option<Bytes> {
        self.objects.lock().get(key).map(|(bytes, _)| bytes.clone())
    }

    /// Keys in a folder.
    pub fn keys(&self, folder: &str) -> Vec<Path> {
        self.objects.lock().keys().filter(|key| is_below(key, folder)).cloned().collect()
    }

    pub fn insert(&self, key: &Path, bytes: &[u8]) {
        // A copy: what the engine hands over may be a small part of a large buffer.
        self.objects.lock().insert(key.clone(), (Bytes::copy_from_slice(bytes), self.now()));
    }

    /// Changes an object's bytes and nothing else of it.
    pub fn replace(&self, key: &Path, bytes: Bytes) {
        if let Some((standing, _)) = self.objects.lock().get_mut(key) {
            *standing = bytes;
        }
    }

    pub fn remove(&self, key: &Path) {
        self.objects.lock().remove(key);
    }

    pub fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + Instant::now().duration_since(self.start)
    }

    fn meta(key: &Path, object: &(Bytes, SystemTime)) -> ObjectMeta {
        let (bytes, modified) = object;
        ObjectMeta {
            location: key.clone(),
            last_modified: (*modified).into(),
            size: bytes.len() as u64,
            e_tag: None,
            version: None,
        }
    }

    pub fn read(&self, key: &Path, options: &GetOptions) -> Result<GetResult> {
        let objects = self.objects.lock();
        let object = objects.get(key).ok_or_else(|| not_found(key))?;
        answer(Self::meta(key, object), &object.0, options)
    }

    pub fn write(&self, key: &Path, bytes: &Bytes, options: &PutOptions) -> Result<()> {
        match options.mode {
            PutMode::Create if self.objects.lock().contains_key(key) => {
                Err(Error::AlreadyExists { path: key.to_string(), source: "it is there".into() })
            }
            PutMode::Create | PutMode::Overwrite => {
                self.insert(key, bytes);
                Ok(())
            }
            PutMode::Update(_) => Err(unsupported()),
        }
    }

    pub fn list_below(&self, folder: &str) -> Vec<ObjectMeta> {
        let objects = self.objects.lock();
        objects.iter().filter(|(key, _)| is_below(key, folder)).map(|(key, object)| Self::meta(key, object)).collect()
    }
}

fn is_below(key: &Path, folder: &str) -> bool {
    folder.is_empty() || key.as_ref().strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

fn not_found(key: &Path) -> Error {
    Error::NotFound { path: key.to_string(), source: "it is not there".into() }
}

pub fn unsupported() -> Error {
    Error::NotSupported { source: "the engine does not do this".into() }
}

impl fmt::Debug for MapStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapStore").finish_non_exhaustive()
    }
}

impl fmt::Display for MapStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory")
    }
}

#[async_trait]
impl ObjectStore for MapStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.write(location, &payload.into(), &options)?;
        Ok(PutResult { e_tag: None, version: None, extensions: Default::default() })
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(unsupported())
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.read(location, &options)
    }

    fn delete_stream(&self, mut locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        // The engine deletes one by one, and the name is there at once.
        let mut deleted = Vec::new();
        while let Some(Some(location)) = locations.next().now_or_never() {
            if let Ok(key) = &location {
                self.remove(key);
            }
            deleted.push(location);
        }
        stream::iter(deleted).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let found = self.list_below(prefix.map_or("", Path::as_ref));
        stream::iter(found.into_iter().map(Ok)).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(unsupported())
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(unsupported())
    }
}
