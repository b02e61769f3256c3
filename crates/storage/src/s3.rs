//! Amazon S3 and its compatibles.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use secrecy::ExposeSecret;

use crate::client::{Connector, client_options, retry_config};
use crate::config::{BackendConfig, S3Config, S3Credentials};
use crate::error::Error;

pub(crate) fn open(config: &BackendConfig, s3: &S3Config, connector: Connector) -> Result<Arc<dyn ObjectStore>, Error> {
    Ok(Arc::new(build(config, s3, connector)?))
}

/// Region to sign for.
pub(crate) fn region(s3: &S3Config) -> &str {
    s3.region.as_deref().filter(|region| !region.is_empty()).unwrap_or("us-east-1")
}

/// The bucket's own URL.
pub(crate) fn bucket_url(s3: &S3Config) -> String {
    let endpoint = endpoint(s3).unwrap_or_else(|| format!("https://s3.{}.amazonaws.com", region(s3)));
    format!("{endpoint}/{}", s3.bucket.trim_end_matches('/'))
}

pub(crate) fn endpoint(s3: &S3Config) -> Option<String> {
    s3.endpoint.as_deref().map(str::trim).filter(|endpoint| !endpoint.is_empty()).map(with_scheme)
}

pub(crate) fn build(config: &BackendConfig, s3: &S3Config, connector: Connector) -> Result<AmazonS3, Error> {
    if s3.bucket.is_empty() {
        return Err(Error::configuration(config.describe(), "the bucket has no name"));
    }
    let endpoint = endpoint(s3);
    if endpoint.as_deref().is_some_and(|endpoint| endpoint.contains('@')) {
        return Err(Error::configuration(config.describe(), "the endpoint must not contain credentials"));
    }
    let over_tls = !endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(s3.bucket.trim_end_matches('/'))
        .with_region(region(s3))
        .with_virtual_hosted_style_request(false)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_disable_bulk_delete(s3.disable_bulk_delete)
        // Many compatibles refuse the tagging header, and we set no tags.
        .with_disable_tagging(true)
        // Under TLS the channel protects the body; hashing every pack again would only cost time.
        .with_unsigned_payload(over_tls)
        .with_client_options(client_options(config, endpoint.as_deref(), s3.insecure_tls)?)
        .with_retry(retry_config(config))
        .with_http_connector(connector);
    if let Some(endpoint) = endpoint {
        let allow_http = endpoint.starts_with("http://");
        builder = builder.with_endpoint(endpoint).with_allow_http(allow_http);
    }
    builder = match &s3.credentials {
        S3Credentials::Keys { access_key_id, secret_access_key, session_token } => {
            let builder = builder.with_access_key_id(access_key_id).with_secret_access_key(secret_access_key.expose_secret());
            match session_token {
                Some(token) => builder.with_token(token.expose_secret()),
                None => builder,
            }
        }
        S3Credentials::WebIdentity { role_arn, token_file, session_name } => builder
            .with_config(AmazonS3ConfigKey::RoleArn, role_arn)
            .with_config(AmazonS3ConfigKey::RoleSessionName, session_name)
            .with_config(AmazonS3ConfigKey::WebIdentityTokenFile, token_file.to_string_lossy()),
        S3Credentials::PodIdentity { credentials_uri, token_file } => builder
            .with_config(AmazonS3ConfigKey::ContainerCredentialsFullUri, credentials_uri)
            .with_config(AmazonS3ConfigKey::ContainerAuthorizationTokenFile, token_file.to_string_lossy()),
        S3Credentials::Instance => builder,
        S3Credentials::Anonymous => builder.with_skip_signature(true),
    };
    builder.build().map_err(|error| Error::from_store(error, config.describe()))
}

/// The endpoint is used as written; a bare host means TLS.
fn with_scheme(endpoint: &str) -> String {
    let endpoint = endpoint.trim_end_matches('/');
    if endpoint.contains("://") { endpoint.to_owned() } else { format!("https://{endpoint}") }
}
