//! Limits of speed: from annotations to movers, at the beginning and whenever they change.

use crd_types::BackupConfiguration;
use kube::{Resource, ResourceExt};
use planner::bandwidth::{Asking, Bandwidth, BandwidthPlan, bandwidth};
use proto_api::mover::v1alpha1::Limits;

use crate::context::Context;

/// What a person reads in events.
const ACTION: &str = "Limit";

/// Tells the movers of a session the limits of now, if they were told others, and people what is wrong with the annotations.
pub async fn pass_on_limits<K>(ctx: &Context, session: &K, configuration: Option<&BackupConfiguration>)
where
    K: Resource<DynamicType = ()>,
{
    let BandwidthPlan { bandwidth, ignored } = limits(session, configuration);
    if ctx.registry.limit(&session.uid().unwrap_or_default(), bandwidth, &ignored) {
        for reason in &ignored {
            ctx.events.warning(session, reason.reason, ACTION, &reason.message).await;
        }
    }
}

/// The limits of a session: its own word, else its configuration's.
pub(super) fn limits<K>(session: &K, configuration: Option<&BackupConfiguration>) -> BandwidthPlan
where
    K: Resource<DynamicType = ()>,
{
    let mut all = vec![asking(session)];
    all.extend(configuration.map(asking));
    bandwidth(&all)
}

fn asking<K: Resource<DynamicType = ()>>(object: &K) -> Asking<'_> {
    let name = format!("{} {}/{}", K::kind(&()), object.namespace().unwrap_or_default(), object.name_any());
    Asking { object: name, annotations: object.meta().annotations.as_ref() }
}

pub(super) fn to_wire(Bandwidth { upload, download }: Bandwidth) -> Limits {
    Limits { upload_bytes_per_second: upload, download_bytes_per_second: download }
}

pub(super) fn of_wire(limits: Option<Limits>) -> Bandwidth {
    let limits = limits.unwrap_or_default();
    Bandwidth { upload: limits.upload_bytes_per_second, download: limits.download_bytes_per_second }
}
