//! Finds out what a store really does, by doing it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};

use crate::config::BackendConfig;
use crate::error::{Error, ErrorKind};

/// Longest a whole probe may take, whatever the patience of its parts.
const LONGEST: Duration = Duration::from_secs(60);

/// How a store treats `If-None-Match: *`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateIfAbsent {
    /// The second create was refused: races have one winner.
    Honoured,
    /// The second create overwrote the first: never rely on it here.
    Ignored,
    /// The store refuses the request itself.
    Unsupported,
    /// The probe did not get so far.
    Unknown,
}

/// What each permission's trial came to. Later trials are `None` when an earlier one makes them pointless.
#[derive(Debug)]
pub struct ProbeReport {
    /// Listing under the prefix.
    pub list: Result<(), Error>,
    /// Writing an object.
    pub write: Option<Result<(), Error>>,
    /// Reading it back, with the same content.
    pub read: Option<Result<(), Error>>,
    /// Deleting it.
    pub delete: Option<Result<(), Error>>,
    /// Create-if-absent, tried twice.
    pub create_if_absent: CreateIfAbsent,
    /// Whether the store keeps versions of overwritten and deleted objects.
    pub versioned: bool,
}

impl ProbeReport {
    /// The first trial that failed.
    #[must_use]
    pub fn first_failure(&self) -> Option<(&'static str, &Error)> {
        let trials = [("write", &self.write), ("read", &self.read), ("delete", &self.delete)];
        let list = self.list.as_ref().err().map(|error| ("list", error));
        list.or_else(|| {
            trials.into_iter().find_map(|(name, trial)| match trial {
                Some(Err(error)) => Some((name, error)),
                _ => None,
            })
        })
    }

    /// Whether backups and restores can work here.
    #[must_use]
    pub fn usable(&self) -> bool {
        self.first_failure().is_none()
    }
}

/// Opens and probes a store. Leaves nothing behind if deleting is permitted.
pub async fn probe(config: &BackendConfig) -> ProbeReport {
    match crate::open(config) {
        Ok(store) => probe_store(&store, &config.describe()).await,
        Err(error) => pointless(error),
    }
}

/// Probes an open store; `place` is what errors call it.
pub async fn probe_store(store: &Arc<dyn ObjectStore>, place: &str) -> ProbeReport {
    match tokio::time::timeout(LONGEST, trials(store, place)).await {
        Ok(report) => report,
        Err(_) => pointless(Error::of_kind(
            ErrorKind::TimedOut,
            place,
            format!("the probe did not end within {} seconds", LONGEST.as_secs()),
        )),
    }
}

fn pointless(error: Error) -> ProbeReport {
    ProbeReport {
        list: Err(error),
        write: None,
        read: None,
        delete: None,
        create_if_absent: CreateIfAbsent::Unknown,
        versioned: false,
    }
}

async fn trials(store: &Arc<dyn ObjectStore>, place: &str) -> ProbeReport {
    let wrap = |error| Error::from_store(error, place);
    // One page is enough to know the permission; a bucket may hold millions of objects.
    let list = store.list(None).try_next().await.map(|_| ()).map_err(wrap);
    let hopeless = list.as_ref().is_err_and(|error| error.kind() != ErrorKind::AccessDenied);
    if hopeless {
        return ProbeReport { list, ..pointless(Error::of_kind(ErrorKind::Other, place, "not reached")) };
    }
    let key = Path::from(format!("orlop-probe-{}", unique()));
    let first = store.put_opts(&key, "first".into(), PutMode::Create.into()).await;
    let (write, mut versioned, supported) = match first {
        Ok(put) => (Ok(()), has_version(put.version.as_deref()), true),
        Err(error) if ErrorKind::of(&error) == ErrorKind::Unsupported => {
            let put = store.put(&key, "first".into()).await;
            let versioned = put.as_ref().is_ok_and(|put| has_version(put.version.as_deref()));
            (put.map(|_| ()), versioned, false)
        }
        Err(error) => (Err(error), false, false),
    };
    if let Err(error) = write {
        let write = Some(Err(wrap(error)));
        return ProbeReport { list, write, ..pointless(Error::of_kind(ErrorKind::Other, place, "not reached")) };
    }
    let create_if_absent = if supported {
        match store.put_opts(&key, "second".into(), PutMode::Create.into()).await {
            Err(object_store::Error::AlreadyExists { .. }) => CreateIfAbsent::Honoured,
            Ok(put) => {
                versioned |= has_version(put.version.as_deref());
                CreateIfAbsent::Ignored
            }
            Err(_) => CreateIfAbsent::Unknown,
        }
    } else {
        CreateIfAbsent::Unsupported
    };
    let expected = if create_if_absent == CreateIfAbsent::Ignored { "second" } else { "first" };
    let read = read_back(store, &key, expected).await.map_err(|error| match error {
        ReadBack::Store(error) => wrap(error),
        ReadBack::Different => Error::of_kind(ErrorKind::ServerError, place, "an object just written reads differently"),
    });
    let delete = store.delete(&key).await.map_err(wrap);
    ProbeReport { list, write: Some(Ok(())), read: Some(read), delete: Some(delete), create_if_absent, versioned }
}

enum ReadBack {
    Store(object_store::Error),
    Different,
}

async fn read_back(store: &Arc<dyn ObjectStore>, key: &Path, expected: &str) -> Result<(), ReadBack> {
    let found = store.get(key).await.map_err(ReadBack::Store)?;
    let bytes = found.bytes().await.map_err(ReadBack::Store)?;
    if bytes.as_ref() == expected.as_bytes() { Ok(()) } else { Err(ReadBack::Different) }
}

/// Stores without versioning answer nothing, or the word `null`.
fn has_version(version: Option<&str>) -> bool {
    version.is_some_and(|version| !version.is_empty() && version != "null")
}

fn unique() -> String {
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("{:x}-{:x}", std::process::id(), nanos)
}
