//! Whether a flip is detected: by whoever reads the object, and by name.

use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use repository::format::Config;
use repository::maintenance::{CheckOptions, CheckReport, ReadData};
use repository::{BlobScratch, Control, Error, Id, Index, LockGuard, LockMode, LockRequest, PackedBlob, Repository, Result};

use crate::harness::{MapStore, Names, PASSWORD, alone, names, open};
use crate::sample::Sample;
use crate::support::identity;

/// The repository with one object changed, opened before it was changed.
pub struct Bench<'a> {
    sample: &'a Sample,
    store: Arc<MapStore>,
    repository: Repository,
    guard: LockGuard,
    index: Arc<Index>,
    /// The same without an index, for repairs.
    bare: Bare,
    control: Control,
    scratch: BlobScratch,
}

struct Bare {
    store: Arc<MapStore>,
    repository: Repository,
    guard: LockGuard,
}

/// Whoever finds another thing than this has found a hole.
type Verdict = Result<(), String>;

impl<'a> Bench<'a> {
    pub async fn new(sample: &'a Sample) -> Result<Self> {
        let control = Control::default();
        let store = sample.store.fork();
        let repository = open(store.clone(), PASSWORD).await?;
        let index = repository.load_index(&control).await?;
        let guard = repository.lock(alone(LockMode::Shared), &control).await?;
        Ok(Self {
            sample,
            store,
            repository,
            guard,
            index,
            bare: Bare::new(sample).await?,
            control,
            scratch: BlobScratch::default(),
        })
    }

    pub fn replace(&self, key: &Path, bytes: &Bytes) {
        self.store.replace(key, bytes.clone());
        self.bare.store.replace(key, bytes.clone());
    }

    /// The object was changed at `byte`.
    pub async fn detects(&mut self, key: &Path, byte: usize) -> Verdict {
        let mut parts = key.as_ref().split('/');
        let (folder, id) = (parts.next().unwrap_or_default(), parts.next_back().and_then(|name| name.parse::<Id>().ok()));
        match (folder, id) {
            ("config", _) | ("keys", Some(_)) => self.opening_names(key).await,
            ("locks", Some(id)) => self.locking_names(&id).await,
            ("snapshots", Some(id)) => self.listing_names(key, &id).await,
            ("index", Some(id)) => self.loading_names(key, &id).await,
            ("data", Some(id)) => self.reading_names(&id, byte).await,
            _ => Err("nobody knows what this object is".into()),
        }
    }

    async fn opening_names(&self, changed: &Path) -> Verdict {
        match open(self.store.clone(), PASSWORD).await {
            Err(Error::Damaged { key, .. }) if key == changed.as_ref() => Ok(()),
            Err(error) => Err(format!("the error does not name it: {error}")),
            Ok(opened) => self.is_harmless(opened.config()),
        }
    }

    fn is_harmless(&self, config: &Config) -> Verdict {
        if config == self.repository.config() { Ok(()) } else { Err("it opens with another config".into()) }
    }

    /// A lock that cannot be read stays in the way.
    async fn locking_names(&self, id: &Id) -> Verdict {
        let request = LockRequest::new(LockMode::Shared, identity("late"));
        match self.repository.lock(request, &self.control).await {
            Err(Error::Locked { holder, .. }) if holder.lock_id == *id => Ok(()),
            Err(error) => Err(format!("the error does not name it: {error}")),
            Ok(_) => Err("it is passed over".into()),
        }
    }

    async fn listing_names(&self, key: &Path, id: &Id) -> Verdict {
        self.checking_names(id, ReadData::None).await?;
        let list = self.repository.snapshots(&self.control).await.map_err(said)?;
        let [damage] = list.damaged.as_slice() else { return Err(format!("damaged: {:?}", list.damaged)) };
        let others = names(&list)?;
        let is_rest = others.len() + 1 == self.sample.names.len() && is_part(&others, &self.sample.names);
        if damage.key == key.as_ref() && is_rest { Ok(()) } else { Err(format!("it costs more than itself: {others:?}")) }
    }

