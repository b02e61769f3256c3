//! Something between the client and its store.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::store::unsupported;

/// Decides what becomes of each call; passes it on unless it says otherwise.
#[async_trait]
pub trait Interposer: fmt::Debug + Send + Sync + 'static {
    /// The store behind.
    fn inner(&self) -> &Arc<dyn ObjectStore>;

    async fn put(&self, key: &Path, bytes: Bytes, options: PutOptions) -> Result<()> {
        self.inner().put_opts(key, bytes.into(), options).await.map(|_| ())
    }

    async fn get(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner().get_opts(key, options).await
    }

    async fn delete(&self, key: &Path) -> Result<()> {
        self.inner().delete(key).await
    }

    /// The listing in the order of the names; an error in it is where it ends.
    async fn list(&self, prefix: &Path) -> Vec<Result<ObjectMeta>> {
        self.inner().list(Some(prefix)).collect().await
    }
}

/// The store as the client sees it.
#[derive(Debug)]
pub struct Interposed<I>(pub Arc<I>);

impl<I: Interposer> Interposed<I> {
    pub fn store(interposer: &Arc<I>) -> Arc<dyn ObjectStore> {
        Arc::new(Self(Arc::clone(interposer)))
    }
}

impl<I: Interposer> fmt::Display for Interposed<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[async_trait]
impl<I: Interposer> ObjectStore for Interposed<I> {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.0.put(location, payload.into(), options).await?;
        Ok(PutResult { e_tag: None, version: None, extensions: Default::default() })
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(unsupported())
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let interposer = Arc::clone(&self.0);
        locations
            .then(move |location| {
                let interposer = Arc::clone(&interposer);
                async move {
                    let location = location?;
                    interposer.delete(&location).await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (interposer, prefix) = (Arc::clone(&self.0), prefix.cloned().unwrap_or_default());
        async move { stream::iter(interposer.list(&prefix).await) }.flatten_stream().boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(unsupported())
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(unsupported())
    }
}

/// The answer to a read of an object with these bytes.
pub fn answer(meta: ObjectMeta, bytes: &Bytes, options: &GetOptions) -> Result<GetResult> {
    let range = match &options.range {
        Some(range) => {
            range.as_range(meta.size).map_err(|source| Error::Generic { store: "memory", source: Box::new(source) })?
        }
        None => 0..meta.size,
    };
    let body = if options.head { Bytes::new() } else { bytes.slice(range.start as usize..range.end as usize) };
    Ok(GetResult {
        payload: GetResultPayload::Stream(stream::iter([Ok(body)]).boxed()),
        meta,
        range,
        attributes: Attributes::default(),
        extensions: Default::default(),
    })
}
