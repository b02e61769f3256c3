//! Access to the store: asked of the storage-initializer for each target, kept in memory only.

use std::collections::HashMap;
use std::time::Duration;

use proto_api::storage::v1alpha1::storage_service_client::StorageServiceClient;
use proto_api::storage::v1alpha1::{
    AccessGrant, AccessSubject, Backend as WireBackend, IssueAccessRequest, IssueAccessResponse, RecordRepositoryRequest,
    RepositoryAccess, access_grant, access_subject, backend,
};
use secrecy::SecretString;
use service_kit::auth::TokenFileInterceptor;
use service_kit::client;
use storage::{
    AzureConfig, AzureCredentials, Backend, BackendConfig, GcsConfig, GcsCredentials, LocalConfig, S3Config, S3Credentials,
};
use tokio::time::Instant;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::backoff::Backoff;
use crate::environment::{Patience, Service};
use crate::failure::Failure;
use crate::stop::Stop;

/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(30);
/// A refusal of access is believed sooner than one to attach: the caches behind it lag by seconds at most, and there is a
/// person who waits for the sentence.
const REFUSALS: u32 = 6;
/// How long one request to the store is repeated. The target as a whole is tried again after that.
const STORE_PATIENCE: Duration = Duration::from_secs(120);

/// What one target may use.
#[derive(Debug)]
pub struct Access {
    /// Where the restic repository is.
    pub config: BackendConfig,
    /// Its password.
    pub password: SecretString,
    /// Whether it may be made here.
    pub may_initialise: bool,
    /// The id it must have, if one is on record.
    pub expected_id: Option<String>,
}

/// Talks to the storage-initializer.
#[derive(Clone, Debug)]
pub struct AccessClient {
    service: Service,
    patience: Patience,
    client: StorageServiceClient<InterceptedService<Channel, TokenFileInterceptor>>,
}

impl AccessClient {
    /// A client that connects when it is first used.
    ///
    /// # Errors
    /// If the address or the CA bundle is malformed.
    pub fn new(service: &Service, patience: Patience) -> Result<Self, client::ClientError> {
        let channel = client::endpoint(&service.address, &service.tls)?.connect_lazy();
        let interceptor = TokenFileInterceptor::new(&service.token_file);
        Ok(Self { service: service.clone(), patience, client: StorageServiceClient::with_interceptor(channel, interceptor) })
    }

    /// Asks for access to one component's repository.
    ///
    /// # Errors
    /// A [`Failure`] that names the object and says what the service said.
    pub async fn issue(&self, subject: &AccessSubject, component_path: &str, stop: &Stop) -> Result<Access, Failure> {
        let object = object_of(subject);
        let request = IssueAccessRequest { subject: Some(subject.clone()) };
        let response = self
            .call("IssueAccess", &object, stop, |mut client, request| async move { client.issue_access(request).await }, request)
            .await?;
        access_of(response, component_path, &object)
    }

    /// Records the id of a repository that was just made, and returns the id on record.
    ///
    /// # Errors
    /// As [`Self::issue`].
    pub async fn record(
        &self,
        subject: &AccessSubject,
        component_path: &str,
        repository_id: &str,
        stop: &Stop,
    ) -> Result<String, Failure> {
        let request = RecordRepositoryRequest {
            subject: Some(subject.clone()),
            component_path: component_path.to_owned(),
            repository_id: repository_id.to_owned(),
        };
        let object = object_of(subject);
        let response = self
            .call(
                "RecordRepository",
                &object,
                stop,
                |mut client, request| async move { client.record_repository(request).await },
                request,
            )
            .await?;
        Ok(response.repository_id)
    }

    async fn call<Q, R, F>(
        &self,
        name: &str,
        object: &str,
        stop: &Stop,
        send: impl Fn(StorageServiceClient<InterceptedService<Channel, TokenFileInterceptor>>, Request<Q>) -> F,
        message: Q,
    ) -> Result<R, Failure>
    where
        Q: Clone,
        F: Future<Output = Result<tonic::Response<R>, Status>>,
    {
        let begin = Instant::now();
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
        loop {
            let mut request = Request::new(message.clone());
            request.set_timeout(ANSWER);
            let Some(answer) = stop.token().run_until_cancelled(send(self.client.clone(), request)).await else {
                return Err(Failure::stopped(stop));
            };
            let status = match answer {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => status,
            };
            let failure = Failure::of_status(name, &self.service.address, object, &status);
            let patience = if failure.is_passing() { self.patience.service } else { self.patience.refusal / REFUSALS };
            if begin.elapsed() >= patience {
                return Err(failure);
            }
            tracing::info!(call = name, %failure, "asking again");
            if !stop.sleep(backoff.pause()).await {
                return Err(Failure::stopped(stop));
            }
        }
    }
}

