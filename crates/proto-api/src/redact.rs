//! `Debug` of messages that hold credentials: names are shown, values never.

use std::{collections::HashMap, fmt};

use crate::storage::v1alpha1::{GatewayAccess, IssueAccessResponse, ScopedCredentials, StorageKey};

const REDACTED: &str = "[redacted]";

fn names(values: &HashMap<String, String>) -> Vec<&str> {
    let mut names: Vec<&str> = values.keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

impl fmt::Debug for ScopedCredentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("ScopedCredentials").field(&names(&self.values)).finish()
    }
}

impl fmt::Debug for StorageKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("StorageKey").field(&names(&self.values)).finish()
    }
}

impl fmt::Debug for GatewayAccess {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("GatewayAccess").field("address", &self.address).field("bearer_token", &REDACTED).finish()
    }
}

impl fmt::Debug for IssueAccessResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { backend, grant, repository_password: _, repositories, verbs, expires_at } = self;
        formatter
            .debug_struct("IssueAccessResponse")
            .field("backend", backend)
            .field("grant", grant)
            .field("repository_password", &REDACTED)
            .field("repositories", repositories)
            .field("verbs", verbs)
            .field("expires_at", expires_at)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::v1alpha1::{AccessGrant, access_grant::Grant};

    /// No credential or password may reach a log (architecture §5).
    #[test]
    fn debug_output_holds_no_secret() {
        let secret = "s3cr3t-value".to_owned();
        let values = HashMap::from([("AWS_SECRET_ACCESS_KEY".to_owned(), secret.clone())]);
        for grant in [
            Grant::StorageKey(StorageKey { values: values.clone() }),
            Grant::ScopedCredentials(ScopedCredentials { values }),
            Grant::Gateway(GatewayAccess { address: "https://gateway".to_owned(), bearer_token: secret.clone() }),
        ] {
            let response = IssueAccessResponse {
                grant: Some(AccessGrant { grant: Some(grant) }),
                repository_password: secret.clone(),
                ..IssueAccessResponse::default()
            };
            let text = format!("{response:?}");
            assert!(!text.contains(&secret), "{text}");
        }
    }
}
