//! Google Cloud Storage.

use std::sync::Arc;

use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use object_store::{ObjectStore, StaticCredentialProvider};
use secrecy::ExposeSecret;

use crate::client::{Connector, client_options, retry_config};
use crate::config::{BackendConfig, GcsConfig, GcsCredentials};
use crate::error::Error;

pub(crate) fn open(config: &BackendConfig, gcs: &GcsConfig, connector: Connector) -> Result<Arc<dyn ObjectStore>, Error> {
    let endpoint = gcs.endpoint.as_deref().map(|endpoint| endpoint.trim_end_matches('/'));
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(gcs.bucket.trim_end_matches('/'))
        .with_client_options(client_options(config, endpoint, false)?)
        .with_retry(retry_config(config))
        .with_http_connector(connector);
    if let Some(endpoint) = endpoint {
        builder = builder.with_base_url(endpoint);
    }
    builder = match &gcs.credentials {
        GcsCredentials::ServiceAccountKey(key) => builder.with_service_account_key(key.expose_secret()),
        GcsCredentials::Default => builder,
        GcsCredentials::BearerToken(token) => {
            let credential = GcpCredential { bearer: token.expose_secret().to_owned() };
            builder.with_credentials(Arc::new(StaticCredentialProvider::new(credential)))
        }
        GcsCredentials::Anonymous => builder.with_skip_signature(true),
    };
    let store = builder.build().map_err(|error| Error::from_store(error, config.describe()))?;
    Ok(Arc::new(store))
}
