//! A storage on a directory, data to back up, and assignments that name them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_mover::Work;
use data_mover::args::{BackupArguments, RestoreArguments};
use data_mover::environment::AgentEnvironment;
use data_mover::outcome::Exit;
use object_store::ObjectStore;
use proto_api::common::v1alpha1::ObjectRef;
use proto_api::mover::v1alpha1::{Assignment, BackupWork, DataCheck, RestoreWork, RetentionWork, Target, target};
use proto_api::storage::v1alpha1::{
    AccessSubject, Backend, BackupSessionAccess, LocalBackend, RestoreSessionAccess, RetentionAccess, access_subject, backend,
};
use repository::{Control, OpenOptions, Repository};
use storage::BackendConfig;
use tokio_util::sync::CancellationToken;

use super::ControlPlane;
use super::storage_service::Grant;

pub const PASSWORD: &str = "correct horse battery staple";

/// A control plane, a storage and a source.
pub struct World {
    pub control: ControlPlane,
    pub folder: tempfile::TempDir,
}

impl World {
    pub async fn new() -> Self {
        let world = Self { control: ControlPlane::start().await, folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(world.storage()).unwrap();
        std::fs::create_dir(world.source()).unwrap();
        world.grant("dump", |_| {});
        world.assign(vec![world.backup_target("dump")]);
        world
    }

    pub fn storage(&self) -> PathBuf {
        self.folder.path().join("storage")
    }

    pub fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    /// Lets `component` use the directory storage, as changed by `change`.
    pub fn grant(&self, component: &str, change: impl FnOnce(&mut Grant)) {
        let mut grant = Grant {
            backend: Backend {
                provider: Some(backend::Provider::Local(LocalBackend { mount_path: self.storage().display().to_string() })),
                ..Backend::default()
            },
            values: Vec::new(),
            password: PASSWORD.to_owned(),
            key_prefix: format!("demo/web/{component}"),
            may_initialise: true,
            expected_repository_id: String::new(),
        };
        change(&mut grant);
        self.control.with(|state| state.access.insert(component.to_owned(), grant));
    }

    pub fn assign(&self, targets: Vec<Target>) {
        self.control.with(|state| {
            state.assignment = Assignment {
                targets,
                cluster_uid: "cluster-uid".to_owned(),
                machine_id: "machine-id".to_owned(),
                node_name: "node".to_owned(),
                ..Assignment::default()
            };
        });
    }

    pub fn limit_upload(&self, bytes_per_second: u64) {
        self.control.with(|state| {
            let limits = state.assignment.limits.get_or_insert_default();
            limits.upload_bytes_per_second = bytes_per_second;
        });
    }

    pub fn backup_target(&self, component: &str) -> Target {
        let subject = access_subject::Subject::BackupSession(BackupSessionAccess {
            backup_session: Some(ObjectRef::named("BackupSession", "demo", "web-1")),
            repository: Some(ObjectRef::named("Repository", "demo", "web")),
            component: component.to_owned(),
        });
        let tags = vec!["orlop.dev/session-uid=session-uid".to_owned(), format!("orlop.dev/component={component}")];
        let work = target::Work::Backup(BackupWork { host: "host-0".to_owned(), tags, data_check: None });
        target(component, subject, work)
    }

    /// The next session's, which reads back what `data_check` says.
    pub fn backup_target_of_session(&self, session_uid: &str, data_check: Option<DataCheck>) -> Target {
        let mut target = self.backup_target("dump");
        if let Some(target::Work::Backup(work)) = &mut target.work {
            work.tags[0] = format!("orlop.dev/session-uid={session_uid}");
            work.data_check = data_check;
        }
        target
    }

    pub fn restore_target(&self, component: &str, snapshot_ids: Vec<String>, root: &Path) -> Target {
        let subject = access_subject::Subject::RestoreSession(RestoreSessionAccess {
            restore_session: Some(ObjectRef::named("RestoreSession", "demo", "restore")),
            snapshot: Some(ObjectRef::named("Snapshot", "demo", "web-1")),
            component: component.to_owned(),
        });
        target(component, subject, target::Work::Restore(RestoreWork { snapshot_ids, root: root.display().to_string() }))
    }

    pub fn retention_target(&self, component: &str, forget_snapshot_ids: Vec<String>) -> Target {
        let subject = access_subject::Subject::Retention(RetentionAccess {
            backup_session: Some(ObjectRef::named("BackupSession", "demo", "web-1")),
            repository: Some(ObjectRef::named("Repository", "demo", "web")),
            component_paths: vec![component.to_owned()],
        });
        target(component, subject, target::Work::Retention(RetentionWork { forget_snapshot_ids }))
    }

    pub fn backup(&self, paths: &[PathBuf]) -> Work {
        let paths = paths.iter().map(|path| path.display().to_string()).collect();
        Work::Backup(BackupArguments { paths, ..BackupArguments::default() })
    }

    pub fn restore(&self) -> Work {
        Work::Restore(RestoreArguments::default())
    }

    /// Runs one attempt to its end.
    pub async fn run(&self, work: Work, attempt: u32) -> (Exit, AgentEnvironment) {
        let environment = self.control.agent("dump", attempt);
        let exit = data_mover::run::run(work, environment.clone(), CancellationToken::new()).await;
        (exit, environment)
    }

    /// Backs up the source and returns the snapshot ids.
    pub async fn backed_up(&self, attempt: u32) -> Vec<String> {
        let (exit, _) = self.run(self.backup(&[self.source()]), attempt).await;
        let outcome = self.control.outcome();
        assert_eq!(exit, Exit::Done, "{outcome:?}");
        outcome.targets[0].snapshots.iter().map(|made| made.id.clone()).collect()
    }

    /// The repository of a component, opened beside the mover.
    pub async fn repository(&self, component: &str) -> Repository {
        let root = storage::Backend::Local(storage::LocalConfig { root: self.storage() });
        let config = BackendConfig::new(root).with_prefix(&format!("demo/web/{component}")).unwrap();
        let store: Arc<dyn ObjectStore> = storage::open(&config).unwrap();
        Repository::open(store, &PASSWORD.into(), &OpenOptions::default(), &Control::default()).await.unwrap()
    }

    /// Lock objects that stand in a component's repository.
    pub fn locks(&self, component: &str) -> usize {
        let folder = self.storage().join("demo/web").join(component).join("locks");
        std::fs::read_dir(folder).map_or(0, Iterator::count)
    }
}

fn target(component: &str, subject: access_subject::Subject, work: target::Work) -> Target {
    Target {
        id: format!("demo/web/{component}"),
        subject: Some(AccessSubject { subject: Some(subject) }),
        component_path: component.to_owned(),
        work: Some(work),
    }
}

/// Some files of several kinds.
pub fn write_tree(folder: &Path) {
    std::fs::create_dir_all(folder.join("deep/er")).unwrap();
    std::fs::write(folder.join("text"), "hello").unwrap();
    std::fs::write(folder.join("empty"), "").unwrap();
    std::fs::write(folder.join("deep/er/name with spaces é"), random_bytes(300_000, 1)).unwrap();
    std::os::unix::fs::symlink("text", folder.join("link")).unwrap();
    std::fs::hard_link(folder.join("text"), folder.join("hard")).unwrap();
}

/// Bytes that do not compress, the same for the same seed.
pub fn random_bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}
