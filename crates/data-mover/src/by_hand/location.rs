//! Where a repository is, in the words of restic's `--repo`.

use std::path::PathBuf;

use storage::{AzureConfig, Backend, BackendConfig, GcsConfig, LocalConfig, S3Config};

use super::credentials::{self, Lookup};

/// What keeps a location from being understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// No kind of place that can be opened.
    #[error("repository {0:?}: there is no backend of this name; write s3:, gs: or azure:, or local: before a directory")]
    Backend(String),
    /// Something of a URL is missing.
    #[error("repository {location:?}: {missing} is missing; write {form}")]
    Incomplete {
        /// As it was written.
        location: String,
        /// What is missing.
        missing: &'static str,
        /// What it should look like.
        form: &'static str,
    },
    /// The prefix would lead elsewhere.
    #[error("{0}")]
    Prefix(String),
    /// Who we are is not said.
    #[error("repository {location:?}: {missing}")]
    Credentials {
        /// As it was written.
        location: String,
        /// What is missing, and how to give it.
        missing: String,
    },
}

/// Understands a location, with credentials from the environment as restic's users keep them there.
///
/// # Errors
/// [`LocationError`].
pub fn parse(location: &str, environment: Lookup<'_>) -> Result<BackendConfig, LocationError> {
    if let Some(rest) = location.strip_prefix("s3:") {
        return s3(location, rest, environment);
    }
    if let Some(rest) = location.strip_prefix("gs:") {
        return gcs(location, rest, environment);
    }
    if let Some(rest) = location.strip_prefix("azure:") {
        return azure(location, rest, environment);
    }
    let (root, named) = location.strip_prefix("local:").map_or((location, false), |root| (root, true));
    let is_path = named || root.starts_with('/') || root.starts_with("../") || !root.contains(':');
    if root.is_empty() || !is_path {
        return Err(LocationError::Backend(location.to_owned()));
    }
    Ok(BackendConfig::new(Backend::Local(LocalConfig { root: PathBuf::from(root) })))
}

const S3_FORM: &str = "s3:https://host/bucket/prefix or s3:host/bucket/prefix";

/// `s3:https://host/bucket/prefix`, `s3://host/bucket/prefix` or `s3:host/bucket/prefix`.
fn s3(location: &str, rest: &str, environment: Lookup<'_>) -> Result<BackendConfig, LocationError> {
    let missing = |missing| LocationError::Incomplete { location: location.to_owned(), missing, form: S3_FORM };
    let (scheme, rest) = match rest.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
        Some((scheme, _)) if !scheme.contains('/') => return Err(LocationError::Backend(location.to_owned())),
        _ => ("https", rest.strip_prefix("//").unwrap_or(rest)),
    };
    let (host, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if host.is_empty() {
        return Err(missing("the host"));
    }
    if bucket.is_empty() {
        return Err(missing("the bucket"));
    }
    let amazon = host == "s3.amazonaws.com";
    let region = environment("AWS_DEFAULT_REGION").or_else(|| environment("AWS_REGION")).or_else(|| region_of(host));
    let config = S3Config {
        endpoint: (!amazon).then(|| format!("{scheme}://{host}")),
        region,
        bucket: bucket.to_owned(),
        insecure_tls: false,
        disable_bulk_delete: false,
        credentials: credentials::s3(environment).map_err(|missing| denied(location, missing))?,
    };
    rooted(BackendConfig::new(Backend::S3(config)), prefix)
}

/// The region in one of Amazon's own names, such as `s3.eu-west-1.amazonaws.com`.
fn region_of(host: &str) -> Option<String> {
    let name = host.strip_suffix(".amazonaws.com")?;
    let region = name.strip_prefix("s3.dualstack.").or_else(|| name.strip_prefix("s3.")).or_else(|| name.strip_prefix("s3-"))?;
    (!region.is_empty() && !region.contains('.')).then(|| region.to_owned())
}

/// `gs:bucket:/prefix`.
fn gcs(location: &str, rest: &str, environment: Lookup<'_>) -> Result<BackendConfig, LocationError> {
    let (bucket, prefix) = container(location, rest, "gs:bucket:/prefix")?;
    let credentials = credentials::gcs(environment).map_err(|missing| denied(location, missing))?;
    rooted(BackendConfig::new(Backend::Gcs(GcsConfig { bucket, endpoint: None, credentials })), prefix)
}

/// `azure:container:/prefix`.
fn azure(location: &str, rest: &str, environment: Lookup<'_>) -> Result<BackendConfig, LocationError> {
    let (container, prefix) = container(location, rest, "azure:container:/prefix")?;
    let (account, credentials) = credentials::azure(environment).map_err(|missing| denied(location, missing))?;
    rooted(BackendConfig::new(Backend::Azure(AzureConfig { account, container, endpoint: None, credentials })), prefix)
}

