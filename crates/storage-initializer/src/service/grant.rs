//! `IssueAccess`: where the bytes live, how to get at them, and the password. Nothing of it is ever logged.

use bytes::Bytes;
use crd_types::names::secret_key;
use planner::{
    backend::{BackendDescription, Credentials, Location, SecretData, describe},
    layout::{StoragePrefix, restic_prefix},
};
use proto_api::{
    status::{ApiError, ErrorCode, ServiceError as _},
    storage::v1alpha1::{
        AccessGrant, AzureBackend, Backend, GcsBackend, IssueAccessRequest, IssueAccessResponse, RepositoryAccess, S3Backend,
        StorageKey, access_grant::Grant, backend::Provider,
    },
};
use secrecy::{ExposeSecret as _, SecretString};
use tonic::Request;

use super::{
    StorageApi,
    mover::{self, Mover},
    scope::{self, Scope},
    subject::{self, Subject},
};
use crate::references;

/// Key of temporary AWS credentials in a Secret (specification §3.5).
const AWS_SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";

/// Answers `IssueAccess`.
///
/// # Errors
/// See [`scope::of`].
pub(super) async fn issue(api: &StorageApi, request: &Request<IssueAccessRequest>) -> Result<IssueAccessResponse, ApiError> {
    let (mover, subject) = authorise(api, request.metadata(), request.get_ref().subject.as_ref()).await?;
    let answer = respond(api, &mover, &subject).await;
    let result = answer.as_ref().map_or_else(|error| error.code().label(), |_| "granted");
    api.context.metrics.granted(subject.label(), result);
    answer
}

/// Who calls, and the subject if it is the caller's own.
pub(super) async fn authorise(
    api: &StorageApi,
    metadata: &tonic::metadata::MetadataMap,
    claimed: Option<&proto_api::storage::v1alpha1::AccessSubject>,
) -> Result<(Mover, Subject), ApiError> {
    let mover = mover::recognise(api, metadata).await?;
    let subject = subject::own(claimed, &mover)?;
    Ok((mover, subject))
}

async fn respond(api: &StorageApi, mover: &Mover, subject: &Subject) -> Result<IssueAccessResponse, ApiError> {
    let scope = Box::pin(scope::of(api, mover, subject)).await?;
    let secret = api.context.backends.secret(&scope.storage).await.map_err(|error| ApiError::unavailable(error.to_string()))?;
    let empty = SecretData::new();
    let data = secret.as_ref().map(|secret| secret.data.as_ref().unwrap_or(&empty));
    let description = describe(&scope.storage, data).map_err(|error| ApiError::failed_precondition(error.to_string()))?;
    let (backend, prefix) = backend(&description)?;
    let grant = grant(&description)?;
    tracing::info!(
        namespace = mover.namespace,
        pod = mover.pod,
        job = mover.job,
        session = mover.session.name,
        session.uid = mover.session.uid,
        work = subject.label(),
        repository = references::display(&scope.repository),
        storage = references::display(&scope.storage),
        "access granted"
    );
    Ok(IssueAccessResponse {
        backend: Some(backend),
        grant: Some(AccessGrant { grant: Some(grant) }),
        repository_password: scope.password.expose_secret().to_owned(),
        repositories: repositories(&scope, prefix),
        verbs: scope.verbs.iter().map(|verb| i32::from(*verb)).collect(),
        // The key itself has no end; the next call after the session's end is refused.
        expires_at: None,
    })
}

fn repositories(scope: &Scope, prefix: &StoragePrefix) -> Vec<RepositoryAccess> {
    let access = |path: &planner::layout::ComponentPath| {
        let component_path = path.to_string();
        RepositoryAccess {
            key_prefix: prefix.join(&restic_prefix(&scope.directory, path)),
            may_initialise: scope.may_initialise(&component_path),
            expected_repository_id: scope.ids.get(&component_path).cloned().unwrap_or_default(),
            component_path,
        }
    };
    scope.component_paths.iter().map(access).collect()
}

fn backend(description: &BackendDescription) -> Result<(Backend, &StoragePrefix), ApiError> {
    let (provider, prefix) = match &description.location {
        Location::S3 { endpoint, bucket, region, prefix, insecure_tls } => {
            let s3 = S3Backend {
                endpoint: endpoint.clone().unwrap_or_default(),
                region: region.clone().unwrap_or_default(),
                bucket: bucket.clone(),
                insecure_tls: *insecure_tls,
            };
            (Provider::S3(s3), prefix)
        }
        Location::Gcs { bucket, prefix } => (Provider::Gcs(GcsBackend { bucket: bucket.clone() }), prefix),
        Location::Azure { account, container, prefix } => {
            (Provider::Azure(AzureBackend { account: account.clone(), container: container.clone() }), prefix)
        }
        Location::Local { .. } => return Err(unsupported(description, "provider local is not supported yet")),
    };
    let backend = Backend {
        provider: Some(provider),
        ca_bundle_pem: Bytes::from(description.ca_bundle.clone().unwrap_or_default()),
        max_connections: description.max_connections.unwrap_or_default(),
    };
    Ok((backend, prefix))
}

fn grant(description: &BackendDescription) -> Result<Grant, ApiError> {
    let pairs: Vec<(&str, &SecretString)> = match &description.credentials {
        Credentials::S3 { access_key_id, secret_access_key, session_token } => {
            let mut pairs =
                vec![(secret_key::AWS_ACCESS_KEY_ID, access_key_id), (secret_key::AWS_SECRET_ACCESS_KEY, secret_access_key)];
            pairs.extend(session_token.as_ref().map(|token| (AWS_SESSION_TOKEN, token)));
            pairs
        }
        Credentials::Gcs { service_account_key } => {
            vec![(secret_key::GOOGLE_SERVICE_ACCOUNT_JSON_KEY, service_account_key)]
        }
        Credentials::Azure { account_key } => vec![(secret_key::AZURE_ACCOUNT_KEY, account_key)],
        Credentials::Ambient => {
            let problem = "it names no Secret, and workload identity cannot be handed to movers yet";
            return Err(unsupported(description, problem).with_remedy("name a Secret with a key in secretName"));
        }
    };
    let values = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.expose_secret().to_owned())).collect();
    Ok(Grant::StorageKey(StorageKey { values }))
}

fn unsupported(description: &BackendDescription, problem: &str) -> ApiError {
    let BackendDescription { namespace, name, .. } = description;
    ApiError::new(ErrorCode::FailedPrecondition, format!("BackupStorage {namespace}/{name}: {problem}"))
}
