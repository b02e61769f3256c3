//! The cluster's S3 server, seen from both sides: through its API, and as the folder it keeps its objects in.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::{HOST_ADDRESS, state_dir};

/// Port of the S3 server on the host's side of the bridge.
pub const PORT: u16 = 7070;

/// Access key of the server's only user.
pub const ACCESS_KEY: &str = "orlop-e2e-access";

/// The secret key, made anew with each cluster.
pub fn secret_key() -> Result<String> {
    let path = state_dir().join("s3-secret-key");
    Ok(fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?.trim().to_owned())
}

/// Address of the server.
pub fn endpoint() -> String {
    format!("http://{HOST_ADDRESS}:{PORT}")
}

/// A bucket of a scenario's own.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Its name.
    pub name: String,
}

impl Bucket {
    /// Makes an empty bucket.
    pub fn create(name: &str) -> Result<Self> {
        let bucket = Self { name: name.to_owned() };
        let output = Command::new("curl")
            .args([
                "-fsS",
                "--aws-sigv4",
                "aws:amz:us-east-1:s3",
                "--user",
                &format!("{ACCESS_KEY}:{}", secret_key()?),
                "-H",
                "x-amz-content-sha256: UNSIGNED-PAYLOAD",
                "-X",
                "PUT",
            ])
            .arg(format!("{}/{name}", endpoint()))
            .output()?;
        ensure!(output.status.success(), "bucket {name}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(bucket)
    }

    /// The folder in which the server keeps the bucket's objects.
    pub fn folder(&self) -> PathBuf {
        state_dir().join("s3/data").join(&self.name)
    }

    /// Keys below a prefix, sorted. Folders themselves are not keys.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let mut keys = Vec::new();
        let mut pending = vec![self.folder().join(prefix)];
        while let Some(folder) = pending.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    pending.push(path);
                } else if let Ok(key) = path.strip_prefix(self.folder()) {
                    keys.push(key.to_string_lossy().into_owned());
                }
            }
        }
        keys.sort();
        keys
    }

    /// Content of an object.
    pub fn read(&self, key: &str) -> Result<String> {
        fs::read_to_string(self.folder().join(key)).with_context(|| format!("object {key} of bucket {}", self.name))
    }

    /// Sum of the sizes of all objects below a prefix.
    pub fn bytes(&self, prefix: &str) -> u64 {
        self.keys(prefix).iter().filter_map(|key| fs::metadata(self.folder().join(key)).ok()).map(|metadata| metadata.len()).sum()
    }

    /// Removes everything below a prefix behind everybody's back.
    pub fn remove(&self, prefix: &str) -> Result<()> {
        fs::remove_dir_all(self.folder().join(prefix)).with_context(|| format!("{prefix} of bucket {}", self.name))
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        // A failed scenario's bucket is evidence; the cluster's end removes it.
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(self.folder());
        }
    }
}
