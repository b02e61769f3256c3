//! Counts what is allocated, so that a test can say how much a parser took at its peak.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::{Mutex, MutexGuard};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The counters are the process's: tests that measure run one after the other.
static TURN: Mutex<()> = Mutex::const_new(());

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn took(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Relaxed) + bytes;
    PEAK.fetch_max(live, Relaxed);
}

fn gave_back(bytes: usize) {
    LIVE.fetch_sub(bytes, Relaxed);
}

#[expect(unsafe_code, reason = "an allocator cannot be without; it hands everything on to the system's as it came")]
// SAFETY: each call is the system allocator's with the arguments that the caller answers for; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        gave_back(layout.size());
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        took(size);
        gave_back(layout.size());
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// A turn to measure in.
pub async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

/// The same for a test that is not asynchronous.
pub fn blocking_turn() -> MutexGuard<'static, ()> {
    TURN.blocking_lock()
}

/// The result of `work` and the most bytes that were allocated meanwhile beyond what was before. Only within a turn.
pub fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = start();
    let result = work();
    (result, since(before))
}

/// The same for work that waits.
pub async fn peak_during<T>(work: impl Future<Output = T>) -> (T, usize) {
    let before = start();
    let result = work.await;
    (result, since(before))
}

fn start() -> usize {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    before
}

fn since(before: usize) -> usize {
    PEAK.load(Relaxed).saturating_sub(before)
}
