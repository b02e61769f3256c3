//! From a BackupStorage to an open store: reads the Secret, describes, connects. Credentials live in memory only, one
//! client per storage (reliability S-14).

use std::{env, path::PathBuf, sync::Arc};

use crd_types::BackupStorage;
use k8s_openapi::api::core::v1::Secret;
use kube::{Client, ResourceExt as _};
use kube_kit::secrets::{self, SecretError};
use planner::backend::{BackendDescription, BackendError, Credentials, Location, describe, secret_name};
use secrecy::ExposeSecret as _;
use storage::{AzureConfig, AzureCredentials, Backend, BackendConfig, GcsConfig, GcsCredentials, S3Config, S3Credentials};

use crate::{bucket::Bucket, limits::STORE_PATIENCE};

/// Name of the session under which a role is assumed; shows in the provider's audit log.
const ROLE_SESSION: &str = "orlop-storage-initializer";

/// Why a storage cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// BackupStorage or Secret say something that cannot be.
    #[error(transparent)]
    Description(#[from] BackendError),
    /// The Secret could not be read; nothing is known about it.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Volumes are reached by pods only.
    #[error("BackupStorage {0}: provider local is not supported yet; use s3, gcs or azure")]
    Local(String),
    /// The configuration cannot be opened.
    #[error("{}", .0.sentence())]
    Store(#[from] storage::Error),
}

impl OpenError {
    /// The error as one word for conditions and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Description(error) => error.reason(),
            Self::Secret(_) => "SecretUnreadable",
            Self::Local(_) => "ProviderNotSupported",
            Self::Store(error) => error.kind().reason(),
        }
    }
}

/// What this process itself is to the providers, for storages without a Secret.
#[derive(Clone, Debug)]
pub struct Ambient {
    s3: S3Credentials,
    azure: AzureCredentials,
}

impl Ambient {
    /// As the platform's webhooks tell pods.
    pub fn from_environment() -> Self {
        Self::from_variables(|name| env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let path = |name: &str| variable(name).map(PathBuf::from);
        let role = variable("AWS_ROLE_ARN").zip(path("AWS_WEB_IDENTITY_TOKEN_FILE"));
        let agent = variable("AWS_CONTAINER_CREDENTIALS_FULL_URI").zip(path("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"));
        let s3 = match (role, agent) {
            (Some((role_arn, token_file)), _) => {
                S3Credentials::WebIdentity { role_arn, token_file, session_name: ROLE_SESSION.to_owned() }
            }
            (None, Some((credentials_uri, token_file))) => S3Credentials::PodIdentity { credentials_uri, token_file },
            (None, None) => S3Credentials::Instance,
        };
        let azure = match (variable("AZURE_CLIENT_ID"), variable("AZURE_TENANT_ID"), path("AZURE_FEDERATED_TOKEN_FILE")) {
            (Some(client_id), Some(tenant_id), Some(token_file)) => {
                AzureCredentials::WorkloadIdentity { client_id, tenant_id, token_file }
            }
            _ => AzureCredentials::Default,
        };
        Self { s3, azure }
    }
}

type Opener = dyn Fn(&BackendConfig) -> Result<Bucket, storage::Error> + Send + Sync;

/// Opens storages.
#[derive(Clone)]
pub struct Backends {
    client: Client,
    ambient: Ambient,
    open: Arc<Opener>,
}

impl Backends {
    /// Opens real stores.
    pub fn new(client: Client, ambient: Ambient) -> Self {
        Self::with_opener(client, ambient, |config| Ok(Bucket::new(storage::open(config)?, config.clone())))
    }

    /// Opens what `open` makes of a configuration.
    pub fn with_opener(
        client: Client,
        ambient: Ambient,
        open: impl Fn(&BackendConfig) -> Result<Bucket, storage::Error> + Send + Sync + 'static,
    ) -> Self {
        Self { client, ambient, open: Arc::new(open) }
    }

