//! Watches that feed a controller, and the trigger from inside the process.

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::{Stream, StreamExt, future::ready};
use kube::{
    Api, Resource as KubeResource,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use service_kit::readiness::Gate;
use tokio::sync::mpsc;

use super::{
    ControllerMetrics,
    scoped::{Scoped, view},
};
use crate::own_writes::Key;

/// Asks a running controller to look at an object soon, for events that do not come from the API server.
#[derive(Debug, Clone)]
pub struct Trigger {
    pub(super) sender: mpsc::UnboundedSender<Key>,
}

impl Trigger {
    /// Looks at the object as soon as a slot is free. Repeated calls before that count as one.
    pub fn now(&self, namespace: &str, name: &str) {
        // The receiver is gone only when the controller has ended; then there is nobody left to look.
        let _ = self.sender.send((namespace.to_owned(), name.to_owned()));
    }
}

/// Opens a readiness gate once all of several watches have listed everything.
#[derive(Clone)]
pub(super) struct Synced {
    pending: Arc<AtomicUsize>,
    gate: Option<Gate>,
}

impl Synced {
    pub(super) fn of(watches: usize, gate: Option<Gate>) -> Self {
        Self { pending: Arc::new(AtomicUsize::new(watches)), gate }
    }

    pub(super) fn one_more(&self) {
        if self.pending.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(gate) = &self.gate
        {
            gate.open();
        }
    }
}

/// Who watches: for logs and metrics.
#[derive(Clone)]
pub(super) struct Watching {
    pub(super) controller: &'static str,
    pub(super) metrics: ControllerMetrics,
    pub(super) synced: Synced,
}

impl Watching {
    /// The events of a watch for ever: restarted with backoff, errors logged and counted instead of passed on, because
    /// one kind that cannot be watched must not slow down the others.
    ///
    /// `View` is how the objects are read: guarded against malformed ones, or metadata only.
    pub(super) fn events<K, View>(
        &self,
        api: Api<K>,
        config: watcher::Config,
    ) -> impl Stream<Item = Event<View>> + Send + use<K, View>
    where
        K: KubeResource<DynamicType = ()>,
        View: KubeResource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let Self { controller, metrics, synced } = self.clone();
        let mut first = true;
        watcher(view::<K, View>(api), config).default_backoff().filter_map(move |item| {
            let event = match item {
                Ok(event) => {
                    if first && matches!(event, Event::InitDone) {
                        first = false;
                        synced.one_more();
                    }
                    Some(unwrap(event))
                }
                Err(error) => {
                    let kind = View::kind(&());
                    metrics.watch_failed(controller, &kind);
                    tracing::warn!(controller, %kind, %error, "watch was interrupted");
                    None
                }
            };
            ready(event)
        })
    }
}

fn unwrap<View>(event: Event<Scoped<View>>) -> Event<View> {
    match event {
        Event::Init => Event::Init,
        Event::InitApply(Scoped(object)) => Event::InitApply(object),
        Event::InitDone => Event::InitDone,
        Event::Apply(Scoped(object)) => Event::Apply(object),
        Event::Delete(Scoped(object)) => Event::Delete(object),
    }
}

/// The objects of a watch: those listed, applied and deleted.
pub(super) fn touched<K>(event: Event<K>) -> Option<K> {
    match event {
        Event::InitApply(object) | Event::Apply(object) | Event::Delete(object) => Some(object),
        Event::Init | Event::InitDone => None,
    }
}
