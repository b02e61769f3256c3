//! One client's way to the store, with troubles by dice.
//!
//! Listings lie within bounds, for whoever believes a listing at all can be led astray by one that lies always. Of two listings of the same
//! folder that a client takes one after the other at most one is wrong; and of locks, on which the protocol rests, it may only be late,
//! by less than the time for which the protocol waits.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetResult, ObjectMeta, ObjectStore, PutOptions, Result};
use parking_lot::Mutex;
use storage::ErrorKind;
use storage::layers::fault::synthetic;

use crate::harness::{Dice, Interposed, Interposer, answer};
use crate::menu::{Fault, Menu};
use crate::world::World;

/// Half of what a client waits after writing its lock.
const LOCKS_LATE: Duration = Duration::from_millis(100);
/// Other listings may be this late.
const LISTS_LATE: Duration = Duration::from_secs(60);
/// Longest stall in seconds: a lock that is refreshed every five minutes must not look half an hour old for it.
const LONGEST_STALL: usize = 900;

#[derive(Debug)]
pub struct FaultyStore {
    world: Arc<World>,
    inner: Arc<dyn ObjectStore>,
    pod: String,
    /// Of what kind its lock is.
    is_shared: bool,
    menu: Menu,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    dice: Dice,
    /// Calls until the client is killed.
    lifetime: Option<usize>,
    is_dead: bool,
    /// Folders whose last listing was wrong.
    lied_about: HashSet<String>,
}

impl FaultyStore {
    pub fn new(world: &Arc<World>, pod: &str, is_shared: bool, menu: &Menu, mut dice: Dice) -> Arc<Self> {
        world.is_born(pod);
        let is_killed = menu.kills > 0 && dice.one_in(menu.kills);
        let lifetime = is_killed.then(|| dice.below(60));
        let state = Mutex::new(State { dice, lifetime, is_dead: false, lied_about: HashSet::new() });
        let (world, inner) = (Arc::clone(world), world.truth.clone());
        Arc::new(Self { world, inner, pod: pod.to_owned(), is_shared, menu: menu.clone(), state })
    }

    pub fn store(self: &Arc<Self>) -> Arc<dyn ObjectStore> {
        Interposed::store(self)
    }

    /// The process has ended; whatever it still had in flight does not arrive.
    pub fn ends(&self) {
        self.state.lock().is_dead = true;
        self.world.ends(&self.pod);
    }

    fn comes(&self, fault: Fault) -> bool {
        let comes = self.menu.comes(&mut self.state.lock().dice, fault);
        if comes {
            self.world.tells(format!("{}   {fault:?}", self.pod));
        }
        comes
    }

    fn tells(&self, verb: &str, key: &Path) {
        self.world.tells(format!("{} {verb} {key}", self.pod));
    }

    fn below(&self, bound: usize) -> usize {
        self.state.lock().dice.below(bound.max(1))
    }

