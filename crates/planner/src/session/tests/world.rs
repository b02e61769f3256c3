//! The API server, the Job controller and everybody else, reduced to what a session sees of them.

use crd_types::{
    BackupConfiguration, BackupSession, BackupSessionPhase, BackupSessionStatus, Condition, ConditionStatus, Snapshot,
    SnapshotStatus, annotations, conditions,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    admission::Admission,
    attempt::{ContainerEnd, JobState, JobView, Outcome, Report, Reports, SnapshotMade, TargetReport, fixtures::live_job},
    build::Work,
    decision::{Decision, Reason},
    session::{
        ATTEMPTS_ANNOTATION, Action, Answer, Limits, Need, Plan, Preparation, Removal, RetentionVerdict, RetentionView, Sibling,
        Stage, TargetProgress, View, decide, refused,
    },
};

const START: i64 = 1_760_000_000;

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(START + seconds).unwrap()
}

pub fn sibling(name: &str, created: i64, phase: BackupSessionPhase, begun: bool) -> Sibling {
    Sibling { name: name.to_owned(), created: at(created), phase, begun, retry_pending: false }
}

pub fn made() -> SnapshotMade {
    SnapshotMade {
        id: "ab".repeat(32),
        path: "/source/data".to_owned(),
        bytes_processed: 100,
        bytes_added: 7,
        files: 3,
        bytes_read: 0,
        started: Some(at(0)),
        finished: Some(at(3)),
    }
}

pub fn reported(targets: &[&str], outcome: Outcome) -> Report {
    let target = |id: &&str| TargetReport {
        outcome,
        snapshots: if outcome == Outcome::Succeeded { vec![made()] } else { Vec::new() },
        integrity: (outcome == Outcome::Succeeded).then_some(true),
        repository_bytes: (outcome == Outcome::Succeeded).then_some(2048),
        error: if outcome == Outcome::Succeeded { String::new() } else { format!("{outcome:?}") },
        ..TargetReport::failed(*id, "")
    };
    Report { targets: targets.iter().map(target).collect(), ..Report::default() }
}

pub struct World {
    pub now: Timestamp,
    pub limits: Limits,
    pub session: BackupSession,
    pub configuration: Option<BackupConfiguration>,
    pub snapshots: Vec<Snapshot>,
    pub jobs: Vec<JobView>,
    pub reports: Reports,
    pub progress: Vec<TargetProgress>,
    pub last_progress: Option<Timestamp>,
    pub siblings: Vec<Sibling>,
    pub restores: Vec<String>,
    pub preparation: Preparation,
    pub admitted: bool,
    pub removals: Vec<Removal>,
    pub verdict: Option<RetentionVerdict>,
    pub job_refusal: Option<String>,
    pub removed: Vec<String>,
    pub deleted_sessions: Vec<String>,
    pub phases: Vec<BackupSessionPhase>,
}

impl World {
    pub fn new() -> Self {
        Self::with_repositories(&["repo"])
    }

    pub fn with_repositories(names: &[&str]) -> Self {
        let mut session: BackupSession = serde_saphyr::from_str(
            "{metadata: {name: web-nightly, namespace: prod, uid: bs-uid}, spec: {invoker: {apiGroup: core.kubestash.com, kind: BackupConfiguration, name: web}, session: nightly}}",
        )
        .unwrap();
        session.metadata.creation_timestamp = Some(Time(at(0)));
        let repositories: Vec<String> = names.iter().map(|name| format!("{{name: {name}, directory: /{name}}}")).collect();
        let configuration = format!(
            "{{metadata: {{name: web, namespace: prod, uid: bc-uid}}, spec: {{sessions: [{{name: nightly, repositories: [{}]}}]}}, status: {{phase: Ready}}}}",
            repositories.join(", ")
        );
        Self {
            now: at(0),
            limits: Limits::default(),
            session,
            configuration: Some(serde_saphyr::from_str(&configuration).unwrap()),
            snapshots: Vec::new(),
            jobs: Vec::new(),
            reports: Reports::new(),
            progress: Vec::new(),
            last_progress: None,
            siblings: Vec::new(),
            restores: Vec::new(),
            preparation: Preparation::Ready { components: vec!["dump".to_owned()] },
            admitted: true,
            removals: Vec::new(),
            verdict: None,
            job_refusal: None,
            removed: Vec::new(),
            deleted_sessions: Vec::new(),
            phases: Vec::new(),
        }
    }

