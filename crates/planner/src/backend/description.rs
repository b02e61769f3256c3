//! The description itself.

use crd_types::names::secret_key;
use crd_types::{AzureBackend, Backend, BackupStorage, GcsBackend, LocalBackend, S3Backend, VolumeSource};
use secrecy::SecretString;

use super::error::BackendError;
use super::secret::{Keys, SecretData};
use crate::layout::StoragePrefix;

/// Where and as whom a storage is reached. Printing it shows no secret.
#[derive(Debug, Clone)]
pub struct BackendDescription {
    /// Namespace of the BackupStorage.
    pub namespace: String,
    /// Name of the BackupStorage.
    pub name: String,
    /// Where the data lies.
    pub location: Location,
    /// As whom it is reached.
    pub credentials: Credentials,
    /// Certificates to trust besides the usual ones, PEM: `CA_CERT_DATA`.
    pub ca_bundle: Option<String>,
    /// Connections at a time, if the user limits them.
    pub max_connections: Option<u32>,
}

/// Where the data lies.
#[derive(Debug, Clone, PartialEq)]
pub enum Location {
    /// S3, or a store that speaks its protocol.
    S3 {
        /// URL or host as written, without a slash at its end; AWS where there is none.
        endpoint: Option<String>,
        /// Bucket.
        bucket: String,
        /// Region.
        region: Option<String>,
        /// Directory in the bucket.
        prefix: StoragePrefix,
        /// Accept any certificate.
        insecure_tls: bool,
    },
    /// Google Cloud Storage.
    Gcs {
        /// Bucket.
        bucket: String,
        /// Directory in the bucket.
        prefix: StoragePrefix,
    },
    /// Azure Blob Storage.
    Azure {
        /// Storage account.
        account: String,
        /// Container.
        container: String,
        /// Directory in the container.
        prefix: StoragePrefix,
    },
    /// A volume.
    Local {
        /// Where Jobs mount it; the root of the layout.
        mount_path: String,
        /// Directory of the volume that is mounted.
        sub_path: Option<String>,
        /// The volume.
        volume: Box<VolumeSource>,
    },
}

/// As whom a storage is reached.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// As what the process runs as: workload identity. Also a volume.
    Ambient,
    /// An access key.
    S3 {
        /// `AWS_ACCESS_KEY_ID`.
        access_key_id: SecretString,
        /// `AWS_SECRET_ACCESS_KEY`.
        secret_access_key: SecretString,
        /// `AWS_SESSION_TOKEN` of temporary keys.
        session_token: Option<SecretString>,
    },
    /// A service account's key file.
    Gcs {
        /// `GOOGLE_SERVICE_ACCOUNT_JSON_KEY`.
        service_account_key: SecretString,
    },
    /// An account's key.
    Azure {
        /// `AZURE_ACCOUNT_KEY`.
        account_key: SecretString,
    },
}

const S3_KEYS: &str = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
const GCS_KEY: &str = secret_key::GOOGLE_SERVICE_ACCOUNT_JSON_KEY;
const AZURE_KEY: &str = secret_key::AZURE_ACCOUNT_KEY;
const CA_KEY: &str = secret_key::CA_CERT_DATA;

/// The Secret a storage names, in its own namespace; `None` means workload identity or a volume.
pub fn secret_name(storage: &BackupStorage) -> Option<&str> {
    let backend = storage.spec.storage.as_ref()?;
    let name = match backend.provider.as_deref()? {
        "s3" => backend.s3.as_ref()?.secret_name.as_deref(),
        "gcs" => backend.gcs.as_ref()?.secret_name.as_deref(),
        "azure" => backend.azure.as_ref()?.secret_name.as_deref(),
        _ => None,
    };
    name.filter(|name| !name.is_empty())
}

