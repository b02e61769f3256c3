//! Orlop's gRPC services as platform tooling reaches them: TLS, verified by Orlop's own authority, and a token of a ServiceAccount.

use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::{Mutex, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use tokio::time::{Instant, sleep};
use tonic::Request;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};

use crate::cluster::{Cluster, text};
use crate::{SYSTEM_NAMESPACE, tools_dir};

/// Longest answer that a person would wait for.
const ANSWER: Duration = Duration::from_secs(30);

/// The longest that a service may be without a leader that answers: its lease of 5 s, and the kubelet's pause before it starts a
/// container that was killed before.
const NO_LEADER: Duration = Duration::from_secs(40);

/// Held for reading by scenarios that call a service, for writing by those that kill one. They run beside each other, and a call
/// that a killed leader leaves unanswered tells nothing of what the scenario is about.
static REIGNS: LazyLock<Arc<RwLock<()>>> = LazyLock::new(Arc::default);
/// Those who kill do not mind each other.
static UPHEAVAL: Mutex<Weak<OwnedRwLockWriteGuard<()>>> = Mutex::const_new(Weak::new());

/// No leader is killed by a scenario for as long as this is held.
pub async fn undisturbed() -> OwnedRwLockReadGuard<()> {
    REIGNS.clone().read_owned().await
}

/// No scenario calls a service for as long as this is held.
pub async fn upheaval() -> Arc<OwnedRwLockWriteGuard<()>> {
    let mut upheaval = UPHEAVAL.lock().await;
    if let Some(begun) = upheaval.upgrade() {
        return begun;
    }
    let begun = Arc::new(REIGNS.clone().write_owned().await);
    *upheaval = Arc::downgrade(&begun);
    begun
}

/// The pod that leads a service (`scheduler`), if its lease names one.
pub async fn leader(cluster: &Cluster, service: &str) -> Result<Option<Value>> {
    let lease = cluster.get("Lease", SYSTEM_NAMESPACE, &format!("orlop-{service}")).await?;
    let holder = text(&lease, "/spec/holderIdentity");
    let pods = cluster.list("Pod", SYSTEM_NAMESPACE, "").await?;
    Ok(pods.into_iter().find(|pod| !holder.is_empty() && holder.starts_with(&text(pod, "/metadata/name"))))
}

/// A connection to a service's leader, verified as a mover verifies it. One that has just been elected is waited for.
pub async fn dial(cluster: &Cluster, service: &str) -> Result<Channel> {
    let deadline = Instant::now() + NO_LEADER;
    loop {
        match dial_once(cluster, service).await {
            Err(_) if Instant::now() < deadline => sleep(Duration::from_secs(1)).await,
            dialled => return dialled,
        }
    }
}

async fn dial_once(cluster: &Cluster, service: &str) -> Result<Channel> {
    let secret = cluster.get("Secret", SYSTEM_NAMESPACE, &format!("orlop-{service}-tls")).await?;
    let decode = Command::new("bash").args(["-c", "base64 -d <<<\"$1\"", "decode", &text(&secret, "/data/ca.crt")]).output();
    let authority = decode.await?.stdout;
    let pod = leader(cluster, service).await?.with_context(|| format!("{service} has no leader"))?;
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority))
        .domain_name(format!("orlop-{service}.{SYSTEM_NAMESPACE}.svc"));
    let address = format!("https://{}:9443", text(&pod, "/status/podIP"));
    Channel::from_shared(address)?.tls_config(tls)?.connect().await.with_context(|| format!("cannot reach {service}"))
}

/// A token of a ServiceAccount. `more` are arguments of `kubectl create token`, such as the pod that it is bound to.
pub async fn token(namespace: &str, account: &str, audience: &str, more: &[&str]) -> Result<String> {
    let output = Command::new(tools_dir().join("kubectl"))
        .args(["--namespace", namespace, "create", "token", account, "--audience", audience])
        .args(more)
        .output()
        .await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// A call with a token and a deadline.
pub fn call<T>(token: &str, message: T) -> Result<Request<T>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
    request.set_timeout(ANSWER);
    Ok(request)
}
