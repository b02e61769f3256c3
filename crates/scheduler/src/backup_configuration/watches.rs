//! Which BackupConfigurations a change of another object concerns.

use crd_types::{Addon, BackupConfiguration, BackupStorage, Function, Repository, RestoreSession, RetentionPolicy, labels};
use futures::{Stream, StreamExt as _, stream};
use k8s_openapi::api::{batch::v1::CronJob, core::v1::Namespace};
use kube::{Api, Client, ResourceExt as _, runtime::watcher};
use kube_kit::controller::{ControllerMetrics, Options, Runner, Store};
use kube_kit::own_writes::OwnWrites;
use planner::names::label_value;
use service_kit::readiness::Gate;
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;

use crate::{
    references::{namespace, resolve, workload},
    suspension::targets,
};

type Keys = Vec<(String, String)>;

/// The controller of BackupConfigurations with all its watches.
pub fn runner(
    client: &Client,
    metrics: ControllerMetrics,
    own_writes: OwnWrites,
    ca_bundle: watch::Receiver<Option<String>>,
    gate: Gate,
) -> Runner<BackupConfiguration> {
    let all = || watcher::Config::default();
    let triggers = watcher::Config::default().labels(&format!("{}={}", labels::COMPONENT, labels::component::TRIGGER));
    let runner = Runner::new("backup-configuration", Api::all(client.clone()), Options::default(), metrics, own_writes);
    let store = runner.store();
    let with = |map: fn(&Store<BackupConfiguration>, &str, &str) -> Keys| {
        let store = store.clone();
        move |namespace: &str, name: &str| map(&store, namespace, name)
    };
    let (storages, policies, addons) = (with(by_storage), with(by_policy), with(by_addon));
    let (every, inhabitants, writers, restores) = (store.clone(), store.clone(), store.clone(), store.clone());
    runner
        .owns::<CronJob>(Api::all(client.clone()), triggers)
        .watches::<BackupStorage>(Api::all(client.clone()), all(), move |storage| {
            storages(&namespace(storage), &storage.name_any())
        })
        .watches::<RetentionPolicy>(Api::all(client.clone()), all(), move |policy| {
            policies(&namespace(policy), &policy.name_any())
        })
        .watches_meta::<Addon>(Api::all(client.clone()), all(), move |meta| addons("", meta.name.as_deref().unwrap_or_default()))
        .watches_meta::<Function>(Api::all(client.clone()), all(), move |_| every.keys(|_| true))
        .watches_meta::<Namespace>(Api::all(client.clone()), all(), move |meta| {
            inhabitants.keys(|configuration| configuration.namespace() == meta.name)
        })
        .watches::<Repository>(Api::all(client.clone()), all(), move |repository| by_repository(&writers, repository))
        .watches::<RestoreSession>(Api::all(client.clone()), all(), move |restore| by_restore(&restores, restore))
        .triggered_by(when_authority_changes(store, ca_bundle))
        .gate(gate)
}

fn by_storage(store: &Store<BackupConfiguration>, storage_namespace: &str, name: &str) -> Keys {
    store.keys(|configuration| {
        let here = namespace(configuration);
        let names_it = configuration.spec.backends.iter().filter_map(|backend| backend.storage_ref.as_ref()).any(|reference| {
            let (named_namespace, named) = resolve(reference, &here);
            named_namespace == storage_namespace && named == name
        });
        // Without backends the default storage is used, which may be this one.
        names_it || configuration.spec.backends.is_empty()
    })
}

fn by_policy(store: &Store<BackupConfiguration>, policy_namespace: &str, name: &str) -> Keys {
    store.keys(|configuration| {
        let here = namespace(configuration);
        let backends = &configuration.spec.backends;
        let uses = |reference: Option<&crd_types::ObjectReference>| match reference.map(|reference| resolve(reference, &here)) {
            Some((named_namespace, named)) => named_namespace == policy_namespace && named == name,
            None => true,
        };
        backends.is_empty() || backends.iter().any(|backend| uses(backend.retention_policy.as_ref()))
    })
}

fn by_addon(store: &Store<BackupConfiguration>, _: &str, name: &str) -> Keys {
    store.keys(|configuration| {
        let mut addons = configuration.spec.sessions.iter().filter_map(|session| session.addon.as_ref());
        addons.any(|addon| addon.name.as_deref() == Some(name))
    })
}

fn by_repository(store: &Store<BackupConfiguration>, repository: &Repository) -> Keys {
    let (here, name) = (namespace(repository), repository.name_any());
    let maker = repository.labels().get(labels::INVOKER_NAME);
    store.keys(|configuration| {
        let mut entries = configuration.spec.sessions.iter().flat_map(|session| &session.repositories);
        namespace(configuration) == here
            && (maker == Some(&label_value(&configuration.name_any()))
                || entries.any(|entry| entry.name.as_deref() == Some(name.as_str())))
    })
}

fn by_restore(store: &Store<BackupConfiguration>, restore: &RestoreSession) -> Keys {
    let here = namespace(restore);
    let Some(target) = targets(restore) else { return Vec::new() };
    store.keys(|configuration| {
        namespace(configuration) == here
            && configuration.spec.target.as_ref().map(|reference| workload(reference, &here)).as_ref() == Some(&target)
    })
}

/// Every configuration, whenever trigger pods have to trust another authority.
fn when_authority_changes(
    store: Store<BackupConfiguration>,
    bundle: watch::Receiver<Option<String>>,
) -> impl Stream<Item = (String, String)> + Send + 'static {
    WatchStream::from_changes(bundle).flat_map(move |_| stream::iter(store.keys(|_| true)))
}