    pub fn advance(&mut self, seconds: i64) {
        self.now = self.now.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap();
    }

    /// Passes until nothing follows: a write of a pass is an event that starts the next.
    pub fn settle(&mut self) {
        for _ in 0..20 {
            let before = (self.session.clone(), self.snapshots.clone(), self.jobs.clone());
            let plan = self.plan();
            let again = plan.again;
            let unchanged = |world: &Self| before == (world.session.clone(), world.snapshots.clone(), world.jobs.clone());
            if !self.perform(plan) || (!again && unchanged(self)) {
                return;
            }
        }
        panic!("the session does not settle");
    }

    pub fn plan(&self) -> Plan {
        let admission = if self.admitted { Admission::Admit } else { Admission::Wait };
        let admission = Decision::new(admission, Reason::new("admission", "Limit", "the limit of 1 session is reached"));
        let retention = self.retention();
        let mut view = View {
            now: self.now,
            limits: &self.limits,
            session: &self.session,
            configuration: self.configuration.as_ref(),
            snapshots: &self.snapshots,
            jobs: &self.jobs,
            reports: &self.reports,
            progress: &self.progress,
            last_progress: self.last_progress,
            siblings: None,
            restores: None,
            preparation: None,
            admission: None,
            retention: None,
        };
        loop {
            match decide(&view) {
                Answer::Plan(plan) => return plan,
                Answer::Need(Need::Siblings) => view.siblings = Some(&self.siblings),
                Answer::Need(Need::Restores) => view.restores = Some(&self.restores),
                Answer::Need(Need::Preparation) => view.preparation = Some(&self.preparation),
                Answer::Need(Need::Admission) => view.admission = Some(&admission),
                Answer::Need(Need::Retention) => view.retention = Some(&retention),
            }
        }
    }

    fn retention(&self) -> Vec<RetentionView> {
        let repositories = self.snapshots.iter().filter_map(|snapshot| snapshot.spec.repository.clone());
        let left = self.removals.iter().filter(|removal| !self.removed.contains(&removal.snapshot)).cloned().collect();
        let verdict = self.verdict.clone().unwrap_or(RetentionVerdict::Remove(left));
        repositories.map(|repository| RetentionView { repository, policy: None, verdict: verdict.clone() }).collect()
    }

    /// Does what a plan says; false when an action was refused.
    pub fn perform(&mut self, plan: Plan) -> bool {
        for write in plan.snapshots {
            let snapshot = self.snapshots.iter_mut().find(|snapshot| snapshot.metadata.name == Some(write.name.clone()));
            let Some(snapshot) = snapshot else { continue };
            let others = snapshot.status.take().map(|status| status.conditions).unwrap_or_default();
            let mut status = write.status;
            for condition in others {
                if !conditions::exists(&status.conditions, &condition.type_) {
                    status.conditions.push(condition);
                }
            }
            snapshot.status = Some(status);
        }
        for action in plan.actions {
            match action {
                Action::CreateSnapshots(repositories) => {
                    for repository in repositories {
                        self.create_snapshot(&repository);
                    }
                }
                Action::DiscardSnapshots(names) => {
                    self.snapshots.retain(|snapshot| !names.contains(snapshot.metadata.name.as_ref().unwrap()));
                }
                Action::StartJob { component, attempt, work, begun } => {
                    if let Some(refusal) = &self.job_refusal {
                        self.session.status = Some(refused(&self.session, refusal, self.now));
                        return false;
                    }
                    let record = serde_json::to_string(&begun).unwrap();
                    let notes = self.session.metadata.annotations.get_or_insert_default();
                    notes.insert(ATTEMPTS_ANNOTATION.to_owned(), record);
                    self.start_job(&component, attempt, work);
                }
                Action::StopJobs { jobs, .. } => {
                    for job in self.jobs.iter_mut().filter(|job| jobs.contains(&job.name)) {
                        job.state = JobState::Deleting(self.now);
                    }
                }
                Action::RemoveSnapshots(names) => self.removed.extend(names),
                Action::DeleteSessions(names) => self.deleted_sessions.extend(names),
                Action::MarkRetried(_) => {}
            }
        }
        self.phases.push(plan.status.phase.unwrap());
        self.session.status = Some(plan.status);
        true
    }

