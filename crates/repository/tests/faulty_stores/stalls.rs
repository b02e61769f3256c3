//! D11: an upload that takes for ever does not keep the lock from being refreshed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, PutOptions, Result};
use repository::{Control, LockHandle, LockMode, LockRequest, SaverOptions};

use crate::harness::{
    Content, Dice, Interposed, Interposer, MapStore, PASSWORD, Pool, Saving, Stage, back_up, init, locked, open,
};
use crate::support::identity;

const MINUTE: Duration = Duration::from_secs(60);

/// Packs take three hours, and every minute somebody looks at the lock.
#[derive(Debug)]
struct SlowPacks {
    truth: Arc<MapStore>,
    inner: Arc<dyn ObjectStore>,
}

#[async_trait]
impl Interposer for SlowPacks {
    fn inner(&self) -> &Arc<dyn ObjectStore> {
        &self.inner
    }

    async fn put(&self, key: &Path, bytes: Bytes, options: PutOptions) -> Result<()> {
        if key.as_ref().starts_with("data/") {
            for _ in 0..180 {
                tokio::time::sleep(MINUTE).await;
                let newest = self.truth.list_below("locks").into_iter().map(|lock| lock.last_modified.into()).max();
                let age = self.truth.now().duration_since(newest.expect("there is a lock at every moment")).unwrap();
                assert!(age < 6 * MINUTE, "the lock was not refreshed for {} s", age.as_secs());
            }
        }
        self.truth.write(key, &bytes, &options)
    }
}

#[test]
fn a_slow_upload_does_not_starve_the_lock() {
    let stage = Stage::new();
    stage.play(async {
        let truth = MapStore::new();
        init(truth.clone()).await.unwrap();
        let slow = Arc::new(SlowPacks { truth: truth.clone(), inner: truth.clone() });
        let repository = open(Interposed::store(&slow), PASSWORD).await.unwrap();
        let mut dice = Dice::new(1);
        let pool = Pool::new(&mut dice, 5, 100..=1000);
        let content = Content::new(&mut dice, &pool);
        let saving = Saving { options: SaverOptions::default(), flushes: 1 };
        let control = Control::default();
        let request = LockRequest::new(LockMode::Shared, identity("slow"));
        let work = async |lock: &LockHandle| back_up(&repository, lock, &content, "slow", saving, &control).await;
        locked(&repository, request, &control, work).await.unwrap();
        assert!(truth.keys("locks").is_empty());
        assert_eq!(truth.keys("snapshots").len(), 1);
    });
}
