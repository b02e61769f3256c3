//! As whom a Job touches the target's files (architecture §3 step 13).

use k8s_openapi::api::core::v1::{
    Capabilities, Container, LinuxContainerUser, Pod, PodSecurityContext, PodSpec, SELinuxOptions, SeccompProfile,
    SecurityContext,
};

use crate::resolve::Verb;

/// Who nobody in particular is.
const NOBODY: i64 = 65534;

/// What root keeps of its powers: enough to read and recreate any file, nothing beyond files.
const ROOT_CAPABILITIES: [&str; 6] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETFCAP", "MKNOD"];

/// Security settings of a Job's pod and container.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// Of the pod.
    pub pod: PodSecurityContext,
    /// Of the container.
    pub container: SecurityContext,
    /// Where the user comes from, for explanations.
    pub source: &'static str,
}

/// Where an identity is taken from, best first.
#[derive(Debug, Clone, Copy, Default)]
pub struct IdentitySources<'a> {
    /// The user's settings for the container, or the Function's.
    pub asked_container: Option<&'a SecurityContext>,
    /// The user's settings for the pod.
    pub asked_pod: Option<&'a PodSecurityContext>,
    /// A running pod of the target.
    pub live: Option<&'a Pod>,
    /// The target's template, when nothing of it runs.
    pub template: Option<&'a PodSpec>,
    /// The container that mounts the data; empty means the first.
    pub container: &'a str,
}

struct User {
    uid: i64,
    gid: Option<i64>,
    source: &'static str,
}

/// The identity for a Job.
pub fn identity(verb: Verb, sources: &IdentitySources<'_>) -> Identity {
    let spec = sources.live.and_then(|pod| pod.spec.as_ref()).or(sources.template);
    let pod_settings = spec.and_then(|spec| spec.security_context.as_ref());
    let container = spec.and_then(|spec| container_of(spec, sources.container));
    let container_settings = container.and_then(|container| container.security_context.as_ref());
    let running = running_user(sources.live, container.map(|container| container.name.as_str()));

    let user = asked_user(sources).or_else(|| {
        let declared = container_settings
            .and_then(|settings| settings.run_as_user)
            .or_else(|| pod_settings.and_then(|settings| settings.run_as_user));
        let group = container_settings
            .and_then(|settings| settings.run_as_group)
            .or_else(|| pod_settings.and_then(|settings| settings.run_as_group));
        match (declared, running) {
            (Some(uid), Some(running)) if running.uid == uid => {
                Some(User { uid, gid: group.or(Some(running.gid)), source: "the target's securityContext" })
            }
            (Some(uid), _) => Some(User { uid, gid: group, source: "the target's securityContext" }),
            (None, Some(running)) => {
                Some(User { uid: running.uid, gid: Some(running.gid), source: "the target's running container" })
            }
            (None, None) => None,
        }
    });
    let user = user.unwrap_or(match verb {
        Verb::Backup => User { uid: NOBODY, gid: Some(NOBODY), source: "the default for backups" },
        Verb::Restore => User { uid: 0, gid: Some(0), source: "the default for restores" },
    });

    let groups = sources
        .asked_pod
        .and_then(|asked| asked.supplemental_groups.clone())
        .or_else(|| supplemental_groups(pod_settings, running, &user));
    let selinux = [
        sources.asked_container.and_then(|asked| asked.se_linux_options.as_ref()),
        sources.asked_pod.and_then(|asked| asked.se_linux_options.as_ref()),
        container_settings.and_then(|settings| settings.se_linux_options.as_ref()),
        pod_settings.and_then(|settings| settings.se_linux_options.as_ref()),
    ];
    let fs_group =
        sources.asked_pod.and_then(|asked| asked.fs_group).or_else(|| pod_settings.and_then(|settings| settings.fs_group));
    build(&user, fs_group, groups, selinux.into_iter().flatten().next().cloned())
}

/// The least that a pod of ours may be: nobody, with nothing.
pub fn unprivileged(asked_pod: Option<&PodSecurityContext>) -> Identity {
    identity(Verb::Backup, &IdentitySources { asked_pod, ..IdentitySources::default() })
}

fn asked_user(sources: &IdentitySources<'_>) -> Option<User> {
    let uid = sources
        .asked_container
        .and_then(|asked| asked.run_as_user)
        .or_else(|| sources.asked_pod.and_then(|asked| asked.run_as_user))?;
    let gid = sources
        .asked_container
        .and_then(|asked| asked.run_as_group)
        .or_else(|| sources.asked_pod.and_then(|asked| asked.run_as_group));
    Some(User { uid, gid, source: "the session's own settings" })
}

fn supplemental_groups(
    settings: Option<&PodSecurityContext>,
    running: Option<&LinuxContainerUser>,
    user: &User,
) -> Option<Vec<i64>> {
    let mut groups = settings.and_then(|settings| settings.supplemental_groups.clone()).unwrap_or_default();
    // Groups that the image gives its user open files to the workload, so they must open them to us.
    if let Some(running) = running.filter(|running| running.uid == user.uid) {
        groups.extend(running.supplemental_groups.iter().flatten());
    }
    let fs_group = settings.and_then(|settings| settings.fs_group);
    groups.sort_unstable();
    groups.dedup();
    groups.retain(|group| Some(*group) != user.gid && Some(*group) != fs_group);
    (!groups.is_empty()).then_some(groups)
}

fn build(user: &User, fs_group: Option<i64>, groups: Option<Vec<i64>>, selinux: Option<SELinuxOptions>) -> Identity {
    let root = user.uid == 0;
    let seccomp = || Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None });
    Identity {
        pod: PodSecurityContext {
            run_as_user: Some(user.uid),
            run_as_group: user.gid,
            run_as_non_root: Some(!root),
            fs_group,
            // A recursive change of owners would touch live data and make every file look changed.
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            supplemental_groups: groups,
            se_linux_options: selinux,
            seccomp_profile: seccomp(),
            ..PodSecurityContext::default()
        },
        container: SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                add: root.then(|| ROOT_CAPABILITIES.map(str::to_owned).to_vec()),
            }),
            seccomp_profile: seccomp(),
            ..SecurityContext::default()
        },
        source: user.source,
    }
}

fn container_of<'a>(spec: &'a PodSpec, name: &str) -> Option<&'a Container> {
    spec.containers.iter().find(|container| container.name == name).or_else(|| spec.containers.first())
}

fn running_user<'a>(pod: Option<&'a Pod>, container: Option<&str>) -> Option<&'a LinuxContainerUser> {
    let status = pod?.status.as_ref()?;
    let statuses = status.container_statuses.as_ref()?;
    let found = statuses.iter().find(|status| Some(status.name.as_str()) == container)?;
    found.user.as_ref()?.linux.as_ref()
}
