//! What a RestoreSession sees of the API server and everybody else.

use crd_types::{ResourceFoundStatus, RestorePhase, RestoreSession, RestoreSessionStatus, TypedObjectReference, conditions};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    admission::Admission,
    attempt::{ContainerEnd, JobState, JobView, Outcome, Report, Reports, TargetReport, fixtures::live_job},
    build::Work,
    decision::{Decision, Reason},
    restore::{Action, Answer, Limits, Need, Plan, Validation, View, decide, refused},
    session::{ATTEMPTS_ANNOTATION, Preparation},
};

pub fn ended(outcome: Outcome, error: &str) -> Report {
    let error = if outcome == Outcome::Succeeded { "" } else { error };
    Report { targets: vec![TargetReport { outcome, ..TargetReport::failed("dump", error) }], ..Report::default() }
}

pub struct World {
    pub now: Timestamp,
    pub limits: Limits,
    pub session: RestoreSession,
    pub jobs: Vec<JobView>,
    pub reports: Reports,
    pub source: Result<Vec<String>, Reason>,
    pub preparation: Preparation,
    pub admitted: bool,
    pub job_refusal: Option<String>,
    pub phases: Vec<RestorePhase>,
}

impl World {
    pub fn new() -> Self {
        let mut session: RestoreSession =
            serde_saphyr::from_str("{metadata: {name: back, namespace: prod, uid: rs-uid}, spec: {}}").unwrap();
        let now = Timestamp::from_second(1_760_000_000).unwrap();
        session.metadata.creation_timestamp = Some(Time(now));
        Self {
            now,
            limits: Limits::default(),
            session,
            jobs: Vec::new(),
            reports: Reports::new(),
            source: Ok(vec!["dump".to_owned()]),
            preparation: Self::ready(),
            admitted: true,
            job_refusal: None,
            phases: Vec::new(),
        }
    }

    pub fn ready() -> Preparation {
        Preparation::Ready { components: vec!["dump".to_owned()] }
    }

    pub fn advance(&mut self, seconds: i64) {
        self.now = self.now.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap();
    }

    pub fn settle(&mut self) {
        for _ in 0..20 {
            let plan = self.plan();
            let again = plan.again;
            if !self.perform(plan) || !again {
                return;
            }
        }
        panic!("the session does not settle");
    }

    pub fn plan(&self) -> Plan {
        let admission = if self.admitted { Admission::Admit } else { Admission::Wait };
        let admission = Decision::new(admission, Reason::new("admission", "Limit", "the limit is reached"));
        let snapshot = ResourceFoundStatus {
            kind: Some("Snapshot".to_owned()),
            name: "one".to_owned(),
            namespace: Some("prod".to_owned()),
            found: Some(self.source.is_ok()),
            api_group: None,
        };
        let validation = Validation { dependencies: vec![snapshot], outcome: self.source.clone() };
        let backups = [TypedObjectReference { name: "web-backup".to_owned(), ..TypedObjectReference::default() }];
        let mut view = View {
            now: self.now,
            limits: &self.limits,
            session: &self.session,
            jobs: &self.jobs,
            reports: &self.reports,
            progress: &[],
            last_progress: None,
            validation: None,
            preparation: None,
            admission: None,
            backups: None,
        };
        loop {
            match decide(&view) {
                Answer::Plan(plan) => return plan,
                Answer::Need(Need::Validation) => view.validation = Some(&validation),
                Answer::Need(Need::Preparation) => view.preparation = Some(&self.preparation),
                Answer::Need(Need::Admission) => view.admission = Some(&admission),
                Answer::Need(Need::Backups) => view.backups = Some(&backups),
            }
        }
    }

    fn perform(&mut self, plan: Plan) -> bool {
        for action in plan.actions {
            match action {
                Action::StartJob { component, attempt, begun } => {
                    if let Some(refusal) = &self.job_refusal {
                        self.session.status = Some(refused(&self.session, refusal, self.now));
                        return false;
                    }
                    assert!(self.jobs.iter().all(|job| !job.is_live()), "I4: two live Jobs");
                    let record = serde_json::to_string(&begun).unwrap();
                    let notes = self.session.metadata.annotations.get_or_insert_default();
                    notes.insert(ATTEMPTS_ANNOTATION.to_owned(), record);
                    self.start(&component, attempt);
                }
                Action::StopJobs { jobs, .. } => {
                    for job in self.jobs.iter_mut().filter(|job| jobs.contains(&job.name)) {
                        job.state = JobState::Deleting(self.now);
                    }
                }
            }
        }
        self.phases.push(plan.status.phase.unwrap());
        self.session.status = Some(plan.status);
        true
    }

    fn start(&mut self, component: &str, attempt: u32) {
        self.jobs.push(live_job(component, attempt, Work::Restore, self.now));
    }

    pub fn live(&self) -> Option<u32> {
        self.jobs.iter().rfind(|job| job.state == JobState::Live).map(|job| job.attempt)
    }

    pub fn end(&mut self, attempt: u32, report: Option<Report>) {
        let at = Some(self.now);
        let job = self.jobs.iter_mut().find(|job| job.attempt == attempt).unwrap();
        job.state = JobState::Ended;
        let exit_code = if report.is_some() { 1 } else { 137 };
        job.pod.as_mut().unwrap().ended = Some(ContainerEnd { exit_code, reason: "Error".to_owned(), report, at });
    }

    pub fn status(&self) -> RestoreSessionStatus {
        self.session.status.clone().unwrap_or_default()
    }

    pub fn phase(&self) -> RestorePhase {
        self.status().phase.unwrap()
    }

    pub fn reason(&self) -> &str {
        let known = self.session.status.as_ref().and_then(|status| conditions::find(&status.conditions, conditions::PROGRESSING));
        known.and_then(|known| known.reason.as_deref()).unwrap_or_default()
    }
}
