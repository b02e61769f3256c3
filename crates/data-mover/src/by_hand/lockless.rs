//! A store on which a reader takes no lock.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Locks are kept in memory only, where nobody sees them; everything else is read from the store, and nothing is written to it, not
/// even what a directory does on its own when it is listed.
///
/// For stores that cannot be written, and at the risk of whoever asks for it: a prune beside a reader without a lock may take away
/// what it is reading.
#[derive(Debug)]
pub struct LocklessStore {
    inner: Arc<dyn ObjectStore>,
    locks: Arc<InMemory>,
    is_directory: bool,
}

impl LocklessStore {
    /// `is_directory` says whether `inner` is a directory of this machine.
    pub fn new(inner: Arc<dyn ObjectStore>, is_directory: bool) -> Self {
        Self { inner, locks: Arc::default(), is_directory }
    }

    fn of(&self, location: &Path) -> &dyn ObjectStore {
        if is_lock(location) { &*self.locks } else { &*self.inner }
    }
}

fn is_lock(location: &Path) -> bool {
    location.parts().next().is_some_and(|part| part.as_ref() == "locks")
}

/// Lists level by level. Whoever lists a directory with all that is below it clears away what killed writers left there.
fn walk(store: Arc<dyn ObjectStore>, prefix: Path) -> BoxStream<'static, Result<ObjectMeta>> {
    futures::stream::try_unfold(vec![prefix], move |mut waiting| {
        let store = Arc::clone(&store);
        async move {
            let Some(prefix) = waiting.pop() else { return Ok::<_, Error>(None) };
            let found = store.list_with_delimiter(Some(&prefix)).await?;
            waiting.extend(found.common_prefixes);
            Ok(Some((futures::stream::iter(found.objects.into_iter().map(Ok::<_, Error>)), waiting)))
        }
    })
    .try_flatten()
    .boxed()
}

fn refused(location: &Path) -> Error {
    Error::PermissionDenied { path: location.to_string(), source: "nothing is written without a lock".into() }
}

impl fmt::Display for LocklessStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "read-only {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for LocklessStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if is_lock(location) { self.locks.put_opts(location, payload, options).await } else { Err(refused(location)) }
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(refused(location))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.of(location).get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let locks = Arc::clone(&self.locks);
        locations
            .then(move |location| {
                let locks = Arc::clone(&locks);
                async move {
                    let location = location?;
                    if !is_lock(&location) {
                        return Err(refused(&location));
                    }
                    locks.delete(&location).await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match prefix {
            Some(prefix) if is_lock(prefix) => self.locks.list(Some(prefix)),
            prefix if self.is_directory => walk(Arc::clone(&self.inner), prefix.cloned().unwrap_or_default()),
            prefix => self.inner.list(prefix),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        prefix.map_or(&*self.inner, |prefix| self.of(prefix)).list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, to: &Path, _: CopyOptions) -> Result<()> {
        Err(refused(to))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::time::{Duration, SystemTime};

    use super::*;

    #[tokio::test]
    async fn locks_stay_in_memory_and_nothing_else_is_written() {
        let real = storage::memory();
        let path = |text: &str| Path::from(text);
        real.put(&path("locks/real"), "theirs".into()).await.unwrap();
        real.put(&path("data/ab/pack"), "pack".into()).await.unwrap();
        let store = LocklessStore::new(Arc::clone(&real), false);
        store.put(&path("locks/ours"), "ours".into()).await.unwrap();
        let listed: Vec<_> = store.list(Some(&path("locks"))).try_collect().await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].location, path("locks/ours"));
        assert_eq!(store.get(&path("data/ab/pack")).await.unwrap().bytes().await.unwrap().as_ref(), b"pack");
        assert!(store.put(&path("data/ab/other"), "x".into()).await.is_err());
        assert!(store.delete(&path("data/ab/pack")).await.is_err());
        store.delete(&path("locks/ours")).await.unwrap();
        let listed: Vec<_> = real.list(None).try_collect().await.unwrap();
        assert_eq!(listed.len(), 2);
    }

    #[tokio::test]
    async fn a_directory_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let packs = folder.path().join("data/ab");
        fs::create_dir_all(&packs).unwrap();
        fs::write(packs.join("pack"), "pack").unwrap();
        fs::write(folder.path().join("config"), "config").unwrap();
        let left = packs.join(".orlop-1-a-0.tmp");
        fs::File::create(&left).unwrap().set_modified(SystemTime::now() - Duration::from_secs(25 * 60 * 60)).unwrap();
        let directory: Arc<dyn ObjectStore> = Arc::new(storage::LocalStore::new(folder.path()));
        let store = LocklessStore::new(Arc::clone(&directory), true);
        for (prefix, expected) in [(None, vec!["config", "data/ab/pack"]), (Some(Path::from("data")), vec!["data/ab/pack"])] {
            let listed: Vec<ObjectMeta> = store.list(prefix.as_ref()).try_collect().await.unwrap();
            let mut names: Vec<String> = listed.iter().map(|object| object.location.to_string()).collect();
            names.sort();
            assert_eq!(names, expected);
        }
        assert!(left.exists());
        // Anybody else's listing.
        let listed: Vec<ObjectMeta> = directory.list(None).try_collect().await.unwrap();
        assert_eq!((listed.len(), left.exists()), (2, false));
    }
}