    fn create_snapshot(&mut self, repository: &str) {
        let mut snapshot: Snapshot = serde_saphyr::from_str(&format!(
            "{{metadata: {{name: {repository}-web-nightly, namespace: prod}}, spec: {{repository: {repository}, session: nightly, backupSession: web-nightly}}}}"
        ))
        .unwrap();
        snapshot.metadata.creation_timestamp = Some(Time(self.now));
        self.snapshots.push(snapshot);
    }

    fn start_job(&mut self, component: &str, attempt: u32, work: Work) {
        let live = self.jobs.iter().filter(|job| job.component == component && job.is_live()).count();
        assert_eq!(live, 0, "I4: two live Jobs of component {component}");
        assert!(!self.jobs.iter().any(|job| job.component == component && job.attempt == attempt), "attempt {attempt} twice");
        self.jobs.push(live_job(component, attempt, work, self.now));
    }

    fn end(&mut self, component: &str, attempt: u32, exit_code: i32, report: Option<Report>) {
        let now = self.now;
        let job = self.jobs.iter_mut().find(|job| job.component == component && job.attempt == attempt).unwrap();
        job.state = JobState::Ended;
        let reason = if exit_code == 0 { "Completed" } else { "Error" }.to_owned();
        job.pod.as_mut().unwrap().ended = Some(ContainerEnd { exit_code, reason, report, at: Some(now) });
    }

    pub fn finish_job(&mut self, attempt: u32, report: Report) {
        self.end("dump", attempt, 0, Some(report));
    }

    pub fn end_with(&mut self, attempt: u32, report: Report) {
        self.end("dump", attempt, 3, Some(report));
    }

    pub fn finish_retention(&mut self, report: Report) {
        let attempt = self.jobs.iter().filter(|job| job.work == Work::Retention).map(|job| job.attempt).max().unwrap();
        self.end("retention", attempt, 0, Some(report));
    }

    pub fn kill_job(&mut self, attempt: u32) {
        self.end("dump", attempt, 137, None);
    }

    /// Pods of deleted Jobs end, and the Jobs go.
    pub fn end_pods(&mut self) {
        self.jobs.retain(|job| !matches!(job.state, JobState::Deleting(_)));
    }

    /// The storage-initializer uploads what is complete.
    pub fn upload(&mut self) {
        for snapshot in &mut self.snapshots {
            let status = snapshot.status.get_or_insert_default();
            if crd_types::phase::snapshot_components_completed(status)
                && !conditions::exists(&status.conditions, conditions::SNAPSHOT_METADATA_UPLOADED)
            {
                status.conditions.push(Condition {
                    last_transition_time: Time(self.now),
                    message: None,
                    observed_generation: None,
                    reason: None,
                    severity: None,
                    status: ConditionStatus::True,
                    type_: conditions::SNAPSHOT_METADATA_UPLOADED.to_owned(),
                });
            }
        }
    }

    pub fn cancel(&mut self, why: &str) {
        let notes = self.session.metadata.annotations.get_or_insert_default();
        notes.insert(annotations::CANCEL.to_owned(), why.to_owned());
    }

    pub fn run_to_retention(&mut self) {
        self.settle();
        self.finish_job(1, reported(&["repo"], Outcome::Succeeded));
        self.settle();
        self.upload();
        self.settle();
    }

    pub fn run_to_end(&mut self, outcome: Outcome) {
        self.settle();
        self.finish_job(1, reported(&["repo"], outcome));
        self.settle();
        self.upload();
        self.settle();
    }

    pub fn status(&self) -> BackupSessionStatus {
        self.session.status.clone().unwrap_or_default()
    }

    pub fn phase(&self) -> BackupSessionPhase {
        self.status().phase.unwrap()
    }

    pub fn stage(&self) -> Stage {
        self.plan().stage
    }

    pub fn reason(&self) -> &str {
        let known = self.session.status.as_ref().and_then(|status| conditions::find(&status.conditions, conditions::PROGRESSING));
        known.and_then(|known| known.reason.as_deref()).unwrap_or_default()
    }

    pub fn message(&self, type_: &str) -> String {
        conditions::find(&self.status().conditions, type_).and_then(|known| known.message.clone()).unwrap_or_default()
    }

    pub fn snapshot(&self, repository: &str) -> SnapshotStatus {
        let mut all = self.snapshots.iter();
        let found = all.find(|snapshot| snapshot.spec.repository.as_deref() == Some(repository)).unwrap();
        found.status.clone().unwrap_or_default()
    }
}
