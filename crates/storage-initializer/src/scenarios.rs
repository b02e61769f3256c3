//! The three controllers together, against a simulated API server and a store in memory.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{sync::Arc, time::Duration};

use crd_types::{BackupStorage, BackupStoragePhase, Repository, RepositoryPhase, Snapshot, SnapshotPhase, conditions};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::ResourceExt as _;
use kube_kit::{controller::ControllerMetrics, events::Events};
use object_store::{ObjectStore, ObjectStoreExt as _, path::Path};
use parking_lot::Mutex;
use planner::access::SecretRule;
use prometheus_client::registry::Registry;
use serde_json::json;
use service_kit::readiness::Readiness;
use testkit::{ApiServer, fixtures};
use tokio_util::sync::CancellationToken;

use crate::{
    args::SharedStorageKeys,
    backends::{Ambient, Backends},
    bucket::Bucket,
    context::{Context, Policy},
    metrics::InitializerMetrics,
    run::{Controllers, run_controllers},
};

const SHOP: &str = "shop";

/// Whether the store answers, and what it says if not.
#[derive(Clone, Default)]
struct Weather(Arc<Mutex<Option<storage::ErrorKind>>>);

struct World {
    server: ApiServer,
    store: Arc<dyn ObjectStore>,
    weather: Weather,
    stop: CancellationToken,
}

impl Drop for World {
    /// Every scenario ends with the chart having granted all that was asked (architecture 7).
    fn drop(&mut self) {
        self.stop.cancel();
        if !std::thread::panicking() {
            testkit::chart::assert_granted(&self.server, "storage-initializer", "orlop-system");
        }
    }
}

impl World {
    /// Namespace and Secret are there, the controllers run.
    fn start() -> Self {
        let server = ApiServer::new();
        for name in [SHOP, "orlop-system"] {
            server.put(&fixtures::namespace(name));
        }
        server.put(&credentials());
        let world = Self { store: storage::memory(), weather: Weather::default(), stop: CancellationToken::new(), server };
        world.run();
        world
    }

    fn run(&self) {
        let client = self.server.client();
        let (store, weather) = (self.store.clone(), self.weather.clone());
        let opener = move |_: &storage::BackendConfig| match *weather.0.lock() {
            None => Ok(Bucket::of_store(store.clone())),
            Some(kind) => Err(storage::Error::of_kind(kind, "the test store", "it rains")),
        };
        let context = Context {
            backends: Backends::with_opener(client.clone(), Ambient::from_environment(), opener),
            events: Events::new(client.clone(), "orlop-storage-initializer", None),
            client,
            namespace: "orlop-system".to_owned(),
            policy: Policy { shared_storage_keys: SharedStorageKeys::Allow, cross_namespace_secrets: SecretRule::Consent },
            metrics: InitializerMetrics::default(),
        };
        let controllers = Controllers::new(&context, &ControllerMetrics::register(&mut Registry::default()));
        let stop = self.stop.clone();
        tokio::spawn(async move { run_controllers(context, controllers, &Readiness::new(), stop).await });
    }

    fn storage(&self) -> BackupStorage {
        self.server.get(SHOP, "main").unwrap()
    }

    fn repository(&self, name: &str) -> Repository {
        self.server.get(SHOP, name).unwrap()
    }

    async fn text(&self, key: &str) -> Option<String> {
        let found = self.store.get(&Path::from(key)).await.ok()?;
        Some(String::from_utf8(found.bytes().await.unwrap().to_vec()).unwrap())
    }
}

fn credentials() -> Secret {
    let mut secret = fixtures::secret(SHOP, "s3-credentials", "AWS_ACCESS_KEY_ID", "id");
    secret.data.as_mut().unwrap().insert("AWS_SECRET_ACCESS_KEY".to_owned(), ByteString(b"key".to_vec()));
    secret
}

/// A storage that nobody has looked at.
fn new_storage(name: &str) -> BackupStorage {
    BackupStorage { status: None, ..fixtures::backup_storage(SHOP, name) }
}

fn new_repository(name: &str, path: &str) -> Repository {
    let mut repository = Repository { status: None, ..fixtures::repository(SHOP, name) };
    repository.spec.path = Some(path.to_owned());
    repository
}

/// Waits until it is so, by the simulated clock.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..4000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never came true: {what}");
}

fn is_ready(storage: &BackupStorage) -> bool {
    storage.status.as_ref().and_then(|status| status.phase) == Some(BackupStoragePhase::Ready)
}

fn is_initialised(repository: &Repository) -> bool {
    repository.status.as_ref().and_then(|status| status.phase) == Some(RepositoryPhase::Ready)
}

