//! RestoreSessions: from the manifest to files in their places (specification §2.7).
//!
//! `dereference` reads, `validate` turns what was read into what the planner asks for, the planner decides, `apply` does
//! it, `update_status` writes it down.

mod apply;
mod dereference;
mod error;
mod update_status;
mod validate;

use std::sync::Arc;
use std::time::Duration;

use crd_types::names::{FINALIZER, manager};
use crd_types::{RestorePhase, RestoreSession};
use kube::{Api, ResourceExt as _};
use kube_kit::controller::{Next, Reconciler};
use kube_kit::finalize;
use kube_kit::own_writes::OwnWrites;
use planner::admission::Occupant;
use planner::attempt::JobView;
use planner::restore::{Answer, Limits, Need, Plan, Stage, View, decide};

pub use error::RestoreError;

use crate::attach::{SessionKind, pass_on_limits};
use crate::context::Context;
use crate::pods::{read_jobs, stop_jobs};
use dereference::Answers;

/// Passes of one reconcile: each opens the way for the next at most a few times.
const MOST_PASSES: usize = 4;
/// Questions of one pass: the planner asks for each thing once.
const MOST_QUESTIONS: usize = 8;
/// What a person reads in events.
const ACTION: &str = "Restore";

/// The controller of RestoreSessions.
pub struct RestoreSessions {
    ctx: Context,
    own_writes: OwnWrites,
    limits: Limits,
}

impl RestoreSessions {
    /// A controller that leaves its own writes in `own_writes`.
    pub fn new(ctx: Context, own_writes: OwnWrites) -> Self {
        Self { ctx, own_writes, limits: Limits::default() }
    }

    fn api(&self, session: &RestoreSession) -> Api<RestoreSession> {
        Api::namespaced(self.ctx.client.clone(), &session.namespace().unwrap_or_default())
    }

    /// One look, one decision, one set of writes. The answer is the session as it was written.
    async fn pass(&self, session: RestoreSession) -> Result<(RestoreSession, Plan), RestoreError> {
        let uid = session.uid().unwrap_or_default();
        let jobs = read_jobs(&self.ctx, &session.namespace().unwrap_or_default(), &uid).await?;
        let reports = self.ctx.registry.reports(&uid);
        pass_on_limits(&self.ctx, &session, None).await;
        let mut answers = Answers::default();
        let plan = self.plan(&session, &jobs, &reports, &mut answers).await?;
        for reason in &plan.reasons {
            tracing::debug!(stage = ?plan.stage, step = reason.step, reason = reason.reason, message = reason.message, "decided");
        }
        let applied = apply::apply(&self.ctx, &session, &plan, answers.ready()).await?;
        let written = update_status::write(&self.ctx, &self.api(&session), applied, &plan).await?;
        self.own_writes.record(&written);
        self.ctx.registry.recorded(&uid, &reports);
        Ok((written, plan))
    }

    async fn plan(
        &self,
        session: &RestoreSession,
        jobs: &[JobView],
        reports: &planner::attempt::Reports,
        answers: &mut Answers,
    ) -> Result<Plan, RestoreError> {
        let uid = session.uid().unwrap_or_default();
        let progress = self.ctx.registry.progress(&uid);
        for _ in 0..MOST_QUESTIONS {
            let validation = answers.validation();
            let preparation = answers.preparation();
            let view = View {
                now: self.ctx.now(),
                limits: &self.limits,
                session,
                jobs,
                reports,
                progress: &progress,
                last_progress: self.ctx.registry.last_progress(&uid),
                validation: validation.as_ref(),
                preparation: preparation.as_ref(),
                admission: answers.admission(),
                backups: answers.backups(),
            };
            match decide(&view) {
                Answer::Plan(plan) => return Ok(plan),
                Answer::Need(need) => self.read(session, need, answers).await?,
            }
        }
        Err(RestoreError::Undecided { session: session.name_any() })
    }

