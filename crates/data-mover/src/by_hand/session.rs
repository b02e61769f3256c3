//! What every command begins with: where the repository is, opening it, locking it.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::ObjectStore;
use repository::browse::{WantedSnapshot, directory_at};
use repository::format::Snapshot;
use repository::{
    BlobReader, Control, Error as EngineError, Event, LockGuard, LockHandle, LockMode, LockRequest, OpenOptions, Repository,
    SnapshotId, TreeId,
};
use secrecy::SecretString;
use storage::{Backend, BackendConfig, ErrorKind, Limits, OpenOptions as StoreOptions};
use tokio_util::sync::CancellationToken;

use super::arguments::{Common, Filter};
use super::credentials::environment;
use super::failure::Failure;
use super::holder::{SameMachine, identity};
use super::lockless::LocklessStore;
use super::output::Output;
use super::progress::{Phase, Progress, Work};
use super::{location, password};

/// One command's means.
pub struct Session {
    /// Where results go.
    pub output: Output,
    /// Stops and watches the engine.
    pub control: Control,
    common: Common,
    config: BackendConfig,
    phase: Phase,
}

/// What a command does with the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only reads.
    Read,
    /// Adds.
    Append,
    /// Removes.
    Exclusive,
}

impl Session {
    /// Understands where the repository is.
    pub fn new(common: Common, output: Output, interrupted: CancellationToken) -> Result<Self, Failure> {
        let repo = common.repo.as_deref().filter(|repo| !repo.is_empty());
        let repo = repo.ok_or_else(|| Failure::Usage("no repository; give --repo, or set RESTIC_REPOSITORY".to_owned()))?;
        let mut config = location::parse(repo, &environment)?;
        if let Some(file) = &common.cacert {
            let unreadable = |error| Failure::Usage(format!("--cacert {}: {error}", file.display()));
            config.ca_bundle_pem = Some(fs::read_to_string(file).map_err(unreadable)?);
        }
        if let Backend::S3(s3) = &mut config.backend {
            s3.insecure_tls = common.insecure_tls;
        }
        let phase = Phase::default();
        let (heard, teller) = (Arc::clone(&phase), output.clone());
        let control = Control::new(interrupted).with_listener(Arc::new(move |event| hear(&heard, &teller, event)));
        Ok(Self { output, control, common, config, phase })
    }

    /// The location as it was given.
    pub fn repo(&self) -> &str {
        self.common.repo.as_deref().unwrap_or_default()
    }

    /// The repository's place in words.
    pub fn place(&self) -> String {
        self.config.describe()
    }

    /// The directory that a local repository is in.
    pub fn local_root(&self) -> Option<&Path> {
        match &self.config.backend {
            Backend::Local(local) => Some(&local.root),
            _ => None,
        }
    }

    /// The password that the repository opens with.
    pub fn password(&self) -> Result<SecretString, Failure> {
        password::current(self.common.password_file.as_deref())
    }

    /// The store, with the limits that were asked for.
    pub fn store(&self) -> Result<Arc<dyn ObjectStore>, Failure> {
        let limits = Limits::new();
        let per_second = |kibibytes: Option<u64>| kibibytes.map(|kibibytes| kibibytes.saturating_mul(1024));
        limits.set_upload_bytes_per_second(per_second(self.common.limit_upload));
        limits.set_download_bytes_per_second(per_second(self.common.limit_download));
        let options = StoreOptions { limits: Some(limits), ..StoreOptions::default() };
        Ok(storage::open_with(&self.config, &options)?)
    }

    /// Opens the repository.
    pub async fn open(&self, access: Access) -> Result<Repository, Failure> {
        let mut store = self.store()?;
        if self.common.no_lock {
            if access != Access::Read {
                return Err(Failure::Usage("--no-lock is for commands that only read".to_owned()));
            }
            store = Arc::new(LocklessStore::new(store, self.local_root().is_some()));
        }
        let password = self.password()?;
        let opened = Repository::open(store, &password, &OpenOptions::default(), &self.control).await;
        opened.map_err(|error| match &error {
            EngineError::RepositoryMissing { .. } => self.no_repository("it has no config".to_owned()),
            EngineError::Store { source, .. } if ErrorKind::of(source) == ErrorKind::NoSuchBucket => {
                self.no_repository(storage::cause_of(source))
            }
            _ => error.into(),
        })
    }

