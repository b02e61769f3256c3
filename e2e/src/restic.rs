//! Stock restic on a scenario's repositories: the judge of what Orlop writes.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::object_store::{ACCESS_KEY, Bucket, endpoint, secret_key};

/// One restic repository in a bucket.
#[derive(Clone, Debug)]
pub struct Restic {
    location: String,
    password: String,
}

impl Restic {
    /// The repository below `prefix` of a bucket.
    pub fn new(bucket: &Bucket, prefix: &str, password: &str) -> Self {
        Self { location: format!("s3:{}/{}/{prefix}", endpoint(), bucket.name), password: password.to_owned() }
    }

    /// A command of restic's with its environment set.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(crate::tools_dir().join("restic"));
        command
            .args(["--no-cache", "--repo", &self.location])
            .args(arguments)
            .env("RESTIC_PASSWORD", &self.password)
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", secret_key()?)
            .kill_on_drop(true);
        Ok(command)
    }

    /// Runs restic and returns what it printed; anything but exit status 0 is an error with its own words.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments)?.output().await.context("restic")?;
        ensure!(
            output.status.success(),
            "restic {arguments:?}: {}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Snapshots as restic lists them.
    pub async fn snapshots(&self) -> Result<Vec<Value>> {
        Ok(serde_json::from_str(&self.run(&["snapshots", "--json", "--no-lock"]).await?)?)
    }

    /// Reads and verifies every byte.
    pub async fn check_everything(&self) -> Result<()> {
        let output = self.run(&["check", "--read-data"]).await?;
        ensure!(output.contains("no errors were found"), "restic check: {output}");
        Ok(())
    }

    /// Restores a snapshot below a folder.
    pub async fn restore(&self, snapshot: &str, target: &Path) -> Result<()> {
        // restic writes holes out unless it is told to look for them.
        self.run(&["restore", snapshot, "--sparse", "--target", &target.to_string_lossy()]).await.map(drop)
    }

    /// Ids of the locks that stand in the repository.
    pub async fn locks(&self) -> Result<Vec<String>> {
        Ok(self.run(&["list", "locks", "--no-lock"]).await?.lines().map(str::to_owned).collect())
    }
}
