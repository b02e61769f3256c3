//! Who we are at a store, from the variables that restic's users set.

use secrecy::SecretString;
use storage::{AzureCredentials, GcsCredentials, S3Credentials};

/// Looks up a variable of the environment.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The process's own environment; an empty variable is none.
#[must_use]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A key pair, or a role with a token.
///
/// # Errors
/// What to set, as a sentence.
pub fn s3(environment: Lookup<'_>) -> Result<S3Credentials, String> {
    if let Some(access_key_id) = environment("AWS_ACCESS_KEY_ID") {
        let secret = environment("AWS_SECRET_ACCESS_KEY").ok_or("AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not")?;
        let session_token = environment("AWS_SESSION_TOKEN").map(SecretString::from);
        return Ok(S3Credentials::Keys { access_key_id, secret_access_key: secret.into(), session_token });
    }
    if let (Some(role_arn), Some(token)) = (environment("AWS_ROLE_ARN"), environment("AWS_WEB_IDENTITY_TOKEN_FILE")) {
        let session_name = environment("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| "orlop".to_owned());
        return Ok(S3Credentials::WebIdentity { role_arn, token_file: token.into(), session_name });
    }
    Err("no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE"
        .to_owned())
}

/// A token, a service account's key, or what the platform gives.
///
/// # Errors
/// What to set, as a sentence.
pub fn gcs(environment: Lookup<'_>) -> Result<GcsCredentials, String> {
    if let Some(token) = environment("GOOGLE_ACCESS_TOKEN") {
        return Ok(GcsCredentials::BearerToken(token.into()));
    }
    let Some(file) = environment("GOOGLE_APPLICATION_CREDENTIALS") else { return Ok(GcsCredentials::Default) };
    let key = std::fs::read_to_string(&file);
    key.map(|key| GcsCredentials::ServiceAccountKey(key.into()))
        .map_err(|error| format!("cannot read {file}, which GOOGLE_APPLICATION_CREDENTIALS names: {error}"))
}

/// The account, and its key or a signature.
///
/// # Errors
/// What to set, as a sentence.
pub fn azure(environment: Lookup<'_>) -> Result<(String, AzureCredentials), String> {
    let account = environment("AZURE_ACCOUNT_NAME").ok_or("no account; set AZURE_ACCOUNT_NAME")?;
    let credentials = match (environment("AZURE_ACCOUNT_KEY"), environment("AZURE_ACCOUNT_SAS")) {
        (Some(key), _) => AzureCredentials::AccountKey(key.into()),
        (None, Some(signature)) => AzureCredentials::Sas(signature.into()),
        (None, None) => return Err("no credentials; set AZURE_ACCOUNT_KEY or AZURE_ACCOUNT_SAS".to_owned()),
    };
    Ok((account, credentials))
}
