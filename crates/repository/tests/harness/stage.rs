//! One thread's runtime, on which a seed plays the same each time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use repository::planted::{Bug, Rehearsal};
use tokio::runtime::{Builder, Runtime};

/// A runtime of one thread and one more for what blocks. Its clock stands still while there is work and jumps when there is none, so
/// that nobody waits. All randomness of the engine in these threads follows from the seed of the play.
///
/// What is left to chance is what does not matter: the time in a lock or key, and so their ids.
pub struct Stage {
    runtime: Runtime,
    rehearsal: Rehearsal,
}

impl Stage {
    pub fn new() -> Self {
        let rehearsal = Rehearsal::default();
        rehearsal.join();
        let joining = rehearsal.clone();
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .max_blocking_threads(1)
            .on_thread_start(move || joining.join())
            .build()
            .unwrap();
        Self { runtime, rehearsal }
    }

    /// Plants a mistake in the engine as it runs on this stage.
    pub fn plant(&self, bug: Option<Bug>) {
        self.rehearsal.plant(bug);
    }

    /// Begins the randomness anew.
    pub fn seed(&self, seed: u64) {
        self.rehearsal.seed(seed);
    }

    pub fn play<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

/// Runs the same work on as many threads as there are cores.
pub fn on_all_cores(work: impl Fn() + Sync) {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(&work))));
}

/// Plays one seed after the other on all cores as long as more are wanted, and stops at the first that goes wrong. `only` is played alone.
pub fn play_seeds(
    only: Option<u64>,
    wants_more: impl Fn() -> bool + Sync,
    play: impl Fn(&Stage, u64) -> Result<(), String> + Sync,
) -> Option<String> {
    let (next, violation) = (AtomicU64::new(only.unwrap_or(1)), Mutex::new(None));
    on_all_cores(|| {
        let stage = Stage::new();
        while wants_more() && violation.lock().is_none() {
            let seed = next.fetch_add(1, Relaxed);
            if only.is_some_and(|only| only != seed) {
                return;
            }
            if let Err(reason) = play(&stage, seed) {
                violation.lock().get_or_insert(reason);
            }
        }
    });
    violation.into_inner()
}

/// A panic is as wrong as an error.
pub fn caught<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}
