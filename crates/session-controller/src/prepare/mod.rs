//! From a session to its Jobs: what the catalogue and the target say, resolved and planned, and the Job made of it.
//!
//! Backups and restores go the same way; only the verb, the paths and the names differ.

mod create;
mod error;
mod job;
mod read;

use crd_types::{AddonInfo, TypedObjectReference};
use planner::decision::Reason;
use planner::resolve::{self, ResolveError, ResolvedTask, Variables, Verb};
use planner::session::Preparation;
use planner::workload::{self, ComponentPlan, TargetKind, TargetView, WorkloadError};

pub use create::create_named;
pub use error::PrepareError;
pub use job::{JobOrder, SessionIdentity, retention_plan, start_job, traceparent};

use crate::context::Context;

const STEP: &str = "prepare";

/// What a Job is to be prepared for.
#[derive(Debug, Clone)]
pub struct PrepareRequest<'a> {
    /// Which way the data goes.
    pub verb: Verb,
    /// Namespace of the session, its Jobs and its target.
    pub namespace: &'a str,
    /// Kind of what invoked the session, for placeholders.
    pub invoker_kind: &'a str,
    /// Name of it.
    pub invoker_name: &'a str,
    /// Name of the session object.
    pub session: &'a str,
    /// Name of the Snapshot that is restored.
    pub snapshot: Option<&'a str>,
    /// Addon, task and settings.
    pub info: Option<&'a AddonInfo>,
    /// The target.
    pub target: Option<&'a TypedObjectReference>,
    /// Paths that a restore writes; a backup's come from its task.
    pub paths: &'a [String],
}

/// Everything a Job of a session is made from.
#[derive(Debug, Clone)]
pub struct Ready {
    /// The working container.
    pub task: ResolvedTask,
    /// The components, with their volumes, place and identity.
    pub components: Vec<ComponentPlan>,
    /// Whether the user's template may ask for the node's own namespaces.
    pub host_namespaces: bool,
}

/// What came of preparing.
#[derive(Debug, Clone)]
pub enum Prepared {
    /// Jobs can be made.
    Ready(Box<Ready>),
    /// Something is missing that may still come.
    Waiting(Reason),
    /// It cannot work as it is written.
    Refused(Reason),
}

impl Prepared {
    /// What the planner has to know of it.
    pub fn preparation(&self) -> Preparation {
        match self {
            Self::Ready(ready) => {
                let components = ready.components.iter().map(|component| component.component.clone()).collect();
                Preparation::Ready { components }
            }
            Self::Waiting(reason) => Preparation::Waiting(reason.clone()),
            Self::Refused(reason) => Preparation::Refused(reason.clone()),
        }
    }

    /// What Jobs are made from, if they can be made.
    pub fn ready(&self) -> Option<&Ready> {
        match self {
            Self::Ready(ready) => Some(ready),
            Self::Waiting(_) | Self::Refused(_) => None,
        }
    }
}

impl From<ResolveError> for Prepared {
    fn from(error: ResolveError) -> Self {
        let reason = Reason::new(STEP, error.reason(), error.to_string());
        if error.may_pass() { Self::Waiting(reason) } else { Self::Refused(reason) }
    }
}

impl From<WorkloadError> for Prepared {
    fn from(error: WorkloadError) -> Self {
        let reason = Reason::new(STEP, error.reason(), error.to_string());
        if error.may_pass() { Self::Waiting(reason) } else { Self::Refused(reason) }
    }
}

/// Reads catalogue and target and plans the Jobs of a session.
///
/// # Errors
/// [`PrepareError::Read`] when the API server does not answer; what is wrong with the session itself is a
/// [`Prepared::Waiting`] or [`Prepared::Refused`].
pub async fn prepare(ctx: &Context, request: &PrepareRequest<'_>) -> Result<Prepared, PrepareError> {
    let Some(info) = request.info else { return Ok(ResolveError::NoAddon.into()) };
    let Some(name) = info.name.as_deref().filter(|name| !name.is_empty()) else { return Ok(ResolveError::NoAddon.into()) };
    let Some(addon) = read::addon(&ctx.client, name).await? else {
        let message = format!("Addon {name} does not exist: install the catalogue or correct addon.name");
        return Ok(Prepared::Waiting(Reason::new(STEP, "AddonNotFound", message)));
    };
    let selected = match resolve::select(request.verb, &addon, info) {
        Ok(selected) => selected,
        Err(error) => return Ok(error.into()),
    };
    let Some(function) = read::function(&ctx.client, selected.function).await? else {
        return Ok(resolve::function_missing(&selected).into());
    };
    let kind = match workload::check_target(request.target, request.namespace) {
        Ok(kind) => kind,
        Err(error) => return Ok(error.into()),
    };
    let Some(target) = request.target else { return Ok(WorkloadError::NoTarget.into()) };
    let view = match read::target(&ctx.client, request.namespace, kind, target).await? {
        Ok(view) => view,
        Err(error) => return Ok(error.into()),
    };
    let host_namespaces = match workload::check_template(info, request.namespace, false) {
        Ok(()) => false,
        Err(error) => {
            if !read::host_namespaces_allowed(&ctx.client, request.namespace).await? {
                return Ok(error.into());
            }
            true
        }
    };
    Ok(plan(request, &addon, &function, info, &view, host_namespaces))
}

/// The pure part: catalogue and target in, Jobs' parts out.
fn plan(
    request: &PrepareRequest<'_>,
    addon: &crd_types::Addon,
    function: &crd_types::Function,
    info: &AddonInfo,
    view: &TargetView,
    host_namespaces: bool,
) -> Prepared {
    let mounted = match workload::mounted_paths(view, info) {
        Ok(mounted) => mounted,
        Err(error) => return error.into(),
    };
    let task = resolve::resolve(&resolve::Request {
        verb: request.verb,
        addon,
        function,
        info,
        builtins: builtins(request, view),
        mounted_paths: &mounted,
    });
    let task = match task {
        Ok(task) => task,
        Err(error) => return error.into(),
    };
    let paths = match request.verb {
        Verb::Backup => &task.paths,
        Verb::Restore => request.paths,
    };
    match workload::plan(request.verb, view, info, &task, paths) {
        Ok(components) => Prepared::Ready(Box::new(Ready { task, components, host_namespaces })),
        Err(error) => error.into(),
    }
}

fn builtins(request: &PrepareRequest<'_>, view: &TargetView) -> Variables {
    let mut variables = Variables::of_session(request.namespace, request.invoker_kind, request.invoker_name);
    match request.verb {
        Verb::Backup => variables.set("backupSession", request.session),
        Verb::Restore => variables.set("restoreSession", request.session),
    }
    if let Some(snapshot) = request.snapshot {
        variables.set("snapshot", snapshot);
    }
    if view.kind == TargetKind::PersistentVolumeClaim {
        variables.set("PVC_NAME", view.name.as_str());
    }
    variables
}