/// Describes a storage's backend. `secret` is the data of the Secret that [`secret_name`] names,
/// `None` if it does not exist.
///
/// # Errors
/// If a field or a key is missing or says something that cannot be.
pub fn describe(storage: &BackupStorage, secret: Option<&SecretData>) -> Result<BackendDescription, BackendError> {
    let namespace = storage.metadata.namespace.clone().unwrap_or_default();
    let name = storage.metadata.name.clone().unwrap_or_default();
    let reader = Reader {
        storage: format!("{namespace}/{name}"),
        namespace: namespace.clone(),
        secret_name: secret_name(storage),
        secret,
    };
    let backend = storage.spec.storage.as_ref().ok_or_else(|| reader.absent("spec.storage"))?;
    let (location, credentials, connections) = reader.read(backend)?;
    let ca_bundle = match reader.keys(CA_KEY)? {
        Some(keys) => reader.ca_bundle(&keys)?,
        None => None,
    };
    Ok(BackendDescription {
        namespace,
        name,
        location,
        credentials,
        ca_bundle,
        max_connections: connections
            .filter(|connections| *connections > 0)
            .map(|connections| u32::try_from(connections).unwrap_or(u32::MAX)),
    })
}

type Parts = (Location, Credentials, Option<i64>);

struct Reader<'a> {
    storage: String,
    namespace: String,
    secret_name: Option<&'a str>,
    secret: Option<&'a SecretData>,
}

impl<'a> Reader<'a> {
    fn read(&self, backend: &Backend) -> Result<Parts, BackendError> {
        let provider = backend.provider.as_deref().unwrap_or_default();
        let part = |field| move || self.absent(field);
        match provider {
            "s3" => self.s3(backend.s3.as_ref().ok_or_else(part("spec.storage.s3"))?),
            "gcs" => self.gcs(backend.gcs.as_ref().ok_or_else(part("spec.storage.gcs"))?),
            "azure" => self.azure(backend.azure.as_ref().ok_or_else(part("spec.storage.azure"))?),
            "local" => self.local(backend.local.as_ref().ok_or_else(part("spec.storage.local"))?),
            "" => Err(self.absent("spec.storage.provider")),
            other => Err(BackendError::UnknownProvider { storage: self.storage.clone(), provider: other.to_owned() }),
        }
    }

    fn s3(&self, s3: &S3Backend) -> Result<Parts, BackendError> {
        let endpoint = trimmed(s3.endpoint.as_deref());
        if let Some((scheme, rest)) = endpoint.and_then(|endpoint| endpoint.split_once("://"))
            && (rest.is_empty() || !matches!(scheme, "http" | "https"))
        {
            return Err(self.invalid(
                "spec.storage.s3.endpoint",
                endpoint,
                "is no address; write a host, or a URL beginning with https:// or http://",
            ));
        }
        let location = Location::S3 {
            endpoint: endpoint.map(ToOwned::to_owned),
            bucket: self.bucket("spec.storage.s3.bucket", s3.bucket.as_deref())?,
            region: s3.region.clone().filter(|region| !region.is_empty()),
            prefix: self.prefix(s3.prefix.as_deref())?,
            insecure_tls: s3.insecure_tls.unwrap_or_default(),
        };
        let credentials = match self.keys(S3_KEYS)? {
            None => Credentials::Ambient,
            // A Secret with certificates only goes with workload identity.
            Some(keys) if only_certificates(&keys) => Credentials::Ambient,
            Some(keys) => Credentials::S3 {
                access_key_id: keys.require(secret_key::AWS_ACCESS_KEY_ID)?,
                secret_access_key: keys.require(secret_key::AWS_SECRET_ACCESS_KEY)?,
                session_token: keys.find("AWS_SESSION_TOKEN")?.map(SecretString::from),
            },
        };
        Ok((location, credentials, s3.max_connections))
    }

    fn gcs(&self, gcs: &GcsBackend) -> Result<Parts, BackendError> {
        let location = Location::Gcs {
            bucket: self.bucket("spec.storage.gcs.bucket", gcs.bucket.as_deref())?,
            prefix: self.prefix(gcs.prefix.as_deref())?,
        };
        let credentials = match self.keys(GCS_KEY)? {
            None => Credentials::Ambient,
            Some(keys) if only_certificates(&keys) => Credentials::Ambient,
            Some(keys) => Credentials::Gcs { service_account_key: keys.require(GCS_KEY)? },
        };
        Ok((location, credentials, gcs.max_connections))
    }