    async fn loading_names(&self, key: &Path, id: &Id) -> Verdict {
        self.checking_names(id, ReadData::None).await?;
        let index = self.repository.load_index(&self.control).await.map_err(said)?;
        let [damage] = index.damaged() else { return Err(format!("damaged: {:?}", index.damaged())) };
        if damage.key != key.as_ref() {
            return Err(format!("{} is named instead", damage.key));
        }
        for blob in self.sample.packs.values().flatten() {
            let found = index.locate(blob.blob_type, &blob.id);
            let is_known =
                self.index.locate(blob.blob_type, &blob.id).into_iter().chain(self.index.other_copies(blob.blob_type, &blob.id));
            if found.is_some_and(|found| !is_known.into_iter().any(|known| known == found)) {
                return Err(format!("blob {} is looked for where it is not", blob.id));
            }
        }
        if index.len() <= self.index.len() { Ok(()) } else { Err("blobs appear".into()) }
    }

    async fn reading_names(&mut self, pack: &Id, byte: usize) -> Verdict {
        let part = ReadData::Part { index: u16::from_be_bytes([pack.0[0], pack.0[1]]) % u16::MAX, of: u16::MAX };
        self.checking_names(pack, part).await?;
        let blobs = &self.sample.packs[pack];
        let end = |blob: &PackedBlob| (blob.location.offset + blob.location.length) as usize;
        match blobs.iter().find(|blob| (blob.location.offset as usize..end(blob)).contains(&byte)) {
            Some(blob) => self.reading_is_right(pack, *blob).await,
            None => self.bare.repairing_names(pack, self.sample.packs.len()).await,
        }
    }

    /// Alone, with other copies if there are any, and from the fetched pack as a restore does it.
    async fn reading_is_right(&mut self, pack: &Id, blob: PackedBlob) -> Verdict {
        let reader = self.repository.blob_reader(Arc::clone(&self.index), &self.control);
        let is_right = |plain: &[u8]| if Id::of(plain) == blob.id { Ok(()) } else { Err("wrong bytes with success".to_owned()) };
        match reader.load_blob(blob.blob_type, &blob.id).await {
            Ok(plain) => is_right(&plain)?,
            Err(Error::BlobUnreadable { .. }) => {}
            Err(error) => return Err(format!("it is not called unreadable: {error}")),
        }
        let fetched = reader.fetch_pack(*pack, &[blob]).await.map_err(said)?;
        match fetched.decode(&blob, &mut self.scratch) {
            Ok(plain) => is_right(plain),
            Err(Error::BlobUnreadable { .. }) => Ok(()),
            Err(error) => Err(format!("it is not called unreadable: {error}")),
        }
    }

    async fn checking_names(&self, id: &Id, read: ReadData) -> Verdict {
        let checked = self.repository.check(&self.guard.handle(), CheckOptions { read }, &self.control).await;
        let CheckReport { errors, .. } = checked.map_err(said)?;
        let name = id.to_string();
        let is_named = errors.iter().any(|error| error.to_string().contains(&name));
        if is_named { Ok(()) } else { Err(format!("the check does not name it: {errors:?}")) }
    }
}

impl Bare {
    async fn new(sample: &Sample) -> Result<Self> {
        let store = sample.store.fork();
        store.keys("index").iter().for_each(|key| store.remove(key));
        let repository = open(store.clone(), PASSWORD).await?;
        // The lock of the killed reader goes.
        let guard = repository.lock(alone(LockMode::Exclusive), &Control::default()).await?;
        Ok(Self { store, repository, guard })
    }

    /// A repair reads headers: that of `pack` is no header, all others are.
    async fn repairing_names(&self, pack: &Id, packs: usize) -> Verdict {
        let repaired = self.repository.repair_index(&self.guard.handle(), &Control::default()).await.map_err(said)?;
        self.store.keys("index").iter().for_each(|key| self.store.remove(key));
        let [damage] = repaired.packs_damaged.as_slice() else { return Err(format!("damaged: {:?}", repaired.packs_damaged)) };
        let is_named = damage.key.ends_with(&pack.to_string());
        if is_named && repaired.packs_added.len() + 1 == packs { Ok(()) } else { Err(format!("the repair: {repaired:?}")) }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn said(error: Error) -> String {
    error.to_string()
}

fn is_part(some: &Names, all: &Names) -> bool {
    some.iter().all(|(name, root)| all.get(name) == Some(root))
}
