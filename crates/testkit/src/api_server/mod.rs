//! A Kubernetes API server in memory.

mod body;
mod fault;
mod fields;
mod merge;
mod record;
mod request;
mod respond;
mod reviews;
mod route;
mod selector;
mod state;
mod watch;
mod write;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::{
    api::{authentication::v1::UserInfo, authorization::v1::SubjectAccessReviewSpec},
    jiff::Timestamp,
};
use kube::{Client, Resource};
use parking_lot::Mutex;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use fault::{Fault, Matcher};
pub use record::Recorded;

use state::{Key, State};

/// A simulated API server. Clones are the same server.
#[derive(Clone, Default)]
pub struct ApiServer {
    state: Arc<Mutex<State>>,
}

impl ApiServer {
    /// An empty server.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A client of this server, with `default` as its namespace. Call it inside of a tokio runtime. Like every client of
    /// a test service it has no retry layer.
    #[must_use]
    pub fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request| {
            let server = server.clone();
            async move { respond::answer(server, request).await }
        });
        Client::new(service, "default")
    }

    /// Stores an object as it is, status included, giving it what it lacks: UID, resourceVersion, generation, creation
    /// time. An object of that name is replaced. Answers the stored object.
    ///
    /// # Panics
    /// When the object does not serialise or has no name.
    pub fn put<K>(&self, object: &K) -> K
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
    {
        let value = to_value(object);
        from_value(&self.state.lock().seed(&resource_of::<K>(), value))
    }

    /// Stores an object that need not have the shape of its kind, in `resource` of `group`.
    ///
    /// # Panics
    /// When it has no name.
    pub fn put_json(&self, group: &str, resource: &str, object: Value) -> Value {
        self.state.lock().seed(&(group.to_owned(), resource.to_owned()), object)
    }

    /// The object as it is now.
    ///
    /// # Panics
    /// When the stored object does not parse as `K`.
    #[must_use]
    pub fn get<K>(&self, namespace: &str, name: &str) -> Option<K>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        let key = Key::of(&resource_of::<K>(), namespace, name);
        self.state.lock().object(&key).map(from_value)
    }

    /// All objects of a kind, by namespace and name.
    ///
    /// # Panics
    /// When a stored object does not parse as `K`.
    #[must_use]
    pub fn all<K>(&self) -> Vec<K>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        self.state.lock().objects(&resource_of::<K>()).map(from_value).collect()
    }

    /// Changes an object as another client or controller would, status included; watches see it.
    ///
    /// # Panics
    /// When there is no such object, or the change breaks its shape.
    pub fn update<K>(&self, namespace: &str, name: &str, change: impl FnOnce(&mut K)) -> K
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
    {
        let Some(mut object) = self.get::<K>(namespace, name) else {
            panic!("no {} {namespace}/{name} to update", K::kind(&()));
        };
        change(&mut object);
        let mut state = self.state.lock();
        from_value(&state.overwrite(&Key::of(&resource_of::<K>(), namespace, name), to_value(&object)))
    }

    /// Deletes an object as `kubectl delete` does: finalizers hold it, dependents follow.
    pub fn delete<K>(&self, namespace: &str, name: &str)
    where
        K: Resource<DynamicType = ()>,
    {
        self.state.lock().remove(&Key::of(&resource_of::<K>(), namespace, name), state::Propagation::Background);
    }

    /// The next request that matches meets the fault.
    pub fn fail_next(&self, fault: Fault, matcher: Matcher) {
        self.fail(fault, matcher, 1);
    }

    /// The next `times` requests that match meet the fault.
    pub fn fail(&self, fault: Fault, matcher: Matcher, times: usize) {
        self.state.lock().faults.add(fault, matcher, times);
    }

    /// No further request meets a fault.
    pub fn heal(&self) {
        self.state.lock().faults.clear();
    }

    /// Ends every open watch, as a restarting server does.
    pub fn drop_watches(&self) {
        self.state.lock().watches.clear();
    }

    /// Every request so far, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.state.lock().recorded.clone()
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        self.state.lock().recorded.clear();
    }

    /// The verbs that were used, by (group, resource or resource/subresource): what RBAC has to grant.
    #[must_use]
    pub fn verbs(&self) -> BTreeMap<(String, String), BTreeSet<String>> {
        record::verbs(&self.state.lock().recorded)
    }

    /// Stops the server's clock at this time; creation and deletion times are taken from it.
    pub fn set_clock(&self, now: Timestamp) {
        self.state.lock().clock = Some(now);
    }

    /// How TokenReviews are answered: token and audiences in, the user out. Without it every token is refused.
    pub fn answer_tokens(&self, answer: impl Fn(&str, &[String]) -> Option<UserInfo> + Send + Sync + 'static) {
        self.state.lock().answers.tokens = Some(Arc::new(answer));
    }

    /// How SubjectAccessReviews are answered. Without it everything is refused.
    pub fn answer_access(&self, answer: impl Fn(&SubjectAccessReviewSpec) -> bool + Send + Sync + 'static) {
        self.state.lock().answers.access = Some(Arc::new(answer));
    }
}

fn resource_of<K: Resource<DynamicType = ()>>() -> (String, String) {
    (K::group(&()).into_owned(), K::plural(&()).into_owned())
}

fn to_value<K: Serialize>(object: &K) -> Value {
    match serde_json::to_value(object) {
        Ok(value) => value,
        Err(error) => panic!("object does not serialise: {error}"),
    }
}

fn from_value<K: DeserializeOwned>(value: &Value) -> K {
    match K::deserialize(value) {
        Ok(object) => object,
        Err(error) => panic!("object does not parse: {error}: {value}"),
    }
}

#[cfg(test)]
mod tests;
