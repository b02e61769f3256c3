//! A store whose client dies at a chosen change.
//!
//! Changes take a moment, so that several are in flight when the engine sends several. At the death of the client the chosen one has not
//! arrived (*before*), has arrived without an answer (*after*), or has left a part of the object under its final name (*torn*); of the
//! others in flight each has arrived or not. From then on nothing works.
//!
//! Which stores tear? S3, Google Cloud Storage and Azure do not: an object is there whole or not at all. Our local store does not on a
//! local file system: it writes a temporary file, syncs it and renames it. What tears are file systems whose server answers a sync
//! before it has synced (NFS exports with `async`, some FUSE file systems, disks that lie about their cache): after a power cut the name
//! is there and the end of the content is not; and other programs' stores. So every put is torn here. On such stores the promise is
//! weaker, and is what a tolerant reader owes: the torn object is named and costs only itself.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetResult, ObjectMeta, ObjectStore, PutOptions, Result};
use parking_lot::Mutex;

use crate::harness::{Dice, Interposer, MapStore, mix};

/// How long a change is under way; by a clock that stands still while there is work.
const FLIGHT: Duration = Duration::from_millis(1);

/// What has become of the change at which the client died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    Before,
    After,
    Torn,
}

/// Where the client dies, counted in changes from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crash {
    pub variant: Variant,
    pub change: usize,
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variant = match self.variant {
            Variant::Before => "before",
            Variant::After => "after",
            Variant::Torn => "torn",
        };
        write!(f, "{variant}@{}", self.change)
    }
}

impl FromStr for Crash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no crash; one is written like after@3");
        let (variant, change) = text.split_once('@').ok_or_else(wrong)?;
        let variant = match variant {
            "before" => Variant::Before,
            "after" => Variant::After,
            "torn" => Variant::Torn,
            _ => return Err(wrong()),
        };
        Ok(Self { variant, change: change.parse().map_err(|_| wrong())? })
    }
}

/// What the client asked for; reads only where they count.
#[derive(Debug, Clone)]
pub enum Change {
    Put(Path, Bytes, PutOptions),
    Delete(Path),
    Read(Path),
}

impl Change {
    /// The fates that it may have.
    pub fn variants(&self) -> &'static [Variant] {
        match self {
            Self::Put(..) => &[Variant::Before, Variant::After, Variant::Torn],
            Self::Delete(_) => &[Variant::Before, Variant::After],
            Self::Read(_) => &[Variant::Before],
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, key) = match self {
            Self::Put(key, ..) => ("put", key),
            Self::Delete(key) => ("delete", key),
            Self::Read(key) => ("read", key),
        };
        let folder = key.as_ref().split('/').next().unwrap_or_default();
        let name: String = key.filename().unwrap_or_default().chars().take(8).collect();
        write!(f, "{verb} {folder}/{name}")
    }
}

#[derive(Debug, Default)]
struct State {
    changes: Vec<Change>,
    in_flight: BTreeMap<usize, Change>,
    dead: bool,
    torn: Option<Path>,
}

#[derive(Debug)]
pub struct CrashStore {
    truth: Arc<MapStore>,
    inner: Arc<dyn ObjectStore>,
    crash: Option<Crash>,
    seed: u64,
    counts_reads: bool,
    state: Mutex<State>,
}

impl CrashStore {
    pub fn new(truth: Arc<MapStore>, crash: Option<Crash>, seed: u64, counts_reads: bool) -> Arc<Self> {
        let inner: Arc<dyn ObjectStore> = truth.clone();
        Arc::new(Self { truth, inner, crash, seed, counts_reads, state: Mutex::default() })
    }

    /// What was asked for, in order, up to the death.
    pub fn changes(&self) -> Vec<Change> {
        self.state.lock().changes.clone()
    }

    /// The object of which only a part is there.
    pub fn torn(&self) -> Option<Path> {
        self.state.lock().torn.clone()
    }

    async fn change(&self, change: Change) -> Result<()> {
        let number = self.send(change)?;
        tokio::time::sleep(FLIGHT).await;
        self.arrive(number)
    }

    fn send(&self, change: Change) -> Result<usize> {
        let mut state = self.state.lock();
        if state.dead {
            return Err(gone());
        }
        let number = state.changes.len();
        state.changes.push(change.clone());
        state.in_flight.insert(number, change);
        Ok(number)
    }

    fn arrive(&self, number: usize) -> Result<()> {
        let mut state = self.state.lock();
        // At the death all that was in flight has been decided on.
        let Some(change) = state.in_flight.remove(&number) else { return Err(gone()) };
        match self.crash.filter(|crash| crash.change == number) {
            None => self.apply(&change),
            Some(crash) => {
                self.die(&mut state, crash, change);
                Err(gone())
            }
        }
    }

    fn die(&self, state: &mut State, crash: Crash, change: Change) {
        state.dead = true;
        match (crash.variant, change) {
            (Variant::Torn, Change::Put(key, bytes, _)) => {
                self.truth.insert(&key, &bytes[..self.torn_length(crash.change, bytes.len())]);
                state.torn = Some(key);
            }
            (Variant::After, change) => drop(self.apply(&change)),
            _ => {}
        }
        for (number, change) in std::mem::take(&mut state.in_flight) {
            if Dice::new(mix(&[self.seed, number as u64])).one_in(2) {
                drop(self.apply(&change));
            }
        }
    }

    fn torn_length(&self, change: usize, length: usize) -> usize {
        let mut dice = Dice::new(mix(&[self.seed, change as u64, 1]));
        match dice.below(4) {
            0 => 0,
            1 => length / 2,
            2 => length - 1,
            _ => length * dice.below(1000) / 1000,
        }
    }

    fn apply(&self, change: &Change) -> Result<()> {
        match change {
            Change::Put(key, bytes, options) => self.truth.write(key, bytes, options),
            Change::Delete(key) => {
                self.truth.remove(key);
                Ok(())
            }
            Change::Read(_) => Ok(()),
        }
    }

    fn read(&self, key: &Path) -> Result<()> {
        if !self.counts_reads {
            return if self.state.lock().dead { Err(gone()) } else { Ok(()) };
        }
        let number = self.send(Change::Read(key.clone()))?;
        self.arrive(number)
    }
}

fn gone() -> Error {
    Error::NotSupported { source: "the client is dead".into() }
}

#[async_trait]
impl Interposer for CrashStore {
    fn inner(&self) -> &Arc<dyn ObjectStore> {
        &self.inner
    }

    async fn put(&self, key: &Path, bytes: Bytes, options: PutOptions) -> Result<()> {
        self.change(Change::Put(key.clone(), bytes, options)).await
    }

    async fn get(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        self.read(key)?;
        self.truth.read(key, &options)
    }

    async fn delete(&self, key: &Path) -> Result<()> {
        self.change(Change::Delete(key.clone())).await
    }

    async fn list(&self, prefix: &Path) -> Vec<Result<ObjectMeta>> {
        match self.read(prefix) {
            Ok(()) => self.truth.list_below(prefix.as_ref()).into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        }
    }
}
