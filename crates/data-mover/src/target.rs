//! One target from access to outcome. It succeeds or fails alone, whatever becomes of the others.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use proto_api::mover::v1alpha1::{Assignment, Result as TargetResult, Target, TargetOutcome, target};
use proto_api::storage::v1alpha1::AccessSubject;
use repository::{LockGuard, LockIdentity, LockMode, Repository};
use storage::{OpenOptions as StoreOptions, Outage};
use tokio::time::Instant;

use crate::access::{self, AccessClient};
use crate::args::Work;
use crate::attach::Link;
use crate::backoff::Backoff;
use crate::environment::AgentEnvironment;
use crate::failure::{Failure, Place};
use crate::open::Opening;
use crate::progress::{Direction, Reporter};
use crate::stop::Stop;
use crate::{backup, lock, restore, retention};

/// Work that was stopped ends within `repository::limits::CANCELLED` and the removal of its lock. Whatever still hangs after this
/// time is left behind (engine §4.9).
const ABANDONED: Duration = Duration::from_millis(4600);

/// What all targets of one mover share.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) environment: std::sync::Arc<AgentEnvironment>,
    pub(crate) assignment: std::sync::Arc<Assignment>,
    pub(crate) work: Work,
    pub(crate) client: AccessClient,
    pub(crate) store_options: StoreOptions,
    pub(crate) link: Link,
    pub(crate) stop: Stop,
}

/// One target's work with all it needs.
pub(crate) struct Job<'a> {
    pub(crate) context: &'a Context,
    pub(crate) target: &'a Target,
    pub(crate) subject: &'a AccessSubject,
    pub(crate) reporter: &'a Reporter,
    /// A restore found everything empty that had to be: from then on its own files stand there, also when it begins again.
    pub(crate) was_empty: AtomicBool,
}

type Attempt<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

/// Runs a target to its outcome, and begins again when the cause of a failure may pass: what was uploaded is found again.
pub(crate) async fn run(context: &Context, target: &Target) -> TargetOutcome {
    let mut outcome = TargetOutcome { target_id: target.id.clone(), ..TargetOutcome::default() };
    let Some(subject) = target.subject.as_ref() else {
        return Failure::answer(format!(
            "target {:?} has no subject; compare the versions of data-mover and session-controller",
            target.id
        ))
        .into_outcome(outcome);
    };
    let direction = match &target.work {
        Some(target::Work::Restore(_)) => Direction::Download,
        _ => Direction::Upload,
    };
    let reporter = Reporter::start(&context.link, &target.id, direction, &context.stop);
    let job = Job { context, target, subject, reporter: &reporter, was_empty: AtomicBool::new(false) };
    let mut backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(30));
    let mut trouble = Trouble::default();
    let ended = loop {
        let attempted = tokio::select! {
            biased;
            attempted = job.attempt(&mut outcome) => attempted,
            () = context.stop.lasts(ABANDONED) => Err(Failure::stopped(&context.stop)),
        };
        let failure = match attempted {
            Ok(()) => break Ok(()),
            Err(failure) => failure,
        };
        let stopped = context.stop.reason().is_some();
        if stopped || !failure.is_passing() || trouble.lasts(&job) {
            break Err(failure);
        }
        tracing::warn!(%failure, "beginning again");
        reporter.waits_for(format!("another try after: {failure}"));
        if !context.stop.sleep(backoff.pause()).await {
            break Err(Failure::stopped(&context.stop));
        }
    };
    outcome.transfer = Some(reporter.finish(if ended.is_ok() { "done" } else { "ended" }));
    match ended {
        // A policy may have made it a failure already, with its evidence in place.
        Ok(()) if outcome.result() == TargetResult::Unspecified => {
            outcome.result = TargetResult::Succeeded.into();
            outcome
        }
        Ok(()) => outcome,
        Err(failure) => failure.into_outcome(outcome),
    }
}

/// Since when nothing has moved.
#[derive(Default)]
struct Trouble {
    since: Option<(Instant, u64)>,
}

