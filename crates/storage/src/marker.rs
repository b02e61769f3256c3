//! The folder marker that KubeStash writes: an empty object whose key ends in a slash.
//!
//! `object_store` has no name for such a key, so this one request is built and signed by hand.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use object_store::ClientOptions;
use object_store::aws::AwsAuthorizer;
use object_store::client::{HttpConnector, HttpRequestBody};
use tokio::time::Instant;

use crate::client::{Connector, client_options};
use crate::config::{Backend, BackendConfig, LocalConfig, S3Config, S3Credentials};
use crate::error::{Error, ErrorKind};
use crate::pace::Pace;
use crate::prefix::canonical;
use crate::s3;

const PAUSE: Duration = Duration::from_secs(1);

/// Makes the marker `key` (relative to the prefix, with or without its trailing slash). Idempotent.
///
/// On a local store the marker is the directory itself. Google Cloud Storage and Azure show folders without markers, and
/// nothing reads them, so nothing is written there.
///
/// # Errors
/// What the store answered, after retries of at most the configuration's patience.
pub async fn put_folder_marker(config: &BackendConfig, key: &str) -> Result<(), Error> {
    let refused = |cause: String| Error::configuration(config.describe(), cause);
    let prefix = canonical(&config.prefix).map_err(refused)?;
    let folder = canonical(key).map_err(refused)?;
    let path: object_store::path::Path = prefix.parts().chain(folder.parts()).collect();
    match &config.backend {
        Backend::S3(s3) => put(config, s3, path.as_ref()).await,
        Backend::Local(local) => make_directory(config, local, path.as_ref()).await,
        Backend::Gcs(_) | Backend::Azure(_) => Ok(()),
    }
}

async fn put(config: &BackendConfig, s3: &S3Config, path: &str) -> Result<(), Error> {
    let start = Instant::now();
    loop {
        match put_once(config, s3, path).await {
            Err(error) if error.is_retryable() && start.elapsed() + PAUSE < config.patience => {
                tokio::time::sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

async fn put_once(config: &BackendConfig, s3: &S3Config, path: &str) -> Result<(), Error> {
    let failed = |cause: String| Error::of_kind(ErrorKind::Other, config.describe(), cause);
    let connector = Connector::new(config, Arc::default(), Arc::default(), Pace::default());
    let options: ClientOptions = client_options(config, s3::endpoint(s3).as_deref(), s3.insecure_tls)?;
    let client = connector.connect(&options).map_err(|error| Error::from_store(error, config.describe()))?;
    let url = format!("{}/{}/", s3::bucket_url(s3), encoded(path));
    let mut request = Request::put(url)
        .header("content-length", "0")
        .body(HttpRequestBody::empty())
        .map_err(|error| failed(error.to_string()))?;
    if !matches!(s3.credentials, S3Credentials::Anonymous) {
        let store = s3::build(config, s3, connector)?;
        let credential =
            store.credentials().get_credential().await.map_err(|error| Error::from_store(error, config.describe()))?;
        AwsAuthorizer::new(&credential, "s3", s3::region(s3))
            .try_authorize(&mut request, None)
            .map_err(|error| Error::from_store(error, config.describe()))?;
    }
    let answer = client.execute(request).await.map_err(|error| {
        let error = object_store::Error::Generic { store: "S3", source: Box::new(error) };
        Error::from_store(error, config.describe())
    })?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let body = answer.into_body().bytes().await.unwrap_or_default();
    let body = String::from_utf8_lossy(&body);
    let source = format!("status code: {status}: {body}").into();
    Err(Error::from_store(by_status(status.as_u16(), path, source), config.describe()))
}

fn by_status(status: u16, path: &str, source: Box<dyn std::error::Error + Send + Sync>) -> object_store::Error {
    let path = path.to_owned();
    match status {
        401 => object_store::Error::Unauthenticated { path, source },
        403 => object_store::Error::PermissionDenied { path, source },
        404 => object_store::Error::NotFound { path, source },
        _ => object_store::Error::Generic { store: "S3", source },
    }
}

async fn make_directory(config: &BackendConfig, local: &LocalConfig, path: &str) -> Result<(), Error> {
    let store = crate::LocalStore::new(local.root.clone());
    store.make_directory(path).await.map_err(|error| Error::from_store(error, config.describe()))
}

/// Percent-encodes what S3's signature wants encoded; slashes stay.
fn encoded(path: &str) -> String {
    path.bytes().fold(String::with_capacity(path.len()), |mut text, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => text.push(char::from(byte)),
            _ => {
                text.push('%');
                text.push(char::from(b"0123456789ABCDEF"[usize::from(byte >> 4)]));
                text.push(char::from(b"0123456789ABCDEF"[usize::from(byte & 15)]));
            }
        }
        text
    })
}
