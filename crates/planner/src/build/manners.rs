//! How every pod of ours behaves in a namespace that is not ours (architecture §7).

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        EnvVar, EnvVarSource, LocalObjectReference, ObjectFieldSelector, ProjectedVolumeSource, ResourceRequirements,
        ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
    },
    apimachinery::pkg::api::resource::Quantity,
};

/// Settings of the installation that every pod of ours follows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodManners {
    /// Names of Secrets with registry credentials.
    pub image_pull_secrets: Vec<String>,
    /// When images are pulled; empty leaves it to Kubernetes.
    pub image_pull_policy: Option<String>,
    /// Proxy variables of the control plane, `NO_PROXY` included, as it has them itself.
    pub proxy: Vec<(String, String)>,
    /// OpenTelemetry's standard variables of the control plane: where traces go.
    pub telemetry: Vec<(String, String)>,
    /// Hosts that must never be reached through a proxy: our own Services.
    pub no_proxy_hosts: Vec<String>,
    /// Requests when nobody asked for any, by resource name.
    pub default_requests: BTreeMap<String, String>,
    /// Limits when nobody asked for any, by resource name.
    pub default_limits: BTreeMap<String, String>,
}

/// Variables by which a cluster names its proxy.
const PROXY_VARIABLES: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

/// Prefix of OpenTelemetry's standard variables.
const TELEMETRY_PREFIX: &str = "OTEL_";

/// Ends of telemetry variables that stay behind: they name the process, or a file that only its own pod has, or hold a
/// credential, which has no place in a tenant's pod (`docs/adr/0006`).
const TELEMETRY_KEPT_BACK: [&str; 6] =
    ["_SERVICE_NAME", "_RESOURCE_ATTRIBUTES", "_CERTIFICATE", "_CLIENT_KEY", "_CLIENT_CERTIFICATE", "_HEADERS"];

impl PodManners {
    /// What pods of ours take over from the environment of the process that makes them: its proxies, and where its traces go,
    /// so that a trace does not end where a pod begins.
    #[must_use]
    pub fn inherited(environment: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut manners = Self::default();
        for (name, value) in environment.into_iter().filter(|(_, value)| !value.is_empty()) {
            if PROXY_VARIABLES.iter().any(|known| name.eq_ignore_ascii_case(known)) {
                manners.proxy.push((name, value));
            } else if name.starts_with(TELEMETRY_PREFIX) && !TELEMETRY_KEPT_BACK.iter().any(|end| name.ends_with(end)) {
                manners.telemetry.push((name, value));
            }
        }
        // The order of an environment is nobody's choice, and a Job's template should not depend on it.
        manners.proxy.sort();
        manners.telemetry.sort();
        manners
    }

    /// Compute resources for a container that nobody gave any.
    pub(super) fn resources(&self) -> ResourceRequirements {
        let quantities = |amounts: &BTreeMap<String, String>| {
            let map: BTreeMap<String, Quantity> =
                amounts.iter().map(|(name, amount)| (name.clone(), Quantity(amount.clone()))).collect();
            (!map.is_empty()).then_some(map)
        };
        ResourceRequirements {
            requests: quantities(&self.default_requests),
            limits: quantities(&self.default_limits),
            claims: None,
        }
    }

    /// Compute resources of a trigger, which does one call.
    pub(super) fn trigger_resources() -> ResourceRequirements {
        let amounts = |cpu: &str, memory: &str| {
            BTreeMap::from([("cpu".to_owned(), Quantity(cpu.to_owned())), ("memory".to_owned(), Quantity(memory.to_owned()))])
        };
        ResourceRequirements { requests: Some(amounts("10m", "16Mi")), limits: Some(amounts("200m", "64Mi")), claims: None }
    }

    /// Variables of every pod: telemetry, and proxies with our Services among those that need none.
    pub(super) fn environment(&self) -> Vec<EnvVar> {
        let telemetry = self.telemetry.iter().map(|(name, value)| env(name, value.clone()));
        telemetry.chain(self.proxy_variables()).collect()
    }

    fn proxy_variables(&self) -> Vec<EnvVar> {
        self.proxy
            .iter()
            .map(|(name, value)| {
                let value = if name.eq_ignore_ascii_case("NO_PROXY") { self.no_proxy(value) } else { value.clone() };
                env(name, value)
            })
            .chain(self.missing_no_proxy())
            .collect()
    }

    pub(super) fn pull_secrets(&self, asked: &[LocalObjectReference]) -> Option<Vec<LocalObjectReference>> {
        let mut secrets: Vec<LocalObjectReference> = asked.to_vec();
        for name in &self.image_pull_secrets {
            if secrets.iter().all(|known| known.name != *name) {
                secrets.push(LocalObjectReference { name: name.clone() });
            }
        }
        (!secrets.is_empty()).then_some(secrets)
    }

