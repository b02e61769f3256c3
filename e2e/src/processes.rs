//! Processes of pods, seen from the machine that hosts the nodes: found by cgroup, killed by pid, seen dead.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::{Instant, interval};

use crate::cluster::text;

/// Pids of the processes of a pod whose program has that name.
pub fn pids_of_pod(pod_uid: &str, program: &str) -> Vec<u32> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let in_pod =
            fs::read_to_string(entry.path().join("cgroup")).is_ok_and(|cgroup| cgroup.contains(&format!("pod{pod_uid}")));
        let is_program = fs::read_to_string(entry.path().join("cmdline"))
            .is_ok_and(|line| line.split('\0').next().is_some_and(|first| first.rsplit('/').next() == Some(program)));
        if in_pod && is_program {
            pids.push(pid);
        }
    }
    pids
}

/// All that a pod's containers have logged, read where its node keeps it: a kubelet that is stopped tells nothing.
pub fn log_of_pod(pod: &Value) -> Result<String> {
    let part = |pointer: &str| text(pod, pointer);
    let folder = format!("{}_{}_{}", part("/metadata/namespace"), part("/metadata/name"), part("/metadata/uid"));
    let path = crate::state_dir().join(part("/spec/nodeName")).join("pod-logs").join(folder);
    let mut log = String::new();
    for container in fs::read_dir(&path).with_context(|| format!("{}", path.display()))? {
        for file in fs::read_dir(container?.path())? {
            log += &fs::read_to_string(file?.path())?;
        }
    }
    Ok(log)
}

/// Sends a signal by name (`KILL`, `STOP`, `CONT`).
pub async fn signal(pid: u32, name: &str) -> Result<()> {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().await?;
    ensure!(status.success(), "signal {name} did not reach process {pid}");
    Ok(())
}

/// Kills a program of a pod with SIGKILL and waits until the process is seen dead.
pub async fn kill_in_pod(pod_uid: &str, program: &str) -> Result<()> {
    let pids = pids_of_pod(pod_uid, program);
    ensure!(!pids.is_empty(), "no process {program} runs in pod {pod_uid}");
    for pid in &pids {
        signal(*pid, "KILL").await?;
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut ticks = interval(Duration::from_millis(20));
    while pids.iter().any(|pid| is_alive(*pid)) {
        ticks.tick().await;
        if Instant::now() > deadline {
            bail!("{program} of pod {pod_uid} survived SIGKILL");
        }
    }
    Ok(())
}

/// Waits until no process of a pod has that name any more.
pub async fn until_ended(pod_uid: &str, program: &str, limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit;
    let mut ticks = interval(Duration::from_millis(100));
    while !pids_of_pod(pod_uid, program).is_empty() {
        ticks.tick().await;
        ensure!(Instant::now() < deadline, "{program} of pod {pod_uid} still runs after {limit:?}");
    }
    Ok(())
}

fn is_alive(pid: u32) -> bool {
    // A zombie has been killed; only its parent has not asked yet.
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

/// Pid of one of the cluster's own programs, as its start script noted it (`kubelet-node2`, `versitygw`).
pub fn cluster_program(name: &str) -> Result<u32> {
    let path = crate::state_dir().join("pid").join(name);
    Ok(fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?.trim().parse()?)
}

/// Stops a process until dropped.
pub struct Stopped(u32);

impl Stopped {
    /// Sends SIGSTOP to a program of the cluster.
    pub async fn program(name: &str) -> Result<Self> {
        Self::process(cluster_program(name)?).await
    }

    /// Sends SIGSTOP to a process of a pod.
    pub async fn process(pid: u32) -> Result<Self> {
        signal(pid, "STOP").await?;
        Ok(Self(pid))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = std::process::Command::new("kill").args(["-CONT", &self.0.to_string()]).status();
    }
}
