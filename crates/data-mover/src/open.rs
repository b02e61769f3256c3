//! Opening a target's repository, or making it where none was ever recorded (architecture §4.6).

use std::sync::Arc;

use object_store::ObjectStore;
use proto_api::storage::v1alpha1::AccessSubject;
use repository::{Control, CreateMode, Error, Id, InitOptions, OpenOptions, Repository};
use storage::{ErrorKind, OpenOptions as StoreOptions};
use tracing::Instrument as _;

use crate::access::{Access, AccessClient};
use crate::failure::{Failure, Place};
use crate::stop::Stop;

/// Everything opening needs.
pub(crate) struct Opening<'a> {
    pub(crate) access: &'a Access,
    pub(crate) client: &'a AccessClient,
    pub(crate) subject: &'a AccessSubject,
    pub(crate) place: &'a Place,
    pub(crate) store_options: &'a StoreOptions,
    pub(crate) host: &'a str,
    pub(crate) stop: &'a Stop,
    pub(crate) control: &'a Control,
}

impl Opening<'_> {
    /// Opens the repository. With `may_make`, and if the control plane allows it, a missing one is made.
    pub(crate) async fn run(&self, may_make: bool) -> Result<Repository, Failure> {
        self.open_or_make(may_make).instrument(tracing::info_span!("open_repo", otel.name = "mover.open_repo")).await
    }

    async fn open_or_make(&self, may_make: bool) -> Result<Repository, Failure> {
        let store = storage::open_with(&self.access.config, self.store_options)
            .map_err(|error| Failure::answer(format!("{}: {}", self.place, error.sentence())))?;
        let expected_id = match &self.access.expected_id {
            Some(id) => Some(id.parse::<Id>().map_err(|_| {
                Failure::answer(format!("{}: the id on record, {id:?}, is not a restic repository id", self.place))
            })?),
            None => None,
        };
        let options = OpenOptions { expected_id, ..OpenOptions::default() };
        match Repository::open(Arc::clone(&store), &self.access.password, &options, self.control).await {
            Ok(repository) => {
                // An attempt may have died between making the repository and recording it.
                if may_make && expected_id.is_none() {
                    self.record(&repository).await?;
                }
                Ok(repository)
            }
            Err(Error::RepositoryMissing { .. }) if may_make && self.access.may_initialise && expected_id.is_none() => {
                self.make(store).await
            }
            Err(error) => Err(self.failure(&error)),
        }
    }

    async fn make(&self, store: Arc<dyn ObjectStore>) -> Result<Repository, Failure> {
        let mut options = InitOptions { hostname: self.host.to_owned(), username: "orlop".to_owned(), ..InitOptions::default() };
        let mut made = Repository::init(Arc::clone(&store), &self.access.password, &options, self.control).await;
        if made.as_ref().is_err_and(lacks_conditions) {
            options.create_mode = CreateMode::ListBased;
            made = Repository::init(Arc::clone(&store), &self.access.password, &options, self.control).await;
        }
        let repository = match made {
            Err(Error::RepositoryExists { .. }) => {
                // Another mover was faster; whether it is ours to use, the record says.
                Repository::open(store, &self.access.password, &OpenOptions::default(), self.control).await
            }
            other => other,
        };
        let repository = repository.map_err(|error| self.failure(&error))?;
        // Before the first pack: from here on a repository that vanishes is known to have existed.
        self.record(&repository).await?;
        Ok(repository)
    }

    async fn record(&self, repository: &Repository) -> Result<(), Failure> {
        let id = repository.id().to_string();
        let recorded = self.client.record(self.subject, &self.place.component_path, &id, self.stop).await?;
        if recorded == id {
            return Ok(());
        }
        Err(Failure::answer(format!(
            "{}: another restic repository is on record for it: {recorded}, while {id} stands there; put the recorded one back, or \
             use another directory for {}",
            self.place, self.place.object
        )))
    }

    fn failure(&self, error: &Error) -> Failure {
        Failure::of_engine(error, self.place, self.stop)
    }
}

fn lacks_conditions(error: &Error) -> bool {
    matches!(error, Error::Store { source, .. } if ErrorKind::of(source) == ErrorKind::Unsupported)
}