impl Trouble {
    fn lasts(&mut self, job: &Job<'_>) -> bool {
        let counters = job.reporter.control().counters().snapshot();
        let moved = counters.bytes_uploaded + counters.bytes_downloaded;
        match self.since {
            Some((since, before)) if before == moved => since.elapsed() >= job.context.environment.patience.outage,
            _ => {
                self.since = Some((Instant::now(), moved));
                false
            }
        }
    }
}

impl Job<'_> {
    /// Boxed, because the compiler cannot see through futures of references nested this deep.
    fn attempt<'b>(&'b self, outcome: &'b mut TargetOutcome) -> Attempt<'b> {
        match (&self.target.work, &self.context.work) {
            (Some(target::Work::Backup(work)), Work::Backup(arguments)) => Box::pin(backup::run(self, work, arguments, outcome)),
            (Some(target::Work::Restore(work)), Work::Restore(arguments)) => {
                Box::pin(restore::run(self, work, arguments, outcome))
            }
            (Some(target::Work::Retention(work)), Work::Retention(_)) => Box::pin(retention::run(self, work, outcome)),
            (_, work) => {
                let verb = match work {
                    Work::Backup(_) => "backup",
                    Work::Restore(_) => "restore",
                    Work::Retention(_) => "retention",
                };
                let sentence = format!(
                    "target {:?} asks for other work than the Function's arguments ({verb}); correct the Function's args",
                    self.target.id
                );
                Box::pin(std::future::ready(Err(Failure::answer(sentence))))
            }
        }
    }

    /// Obtains access, opens the repository and locks it.
    pub(crate) async fn open(&self, mode: LockMode, may_make: bool) -> Result<Opened, Failure> {
        let context = self.context;
        let mut place = Place {
            object: access::object_of(self.subject),
            component_path: self.target.component_path.clone(),
            storage: String::new(),
        };
        self.reporter.activity("asking for access");
        let access = context.client.issue(self.subject, &self.target.component_path, &context.stop).await?;
        place.storage = access.config.describe();
        self.reporter.activity("opening the repository");
        let outage = Arc::new(Outage::default());
        self.reporter.watch_store(&place.storage, &outage);
        let store_options = StoreOptions { outage: Some(outage), ..context.store_options.clone() };
        let control = self.reporter.control();
        let host = self.lock_host();
        let opening = Opening {
            access: &access,
            client: &context.client,
            subject: self.subject,
            place: &place,
            store_options: &store_options,
            host: &host,
            stop: &context.stop,
            control,
        };
        let repository = opening.run(may_make).await?;
        self.reporter.activity("locking the repository");
        let identity = self.lock_identity(host);
        let guard = lock::take(&repository, mode, identity, &context.link, &self.target.id, control)
            .await
            .map_err(|error| Failure::of_engine(&error, &place, &context.stop))?;
        Ok(Opened { repository, guard, place })
    }

    /// What an engine error means here.
    pub(crate) fn failure(&self, error: &repository::Error, place: &Place) -> Failure {
        Failure::of_engine(error, place, &self.context.stop)
    }

    /// Pods on the host network share the node's name, so a lock's host names the pod and this life of it.
    fn lock_host(&self) -> String {
        let environment = &self.context.environment;
        format!("{}.{}", environment.pod_name, environment.pod_uid)
    }

    fn lock_identity(&self, hostname: String) -> LockIdentity {
        let Context { environment, assignment, .. } = self.context;
        LockIdentity {
            hostname,
            username: "orlop".to_owned(),
            pid: std::process::id(),
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            cluster_uid: assignment.cluster_uid.clone(),
            pod_uid: environment.pod_uid.clone(),
            machine_id: assignment.machine_id.clone(),
        }
    }
}

/// An open, locked repository.
pub(crate) struct Opened {
    pub(crate) repository: Repository,
    pub(crate) guard: LockGuard,
    pub(crate) place: Place,
}
