//! What a person on call sees: metrics that a real Prometheus scrapes, health that says what is missing, structured logs.

use std::fs;
use std::time::Duration;

use e2e::cluster::{Cluster, text};
use e2e::files;
use e2e::tenant::{Backup, Tenant};
use e2e::traces::Traces;
use e2e::{SYSTEM_NAMESPACE, tools_dir};
use serde_json::Value;
use tokio::process::Command;

const PROMETHEUS: &str = "127.0.0.1:19090";

/// Every replica of every service is up in Prometheus, its metrics pass promtool, and after a backup the series that
/// KubeStash's dashboards read are there (specification §5.1).
#[tokio::test]
async fn prometheus_scrapes_what_dashboards_read() {
    let tenant = Tenant::create("metrics").await.unwrap();
    tenant.storage().await.unwrap();
    files::make_tree(&tenant.workload("app", "node1").await.unwrap()).unwrap();
    tenant.backed_up(&Backup::default()).await.unwrap();

    let addresses = service_addresses(&tenant.cluster).await;
    assert!(addresses.len() >= 6, "two replicas of three services: {addresses:?}");
    for address in &addresses {
        promtool_accepts(&get(&format!("http://{address}/metrics")).await, address).await;
        let ready: Value = serde_json::from_str(&get(&format!("http://{address}/readyz")).await).expect("/readyz answers JSON");
        assert!(ready.is_object(), "{ready}");
    }

    let folder = tempfile::tempdir().unwrap();
    let targets = addresses.iter().map(|address| format!("'{address}'")).collect::<Vec<_>>().join(", ");
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: orlop\n  static_configs: [{{targets: [{targets}]}}]\n"
    );
    fs::write(folder.path().join("prometheus.yml"), config).unwrap();
    let _prometheus = Command::new(tools_dir().join("prometheus"))
        .args(["--config.file", "prometheus.yml", "--storage.tsdb.path", "data", "--web.listen-address", PROMETHEUS])
        .current_dir(folder.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    until_query("count(up == 1)", |value| value == addresses.len() as f64).await;
    let of_tenant = format!("namespace=\"{}\"", tenant.namespace);
    for series in [
        format!("core_kubestash_com_backupsession_phase{{{of_tenant},phase=\"Succeeded\"}} == 1"),
        format!("core_kubestash_com_backupconfiguration_phase{{{of_tenant},phase=\"Ready\"}} == 1"),
        format!("storage_kubestash_com_repository_last_successful_backup{{{of_tenant}}} > 0"),
        format!("storage_kubestash_com_snapshot_size_bytes{{{of_tenant}}} > 0"),
        "orlop_reconcile_total > 0".to_owned(),
    ] {
        until_query(&format!("count({series})"), |value| value >= 1.0).await;
    }
    tenant.remove().await.unwrap();
}

/// One trace leads from the trigger pod through every service to the mover. It is told by OTLP, which OTEL_* alone switches on.
#[tokio::test]
async fn one_trace_from_trigger_to_mover() {
    let traces = Traces::receive().unwrap();
    let tenant = Tenant::create("traces").await.unwrap();
    tenant.storage().await.unwrap();
    files::make_tree(&tenant.workload("app", "node1").await.unwrap()).unwrap();
    tenant.backed_up(&Backup::default()).await.unwrap();
    let session = tenant.back_up_again().await.unwrap();
    let traceparent = text(&session, "/metadata/annotations/orlop.dev~1traceparent");
    let trace_id = traceparent.split('-').nth(1).expect("the session carries a traceparent").to_owned();

    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    loop {
        ticks.tick().await;
        let spans = traces.of(&trace_id);
        let names: Vec<&str> = spans.values().flatten().map(String::as_str).collect();
        let all = ["orlop-scheduler", "orlop-session-controller", "orlop-storage-initializer", "orlop-data-mover"];
        if all.iter().all(|service| spans.contains_key(*service))
            && ["schedule.trigger", "mover.backup"].iter().all(|name| names.contains(name))
        {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "trace {trace_id} holds only {spans:?}");
    }
    tenant.remove().await.unwrap();
}

async fn service_addresses(cluster: &Cluster) -> Vec<String> {
    let pods = cluster.list("Pod", SYSTEM_NAMESPACE, "app.kubernetes.io/part-of=orlop").await.unwrap();
    pods.iter()
        .filter(|pod| text(pod, "/status/phase") == "Running")
        .map(|pod| format!("{}:8080", text(pod, "/status/podIP")))
        .collect()
}

async fn get(url: &str) -> String {
    let output = Command::new("curl").args(["-sS", "--max-time", "10", url]).output().await.unwrap();
    assert!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn promtool_accepts(metrics: &str, whose: &str) {
    use tokio::io::AsyncWriteExt as _;
    let mut promtool = Command::new(tools_dir().join("promtool"))
        .args(["check", "metrics", "--extended"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // promtool reads the older text format, which has no end mark and no type for build information.
    let text = metrics.replace("# EOF\n", "").replace(" info\n", " gauge\n");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
    let output = promtool.wait_with_output().await.unwrap();
    // Exit status 3 means style advice on names that are KubeStash's, not ours to change; 1 means they do not parse.
    assert_ne!(output.status.code(), Some(1), "{whose}: {}", String::from_utf8_lossy(&output.stderr));
}

async fn until_query(query: &str, holds: impl Fn(f64) -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    let mut last = String::new();
    while tokio::time::Instant::now() < deadline {
        ticks.tick().await;
        let url = format!("http://{PROMETHEUS}/api/v1/query");
        let output =
            Command::new("curl").args(["-sS", "-G", &url, "--data-urlencode", &format!("query={query}")]).output().await.unwrap();
        last = String::from_utf8_lossy(&output.stdout).into_owned();
        let answer: Value = serde_json::from_str(&last).unwrap_or_default();
        if text(&answer, "/data/result/0/value/1").parse().is_ok_and(&holds) {
            return;
        }
    }
    panic!("Prometheus never said so: {query}: {last}");
}
