//! Azure Blob Storage.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::azure::{MicrosoftAzureBuilder, split_sas};
use secrecy::ExposeSecret;

use crate::client::{Connector, client_options, retry_config};
use crate::config::{AzureConfig, AzureCredentials, BackendConfig};
use crate::error::Error;

pub(crate) fn open(config: &BackendConfig, azure: &AzureConfig, connector: Connector) -> Result<Arc<dyn ObjectStore>, Error> {
    let endpoint = azure.endpoint.as_deref().map(|endpoint| endpoint.trim_end_matches('/'));
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(&azure.account)
        .with_container_name(azure.container.trim_end_matches('/'))
        .with_disable_tagging(true)
        .with_client_options(client_options(config, endpoint, false)?)
        .with_retry(retry_config(config))
        .with_http_connector(connector);
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint.to_owned()).with_allow_http(endpoint.starts_with("http://"));
    }
    builder = match &azure.credentials {
        AzureCredentials::AccountKey(key) => builder.with_access_key(key.expose_secret()),
        AzureCredentials::Sas(query) => {
            let pairs = split_sas(query.expose_secret()).map_err(|error| Error::from_store(error, config.describe()))?;
            builder.with_sas_authorization(pairs)
        }
        AzureCredentials::WorkloadIdentity { client_id, tenant_id, token_file } => {
            builder.with_client_id(client_id).with_tenant_id(tenant_id).with_federated_token_file(token_file.to_string_lossy())
        }
        AzureCredentials::Default => builder,
    };
    let store = builder.build().map_err(|error| Error::from_store(error, config.describe()))?;
    Ok(Arc::new(store))
}