/// The object that messages name: the Repository where the subject has one.
#[must_use]
pub fn object_of(subject: &AccessSubject) -> String {
    use access_subject::Subject;
    let object = match &subject.subject {
        Some(Subject::BackupSession(access)) => access.repository.as_ref(),
        Some(Subject::RestoreSession(access)) => access.snapshot.as_ref(),
        Some(Subject::Retention(access)) => access.repository.as_ref(),
        Some(Subject::Cleanup(access)) => access.owner.as_ref(),
        Some(Subject::LocalMetadata(access)) => access.backup_storage.as_ref(),
        Some(Subject::Browse(access)) => access.snapshot.as_ref(),
        None => None,
    };
    object.map_or_else(|| "an unnamed object".to_owned(), |object| object.display().to_string())
}

fn access_of(response: IssueAccessResponse, component_path: &str, object: &str) -> Result<Access, Failure> {
    let lacks = |what: &str| {
        Failure::answer(format!(
            "{object}: the storage-initializer's answer has {what}; compare the versions of data-mover and storage-initializer"
        ))
    };
    let IssueAccessResponse { backend, grant, repository_password, repositories, verbs: _, expires_at: _ } = response;
    let backend = backend.ok_or_else(|| lacks("no backend"))?;
    let repository = repositories
        .into_iter()
        .find(|repository| repository.component_path == component_path)
        .ok_or_else(|| lacks(&format!("no access to {component_path}")))?;
    let config = config_of(&backend, grant, &repository, object)?;
    let expected_id = Some(repository.expected_repository_id).filter(|id| !id.is_empty());
    Ok(Access { config, password: repository_password.into(), may_initialise: repository.may_initialise, expected_id })
}

fn config_of(
    wire: &WireBackend,
    grant: Option<AccessGrant>,
    repository: &RepositoryAccess,
    object: &str,
) -> Result<BackendConfig, Failure> {
    let values = match grant.and_then(|grant| grant.grant) {
        Some(access_grant::Grant::ScopedCredentials(credentials)) => credentials.values,
        Some(access_grant::Grant::StorageKey(key)) => key.values,
        Some(access_grant::Grant::Gateway(_)) => {
            return Err(Failure::answer(format!(
                "{object}: access through a storage gateway is not supported by this mover yet"
            )));
        }
        // A volume needs no key.
        None => HashMap::new(),
    };
    let mut values = Values { values, object };
    let backend = match &wire.provider {
        Some(backend::Provider::S3(s3)) => Backend::S3(S3Config {
            endpoint: Some(s3.endpoint.clone()).filter(|endpoint| !endpoint.is_empty()),
            region: Some(s3.region.clone()).filter(|region| !region.is_empty()),
            bucket: s3.bucket.clone(),
            insecure_tls: s3.insecure_tls,
            disable_bulk_delete: false,
            credentials: S3Credentials::Keys {
                access_key_id: values.take("AWS_ACCESS_KEY_ID")?,
                secret_access_key: values.take("AWS_SECRET_ACCESS_KEY")?.into(),
                session_token: values.optional("AWS_SESSION_TOKEN").map(Into::into),
            },
        }),
        Some(backend::Provider::Gcs(gcs)) => Backend::Gcs(GcsConfig {
            bucket: gcs.bucket.clone(),
            endpoint: None,
            credentials: match values.optional("GOOGLE_OAUTH_ACCESS_TOKEN") {
                Some(token) => GcsCredentials::BearerToken(token.into()),
                None => GcsCredentials::ServiceAccountKey(values.take("GOOGLE_SERVICE_ACCOUNT_JSON_KEY")?.into()),
            },
        }),
        Some(backend::Provider::Azure(azure)) => Backend::Azure(AzureConfig {
            account: azure.account.clone(),
            container: azure.container.clone(),
            endpoint: None,
            credentials: match values.optional("AZURE_SAS_TOKEN") {
                Some(token) => AzureCredentials::Sas(token.into()),
                None => AzureCredentials::AccountKey(values.take("AZURE_ACCOUNT_KEY")?.into()),
            },
        }),
        Some(backend::Provider::Local(local)) => Backend::Local(LocalConfig { root: local.mount_path.clone().into() }),
        None => return Err(Failure::answer(format!("{object}: its storage has a provider that this mover does not know"))),
    };
    let mut config = BackendConfig::new(backend).with_patience(STORE_PATIENCE);
    config.prefix.clone_from(&repository.key_prefix);
    if !wire.ca_bundle_pem.is_empty() {
        let bundle = String::from_utf8(wire.ca_bundle_pem.to_vec());
        config.ca_bundle_pem =
            Some(bundle.map_err(|_| Failure::answer(format!("{object}: CA_CERT_DATA of its storage is not PEM text")))?);
    }
    config.max_connections = Some(wire.max_connections).filter(|most| *most > 0);
    Ok(config)
}

