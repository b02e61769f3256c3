//! Making a Job: environment, proof, and the Job itself.

use crd_types::{AddonInfo, labels};
use jiff::Timestamp;
use k8s_openapi::api::{batch::v1::Job, networking::v1::NetworkPolicy};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Resource};
use kube_kit::apply::{Match, create_if_absent_matching};
use planner::build::{self, JobRequest, SessionRef, Token, Work, claim_labels};
use planner::names::{Name, Owner};
use planner::resolve::ResolvedTask;
use planner::workload::{ComponentPlan, Identity, Placement};
use proto_api::{audience, environment as env};
use service_kit::job_proof::JobClaims;

use super::{PrepareError, create_named};
use crate::context::Context;

/// ServiceAccount of movers, unless the user names one: every namespace has it. Its own token is not mounted, and the
/// tokens that are, are for our services only, so whatever is bound to it a mover can do nothing at the API server.
const SERVICE_ACCOUNT: &str = "default";

/// The session that a Job is made for.
#[derive(Debug, Clone)]
pub struct SessionIdentity<'a> {
    /// `BackupSession` or `RestoreSession`.
    pub kind: &'static str,
    /// Its metadata.
    pub metadata: &'a ObjectMeta,
    /// Name of the session in its configuration.
    pub session: Option<&'a str>,
}

impl<'a> SessionIdentity<'a> {
    /// The identity of a session object.
    pub fn of<K: Resource<DynamicType = ()>>(kind: &'static str, object: &'a K, session: Option<&'a str>) -> Self {
        Self { kind, metadata: object.meta(), session }
    }

    fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// As objects are made for it.
    fn reference(&self) -> SessionRef<'a> {
        SessionRef { kind: self.kind, metadata: self.metadata, session: self.session }
    }

    /// As names are made from it.
    pub fn as_owner(&self) -> Owner {
        Owner::new(self.namespace(), self.name(), self.uid())
    }
}

/// One Job to make.
#[derive(Debug, Clone)]
pub struct JobOrder<'a> {
    /// For whom.
    pub session: SessionIdentity<'a>,
    /// Its names, best first.
    pub name: Name,
    /// What it does.
    pub work: Work,
    /// Component, or `retention`.
    pub component: &'a str,
    /// Attempt, from 1.
    pub attempt: u32,
    /// The working container.
    pub task: &'a ResolvedTask,
    /// Volumes, mounts, place and identity.
    pub plan: &'a ComponentPlan,
    /// The user's settings.
    pub info: Option<&'a AddonInfo>,
    /// Whether they may ask for the node's own namespaces.
    pub host_namespaces: bool,
    /// When the session ends at the latest.
    pub deadline: Timestamp,
}

