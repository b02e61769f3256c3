//! Tells where a target stands: cumulative, at most once a second, and only when something changed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proto_api::common::v1alpha1::TransferProgress;
use proto_api::mover::v1alpha1::Progress;
use repository::{Control, Event};
use storage::Outage;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::Span;

use crate::attach::Link;
use crate::stop::Stop;

const INTERVAL: Duration = Duration::from_secs(1);
/// Something is said this often even if nothing moves, so that a long quiet phase does not look like a dead mover.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Which of the engine's figures is the one that crosses the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the store.
    Upload,
    /// From the store.
    Download,
}

/// A store that is silent for less than this is merely slow.
const NOTICEABLE: Duration = Duration::from_secs(3);

struct View {
    path: String,
    activity: String,
    waits_for: String,
    /// The store by its description, and whether it answers.
    store: Option<(String, Arc<Outage>)>,
    totals_final: bool,
    /// The target's span, and that of the engine's phase in it.
    parent: Span,
    phase: Span,
}

impl View {
    fn begin(&mut self, activity: String) {
        self.activity = activity;
        self.waits_for.clear();
    }

    fn wait(&self) -> String {
        let silent = || {
            let (description, outage) = self.store.as_ref()?;
            let (lasts, cause) = outage.lasts()?;
            (lasts >= NOTICEABLE).then(|| format!("{description}, which does not answer: {cause}"))
        };
        if self.waits_for.is_empty() { silent().unwrap_or_default() } else { self.waits_for.clone() }
    }
}

/// Watches one target until it is dropped.
pub struct Reporter {
    control: Control,
    view: Arc<Mutex<View>>,
    begin: Instant,
    direction: Direction,
    ticking: JoinHandle<()>,
}

impl Reporter {
    /// Starts to report on `target_id`; the engine's work is to be done with [`Self::control`].
    #[must_use]
    pub fn start(link: &Link, target_id: &str, direction: Direction, stop: &Stop) -> Self {
        let view = View {
            path: String::new(),
            activity: "starting".to_owned(),
            waits_for: String::new(),
            store: None,
            totals_final: false,
            parent: Span::current(),
            phase: Span::none(),
        };
        let view = Arc::new(Mutex::new(view));
        let heard = Arc::clone(&view);
        let control = Control::new(stop.token().clone()).with_listener(Arc::new(move |event| hear(&heard, event)));
        let begin = Instant::now();
        let ticking =
            tokio::spawn(tick(link.clone(), target_id.to_owned(), control.clone(), Arc::clone(&view), direction, begin));
        Self { control, view, begin, direction, ticking }
    }

    /// Carries cancellation, counters and events.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// What is being done, in words for a person.
    pub fn activity(&self, activity: impl Into<String>) {
        lock(&self.view).begin(activity.into());
    }

    /// What keeps anything from moving, until the next activity.
    pub fn waits_for(&self, what: impl Into<String>) {
        lock(&self.view).waits_for = what.into();
    }

    /// From here on a silence of this store is what the work waits for.
    pub fn watch_store(&self, description: &str, outage: &Arc<Outage>) {
        lock(&self.view).store = Some((description.to_owned(), Arc::clone(outage)));
    }

    /// The path being worked on.
    pub fn path(&self, path: &str) {
        let mut view = lock(&self.view);
        path.clone_into(&mut view.path);
        view.totals_final = false;
    }

    /// The figures at the end.
    #[must_use]
    pub fn finish(&self, activity: &str) -> TransferProgress {
        {
            let mut view = lock(&self.view);
            view.begin(activity.to_owned());
            view.store = None;
            view.totals_final = true;
            view.phase = Span::none();
        }
        transfer(&self.control, &self.view, self.direction, self.begin)
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.ticking.abort();
    }
}

async fn tick(link: Link, target_id: String, control: Control, view: Arc<Mutex<View>>, direction: Direction, begin: Instant) {
    let mut ticks = tokio::time::interval(INTERVAL);
    let mut last: Option<(TransferProgress, Instant)> = None;
    loop {
        ticks.tick().await;
        let transfer = transfer(&control, &view, direction, begin);
        let is_news = last.as_ref().is_none_or(|(before, at)| {
            let same = TransferProgress { seconds_elapsed: before.seconds_elapsed, ..transfer.clone() } == *before;
            !same || at.elapsed() >= HEARTBEAT
        });
        if is_news {
            let path = lock(&view).path.clone();
            link.progress(Progress { target_id: target_id.clone(), path, transfer: Some(transfer.clone()) });
            last = Some((transfer, Instant::now()));
        }
    }
}

fn transfer(control: &Control, view: &Mutex<View>, direction: Direction, begin: Instant) -> TransferProgress {
    let counters = control.counters().snapshot();
    let view = lock(view);
    TransferProgress {
        files_done: counters.files_done,
        files_total: counters.files_total.max(counters.files_done),
        bytes_done: counters.bytes_done,
        bytes_total: counters.bytes_total.max(counters.bytes_done),
        bytes_read: counters.bytes_read,
        bytes_transferred: match direction {
            Direction::Upload => counters.bytes_uploaded,
            Direction::Download => counters.bytes_downloaded,
        },
        totals_final: view.totals_final,
        activity: view.activity.clone(),
        waits_for: view.wait(),
        seconds_elapsed: begin.elapsed().as_secs(),
    }
}

fn hear(view: &Mutex<View>, event: Event) {
    match event {
        Event::LockWaiting { holder, waited } => {
            let mut view = lock(view);
            view.activity = format!("waiting {} s for a lock held by {holder}", waited.as_secs());
            view.waits_for = format!("a lock held by {holder}");
        }
        Event::LockRemoved { holder, proof } => {
            tracing::info!(%holder, proof, "removed the lock of a dead holder");
            lock(view).waits_for.clear();
        }
        Event::Damaged { key, reason } => tracing::warn!(key, reason, "damaged object in the repository"),
        Event::PhaseStarted(phase) => {
            let Some((activity, span, totals_final)) = describe(phase) else { return };
            let mut view = lock(view);
            view.begin(activity.to_owned());
            view.totals_final = totals_final.unwrap_or(view.totals_final);
            // The engine knows no telemetry: a phase lasts until the next one begins, and dropping its span ends it.
            view.phase = tracing::info_span!(parent: &view.parent, "phase", otel.name = span, phase);
        }
        _ => {}
    }
}

/// A phase of the engine in words for a person, as a span, and whether the totals are final in it.
fn describe(phase: &'static str) -> Option<(&'static str, &'static str, Option<bool>)> {
    Some(match phase {
        "walk" => ("backing up", "mover.upload", Some(false)),
        "flush" => ("uploading what is left", "mover.write_snapshot", Some(true)),
        "verify" => ("verifying", "mover.verify", Some(true)),
        "restore" => ("restoring", "mover.download", Some(false)),
        // Said at its end, when the next phase is about to begin.
        "snapshot saved" => return None,
        other => (other, "mover.phase", None),
    })
}

fn lock(view: &Mutex<View>) -> MutexGuard<'_, View> {
    view.lock().unwrap_or_else(PoisonError::into_inner)
}