fn message(conditions: &[crd_types::Condition], type_: &str) -> String {
    conditions::find(conditions, type_).and_then(|condition| condition.message.clone()).unwrap_or_default()
}

/// Steps 2, 3, 6 and 7 of a backup (architecture §3).
#[tokio::test(start_paused = true)]
async fn storage_and_repository_become_ready_and_leave_their_metadata() {
    let world = World::start();
    world.server.put(&new_storage("main"));
    until("the storage is ready", || is_ready(&world.storage())).await;
    assert!(world.text("metadata.yaml").await.unwrap().contains("kind: BackendMeta"));
    let status = world.storage().status.unwrap();
    assert!(conditions::is_true(&status.conditions, conditions::BACKEND_SECRET_FOUND));
    assert!(conditions::is_true(&status.conditions, conditions::STORE_CAPABLE));

    world.server.put(&new_repository("web-repo", "/web"));
    until("the repository is ready", || is_initialised(&world.repository("web-repo"))).await;
    let document = world.text("web/repository.yaml").await.unwrap();
    assert!(document.contains("name: web-repo") && !document.contains("resourceVersion"), "{document}");
    until("the storage lists it", || world.storage().status.unwrap().repositories.iter().any(|entry| entry.synced == Some(true)))
        .await;
    for _ in 0..100 {
        if world.text("metadata.yaml").await.unwrap().contains("web-repo") {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("metadata.yaml does not list the repository");
}

/// Bad input: the Secret is missing, then created.
#[tokio::test(start_paused = true)]
async fn a_missing_secret_is_named_and_awaited() {
    let world = World::start();
    world.server.delete::<Secret>(SHOP, "s3-credentials");
    world.server.put(&new_storage("main"));
    until("the missing secret shows", || {
        let conditions = world.storage().status.unwrap_or_default().conditions;
        message(&conditions, conditions::BACKEND_SECRET_FOUND).contains("Secret shop/s3-credentials does not exist")
    })
    .await;
    assert!(!is_ready(&world.storage()));
    world.server.put(&credentials());
    until("the storage is ready", || is_ready(&world.storage())).await;
}

/// Bad input: the endpoint is unreachable, then back; and what each failure says differs.
#[tokio::test(start_paused = true)]
async fn an_unreachable_store_is_said_and_recovered_from() {
    let world = World::start();
    *world.weather.0.lock() = Some(storage::ErrorKind::Unreachable);
    world.server.put(&new_storage("main"));
    let said = |world: &World| {
        let conditions = world.storage().status.unwrap_or_default().conditions;
        message(&conditions, conditions::BACKEND_INITIALIZED)
    };
    until("unreachable is said", || said(&world).contains("endpoint")).await;
    *world.weather.0.lock() = Some(storage::ErrorKind::NoSuchBucket);
    until("the missing bucket is said", || said(&world).contains("create the bucket")).await;
    *world.weather.0.lock() = None;
    until("the storage is ready", || is_ready(&world.storage())).await;
}

/// Architecture §3: a Ready storage is looked at every five minutes.
#[tokio::test(start_paused = true)]
async fn a_ready_storage_that_fails_is_noticed_without_any_event() {
    let world = World::start();
    world.server.put(&new_storage("main"));
    until("the storage is ready", || is_ready(&world.storage())).await;
    *world.weather.0.lock() = Some(storage::ErrorKind::InvalidCredentials);
    until("it is noticed", || !is_ready(&world.storage())).await;
}

/// Specification §1.6: no two storages are one place; the older one stands.
#[tokio::test(start_paused = true)]
async fn the_younger_of_two_storages_at_one_place_is_refused() {
    let world = World::start();
    world.server.put(&new_storage("main"));
    until("the first is ready", || is_ready(&world.storage())).await;
    let mut twin = new_storage("main");
    twin.metadata.name = Some("twin".to_owned());
    world.server.put(&twin);
    until("the twin is refused", || {
        let twin: BackupStorage = world.server.get(SHOP, "twin").unwrap();
        let conditions = twin.status.unwrap_or_default().conditions;
        message(&conditions, conditions::BACKEND_INITIALIZED).contains("older BackupStorage shop/main")
    })
    .await;
    assert!(is_ready(&world.storage()));
}

/// Specification §1.6: one default storage for each namespace.
#[tokio::test(start_paused = true)]
async fn a_second_default_is_refused() {
    let world = World::start();
    for name in ["main", "second"] {
        let mut storage = new_storage(name);
        storage.spec.default = Some(true);
        world.server.put(&storage);
        if name == "main" {
            until("the first is ready", || is_ready(&world.storage())).await;
        }
    }
    until("the second is refused", || {
        let second: BackupStorage = world.server.get(SHOP, "second").unwrap();
        let conditions = second.status.unwrap_or_default().conditions;
        message(&conditions, conditions::BACKEND_INITIALIZED).contains("default of namespace shop already")
    })
    .await;
}

/// Bad input: `..` in `directory`, two Repositories on one directory.
#[tokio::test(start_paused = true)]
async fn bad_directories_are_refused_with_a_sentence() {
    let world = World::start();
    world.server.put(&new_storage("main"));
    world.server.put(&new_repository("web-repo", "web"));
    until("the first is ready", || is_initialised(&world.repository("web-repo"))).await;
    for (name, path, expected) in
        [("climber", "../other", ".."), ("twin", "/web/", "Repository shop/web-repo"), ("inner", "web/inner", "inside")]
    {
        world.server.put(&new_repository(name, path));
        until(name, || {
            let conditions = world.repository(name).status.unwrap_or_default().conditions;
            message(&conditions, conditions::REPOSITORY_INITIALIZED).contains(expected)
        })
        .await;
    }
    assert!(is_initialised(&world.repository("web-repo")));
}

/// S-03: a directory that another installation's Repository holds is not taken over.
#[tokio::test(start_paused = true)]
async fn a_foreign_directory_is_not_taken_over() {
    let world = World::start();
    let foreign = "kind: Repository\nmetadata: {name: theirs, namespace: elsewhere}\n";
    world.store.put(&Path::from("web/repository.yaml"), foreign.into()).await.unwrap();
    world.server.put(&new_storage("main"));
    world.server.put(&new_repository("web-repo", "web"));
    until("it is refused", || {
        let conditions = world.repository("web-repo").status.unwrap_or_default().conditions;
        message(&conditions, conditions::REPOSITORY_INITIALIZED).contains("Repository elsewhere/theirs")
    })
    .await;
    assert_eq!(world.text("web/repository.yaml").await.unwrap(), foreign);
}

/// Architecture §4.6: ids come back from the bucket when a Repository is made again.
#[tokio::test(start_paused = true)]
async fn a_repository_made_again_knows_what_exists() {
    let world = World::start();
    let ids = r#"{"repository/v1/nightly/dump":"abcd"}"#;
    let document = format!(
        "kind: Repository\nmetadata:\n  name: web-repo\n  namespace: shop\n  annotations:\n    \
         orlop.dev/repository-ids: '{ids}'\n"
    );
    world.store.put(&Path::from("web/repository.yaml"), document.into()).await.unwrap();
    world.server.put(&new_storage("main"));
    world.server.put(&new_repository("web-repo", "web"));
    until("it is ready", || is_initialised(&world.repository("web-repo"))).await;
    let records = world.server.all::<k8s_openapi::api::core::v1::ConfigMap>();
    let values: Vec<String> = records.into_iter().flat_map(|record| record.data.unwrap_or_default().into_values()).collect();
    assert_eq!(values, ["abcd repository/v1/nightly/dump"]);
}

fn finished_snapshot(repository: &Repository, name: &str) -> Snapshot {
    let mut snapshot = fixtures::snapshot(repository, name, "web-backup-nightly-1");
    snapshot.status = serde_json::from_value(json!({
        "phase": "Running", "totalComponents": 1, "snapshotTime": "2026-01-01T00:00:00Z",
        "components": {"dump": {
            "phase": "Succeeded", "path": "repository/v1/nightly/dump", "size": "2.000 MiB", "integrity": true,
            "resticStats": [{"summary": {"id": "ab", "endTime": "2999-01-01T00:00:00Z"}}],
        }},
    }))
    .unwrap();
    snapshot
}

/// Step 15: the copy is in the bucket, and the Repository sums up.
#[tokio::test(start_paused = true)]
async fn a_finished_snapshot_is_uploaded_and_counted() {
    let world = World::start();
    world.server.put(&new_storage("main"));
    world.server.put(&new_repository("web-repo", "web"));
    until("the repository is ready", || is_initialised(&world.repository("web-repo"))).await;
    world.server.put(&finished_snapshot(&world.repository("web-repo"), "web-repo-1"));
    let conditions = || world.server.get::<Snapshot>(SHOP, "web-repo-1").unwrap().status.unwrap().conditions;
    until("it is uploaded", || conditions::is_true(&conditions(), conditions::SNAPSHOT_METADATA_UPLOADED)).await;
    until("it is listed", || conditions::is_true(&conditions(), conditions::RECENT_SNAPSHOT_LIST_UPDATED)).await;
    let copy = world.text("web/snapshots/web-repo-1.yaml").await.unwrap();
    assert!(copy.contains("phase: Succeeded"), "{copy}");
    let status = world.repository("web-repo").status.unwrap();
    assert_eq!(status.snapshot_count, Some(1));
    assert_eq!(status.size.as_deref(), Some("2.000 MiB"));
    assert_eq!(status.component_paths, ["repository/v1/nightly/dump"]);
    // Phase and components are the session-controller's: they are not touched.
    let snapshot: Snapshot = world.server.get(SHOP, "web-repo-1").unwrap();
    assert_eq!(snapshot.status.unwrap().phase, Some(SnapshotPhase::Running));
}

/// Bad input: the endpoint goes away after the upload of the data, then comes back.
#[tokio::test(start_paused = true)]
async fn a_copy_that_cannot_be_uploaded_yet_is_uploaded_later() {
    let world = World::start();
    world.server.put(&new_storage("main"));
    world.server.put(&new_repository("web-repo", "web"));
    until("the repository is ready", || is_initialised(&world.repository("web-repo"))).await;
    *world.weather.0.lock() = Some(storage::ErrorKind::Unreachable);
    world.server.put(&finished_snapshot(&world.repository("web-repo"), "web-repo-1"));
    tokio::time::sleep(Duration::from_secs(60)).await;
    let conditions = || world.server.get::<Snapshot>(SHOP, "web-repo-1").unwrap().status.unwrap().conditions;
    assert!(!conditions::exists(&conditions(), conditions::SNAPSHOT_METADATA_UPLOADED), "not given up yet");
    *world.weather.0.lock() = None;
    until("it is uploaded", || conditions::is_true(&conditions(), conditions::SNAPSHOT_METADATA_UPLOADED)).await;
}

/// Specification §2.1, §2.2: `Delete` removes the objects and leaves the data; it works without the store (B8).
#[tokio::test(start_paused = true)]
async fn a_plain_deletion_removes_objects_not_data_even_without_the_store() {
    let world = World::start();
    world.server.put(&new_storage("main"));
    world.server.put(&new_repository("web-repo", "web"));
    until("the repository is ready", || is_initialised(&world.repository("web-repo"))).await;
    world.server.put(&finished_snapshot(&world.repository("web-repo"), "web-repo-1"));
    let snapshot = || world.server.get::<Snapshot>(SHOP, "web-repo-1");
    until("it is uploaded", || {
        snapshot().is_some_and(|snapshot| {
            conditions::is_true(&snapshot.status.unwrap().conditions, conditions::SNAPSHOT_METADATA_UPLOADED)
        })
    })
    .await;
    *world.weather.0.lock() = Some(storage::ErrorKind::Unreachable);
    world.server.delete::<BackupStorage>(SHOP, "main");
    until("everything is gone", || {
        snapshot().is_none()
            && world.server.get::<Repository>(SHOP, "web-repo").is_none()
            && world.server.get::<BackupStorage>(SHOP, "main").is_none()
    })
    .await;
    assert!(world.text("web/snapshots/web-repo-1.yaml").await.is_some(), "the data stays");
    assert!(world.text("web/repository.yaml").await.is_some());
}

/// Contract of retention: only a Snapshot whose data was removed takes its copy along.
#[tokio::test(start_paused = true)]
async fn the_copy_goes_only_after_the_data() {
    let world = World::start();
    world.server.put(&new_storage("main"));
    world.server.put(&new_repository("web-repo", "web"));
    until("the repository is ready", || is_initialised(&world.repository("web-repo"))).await;
    let mut snapshot = finished_snapshot(&world.repository("web-repo"), "web-repo-1");
    snapshot.metadata.annotations = Some([("orlop.dev/data-removed".to_owned(), "2026-01-01T00:00:00Z".to_owned())].into());
    world.server.put(&snapshot);
    until("it is uploaded", || {
        let snapshot: Snapshot = world.server.get(SHOP, "web-repo-1").unwrap();
        conditions::is_true(&snapshot.status.unwrap().conditions, conditions::SNAPSHOT_METADATA_UPLOADED)
    })
    .await;
    world.server.delete::<Snapshot>(SHOP, "web-repo-1");
    until("it is gone", || world.server.get::<Snapshot>(SHOP, "web-repo-1").is_none()).await;
    assert!(world.text("web/snapshots/web-repo-1.yaml").await.is_none());
    until("it is not counted", || world.repository("web-repo").status.unwrap().snapshot_count == Some(0)).await;
    assert_eq!(world.repository("web-repo").status.unwrap().component_paths.len(), 1, "its repository still exists");
    assert!(world.repository("web-repo").finalizers().contains(&"kubestash.com/cleanup".to_owned()));
}
