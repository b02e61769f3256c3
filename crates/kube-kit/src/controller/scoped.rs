//! Views a kind through a wrapper without losing the namespace that its `Api` is limited to.
//!
//! `Api<Pod>` cannot be turned into `Api<DeserializeGuard<Pod>>` or `Api<PartialObjectMeta<Pod>>` for kinds of unknown
//! scope, because the constructor for one namespace asks for a scope that is fixed at compile time. This wrapper says
//! that its scope is dynamic and is otherwise the kind it wraps.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Resource, core::DynamicResourceScope};
use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(super) struct Scoped<T>(pub(super) T);

impl<T: Resource<DynamicType = ()>> Resource for Scoped<T> {
    type DynamicType = ();
    type Scope = DynamicResourceScope;

    fn metadata_api() -> bool {
        T::metadata_api()
    }

    fn kind((): &()) -> Cow<'_, str> {
        T::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        T::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        T::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        T::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}

/// The same endpoint, read as another view of the same kind.
pub(super) fn view<K, T>(api: Api<K>) -> Api<Scoped<T>>
where
    K: Resource<DynamicType = ()>,
    T: Resource<DynamicType = ()>,
{
    match api.namespace().map(str::to_owned) {
        Some(namespace) => Api::namespaced_with(api.into_client(), &namespace, &()),
        None => Api::all_with(api.into_client(), &()),
    }
}