/// A grant's values; what is taken is not kept a second time.
struct Values<'a> {
    values: HashMap<String, String>,
    object: &'a str,
}

impl Values<'_> {
    fn optional(&mut self, name: &str) -> Option<String> {
        self.values.remove(name).filter(|value| !value.is_empty())
    }

    fn take(&mut self, name: &str) -> Result<String, Failure> {
        let object = self.object;
        self.optional(name).ok_or_else(|| {
            Failure::answer(format!(
                "{object}: the credentials of its storage lack {name}; complete the Secret that the BackupStorage names"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proto_api::common::v1alpha1::ObjectRef;
    use proto_api::storage::v1alpha1::{BackupSessionAccess, LocalBackend, S3Backend, StorageKey};

    use super::*;

    fn response(provider: backend::Provider, values: &[(&str, &str)]) -> IssueAccessResponse {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        IssueAccessResponse {
            backend: Some(WireBackend { provider: Some(provider), ..WireBackend::default() }),
            grant: Some(AccessGrant { grant: Some(access_grant::Grant::StorageKey(StorageKey { values })) }),
            repository_password: "hunter2".to_owned(),
            repositories: vec![RepositoryAccess {
                component_path: "repository/v1/s/dump".to_owned(),
                key_prefix: "prefix/repo/repository/v1/s/dump".to_owned(),
                may_initialise: true,
                expected_repository_id: String::new(),
            }],
            ..IssueAccessResponse::default()
        }
    }

    fn s3() -> backend::Provider {
        backend::Provider::S3(S3Backend { endpoint: "http://s3:9000".to_owned(), bucket: "b".to_owned(), ..S3Backend::default() })
    }

    #[test]
    fn a_grant_becomes_a_configuration_that_shows_no_secret() {
        let keys = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "hunter2")];
        let access = access_of(response(s3(), &keys), "repository/v1/s/dump", "Repository demo/r").unwrap();
        assert_eq!(access.config.describe(), "bucket \"b\" at http://s3:9000 under \"prefix/repo/repository/v1/s/dump\"");
        assert_eq!(access.expected_id, None);
        assert!(!format!("{access:?}").contains("hunter2"));
        let local = backend::Provider::Local(LocalBackend { mount_path: "/backups".to_owned() });
        access_of(response(local, &[]), "repository/v1/s/dump", "Repository demo/r").unwrap();
    }

    #[test]
    fn what_is_missing_is_named() {
        let failure = access_of(response(s3(), &[]), "repository/v1/s/dump", "Repository demo/r").unwrap_err();
        assert!(failure.to_string().contains("AWS_ACCESS_KEY_ID"), "{failure}");
        assert!(!failure.is_passing());
        let failure = access_of(response(s3(), &[]), "another", "Repository demo/r").unwrap_err();
        assert!(failure.to_string().contains("another"), "{failure}");
    }

    #[test]
    fn messages_name_the_repository() {
        let repository = ObjectRef::named("Repository", "demo", "r");
        let access = BackupSessionAccess { repository: Some(repository), ..BackupSessionAccess::default() };
        let subject = AccessSubject { subject: Some(access_subject::Subject::BackupSession(access)) };
        assert!(object_of(&subject).contains("demo/r"), "{}", object_of(&subject));
    }
}
