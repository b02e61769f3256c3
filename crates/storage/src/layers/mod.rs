//! Decorators around any store. Order, from the caller inwards: count, limit, retry, prefix, provider.

mod count;
mod gate;
mod limit;
mod retry;

#[cfg(feature = "testsuite")]
pub mod fault;

pub use count::{CountStore, Counters, CountersSnapshot};
pub use limit::{LimitStore, Limits};
pub use object_store::prefix::PrefixStore;
pub use retry::RetryStore;

use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::{GetResult, GetResultPayload};

/// Rebuilds a result around a transformed body stream.
fn map_body<F>(result: GetResult, transform: F) -> GetResult
where
    F: FnOnce(BoxStream<'static, object_store::Result<Bytes>>) -> BoxStream<'static, object_store::Result<Bytes>>,
{
    let (meta, range) = (result.meta.clone(), result.range.clone());
    let (attributes, extensions) = (result.attributes.clone(), result.extensions.clone());
    let payload = GetResultPayload::Stream(transform(result.into_stream()));
    GetResult { payload, meta, range, attributes, extensions }
}