    fn azure(&self, azure: &AzureBackend) -> Result<Parts, BackendError> {
        let account = azure.storage_account.as_deref();
        let location = Location::Azure {
            account: account
                .filter(|account| !account.is_empty())
                .map(ToOwned::to_owned)
                .ok_or_else(|| self.absent("spec.storage.azure.storageAccount"))?,
            container: self.bucket("spec.storage.azure.container", azure.container.as_deref())?,
            prefix: self.prefix(azure.prefix.as_deref())?,
        };
        let credentials = match self.keys(AZURE_KEY)? {
            None => Credentials::Ambient,
            Some(keys) if only_certificates(&keys) => Credentials::Ambient,
            Some(keys) => Credentials::Azure { account_key: keys.require(AZURE_KEY)? },
        };
        Ok((location, credentials, azure.max_connections))
    }

    fn local(&self, local: &LocalBackend) -> Result<Parts, BackendError> {
        const MOUNT: &str = "spec.storage.local.mountPath";
        const SUB: &str = "spec.storage.local.subPath";
        let LocalBackend { source, max_connections, mount_path, sub_path } = local;
        let mount_path = trimmed(mount_path.as_deref()).ok_or_else(|| self.absent(MOUNT))?;
        let climbs = |path: &str| path.split('/').any(|segment| segment == "..");
        if !mount_path.starts_with('/') || climbs(mount_path) {
            return Err(self.invalid(
                MOUNT,
                Some(mount_path),
                "is not an absolute path without `..`; write one such as /backups",
            ));
        }
        let sub_path = sub_path.as_deref().filter(|path| !path.is_empty());
        if let Some(path) = sub_path.filter(|path| path.starts_with('/') || climbs(path)) {
            return Err(self.invalid(SUB, Some(path), "is not a relative path without `..`; write one such as team-a"));
        }
        if *source == VolumeSource::default() {
            return Err(self.absent("a volume in spec.storage.local: hostPath, nfs or persistentVolumeClaim"));
        }
        let location = Location::Local {
            mount_path: mount_path.to_owned(),
            sub_path: sub_path.map(ToOwned::to_owned),
            volume: Box::new(source.clone()),
        };
        Ok((location, Credentials::Ambient, *max_connections))
    }

    /// The Secret's keys; `None` if the storage names no Secret.
    fn keys(&self, needed: &'static str) -> Result<Option<Keys<'a>>, BackendError> {
        let Some(name) = self.secret_name else {
            return Ok(None);
        };
        let secret = format!("{}/{name}", self.namespace);
        match self.secret {
            Some(data) => Ok(Some(Keys { user: format!("BackupStorage {}", self.storage), secret, data })),
            None => Err(BackendError::SecretMissing { storage: self.storage.clone(), secret, keys: needed }),
        }
    }

    fn ca_bundle(&self, keys: &Keys<'_>) -> Result<Option<String>, BackendError> {
        match keys.find(CA_KEY)? {
            Some(pem) if !pem.contains("-----BEGIN CERTIFICATE-----") => {
                Err(keys.invalid(CA_KEY, "is not a certificate in PEM; store the CA's .crt file"))
            }
            bundle => Ok(bundle),
        }
    }

    fn bucket(&self, field: &'static str, written: Option<&str>) -> Result<String, BackendError> {
        let bucket = trimmed(written).ok_or_else(|| self.absent(field))?;
        if bucket.contains('/') || bucket.chars().any(char::is_whitespace) {
            return Err(self.invalid(field, Some(bucket), "is not the name of a bucket; put directories into prefix"));
        }
        Ok(bucket.to_owned())
    }

    fn prefix(&self, written: Option<&str>) -> Result<StoragePrefix, BackendError> {
        StoragePrefix::parse(written.unwrap_or_default())
            .map_err(|cause| BackendError::Prefix { storage: self.storage.clone(), cause })
    }

    fn absent(&self, field: &'static str) -> BackendError {
        BackendError::FieldMissing { storage: self.storage.clone(), field }
    }

    fn invalid(&self, field: &'static str, value: Option<&str>, problem: &'static str) -> BackendError {
        BackendError::FieldInvalid { storage: self.storage.clone(), field, value: value.unwrap_or_default().to_owned(), problem }
    }
}

fn only_certificates(keys: &Keys<'_>) -> bool {
    keys.data.len() == 1 && keys.data.contains_key(CA_KEY)
}

/// The text without blanks around it and one slash at its end, as KubeStash stores it.
pub(super) fn trimmed(written: Option<&str>) -> Option<&str> {
    let text = written?.trim();
    let text = text.strip_suffix('/').unwrap_or(text);
    (!text.is_empty()).then_some(text)
}
