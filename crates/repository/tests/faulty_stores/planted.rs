//! Mistakes that others made, planted one at a time: each must be found out.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, Result};
use repository::planted::Bug;

use crate::harness::{Interposed, Interposer};
use crate::hunt::Hunt;
use crate::menu::{Fault, Menu};
use crate::schedule::Schedule;

/// More than enough: most are found within a few.
const SCHEDULES: usize = 3000;

#[track_caller]
fn is_found(bug: Option<Bug>, make: fn(u64) -> Schedule) {
    let found = Hunt { schedules: SCHEDULES, seed: None, make, bug }.run();
    let Some(violation) = found.violation else {
        panic!("{} schedules, and nothing was found: {:?}", found.schedules, found.outcomes)
    };
    println!("after {} schedules: {violation}", found.schedules);
}

fn with(seed: u64, menu: Menu) -> Schedule {
    Schedule { seed, menu, wrap: None, verify_uploads: true }
}

/// restic#3646: a backup that ended with success after packs could not be saved.
#[test]
fn a_failed_upload_that_is_forgotten() {
    is_found(Some(Bug::FailedUploadForgotten), |seed| with(seed, Menu::of(&[(Fault::Refused, 20)])));
}

/// restic#3023: packs cut short by a store that acknowledged them.
#[test]
fn uploads_that_nobody_verifies() {
    is_found(None, |seed| Schedule { verify_uploads: false, ..with(seed, Menu::of(&[(Fault::Truncated, 10)])) });
}

#[test]
fn index_files_that_nobody_confirms() {
    is_found(Some(Bug::IndexUnconfirmed), |seed| with(seed, Menu::of(&[(Fault::Swallowed, 10)])));
}

/// A prune that goes by the snapshots it saw first, and misses one that was listed late.
#[test]
fn a_prune_that_looks_once() {
    is_found(Some(Bug::PruneLooksOnce), |seed| with(seed, Menu::of(&[(Fault::ListGap, 5)])));
}

/// I7.
#[test]
fn locks_removed_without_proof() {
    is_found(Some(Bug::LocksRemovedUnproven), |seed| with(seed, Menu { pairs: 1, ..Menu::of(&[]) }));
}

/// A backup whose lock was removed by force, beside a prune, that ends with success: 51 of 60 files were gone. Slow, so that a
/// whole prune fits between what a backup stores and its snapshot.
#[test]
fn a_lost_lock_that_nobody_notices() {
    is_found(Some(Bug::LostLockUnnoticed), |seed| with(seed, Menu { force: 1, delay: 100, ..Menu::of(&[]) }));
}

/// restic#4612: a listing that failed was an empty one.
#[test]
fn a_listing_that_fails_and_counts_as_whole() {
    #[derive(Debug)]
    struct EndsAtErrors(Arc<dyn ObjectStore>);

    #[async_trait]
    impl Interposer for EndsAtErrors {
        fn inner(&self) -> &Arc<dyn ObjectStore> {
            &self.0
        }

        async fn list(&self, prefix: &Path) -> Vec<Result<ObjectMeta>> {
            self.0.list(Some(prefix)).take_while(|entry| std::future::ready(entry.is_ok())).collect().await
        }
    }
    is_found(None, |seed| Schedule {
        wrap: Some(|store| Interposed::store(&Arc::new(EndsAtErrors(store)))),
        ..with(seed, Menu::of(&[(Fault::ListBroken, 3)]))
    });
}

/// restic#1638: retries lost what had been listed before.
#[test]
fn a_listing_that_drops_a_page() {
    #[derive(Debug)]
    struct DropsPages(Arc<dyn ObjectStore>);

    #[async_trait]
    impl Interposer for DropsPages {
        fn inner(&self) -> &Arc<dyn ObjectStore> {
            &self.0
        }

        async fn list(&self, prefix: &Path) -> Vec<Result<ObjectMeta>> {
            let listed: Vec<_> = self.0.list(Some(prefix)).collect().await;
            listed.into_iter().skip(usize::from(prefix.as_ref() == "snapshots")).collect()
        }
    }
    is_found(None, |seed| Schedule {
        wrap: Some(|store| Interposed::store(&Arc::new(DropsPages(store)))),
        ..with(seed, Menu::of(&[]))
    });
}
