//! Assembles watches, queue and reconciler into one task.

use std::{fmt::Debug, sync::Arc};

use futures::{Stream, StreamExt, future::ready, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Resource as KubeResource, ResourceExt,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        Controller,
        controller::{Config, Error as ControllerError},
        reflector::{self, ObjectRef},
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;
use service_kit::readiness::Gate;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    ControllerMetrics, Options, Reconciler, Store, Trigger,
    reconcile::Work,
    watch::{Synced, Watching, touched},
};
use crate::own_writes::{Key, OwnWrites};

/// A kind that can be controlled.
pub trait Resource: KubeResource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {}

impl<K> Resource for K where K: KubeResource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {}

/// Why a controller ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// Its watches ended.
    #[error("controller {0} ended")]
    Ended(&'static str),
}

/// A stream of keys to look at, made once it is known how to report about it.
type Source = Box<dyn FnOnce(&Watching) -> stream::BoxStream<'static, Key> + Send>;

/// Asks other controllers to look at what depends on an object.
type Listener<K> = Box<dyn Fn(&K) + Send>;

/// One controller, being put together.
pub struct Runner<K: Resource> {
    name: &'static str,
    api: Api<K>,
    options: Options,
    metrics: ControllerMetrics,
    own_writes: OwnWrites,
    sources: Vec<Source>,
    listeners: Vec<Listener<K>>,
    gate: Option<Gate>,
    store: reflector::Store<DeserializeGuard<K>>,
    writer: reflector::store::Writer<DeserializeGuard<K>>,
    trigger: Trigger,
    triggered: mpsc::UnboundedReceiver<Key>,
    config: watcher::Config,
}

impl<K: Resource> Runner<K> {
    /// A controller of the objects of `api`. `name` labels its metrics and logs; `own_writes` is where its reconciler
    /// records what it wrote to these objects.
    #[must_use]
    pub fn new(name: &'static str, api: Api<K>, options: Options, metrics: ControllerMetrics, own_writes: OwnWrites) -> Self {
        let (store, writer) = reflector::store();
        let (sender, triggered) = mpsc::unbounded_channel();
        Self {
            name,
            api,
            options,
            metrics,
            own_writes,
            sources: Vec::new(),
            listeners: Vec::new(),
            gate: None,
            store,
            writer,
            trigger: Trigger { sender },
            triggered,
            config: watcher::Config::default(),
        }
    }

    /// Looks at an object whenever one that it owns (as controller) changes. Only metadata is watched.
    #[must_use]
    pub fn owns<Child: Resource>(self, api: Api<Child>, config: watcher::Config) -> Self {
        let (group, kind) = (K::group(&()), K::kind(&()));
        // Any version of the group is the same object.
        let group_of = |api_version: &str| api_version.rsplit_once('/').map(|(group, _)| group.to_owned()).unwrap_or_default();
        self.watches_meta(api, config, move |meta| {
            let owners = meta.owner_references.as_deref().unwrap_or_default();
            owners
                .iter()
                .filter(|owner| owner.controller == Some(true) && owner.kind == kind)
                .filter(|owner| group_of(&owner.api_version) == group)
                .map(|owner| (meta.namespace.clone().unwrap_or_default(), owner.name.clone()))
                .collect()
        })
    }

    /// Looks at the objects that `mapper` names whenever an object of another kind changes; it sees only metadata.
    #[must_use]
    pub fn watches_meta<Other: Resource>(
        mut self,
        api: Api<Other>,
        config: watcher::Config,
        mapper: impl Fn(&ObjectMeta) -> Vec<Key> + Send + 'static,
    ) -> Self {
        self.sources.push(Box::new(move |watching| {
            watching
                .events(api, config)
                .filter_map(|event| ready(touched(event)))
                .flat_map(move |object: PartialObjectMeta<Other>| stream::iter(mapper(&object.metadata)))
                .boxed()
        }));
        self
    }

    /// Looks at the objects that `mapper` names whenever an object of another kind changes. Objects that do not parse
    /// are skipped.
    #[must_use]
    pub fn watches<Other: Resource>(
        mut self,
        api: Api<Other>,
        config: watcher::Config,
        mapper: impl Fn(&Other) -> Vec<Key> + Send + 'static,
    ) -> Self {
        self.sources.push(Box::new(move |watching| {
            watching
                .events(api, config)
                .filter_map(|event| ready(touched(event)))
                .flat_map(move |guard: DeserializeGuard<Other>| {
                    let keys = guard.0.as_ref().map(&mapper).unwrap_or_default();
                    stream::iter(keys)
                })
                .boxed()
        }));
        self
    }

    /// Makes another controller look at the objects that `mapper` names whenever an object of this one changes, as soon as
    /// the change stands in this controller's cache. A reconciler that reads this cache must be woken this way: a watch of
    /// its own may be ahead of the cache, and then it would decide on the state before the change (reliability B5).
    #[must_use]
    pub fn tells(mut self, other: Trigger, mapper: impl Fn(&K) -> Vec<Key> + Send + 'static) -> Self {
        self.listeners.push(Box::new(move |object| {
            for (namespace, name) in mapper(object) {
                other.now(&namespace, &name);
            }
        }));
        self
    }

