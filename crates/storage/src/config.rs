//! What it takes to open a store, with secrets that cannot be printed.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::error::Error;
use crate::prefix::canonical;

/// A backend and how to treat it. Cloning copies the secrets; they are wiped when dropped.
#[derive(Debug, Clone)]
pub struct BackendConfig {
    /// Where the objects are.
    pub backend: Backend,
    /// Everything is kept under this prefix; leading and trailing slashes do not matter, `..` is refused.
    pub prefix: String,
    /// Certificate authorities (PEM) trusted beside the system's (Secret key `CA_CERT_DATA`).
    pub ca_bundle_pem: Option<String>,
    /// Most requests at once; none means the store's own default.
    pub max_connections: Option<u32>,
    /// How long one request is repeated while the store is unreachable or fails, before the error is returned.
    pub patience: Duration,
}

/// The four kinds of store.
#[derive(Debug, Clone)]
pub enum Backend {
    /// Amazon S3 and its compatibles.
    S3(S3Config),
    /// Google Cloud Storage.
    Gcs(GcsConfig),
    /// Azure Blob Storage.
    Azure(AzureConfig),
    /// A directory.
    Local(LocalConfig),
}

/// S3; addressed path-style, because compatibles seldom have a wildcard name.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// URL of the server, used as written; `https://` is assumed where no scheme is given. None is Amazon's own.
    pub endpoint: Option<String>,
    /// Region; `us-east-1` when not given.
    pub region: Option<String>,
    /// Bucket.
    pub bucket: String,
    /// Do not verify the server's certificate.
    pub insecure_tls: bool,
    /// Delete one by one, for servers that lack `DeleteObjects`.
    pub disable_bulk_delete: bool,
    /// Who we are.
    pub credentials: S3Credentials,
}

/// Identities at S3. Nothing is read from the process environment.
#[derive(Debug, Clone)]
pub enum S3Credentials {
    /// A key pair, with a token if it is temporary.
    Keys {
        /// Access key id.
        access_key_id: String,
        /// Secret access key.
        secret_access_key: SecretString,
        /// Session token of temporary keys.
        session_token: Option<SecretString>,
    },
    /// A role assumed with a projected token (IRSA).
    WebIdentity {
        /// Role to assume.
        role_arn: String,
        /// File with the token.
        token_file: PathBuf,
        /// Name of the session at STS.
        session_name: String,
    },
    /// EKS Pod Identity.
    PodIdentity {
        /// Address of the agent.
        credentials_uri: String,
        /// File with the token for the agent.
        token_file: PathBuf,
    },
    /// The instance's own role, from the metadata service.
    Instance,
    /// No signature at all.
    Anonymous,
}

/// Google Cloud Storage.
#[derive(Debug, Clone)]
pub struct GcsConfig {
    /// Bucket.
    pub bucket: String,
    /// Another server (an emulator, a private endpoint).
    pub endpoint: Option<String>,
    /// Who we are.
    pub credentials: GcsCredentials,
}

/// Identities at GCS.
#[derive(Debug, Clone)]
pub enum GcsCredentials {
    /// The JSON key of a service account.
    ServiceAccountKey(SecretString),
    /// The platform's default (workload identity through the metadata service).
    Default,
    /// A downscoped token.
    BearerToken(SecretString),
    /// No signature at all.
    Anonymous,
}

/// Azure Blob Storage.
#[derive(Debug, Clone)]
pub struct AzureConfig {
    /// Storage account.
    pub account: String,
    /// Container.
    pub container: String,
    /// Another server (an emulator, a sovereign cloud), including the account's path if it needs one.
    pub endpoint: Option<String>,
    /// Who we are.
    pub credentials: AzureCredentials,
}

/// Identities at Azure.
#[derive(Debug, Clone)]
pub enum AzureCredentials {
    /// The account's key.
    AccountKey(SecretString),
    /// A shared access signature (query string).
    Sas(SecretString),
    /// A federated token.
    WorkloadIdentity {
        /// Client id of the identity.
        client_id: String,
        /// Tenant.
        tenant_id: String,
        /// File with the token.
        token_file: PathBuf,
    },
    /// Managed identity of the node.
    Default,
}

/// A directory, usually a mounted volume.
#[derive(Debug, Clone)]
pub struct LocalConfig {
    /// Must exist; directories under it are made as needed.
    pub root: PathBuf,
}

impl BackendConfig {
    /// A backend with everything else at its default.
    #[must_use]
    pub fn new(backend: Backend) -> Self {
        Self { backend, prefix: String::new(), ca_bundle_pem: None, max_connections: None, patience: Duration::from_secs(120) }
    }

    /// The same with another patience.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The same, rooted deeper.
    ///
    /// # Errors
    /// If `more` has `.`, `..`, empty or unprintable segments.
    pub fn with_prefix(mut self, more: &str) -> Result<Self, Error> {
        let deeper = canonical(more).map_err(|cause| Error::configuration(self.describe(), cause))?;
        let current = canonical(&self.prefix).map_err(|cause| Error::configuration(self.describe(), cause))?;
        self.prefix = current.parts().chain(deeper.parts()).collect::<object_store::path::Path>().to_string();
        Ok(self)
    }

    /// Names the place for messages; holds no secret.
    #[must_use]
    pub fn describe(&self) -> String {
        let place = match &self.backend {
            Backend::S3(s3) => {
                let endpoint = s3.endpoint.as_deref().unwrap_or("Amazon S3");
                format!("bucket {:?} at {}", s3.bucket, without_userinfo(endpoint))
            }
            Backend::Gcs(gcs) => {
                let endpoint = gcs.endpoint.as_deref().unwrap_or("Google Cloud Storage");
                format!("bucket {:?} at {}", gcs.bucket, without_userinfo(endpoint))
            }
            Backend::Azure(azure) => {
                let endpoint = azure.endpoint.as_deref().unwrap_or("Azure Blob Storage");
                let place = without_userinfo(endpoint);
                format!("container {:?} of account {:?} at {place}", azure.container, azure.account)
            }
            Backend::Local(local) => format!("directory {:?}", local.root.display().to_string()),
        };
        match self.prefix.trim_matches('/') {
            "" => place,
            prefix => format!("{place} under {prefix:?}"),
        }
    }
}

/// People paste URLs with credentials in them; those must not come back in a condition.
fn without_userinfo(endpoint: &str) -> String {
    match endpoint.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}{path}")
        }
        None => endpoint.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn example() -> BackendConfig {
        BackendConfig::new(Backend::S3(S3Config {
            endpoint: Some("http://user:hunter2@store:9000".into()),
            region: None,
            bucket: "b".into(),
            insecure_tls: false,
            disable_bulk_delete: false,
            credentials: S3Credentials::Keys {
                access_key_id: "id".into(),
                secret_access_key: "hunter2".into(),
                session_token: Some("hunter2".into()),
            },
        }))
    }

    /// Security: no way of printing a configuration shows a secret.
    #[test]
    fn secrets_cannot_be_printed() {
        let mut config = example();
        if let Backend::S3(s3) = &mut config.backend {
            s3.endpoint = Some("http://store:9000".into());
        }
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(!example().describe().contains("hunter2"));
        assert_eq!(example().describe(), "bucket \"b\" at http://store:9000");
    }

    #[test]
    fn prefixes_join_canonically() {
        let config = example().with_prefix("/a/b/").unwrap().with_prefix("c").unwrap();
        assert_eq!(config.prefix, "a/b/c");
        assert!(config.with_prefix("../x").is_err());
    }
}