    /// The Secret that a storage names, if it names one and that exists.
    ///
    /// # Errors
    /// When the API server could not be asked: then nothing is known about the Secret.
    pub async fn secret(&self, storage: &BackupStorage) -> Result<Option<Secret>, SecretError> {
        match secret_name(storage) {
            None => Ok(None),
            Some(name) => secrets::find(&self.client, &storage.namespace().unwrap_or_default(), name).await,
        }
    }

    /// Opens a storage, its Secret having been read.
    ///
    /// # Errors
    /// [`OpenError`]. The network is not touched.
    pub fn open_with(&self, storage: &BackupStorage, secret: Option<&Secret>) -> Result<Bucket, OpenError> {
        let empty = planner::backend::SecretData::new();
        let data = secret.map(|secret| secret.data.as_ref().unwrap_or(&empty));
        let description = describe(storage, data)?;
        let config = self.configure(&description)?;
        Ok((self.open)(&config)?)
    }

    /// Reads the Secret and opens a storage.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(&self, storage: &BackupStorage) -> Result<Bucket, OpenError> {
        let secret = self.secret(storage).await?;
        self.open_with(storage, secret.as_ref())
    }

    fn configure(&self, description: &BackendDescription) -> Result<BackendConfig, OpenError> {
        let BackendDescription { namespace, name, location, credentials, ca_bundle, max_connections } = description;
        let (backend, prefix) = match location {
            Location::S3 { endpoint, bucket, region, prefix, insecure_tls } => {
                let s3 = S3Config {
                    endpoint: endpoint.clone(),
                    region: region.clone(),
                    bucket: bucket.clone(),
                    insecure_tls: *insecure_tls,
                    disable_bulk_delete: false,
                    credentials: self.s3_credentials(credentials),
                };
                (Backend::S3(s3), prefix)
            }
            Location::Gcs { bucket, prefix } => {
                let credentials = match credentials {
                    Credentials::Gcs { service_account_key } => GcsCredentials::ServiceAccountKey(service_account_key.clone()),
                    _ => GcsCredentials::Default,
                };
                (Backend::Gcs(GcsConfig { bucket: bucket.clone(), endpoint: None, credentials }), prefix)
            }
            Location::Azure { account, container, prefix } => {
                let credentials = match credentials {
                    Credentials::Azure { account_key } => AzureCredentials::AccountKey(account_key.clone()),
                    _ => self.ambient.azure.clone(),
                };
                let azure = AzureConfig { account: account.clone(), container: container.clone(), endpoint: None, credentials };
                (Backend::Azure(azure), prefix)
            }
            Location::Local { .. } => return Err(OpenError::Local(format!("{namespace}/{name}"))),
        };
        let mut config = BackendConfig::new(backend).with_patience(STORE_PATIENCE);
        config.ca_bundle_pem = ca_bundle.clone();
        config.max_connections = *max_connections;
        Ok(if prefix.as_str().is_empty() { config } else { config.with_prefix(prefix.as_str())? })
    }

    fn s3_credentials(&self, credentials: &Credentials) -> S3Credentials {
        match credentials {
            Credentials::S3 { access_key_id, secret_access_key, session_token } => S3Credentials::Keys {
                access_key_id: access_key_id.expose_secret().to_owned(),
                secret_access_key: secret_access_key.clone(),
                session_token: session_token.clone(),
            },
            _ => self.ambient.s3.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]

    use super::*;

    fn ambient(variables: &[(&str, &str)]) -> Ambient {
        Ambient::from_variables(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn workload_identity_is_what_the_platform_says() {
        assert!(matches!(ambient(&[]).s3, S3Credentials::Instance));
        let role = [("AWS_ROLE_ARN", "arn:x"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token")];
        assert!(matches!(ambient(&role).s3, S3Credentials::WebIdentity { .. }));
        let azure = [("AZURE_CLIENT_ID", "c"), ("AZURE_TENANT_ID", "t"), ("AZURE_FEDERATED_TOKEN_FILE", "/token")];
        assert!(matches!(ambient(&azure).azure, AzureCredentials::WorkloadIdentity { .. }));
        assert!(matches!(ambient(&azure[..2]).azure, AzureCredentials::Default));
    }
}
