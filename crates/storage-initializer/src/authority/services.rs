//! The services that get certificates, and the names of their Secrets.

/// Secret of the storage-initializer itself.
pub const OWN_TLS_SECRET: &str = "orlop-storage-initializer-tls";
pub(super) const CA_SECRET: &str = crd_types::names::own::CA_SECRET;
pub(super) const JOB_PROOF_SECRET: &str = crd_types::names::own::JOB_PROOF_SECRET;
pub(super) const JOB_PROOF_KEY: &str = crd_types::names::own::JOB_PROOF_KEY;

/// Name, Secret, and further Services of each process that serves gRPC.
const SERVICES: [(&str, &str, &[&str]); 3] = [
    ("orlop-storage-initializer", OWN_TLS_SECRET, &[]),
    ("orlop-scheduler", "orlop-scheduler-tls", &[]),
    ("orlop-session-controller", "orlop-session-controller-tls", &["orlop-session-controller-headless"]),
];

/// A process that serves gRPC.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Service {
    /// Name of its Service object.
    pub(super) name: &'static str,
    /// Name of its TLS Secret.
    pub(super) secret: &'static str,
    /// Names that its certificate bears.
    pub(super) server_names: Vec<String>,
}

/// Every service, with the names it has in this namespace.
pub(super) fn all(namespace: &str) -> Vec<Service> {
    SERVICES
        .iter()
        .map(|(name, secret, further)| {
            let server_names = [*name].iter().chain(*further).flat_map(|host| names_of(host, namespace)).collect();
            Service { name, secret, server_names }
        })
        .collect()
}

fn names_of(host: &str, namespace: &str) -> [String; 3] {
    [format!("{host}.{namespace}.svc"), format!("{host}.{namespace}.svc.cluster.local"), host.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::all;

    #[test]
    fn the_headless_service_shares_the_session_controllers_certificate() {
        let services = all("orlop-system");
        let session_controller = services.iter().find(|service| service.secret == "orlop-session-controller-tls");
        let names = session_controller.map(|service| service.server_names.clone()).unwrap_or_default();
        for name in ["orlop-session-controller.orlop-system.svc", "orlop-session-controller-headless.orlop-system.svc"] {
            assert!(names.iter().any(|known| known == name), "{name} is not among {names:?}");
        }
    }
}