    fn no_repository(&self, cause: String) -> Failure {
        Failure::NoRepository { place: self.place(), cause }
    }

    /// Opens and locks the repository, works, and gives the lock back whatever comes of it.
    pub async fn with_repository<T>(
        &self,
        access: Access,
        work: impl AsyncFnOnce(&Repository, LockHandle) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let repository = self.open(access).await?;
        let guard = self.lock(&repository, access).await?;
        let ended = work(&repository, guard.handle()).await;
        if let Err(error) = guard.release().await {
            self.output.warn(format_args!("our lock could not be removed: {error}; it becomes stale by itself"));
        }
        ended
    }

    async fn lock(&self, repository: &Repository, access: Access) -> Result<LockGuard, Failure> {
        let mode = match access {
            Access::Read | Access::Append => LockMode::Shared,
            Access::Exclusive => LockMode::Exclusive,
        };
        let judge = Arc::new(SameMachine::new());
        let mut request = LockRequest::new(mode, identity()).waiting(self.common.retry_lock).judged_by(judge);
        if self.common.no_lock {
            // Nobody else sees it.
            request.times.settle = Duration::ZERO;
        }
        Ok(repository.lock(request, &self.control).await?)
    }

    /// Shows progress until the answer is dropped.
    pub fn progress(&self, output: &Output, work: Work) -> Progress {
        Progress::start(output, work, &self.control, &self.phase)
    }

    /// Loads the index and runs a reader of snapshots on a thread that may block, for example on output that nobody takes. An
    /// interruption does not wait for it.
    pub async fn read<T: Send + 'static>(
        &self,
        repository: &Repository,
        work: impl FnOnce(&BlobReader, &Control) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let index = repository.load_index(&self.control).await?;
        let (reader, control) = (repository.blob_reader(index, &self.control), self.control.clone());
        let reading = tokio::task::spawn_blocking(move || work(&reader, &control));
        match self.control.cancelled().run_until_cancelled(reading).await {
            Some(Ok(ended)) => ended,
            Some(Err(error)) => Err(EngineError::Internal { reason: error.to_string() }.into()),
            None => Err(EngineError::Cancelled.into()),
        }
    }
}

/// A snapshot, or a part of one, that a person means.
#[derive(Clone, Debug)]
pub struct Meant {
    pub id: SnapshotId,
    pub snapshot: Snapshot,
    /// Folder of the snapshot; empty for all of it.
    pub folder: String,
}

impl Meant {
    /// Finds what `text` means; `filter` says which snapshots `latest` is of.
    pub async fn find(session: &Session, repository: &Repository, text: &str, filter: &Filter) -> Result<Self, Failure> {
        let WantedSnapshot { id, folder } = WantedSnapshot::from(text);
        let (id, snapshot) = repository.find_snapshot(&id, &filter.meaning(), &session.control).await?;
        Ok(Self { id, snapshot, folder })
    }

    /// The tree to begin with.
    pub fn root(&self, reader: &BlobReader) -> Result<TreeId, Failure> {
        Ok(directory_at(reader, &self.snapshot.tree, self.folder.as_bytes())?)
    }
}

fn hear(phase: &Mutex<&'static str>, output: &Output, event: Event) {
    match event {
        Event::PhaseStarted(started) => *phase.lock().unwrap_or_else(PoisonError::into_inner) = started,
        Event::LockWaiting { holder, waited } => {
            output.warn(format_args!("waiting for a lock since {} s: it is held by {holder}", waited.as_secs()));
        }
        Event::LockRemoved { holder, proof } => output.warn(format_args!("removed the lock of {holder}: {proof}")),
        Event::Damaged { key, reason } => output.warn(format_args!("{key} is damaged: {reason}")),
        _ => {}
    }
}
