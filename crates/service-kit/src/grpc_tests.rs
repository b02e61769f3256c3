#![allow(clippy::unwrap_used)]

use prometheus_client::registry::Registry;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::*;
use crate::{
    client::{ClientTls, endpoint_at},
    test_certificates::Authority,
};

const NAME: &str = "orlop-scheduler.orlop-system.svc";
const SERVICE: &str = "orlop.schedule.v1alpha1.ScheduleService";

struct Running {
    address: SocketAddr,
    certificate: CertificateStore,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), GrpcError>>,
}

async fn start() -> Running {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let certificate = CertificateStore::new();
    let shutdown = CancellationToken::new();
    let server = GrpcServer {
        listener,
        certificate: certificate.clone(),
        routes: Routes::default(),
        service_names: vec![SERVICE],
        reflection: true,
        metrics: GrpcMetrics::register(&mut Registry::default()),
    };
    let task = tokio::spawn(serve(server, shutdown.clone()));
    Running { address, certificate, shutdown, task }
}

async fn is_serving(address: SocketAddr, ca_pem: String, server_name: &str) -> bool {
    let tls = ClientTls { ca_pem, server_name: server_name.to_owned() };
    let Ok(channel) = endpoint_at(address, &tls).unwrap().connect().await else { return false };
    let request = HealthCheckRequest { service: SERVICE.to_owned() };
    HealthClient::new(channel).check(request).await.is_ok()
}

/// Architecture §7: certificates reload without a restart, and clients trust the old and the new authority together.
#[tokio::test]
async fn a_replaced_certificate_is_served_at_once() {
    let server = start().await;
    let (old, new) = (Authority::new(), Authority::new());
    assert!(!is_serving(server.address, old.pem(), NAME).await, "nothing to show yet");

    let (certificate, key) = old.issue(NAME);
    assert!(server.certificate.replace(certificate.as_bytes(), key.as_bytes()).unwrap());
    assert!(!server.certificate.replace(certificate.as_bytes(), key.as_bytes()).unwrap(), "the same again");
    assert!(is_serving(server.address, old.pem(), NAME).await);
    assert!(!is_serving(server.address, new.pem(), NAME).await);

    let (certificate, key) = new.issue(NAME);
    assert!(server.certificate.replace(certificate.as_bytes(), key.as_bytes()).unwrap());
    assert!(is_serving(server.address, new.pem(), NAME).await);
    assert!(!is_serving(server.address, old.pem(), NAME).await);
    assert!(is_serving(server.address, format!("{}{}", old.pem(), new.pem()), NAME).await);
}

/// Clients verify the service's name, not the address they dialled.
#[tokio::test]
async fn another_services_certificate_is_refused() {
    let server = start().await;
    let authority = Authority::new();
    let (certificate, key) = authority.issue(NAME);
    server.certificate.replace(certificate.as_bytes(), key.as_bytes()).unwrap();
    assert!(!is_serving(server.address, authority.pem(), "orlop-session-controller.orlop-system.svc").await);
}

#[tokio::test]
async fn an_unusable_pair_leaves_the_old_one_in_force() {
    let server = start().await;
    let authority = Authority::new();
    let (certificate, key) = authority.issue(NAME);
    server.certificate.replace(certificate.as_bytes(), key.as_bytes()).unwrap();
    let (_, foreign_key) = authority.issue(NAME);
    assert!(server.certificate.replace(certificate.as_bytes(), foreign_key.as_bytes()).is_err());
    assert!(server.certificate.replace(b"", key.as_bytes()).is_err());
    assert!(is_serving(server.address, authority.pem(), NAME).await);
}

#[tokio::test]
async fn a_shutdown_ends_the_server() {
    let server = start().await;
    server.shutdown.cancel();
    server.task.await.unwrap().unwrap();
}