    /// Looks at the objects that a stream of the process names.
    #[must_use]
    pub fn triggered_by(mut self, keys: impl Stream<Item = Key> + Send + 'static) -> Self {
        self.sources.push(Box::new(move |watching| {
            // Such a stream has nothing to list, so it counts as synced from the start.
            watching.synced.one_more();
            keys.boxed()
        }));
        self
    }

    /// Restricts the watch of the controlled kind.
    #[must_use]
    pub fn watching(mut self, config: watcher::Config) -> Self {
        self.config = config;
        self
    }

    /// Opens `gate` when every watch has listed everything once.
    #[must_use]
    pub fn gate(mut self, gate: Gate) -> Self {
        self.gate = Some(gate);
        self
    }

    /// The cache of this controller.
    #[must_use]
    pub fn store(&self) -> Store<K> {
        Store::new(self.store.clone())
    }

    /// A handle that asks this controller to look at an object.
    #[must_use]
    pub fn trigger(&self) -> Trigger {
        self.trigger.clone()
    }

    /// Runs until cancelled; reconciles that have begun are finished.
    ///
    /// # Errors
    /// [`RunnerError::Ended`] when it ended although nobody asked.
    pub async fn run<R>(self, reconciler: Arc<R>, shutdown: CancellationToken) -> Result<(), RunnerError>
    where
        R: Reconciler<Resource = K>,
    {
        let Self {
            name,
            api,
            options,
            metrics,
            own_writes,
            sources,
            listeners,
            gate,
            store,
            writer,
            trigger,
            mut triggered,
            config,
        } = self;
        let synced = Synced::of(sources.len() + 1, gate);
        let watching = Watching { controller: name, metrics: metrics.clone(), synced };
        let keys =
            stream::select_all(sources.into_iter().map(|source| source(&watching))).chain(stream::pending()).map(reference::<K>);
        let asked = stream::poll_fn(move |context| triggered.poll_recv(context)).map(reference::<K>);
        let objects = cached(&watching, api, config, writer, listeners);

        let work = Arc::new(Work::new(name, options, metrics, own_writes, reconciler));
        let stop = shutdown.clone();
        let mut outcomes = Controller::for_stream(objects.map(Ok), store)
            .with_config(Config::default().concurrency(options.concurrency))
            .reconcile_on(keys)
            .reconcile_on(asked)
            .graceful_shutdown_on(stop.cancelled_owned())
            .run(Work::reconcile, Work::after_failure, work.clone())
            .boxed();
        while let Some(outcome) = outcomes.next().await {
            match outcome {
                Ok(_) | Err(ControllerError::ReconcilerFailed(..)) => {}
                Err(ControllerError::ObjectNotFound(gone)) => {
                    work.forget(gone.namespace.as_deref().unwrap_or_default(), &gone.name);
                }
                Err(error) => tracing::warn!(controller = name, %error, "controller queue reports an error"),
            }
        }
        // Held until here: without a sender the channel of triggers would look closed.
        drop(trigger);
        if shutdown.is_cancelled() { Ok(()) } else { Err(RunnerError::Ended(name)) }
    }
}

/// Writes the watch into the cache, tells who listens, and passes on what has to be reconciled.
fn cached<K: Resource>(
    watching: &Watching,
    api: Api<K>,
    config: watcher::Config,
    mut writer: reflector::store::Writer<DeserializeGuard<K>>,
    listeners: Vec<Listener<K>>,
) -> impl Stream<Item = DeserializeGuard<K>> + Send + use<K> {
    let cache = writer.as_reader();
    let tell = move |object: &DeserializeGuard<K>| {
        if let Ok(object) = &object.0 {
            listeners.iter().for_each(|listener| listener(object));
        }
    };
    watching.events(api, config).filter_map(move |mut event: Event<DeserializeGuard<K>>| {
        if let Event::InitApply(object) | Event::Apply(object) = &mut event {
            // Often half of an object's bytes, and nobody reads them.
            object.managed_fields_mut().clear();
        }
        writer.apply_watcher_event(&event);
        match &event {
            // The cache takes over a listing as a whole, at its end; only then may anybody hear of it.
            Event::Init | Event::InitApply(_) => {}
            Event::InitDone => cache.state().iter().for_each(|object| tell(object)),
            Event::Apply(object) | Event::Delete(object) => tell(object),
        }
        ready(match event {
            Event::InitApply(object) | Event::Apply(object) => Some(object),
            Event::Init | Event::InitDone | Event::Delete(_) => None,
        })
    })
}

fn reference<K: Resource>((namespace, name): Key) -> ObjectRef<DeserializeGuard<K>> {
    let reference = ObjectRef::new(&name);
    if namespace.is_empty() { reference } else { reference.within(&namespace) }
}