fn container<'a>(location: &str, rest: &'a str, form: &'static str) -> Result<(String, &'a str), LocationError> {
    let (name, prefix) = rest.split_once(':').unwrap_or((rest, ""));
    if name.is_empty() || name.contains('/') {
        return Err(LocationError::Incomplete { location: location.to_owned(), missing: "the bucket or container", form });
    }
    Ok((name.to_owned(), prefix))
}

fn rooted(config: BackendConfig, prefix: &str) -> Result<BackendConfig, LocationError> {
    config.with_prefix(prefix).map_err(|error| LocationError::Prefix(error.to_string()))
}

fn denied(location: &str, missing: String) -> LocationError {
    LocationError::Credentials { location: location.to_owned(), missing }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn with_keys(name: &str) -> Option<String> {
        let value = match name {
            "AWS_ACCESS_KEY_ID" => "id",
            "AWS_SECRET_ACCESS_KEY" => "secret",
            "AZURE_ACCOUNT_NAME" => "account",
            "AZURE_ACCOUNT_KEY" => "a2V5",
            "GOOGLE_ACCESS_TOKEN" => "token",
            _ => return None,
        };
        Some(value.to_owned())
    }

    /// What restic's documentation shows, and what its users write.
    #[test]
    fn s3_urls_are_read_as_restic_reads_them() {
        for (location, endpoint, bucket, prefix) in [
            ("s3:https://store:9000/bucket/some/prefix", Some("https://store:9000"), "bucket", "some/prefix"),
            ("s3:http://store:9000/bucket", Some("http://store:9000"), "bucket", ""),
            ("s3:http://store:9000/bucket/", Some("http://store:9000"), "bucket", ""),
            ("s3:store.example.com/bucket/prefix/", Some("https://store.example.com"), "bucket", "prefix"),
            ("s3://store.example.com/bucket", Some("https://store.example.com"), "bucket", ""),
            ("s3:s3.amazonaws.com/bucket/prefix", None, "bucket", "prefix"),
            ("s3:https://s3.amazonaws.com/bucket", None, "bucket", ""),
        ] {
            let config = parse(location, &with_keys).unwrap();
            let Backend::S3(s3) = &config.backend else { panic!("{location}") };
            assert_eq!(
                (s3.endpoint.as_deref(), s3.bucket.as_str(), config.prefix.as_str()),
                (endpoint, bucket, prefix),
                "{location}"
            );
        }
    }

    #[test]
    fn a_region_comes_from_the_environment_or_from_amazon_s_own_names() {
        let region = |location: &str, environment: Lookup<'_>| match parse(location, environment).unwrap().backend {
            Backend::S3(s3) => s3.region,
            _ => panic!("{location}"),
        };
        assert_eq!(region("s3:s3.eu-west-1.amazonaws.com/b", &with_keys).as_deref(), Some("eu-west-1"));
        assert_eq!(region("s3:s3.dualstack.eu-west-1.amazonaws.com/b", &with_keys).as_deref(), Some("eu-west-1"));
        assert_eq!(region("s3:s3.amazonaws.com/b", &with_keys), None);
        assert_eq!(region("s3:store/b", &with_keys), None);
        let named = |name: &str| if name == "AWS_DEFAULT_REGION" { Some("here".to_owned()) } else { with_keys(name) };
        assert_eq!(region("s3:s3.eu-west-1.amazonaws.com/b", &named).as_deref(), Some("here"));
    }

    #[test]
    fn directories_and_other_clouds_are_told_apart() {
        for location in ["/srv/backups", "relative/path", "../up", "local:/srv/backups", "local:odd:name", "/with:colon"] {
            let Backend::Local(local) = parse(location, &|_| None).unwrap().backend else { panic!("{location}") };
            assert_eq!(local.root.to_str(), Some(location.trim_start_matches("local:")));
        }
        let gcs = parse("gs:bucket:/a/b", &with_keys).unwrap();
        assert!(matches!(&gcs.backend, Backend::Gcs(gcs) if gcs.bucket == "bucket") && gcs.prefix == "a/b");
        let azure = parse("azure:container:/", &with_keys).unwrap();
        assert!(matches!(&azure.backend, Backend::Azure(azure) if azure.container == "container" && azure.account == "account"));
    }

    #[test]
    fn what_cannot_be_opened_is_refused_with_a_remedy() {
        for (location, said) in [
            ("", "no backend"),
            ("sftp:host:/path", "no backend"),
            ("rest:https://host/", "no backend"),
            ("local:", "no backend"),
            ("s3:ftp://host/bucket", "no backend"),
            ("s3:https://host", "bucket is missing"),
            ("s3:host/", "bucket is missing"),
            ("s3:", "host is missing"),
            ("s3:///bucket", "host is missing"),
            ("s3:host/bucket/../other", "not allowed"),
            ("gs:", "is missing"),
            ("azure::/x", "is missing"),
        ] {
            let error = parse(location, &with_keys).unwrap_err().to_string();
            assert!(error.contains(said), "{location}: {error}");
        }
        let error = parse("s3:host/bucket", &|_| None).unwrap_err().to_string();
        assert!(error.contains("AWS_ACCESS_KEY_ID"), "{error}");
    }
}