    /// Everything that precedes the call: the way there, the end of the process, a refusal.
    async fn call(&self, verb: &str, key: &Path) -> Result<()> {
        let delay = self.menu.delay;
        if delay > 0 {
            let stalls = self.comes(Fault::Stall);
            let milliseconds = if stalls { 1000 * self.below(LONGEST_STALL) } else { 1 + self.below(delay) };
            tokio::time::sleep(Duration::from_millis(milliseconds as u64)).await;
        }
        {
            let mut state = self.state.lock();
            if let Some(left) = state.lifetime.as_mut() {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    state.is_dead = true;
                    self.world.ends(&self.pod);
                }
            }
            if state.is_dead {
                return Err(Error::NotSupported { source: "the client is dead".into() });
            }
        }
        self.tells(verb, key);
        if self.comes(Fault::Refused) {
            let kinds = [ErrorKind::ServerError, ErrorKind::Throttled, ErrorKind::Unreachable, ErrorKind::AccessDenied];
            return Err(synthetic(kinds[self.below(kinds.len())], key.as_ref()));
        }
        Ok(())
    }

    fn answered(&self, key: &Path, fault: Fault) -> Result<()> {
        if self.comes(fault) { Err(synthetic(ErrorKind::Unreachable, key.as_ref())) } else { Ok(()) }
    }

    fn keep_a_part(&self, key: &Path, bytes: &Bytes) {
        self.world.spoils(key);
        let length = if self.below(3) == 0 { 0 } else { self.below(bytes.len()) };
        self.world.truth.insert(key, &bytes[..length]);
    }

    /// The listing in one of its wrong forms, or as it is.
    fn distort(&self, folder: &str, mut listed: Vec<ObjectMeta>) -> Vec<ObjectMeta> {
        if self.state.lock().lied_about.remove(folder) {
            return listed;
        }
        let right = listed.len();
        if self.comes(Fault::ListLate) {
            let late = Duration::from_millis(self.below(LISTS_LATE.as_millis() as usize) as u64);
            let late = if folder == "locks" { late.min(LOCKS_LATE) } else { late };
            let now = self.world.truth.now();
            let is_old = |meta: &ObjectMeta| now.duration_since(meta.last_modified.into()).is_ok_and(|age| age > late);
            listed.retain(is_old);
        }
        if folder != "locks" && !listed.is_empty() && self.comes(Fault::ListGap) {
            let start = self.below(listed.len());
            let length = 1 + self.below(listed.len() - start);
            listed.drain(start..start + length);
        }
        if listed.len() < right {
            self.state.lock().lied_about.insert(folder.to_owned());
        }
        if !listed.is_empty() && self.comes(Fault::ListTwice) {
            let again = listed[self.below(listed.len())].clone();
            listed.insert(self.below(listed.len()), again);
        }
        listed
    }
}

#[async_trait]
impl Interposer for FaultyStore {
    fn inner(&self) -> &Arc<dyn ObjectStore> {
        &self.inner
    }

    async fn put(&self, key: &Path, bytes: Bytes, options: PutOptions) -> Result<()> {
        self.call("put", key).await?;
        if key.as_ref().starts_with("locks/") {
            self.world.takes_lock(&self.pod, self.is_shared, key);
        }
        if self.comes(Fault::Swallowed) {
            return Ok(());
        }
        if self.comes(Fault::Truncated) {
            self.keep_a_part(key, &bytes);
            return Ok(());
        }
        if self.comes(Fault::TornAnswerLost) {
            self.keep_a_part(key, &bytes);
            return Err(synthetic(ErrorKind::Unreachable, key.as_ref()));
        }
        self.world.truth.write(key, &bytes, &options)?;
        self.answered(key, Fault::AnswerLost)
    }

    async fn get(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        self.call("get", key).await?;
        let result = self.world.truth.read(key, &options)?;
        if options.head {
            return Ok(result);
        }
        let (meta, range) = (result.meta.clone(), result.range.clone());
        let mut body = result.bytes().await?.to_vec();
        if !body.is_empty() && self.comes(Fault::BodyCut) {
            body.truncate(self.below(body.len()));
        }
        if !body.is_empty() && self.comes(Fault::BodyFlipped) {
            let at = self.below(body.len());
            body[at] ^= 1 << self.below(8);
        }
        let whole = answer(meta.clone(), &self.world.truth.bytes(key).unwrap_or_default(), &options)?;
        let payload = object_store::GetResultPayload::Stream(futures::stream::iter([Ok(Bytes::from(body))]).boxed());
        Ok(GetResult { payload, meta, range, ..whole })
    }

    async fn delete(&self, key: &Path) -> Result<()> {
        self.call("delete", key).await?;
        if key.as_ref().starts_with("locks/") {
            self.world.removes_lock(&self.pod, key);
        }
        if !self.comes(Fault::Undeleted) {
            self.world.truth.remove(key);
        }
        self.answered(key, Fault::AnswerLost)
    }

    async fn list(&self, prefix: &Path) -> Vec<Result<ObjectMeta>> {
        if let Err(error) = self.call("list", prefix).await {
            return vec![Err(error)];
        }
        let listed = self.distort(prefix.as_ref(), self.world.truth.list_below(prefix.as_ref()));
        let mut listed: Vec<_> = listed.into_iter().map(Ok).collect();
        if self.comes(Fault::ListBroken) {
            listed.truncate(self.below(listed.len() + 1));
            listed.push(Err(synthetic(ErrorKind::ServerError, prefix.as_ref())));
        }
        listed
    }
}
