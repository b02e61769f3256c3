//! The pod of a Job: our rules first, the user's template within them (specification §1.2.12, architecture §7).

use crd_types::{PodTemplatePodSpec, PodTemplateSpec};
use k8s_openapi::api::core::v1::{
    Affinity, Container, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Toleration,
};

use super::manners::{PodManners, is_reserved_volume};

/// Seconds a mover gets to write its index, unlock and report once it is told to end.
const GRACE_SECONDS: i64 = 60;

/// A pod under our rules, still without containers.
pub(super) fn pod_template(manners: &PodManners) -> PodSpec {
    PodSpec {
        restart_policy: Some("Never".to_owned()),
        // Movers hold no permission at the API server; their only tokens are projected ones.
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        image_pull_secrets: manners.pull_secrets(&[]),
        ..PodSpec::default()
    }
}

/// Merges the user's template into a pod. Container settings were merged when the task was resolved, identity when
/// the target was looked at.
pub(super) fn apply_template(pod: &mut PodSpec, template: Option<&PodTemplateSpec>, host_namespaces: bool, manners: &PodManners) {
    let Some(asked) = template.and_then(|template| template.spec.as_ref()) else { return };
    let PodTemplatePodSpec {
        affinity,
        dns_config,
        dns_policy,
        host_ipc,
        host_network,
        host_pid,
        image_pull_secrets,
        init_containers,
        node_selector,
        priority,
        priority_class_name,
        runtime_class_name,
        scheduler_name,
        service_account_name,
        share_process_namespace,
        termination_grace_period_seconds,
        tolerations,
        topology_spread_constraints,
        volumes,
        // Of the working container, merged by `resolve`.
        args: _,
        container_security_context: _,
        env: _,
        lifecycle: _,
        liveness_probe: _,
        readiness_probe: _,
        resources: _,
        volume_mounts: _,
        // Part of the identity, merged by `workload`.
        security_context: _,
        // Settings that a pod of ours does without.
        enable_service_links: _,
        pod_placement_policy: _,
    } = asked;
    pod.affinity = affinity.clone().or(pod.affinity.take());
    pod.dns_config = dns_config.clone();
    pod.dns_policy = dns_policy.clone();
    pod.image_pull_secrets = manners.pull_secrets(image_pull_secrets);
    pod.priority = *priority;
    pod.priority_class_name = priority_class_name.clone();
    pod.runtime_class_name = runtime_class_name.clone();
    pod.scheduler_name = scheduler_name.clone();
    pod.share_process_namespace = *share_process_namespace;
    if let Some(name) = service_account_name {
        pod.service_account_name = Some(name.clone());
    }
    if let Some(seconds) = termination_grace_period_seconds {
        // Less would cut off the mover before it has unlocked.
        pod.termination_grace_period_seconds = Some((*seconds).max(GRACE_SECONDS));
    }
    if host_namespaces {
        pod.host_ipc = *host_ipc;
        pod.host_network = *host_network;
        pod.host_pid = *host_pid;
    }
    if !node_selector.is_empty() {
        pod.node_selector = Some(node_selector.clone());
    }
    if !topology_spread_constraints.is_empty() {
        pod.topology_spread_constraints = Some(topology_spread_constraints.clone());
    }
    add_tolerations(pod, tolerations);
    let known = pod.volumes.get_or_insert_default();
    for volume in volumes.iter().filter(|volume| !is_reserved_volume(&volume.name)) {
        if known.iter().all(|present| present.name != volume.name) {
            known.push(volume.clone());
        }
    }
    if !init_containers.is_empty() {
        pod.init_containers = Some(init_containers.iter().map(without_our_volumes).collect());
    }
}

/// Requires a node, within whatever affinity the pod has already.
pub(super) fn pin_to_node(pod: &mut PodSpec, node: &str) {
    // The field, not the host name label: the two may differ.
    let pin = NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let affinity = pod.affinity.get_or_insert_with(Affinity::default);
    let node_affinity = affinity.node_affinity.get_or_insert_with(NodeAffinity::default);
    let required = node_affinity
        .required_during_scheduling_ignored_during_execution
        .get_or_insert_with(|| NodeSelector { node_selector_terms: Vec::new() });
    if required.node_selector_terms.is_empty() {
        required.node_selector_terms.push(NodeSelectorTerm::default());
    }
    // Terms are alternatives: the pin has to hold in each.
    for term in &mut required.node_selector_terms {
        term.match_fields.get_or_insert_default().push(pin.clone());
    }
}

fn add_tolerations(pod: &mut PodSpec, asked: &[Toleration]) {
    if asked.is_empty() {
        return;
    }
    let tolerations = pod.tolerations.get_or_insert_default();
    for toleration in asked {
        if !tolerations.contains(toleration) {
            tolerations.push(toleration.clone());
        }
    }
}

/// A user's container must not read the mover's tokens.
fn without_our_volumes(container: &Container) -> Container {
    let mut container = container.clone();
    if let Some(mounts) = &mut container.volume_mounts {
        mounts.retain(|mount| !is_reserved_volume(&mount.name));
    }
    container
}
