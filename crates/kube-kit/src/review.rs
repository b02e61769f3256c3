//! Who is calling, and may they: TokenReview and SubjectAccessReview.
//!
//! Answers are not cached: a token of a deleted pod has to stop working at once, and calls are few.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec},
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use kube::{Api, Client, api::PostParams};

use crate::error::{self, ReconcileError, TimedOut, within};

/// How long a review may take: callers wait for it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// User names of ServiceAccounts are this, the namespace, a colon and the name.
const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";
/// Keys under which the API server says what the token is bound to.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

/// The pod a token is bound to. The token stops working when this pod is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundPod {
    /// Name of the pod, in the ServiceAccount's namespace.
    pub name: String,
    /// UID of the pod.
    pub uid: String,
}

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// User name as the API server knows it.
    pub username: String,
    /// UID of the user.
    pub uid: String,
    /// Groups of the user.
    pub groups: Vec<String>,
    /// Everything else the authenticator said.
    pub extra: BTreeMap<String, Vec<String>>,
    /// Namespace and name, if the caller is a ServiceAccount.
    pub service_account: Option<(String, String)>,
    /// The pod the token was made for, if it is bound to one.
    pub pod: Option<BoundPod>,
    /// The node of that pod, if the API server says so.
    pub node: Option<String>,
}

/// What a caller wants to do.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// `create`, `get`, `patch` and so on.
    pub verb: &'static str,
    /// API group, empty for the core one.
    pub group: &'static str,
    /// Resource in plural.
    pub resource: &'static str,
    /// Subresource, empty for none.
    pub subresource: &'static str,
    /// Namespace, empty for all.
    pub namespace: String,
    /// Name, empty for all.
    pub name: String,
}

/// What the authoriser answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why, as far as the authoriser says.
    pub reason: String,
}

/// Why there is no answer, or a refusal.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// The token is not valid for this audience.
    #[error("the token is not accepted: {reason}")]
    Unauthenticated {
        /// What the API server said.
        reason: String,
    },
    /// The API server could not be asked.
    #[error("the API server cannot review")]
    Api(#[source] Box<kube::Error>),
    /// The API server did not answer.
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
}

impl ReconcileError for ReviewError {
    fn category(&self) -> &'static str {
        match self {
            Self::Unauthenticated { .. } => "unauthenticated",
            Self::Api(source) => error::category(source),
            Self::TimedOut(_) => "api_timeout",
        }
    }

    fn is_retryable(&self) -> bool {
        !matches!(self, Self::Unauthenticated { .. })
    }
}

/// Asks the API server about tokens and rights.
#[derive(Clone)]
pub struct Reviewer {
    client: Client,
}

impl Reviewer {
    /// A reviewer that asks as our own ServiceAccount.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Who holds this token, provided it was made for `audience`.
    ///
    /// # Errors
    /// [`ReviewError::Unauthenticated`] for a token that is expired, revoked, or made for somebody else.
    pub async fn token(&self, token: &str, audience: &str) -> Result<Caller, ReviewError> {
        let review = TokenReview {
            spec: TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![audience.to_owned()]) },
            ..TokenReview::default()
        };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let answer = within("the token review", TIMEOUT, api.create(&PostParams::default(), &review))
            .await?
            .map_err(|source| ReviewError::Api(Box::new(source)))?;
        let status = answer.status.unwrap_or_default();
        let refuse = |reason: &str| Err(ReviewError::Unauthenticated { reason: reason.to_owned() });
        if !status.authenticated.unwrap_or(false) {
            return refuse(status.error.as_deref().unwrap_or("it is invalid or has expired"));
        }
        // An authenticator that knows nothing of audiences accepts any token and names none.
        if !status.audiences.unwrap_or_default().iter().any(|granted| granted == audience) {
            return refuse("it was made for another audience");
        }
        let user = status.user.unwrap_or_default();
        let username = user.username.unwrap_or_default();
        if username.is_empty() {
            return refuse("it names nobody");
        }
        let extra = user.extra.unwrap_or_default();
        let first = |key: &str| extra.get(key).and_then(|values| values.first()).cloned();
        let pod = first(POD_NAME).zip(first(POD_UID)).map(|(name, uid)| BoundPod { name, uid });
        Ok(Caller {
            service_account: service_account(&username),
            uid: user.uid.unwrap_or_default(),
            groups: user.groups.unwrap_or_default(),
            node: first(NODE_NAME),
            pod,
            extra,
            username,
        })
    }

    /// Whether the caller may do this, by the cluster's own rules.
    ///
    /// # Errors
    /// When the API server cannot be asked. An unanswered question is never a yes.
    pub async fn allowed(&self, caller: &Caller, access: &Access) -> Result<Verdict, ReviewError> {
        let text = |value: &str| Some(value.to_owned()).filter(|value| !value.is_empty());
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(caller.username.clone()),
                uid: text(&caller.uid),
                groups: Some(caller.groups.clone()),
                extra: Some(caller.extra.clone()),
                resource_attributes: Some(ResourceAttributes {
                    verb: text(access.verb),
                    group: Some(access.group.to_owned()),
                    resource: text(access.resource),
                    subresource: text(access.subresource),
                    namespace: text(&access.namespace),
                    name: text(&access.name),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = within("the access review", TIMEOUT, api.create(&PostParams::default(), &review))
            .await?
            .map_err(|source| ReviewError::Api(Box::new(source)))?;
        let status = answer.status.unwrap_or_default();
        Ok(Verdict { allowed: status.allowed && !status.denied.unwrap_or(false), reason: status.reason.unwrap_or_default() })
    }
}

fn service_account(username: &str) -> Option<(String, String)> {
    let (namespace, name) = username.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty()).then(|| (namespace.to_owned(), name.to_owned()))
}

#[cfg(test)]
#[path = "review_tests.rs"]
mod tests;
