//! Refreshing a held lock.

use std::sync::Arc;
use std::time::Duration;

use super::guard::Held;

/// After a refresh that failed the next is tried after this part of the usual time.
const RETRY_PART: u32 = 10;

/// Refreshes until the guard ends or the lock is lost. It depends on nothing but the store: small requests do not queue behind
/// uploads that are throttled (reliability D11).
pub(super) async fn run(held: Arc<Held>) {
    let mut pause = held.times.refresh;
    loop {
        if held.ended().run_until_cancelled(sleep(pause, &held)).await.is_none() {
            return;
        }
        // Not cancelled half-way: a new lock that nobody knows of would stay.
        pause = match held.refresh().await {
            Ok(()) => held.times.refresh,
            Err(_) if held.ended().is_cancelled() => return,
            Err(error) => {
                tracing::warn!(%error, "could not refresh the lock");
                held.times.refresh / RETRY_PART
            }
        };
        if held.is_lost() || held.check().is_err() {
            return;
        }
    }
}

/// Sleeps in pieces: after the machine slept, the time that is over is noticed at the next piece's end.
async fn sleep(duration: Duration, held: &Held) {
    const PIECES: u32 = 20;
    for _ in 0..PIECES {
        tokio::time::sleep(duration / PIECES).await;
        if held.check().is_err() {
            return;
        }
    }
}
