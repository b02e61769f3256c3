//! What a client does before and after its work: open, take a lock, give it back.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::ObjectStore;
use repository::crypto::ScryptCost;
use repository::{
    Control, InitOptions, LockHandle, LockHolder, LockJudge, LockMode, LockRequest, LockVerdict, OpenOptions, Repository, Result,
};
use secrecy::SecretString;

use crate::support::identity;

pub const PASSWORD: &str = "first";
pub const NEW_PASSWORD: &str = "second";

/// Options for keys that cost next to nothing to open.
pub fn key_options() -> InitOptions {
    InitOptions { scrypt: ScryptCost::for_tests(), ..InitOptions::default() }
}

pub async fn init(store: Arc<dyn ObjectStore>) -> Result<Repository> {
    Repository::init(store, &SecretString::from(PASSWORD), &key_options(), &Control::default()).await
}

pub async fn open(store: Arc<dyn ObjectStore>, password: &str) -> Result<Repository> {
    Repository::open(store, &SecretString::from(password), &OpenOptions::default(), &Control::default()).await
}

/// Knows that everybody else was killed.
pub struct AllDead;

#[async_trait]
impl LockJudge for AllDead {
    async fn judge(&self, _: &LockHolder) -> LockVerdict {
        LockVerdict::Dead { proof: "the harness killed it".into() }
    }
}

/// A request that waits for nobody. Nobody else is alive: a lock that was torn, and of which therefore nobody can be asked, is as good
/// as half an hour old.
pub fn alone(mode: LockMode) -> LockRequest {
    let mut request = LockRequest::new(mode, identity("next")).judged_by(Arc::new(AllDead));
    request.times.settle = Duration::from_millis(1);
    request.times.stale = Duration::ZERO;
    request.times.between_looks = Duration::ZERO;
    request
}

/// Works under a lock, and gives it back as the mover does: one that cannot be removed is the next client's business.
pub async fn locked<T>(
    repository: &Repository,
    request: LockRequest,
    control: &Control,
    work: impl AsyncFnOnce(&LockHandle) -> Result<T>,
) -> Result<T> {
    let guard = repository.lock(request, control).await?;
    let done = work(&guard.handle()).await;
    let _ = guard.release().await;
    done
}