    async fn read(&self, session: &RestoreSession, need: Need, answers: &mut Answers) -> Result<(), RestoreError> {
        match need {
            Need::Validation => answers.read_source(&self.ctx, session).await,
            Need::Preparation => answers.read_preparation(&self.ctx, session).await,
            Need::Admission => {
                answers.ask_for_place(&self.ctx, session);
                Ok(())
            }
            Need::Backups => answers.read_backups(&self.ctx, session).await,
        }
    }

    /// Lets a deleted session go. Its Jobs follow it; their movers are told to stop, so that no lock stays.
    async fn clean_up(&self, session: &RestoreSession) -> Result<Next, RestoreError> {
        let (namespace, uid) = (session.namespace().unwrap_or_default(), session.uid().unwrap_or_default());
        if finalize::has(session, FINALIZER) {
            let jobs = read_jobs(&self.ctx, &namespace, &uid).await?;
            let live: Vec<String> = jobs.into_iter().filter(JobView::is_live).map(|job| job.name).collect();
            stop_jobs(&self.ctx, &namespace, &uid, &live, "the RestoreSession is being deleted").await?;
            finalize::remove(&self.api(session), manager::SESSION_CONTROLLER, session, FINALIZER).await?;
        }
        self.leave(session);
        Ok(Next::Changed)
    }

    /// A session that runs holds its place among those that are limited, also under a new leader.
    fn keep_place(&self, session: &RestoreSession) {
        if session.status.as_ref().is_some_and(|status| !status.components.is_empty()) {
            self.ctx.queue.occupy(Occupant { session: display(session), ..Occupant::default() });
        }
    }

    /// A session that has ended or goes leaves nothing behind in memory.
    fn leave(&self, session: &RestoreSession) {
        self.ctx.queue.release(&display(session));
        self.ctx.registry.forget(&session.uid().unwrap_or_default());
    }

    async fn announce_end(&self, session: &RestoreSession, plan: &Plan) {
        let phase = plan.status.phase.unwrap_or(RestorePhase::Unknown);
        let namespace = session.namespace().unwrap_or_default();
        let note = plan.reasons.last().map(|reason| reason.message.clone()).unwrap_or_default();
        tracing::info!(namespace, name = session.name_any(), %phase, note, "restore has ended");
        self.ctx.metrics.session_ended("RestoreSession", &namespace, phase.as_str());
        match phase {
            RestorePhase::Succeeded => self.ctx.events.normal(session, "RestoreSucceeded", ACTION, &note).await,
            _ => self.ctx.events.warning(session, "RestoreFailed", ACTION, &note).await,
        }
    }
}

fn display(session: &RestoreSession) -> String {
    format!("{} {}/{}", SessionKind::Restore.as_str(), session.namespace().unwrap_or_default(), session.name_any())
}

impl Reconciler for RestoreSessions {
    type Resource = RestoreSession;
    type Error = RestoreError;

    async fn reconcile(&self, session: Arc<RestoreSession>) -> Result<Next, RestoreError> {
        if finalize::is_deleting(&*session) {
            return self.clean_up(&session).await;
        }
        if planner::restore::stage(&session) == Stage::Complete {
            self.leave(&session);
            return Ok(Next::Changed);
        }
        self.keep_place(&session);
        let mut current = finalize::add(&self.api(&session), manager::SESSION_CONTROLLER, &session, FINALIZER).await?;
        self.own_writes.record(&current);
        let mut look_again = None;
        for _ in 0..MOST_PASSES {
            let (written, plan) = self.pass(current).await?;
            current = written;
            if planner::restore::stage(&current) == Stage::Complete {
                self.announce_end(&current, &plan).await;
                self.leave(&current);
                return Ok(Next::Changed);
            }
            look_again = plan.look_again;
            if !plan.again {
                break;
            }
        }
        Ok(look_again.map_or(Next::Changed, |at| {
            let wait = at.duration_since(self.ctx.now());
            Next::After(Duration::try_from(wait).unwrap_or_default())
        }))
    }
}

#[cfg(test)]
mod tests;