    fn no_proxy(&self, value: &str) -> String {
        let mut hosts: Vec<&str> = value.split(',').filter(|host| !host.is_empty()).collect();
        for host in &self.no_proxy_hosts {
            if !hosts.contains(&host.as_str()) {
                hosts.push(host);
            }
        }
        hosts.join(",")
    }

    fn missing_no_proxy(&self) -> Vec<EnvVar> {
        let has = |wanted: &str| self.proxy.iter().any(|(name, _)| name == wanted);
        if self.proxy.is_empty() {
            return Vec::new();
        }
        ["NO_PROXY", "no_proxy"].into_iter().filter(|name| !has(name)).map(|name| env(name, self.no_proxy(""))).collect()
    }
}

/// A projected ServiceAccount token: valid for one audience, for ten minutes, for this pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Name of the volume.
    pub volume: &'static str,
    /// Who accepts it.
    pub audience: String,
    /// Absolute path of the token file.
    pub path: String,
}

/// Shortest life that Kubernetes gives a token; the kubelet renews it in time.
const TOKEN_SECONDS: i64 = 600;

impl Token {
    pub(super) fn volume(&self) -> Volume {
        let file = self.path.rsplit('/').next().unwrap_or("token").to_owned();
        Volume {
            name: self.volume.to_owned(),
            projected: Some(ProjectedVolumeSource {
                default_mode: None,
                sources: Some(vec![VolumeProjection {
                    service_account_token: Some(ServiceAccountTokenProjection {
                        audience: Some(self.audience.clone()),
                        expiration_seconds: Some(TOKEN_SECONDS),
                        path: file,
                    }),
                    ..VolumeProjection::default()
                }]),
            }),
            ..Volume::default()
        }
    }

    pub(super) fn mount(&self) -> VolumeMount {
        let directory = self.path.rsplit_once('/').map_or("/", |(directory, _)| directory);
        VolumeMount {
            name: self.volume.to_owned(),
            mount_path: directory.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        }
    }
}

/// Names of volumes that are ours alone: nobody else's container may mount them.
pub(super) fn is_reserved_volume(name: &str) -> bool {
    name.starts_with("orlop-")
}

/// Annotations that keep meshes and autoscalers away from a pod that must run once, undisturbed.
pub(super) fn undisturbed() -> BTreeMap<String, String> {
    [
        ("sidecar.istio.io/inject", "false"),
        ("linkerd.io/inject", "disabled"),
        ("kuma.io/sidecar-injection", "disabled"),
        ("consul.hashicorp.com/connect-inject", "false"),
        ("cluster-autoscaler.kubernetes.io/safe-to-evict", "false"),
        ("karpenter.sh/do-not-disrupt", "true"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// The label by which newer Istio versions are kept away.
pub(super) fn no_mesh_label() -> (String, String) {
    ("sidecar.istio.io/inject".to_owned(), "false".to_owned())
}

pub(super) fn env(name: &str, value: impl Into<String>) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.into()), value_from: None }
}

pub(super) fn env_of_field(name: &str, field: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { api_version: None, field_path: field.to_owned() }),
            ..EnvVarSource::default()
        }),
    }
}

/// Adds `added` to a list in which a name stands once; what is added wins.
pub(super) fn override_env(list: &mut Vec<EnvVar>, added: Vec<EnvVar>) {
    for variable in added {
        list.retain(|known| known.name != variable.name);
        list.push(variable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Architecture §7: proxies never stand between our pods and our Services.
    #[test]
    fn our_services_need_no_proxy() {
        let manners = PodManners {
            proxy: vec![
                ("HTTPS_PROXY".to_owned(), "http://proxy:3128".to_owned()),
                ("NO_PROXY".to_owned(), "10.0.0.0/8,a.svc".to_owned()),
            ],
            no_proxy_hosts: vec!["a.svc".to_owned(), "b.svc".to_owned()],
            ..PodManners::default()
        };
        let env: Vec<(String, String)> =
            manners.environment().into_iter().map(|variable| (variable.name, variable.value.unwrap_or_default())).collect();
        assert_eq!(env[1], ("NO_PROXY".to_owned(), "10.0.0.0/8,a.svc,b.svc".to_owned()));
        assert_eq!(env[2], ("no_proxy".to_owned(), "a.svc,b.svc".to_owned()));
        assert!(PodManners::default().environment().is_empty());
    }

    /// What the services are told about traces reaches the pods they make, but nothing that is theirs alone or secret.
    #[test]
    fn pods_inherit_where_traces_go_and_no_credential() {
        let environment = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317"),
            ("OTEL_TRACES_SAMPLER", "parentbased_always_on"),
            ("OTEL_SERVICE_NAME", "scheduler"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "api-key=secret"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/etc/ca.pem"),
            ("OTEL_EMPTY", ""),
            ("https_proxy", "http://proxy:3128"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ];
        let manners = PodManners::inherited(environment.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let names = |variables: &[(String, String)]| variables.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&manners.telemetry), ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER"]);
        assert_eq!(names(&manners.proxy), ["https_proxy"]);
    }
}
