//! The Repository's documents in the bucket: `repository.yaml` and the `snapshots/` marker (specification §3.3, §3.4).

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use crd_types::{BackupStorage, Repository, conditions};
use kube::ResourceExt as _;
use parking_lot::Mutex;
use planner::layout::{
    Directory, documents,
    documents::{DocumentError, REPOSITORY_IDS_ANNOTATION},
    repository_key, snapshots_marker_key,
};
use serde_json::Value;

use super::{Repositories, RepositoryError, dereference::Observed, update_status::Initialised};
use crate::{
    backends::OpenError,
    bucket::{Bucket, Created},
    repository_ids::{Ids, Records},
};

/// What was uploaded last for each Repository, by UID, and how often it failed in a row.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    seen: Mutex<HashMap<String, Upload>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Upload {
    digest: Option<u64>,
    failures: u32,
}

impl Uploads {
    /// Counts a failure; returns how many there were in a row.
    pub(super) fn failed(&self, uid: &str) -> u32 {
        let mut seen = self.seen.lock();
        let upload = seen.entry(uid.to_owned()).or_default();
        upload.failures = upload.failures.saturating_add(1);
        upload.failures
    }

    pub(super) fn forget(&self, uid: &str) {
        self.seen.lock().remove(uid);
    }

    fn digest(&self, uid: &str) -> Option<u64> {
        self.seen.lock().get(uid).and_then(|upload| upload.digest)
    }

    fn uploaded(&self, uid: &str, digest: u64) {
        self.seen.lock().insert(uid.to_owned(), Upload { digest: Some(digest), failures: 0 });
    }
}

/// Why the documents are not as they should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{}", .0.sentence())]
    Store(#[from] storage::Error),
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error("{0}")]
    Taken(String),
    #[error(transparent)]
    Records(#[from] RepositoryError),
}

impl Problem {
    pub(super) fn message(&self) -> String {
        self.to_string()
    }

    /// What the status should say: a directory that belongs to somebody else refuses, everything else may pass.
    pub(super) fn verdict(&self) -> Initialised {
        match self {
            Self::Taken(message) => Initialised::No(message.clone()),
            Self::Open(_) | Self::Store(_) | Self::Document(_) | Self::Records(_) => Initialised::Waiting(self.message()),
        }
    }
}

/// Makes sure the Repository has its place in the bucket. Returns all ids that are known, and the open bucket.
pub(super) async fn prepare(
    controller: &Repositories,
    observed: &Observed,
    storage: &BackupStorage,
    directory: &Directory,
) -> Result<(Ids, Bucket), Problem> {
    let bucket = controller.context.backends.open(storage).await?;
    let status = observed.repository.status.clone().unwrap_or_default();
    if conditions::is_true(&status.conditions, conditions::REPOSITORY_INITIALIZED) {
        return Ok((observed.ids.clone(), bucket));
    }
    let ids = adopt_or_create(controller, observed, directory, &bucket).await?;
    bucket.mark_folder(&snapshots_marker_key(directory)).await?;
    Ok((ids, bucket))
}

async fn adopt_or_create(
    controller: &Repositories,
    observed: &Observed,
    directory: &Directory,
    bucket: &Bucket,
) -> Result<Ids, Problem> {
    let key = repository_key(directory);
    let text = render(&observed.repository, &observed.ids)?;
    if bucket.create(&key, &text).await? == Created::New {
        controller.context.metrics.uploaded("repository", true);
        return Ok(observed.ids.clone());
    }
    let Some(stored) = bucket.read(&key).await? else {
        let problem = format!("{key} in {} was there and is gone; look for another writer", bucket.place());
        return Err(Problem::Taken(problem));
    };
    let found = Found::parse(&stored.text);
    let shown = observed.display();
    if found.repository.as_ref() != Some(&shown) {
        let owner = found.repository.map_or("something else".to_owned(), |other| format!("Repository {other}"));
        return Err(Problem::Taken(format!(
            "directory `{directory}` in {} holds {owner}, not Repository {shown}; choose another directory, or remove \
             {key} if it is abandoned",
            bucket.place()
        )));
    }
    // An earlier life of this Repository: its restic repositories exist and must not be initialised again.
    let context = &controller.context;
    let records = Records::of(context.client.clone(), &context.namespace, &observed.repository);
    let ids = records.add(&found.ids).await.map_err(RepositoryError::from)?;
    tracing::info!(repository = shown, known_repositories = ids.len(), "adopted a directory that held this repository");
    Ok(ids)
}

/// Brings `repository.yaml` up to date.
pub(super) async fn keep_document(
    controller: &Repositories,
    repository: &Repository,
    ids: &Ids,
    bucket: &Bucket,
    directory: &Directory,
) -> Result<(), Problem> {
    let uid = repository.uid().unwrap_or_default();
    let text = render(repository, ids)?;
    let digest = digest(&text);
    let known = controller.uploads.digest(&uid);
    if known == Some(digest) {
        return Ok(());
    }
    let key = repository_key(directory);
    // After a restart nothing is remembered: look before writing the same again.
    let is_there = known.is_none() && bucket.read(&key).await?.is_some_and(|stored| stored.text == text);
    if !is_there {
        let written = bucket.write(&key, &text).await;
        controller.context.metrics.uploaded("repository", written.is_ok());
        written?;
    }
    controller.uploads.uploaded(&uid, digest);
    Ok(())
}

fn render(repository: &Repository, ids: &Ids) -> Result<String, DocumentError> {
    documents::to_yaml(&documents::repository_document(repository, ids)?)
}

fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// What a `repository.yaml` in the bucket says.
#[derive(Debug, Default, Eq, PartialEq)]
struct Found {
    /// `namespace/name`.
    repository: Option<String>,
    ids: Ids,
}

impl Found {
    fn parse(text: &str) -> Self {
        let Ok(document) = serde_saphyr::from_str::<Value>(text) else { return Self::default() };
        let metadata = &document["metadata"];
        let field = |name: &str| metadata[name].as_str().map(str::to_owned);
        let is_repository = document["kind"].as_str() == Some("Repository");
        let repository = field("namespace").zip(field("name")).filter(|_| is_repository);
        let ids = metadata["annotations"][REPOSITORY_IDS_ANNOTATION].as_str();
        Self {
            repository: repository.map(|(namespace, name)| format!("{namespace}/{name}")),
            ids: ids.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crd_types::RepositorySpec;

    use super::*;
    use crate::references;

    /// Architecture §4.6: a re-attached bucket still says which restic repositories exist.
    #[test]
    fn a_document_gives_back_owner_and_ids() {
        let repository = Repository::new("web", RepositorySpec::default()).within("demo");
        let ids = Ids::from([("repository/v1/nightly/dump".to_owned(), "ab".repeat(32))]);
        let found = Found::parse(&render(&repository, &ids).unwrap());
        assert_eq!(found, Found { repository: Some(references::display(&repository)), ids });
    }

    #[test]
    fn a_foreign_document_has_no_owner() {
        for text in ["", "kind: ConfigMap\nmetadata: {name: a, namespace: b}\n", "{{{", "- 1"] {
            assert_eq!(Found::parse(text).repository, None, "{text}");
        }
    }
}