/// Makes a Job.
///
/// # Errors
/// [`PrepareError::Refused`] when the API server says no; [`PrepareError::NotReady`] while certificates or the key of
/// proofs are missing.
pub async fn start_job(ctx: &Context, order: &JobOrder<'_>) -> Result<Job, PrepareError> {
    let session = &order.session;
    let display = format!("{} {}/{}", session.kind, session.namespace(), session.name());
    let key = ctx.proof_key().ok_or(PrepareError::NotReady("Secret orlop-job-proof"))?;
    let bundle =
        ctx.ca_bundle().ok_or(PrepareError::NotReady("the certificate authority of Secret orlop-session-controller-tls"))?;
    let traceparent = traceparent(session);
    let environment = environment(ctx, order, &bundle, &traceparent);
    let fields = [(env::POD_NAME, "metadata.name"), (env::POD_UID, "metadata.uid"), (env::NODE_NAME, "spec.nodeName")];
    let deadline_seconds = order.deadline.duration_since(ctx.now()).as_secs();
    let claims = claim_labels(order.component, order.attempt, order.work);
    let claim = |label: &str| claims.iter().find(|(name, _)| *name == label).map_or("", |(_, value)| value.as_str());
    let build = |name: &str| {
        let proof = key.sign(&JobClaims {
            namespace: session.namespace(),
            job: name,
            session_kind: session.kind,
            session_uid: session.uid(),
            component: claim(labels::SESSION_COMPONENT),
            attempt: claim(labels::ATTEMPT),
            work: claim(labels::WORK),
        });
        build::job(&JobRequest {
            name,
            tuple_digest: order.name.tuple_digest(),
            session: session.reference(),
            work: order.work,
            component: order.component,
            attempt: order.attempt,
            task: order.task,
            volumes: &order.plan.volumes,
            mounts: &order.plan.mounts,
            placement: &order.plan.placement,
            identity: &order.plan.identity,
            template: order.info.and_then(|info| info.job_template.as_ref()),
            host_namespaces: order.host_namespaces,
            environment: &environment,
            fields: &fields,
            tokens: &tokens(),
            manners: &ctx.settings.manners,
            service_account: SERVICE_ACCOUNT,
            deadline_seconds,
            proof: &proof,
            traceparent: Some(&traceparent),
        })
    };
    if ctx.settings.mover_network_policy {
        let policies: Api<NetworkPolicy> = Api::namespaced(ctx.client.clone(), session.namespace());
        let policy = build::network_policy(&session.reference());
        create_if_absent_matching(&policies, &policy, Match::Owner).await.map_err(PrepareError::of_write)?;
    }
    let api: Api<Job> = Api::namespaced(ctx.client.clone(), session.namespace());
    create_named(&api, &order.name, "Job", &display, build).await
}

/// The plan of a retention Job: no volume but scratch, no place, nobody in particular.
pub fn retention_plan(task: &ResolvedTask, identity: Identity) -> ComponentPlan {
    ComponentPlan {
        component: planner::session::RETENTION.to_owned(),
        volumes: task.volumes.clone(),
        mounts: task.volume_mounts.clone(),
        placement: Placement::default(),
        identity,
    }
}

fn environment(ctx: &Context, order: &JobOrder<'_>, bundle: &str, traceparent: &str) -> Vec<(String, String)> {
    let session = &order.session;
    let services = &ctx.settings.services;
    let attempt = order.attempt.to_string();
    [
        (env::SESSION_SERVICE, services.session_address.as_str()),
        (env::SESSION_SERVER_NAME, services.session_server_name.as_str()),
        (env::STORAGE_SERVICE, services.storage_address.as_str()),
        (env::STORAGE_SERVER_NAME, services.storage_server_name.as_str()),
        (env::CA_BUNDLE, bundle),
        (env::SESSION_TOKEN_FILE, env::SESSION_TOKEN_PATH),
        (env::STORAGE_TOKEN_FILE, env::STORAGE_TOKEN_PATH),
        (env::SESSION_KIND, session.kind),
        (env::SESSION_NAMESPACE, session.namespace()),
        (env::SESSION_NAME, session.name()),
        (env::SESSION_UID, session.uid()),
        (env::COMPONENT, order.component),
        (env::COMPONENT_NAME, order.component),
        (env::ATTEMPT, attempt.as_str()),
        (env::TRACEPARENT, traceparent),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn tokens() -> Vec<Token> {
    [
        ("orlop-session-token", audience::SESSION, env::SESSION_TOKEN_PATH),
        ("orlop-storage-token", audience::STORAGE, env::STORAGE_TOKEN_PATH),
    ]
    .map(|(volume, audience, path)| Token { volume, audience: audience.to_owned(), path: path.to_owned() })
    .to_vec()
}

/// The trace that a session belongs to: the one that its trigger began, or one of its own, derived from its UID so that
/// every replica and every attempt names the same.
pub fn traceparent(session: &SessionIdentity<'_>) -> String {
    let begun = session.metadata.annotations.as_ref().and_then(|all| all.get(crd_types::annotations::TRACEPARENT));
    if let Some(begun) = begun {
        return begun.clone();
    }
    let digits: String = session.uid().chars().filter(char::is_ascii_hexdigit).chain(std::iter::repeat('1')).take(32).collect();
    format!("00-{digits}-{}-01", &digits[..16])
}
