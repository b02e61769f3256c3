//! One vocabulary for what can go wrong with a store, whatever its provider.
//!
//! Providers answer in many dialects (status codes, XML, errno). Callers decide by [`ErrorKind`], people read the message
//! and the remedy.

use std::error::Error as StdError;

use object_store::client::{HttpError, HttpErrorKind};

/// What went wrong, independent of the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bucket, container or root directory itself is missing. Never confused with a missing object.
    NoSuchBucket,
    /// The object is missing.
    NotFound,
    /// A create-if-absent found the key taken.
    AlreadyExists,
    /// An `If-Match`-like condition did not hold.
    Precondition,
    /// The identity is known, but may not do this.
    AccessDenied,
    /// The identity or its signature was refused (wrong key, expired token, clock too far off).
    InvalidCredentials,
    /// No connection, or the connection broke.
    Unreachable,
    /// A connection stood but nothing moved for too long.
    TimedOut,
    /// The TLS handshake failed, for example because of an unknown certificate authority.
    Tls,
    /// The store asked for fewer requests.
    Throttled,
    /// The store failed by itself (5xx), or answered nonsense.
    ServerError,
    /// No space or quota left.
    Full,
    /// The file system is read-only.
    ReadOnly,
    /// The store cannot do what was asked.
    Unsupported,
    /// The configuration cannot be right (region, key, path).
    Configuration,
    /// None of the above.
    Other,
}

impl ErrorKind {
    /// Classifies an error of `object_store`, of its clients or of our local store.
    #[must_use]
    pub fn of(error: &object_store::Error) -> Self {
        use object_store::Error as Store;
        let text = chain_text(error);
        match error {
            Store::NotFound { .. } if names_missing_bucket(&text) => Self::NoSuchBucket,
            Store::NotFound { .. } => Self::NotFound,
            Store::AlreadyExists { .. } => Self::AlreadyExists,
            Store::Precondition { .. } | Store::NotModified { .. } => Self::Precondition,
            Store::PermissionDenied { .. } if refuses_identity(&text) => Self::InvalidCredentials,
            Store::PermissionDenied { .. } => Self::AccessDenied,
            Store::Unauthenticated { .. } => Self::InvalidCredentials,
            Store::NotSupported { .. } | Store::NotImplemented { .. } => Self::Unsupported,
            Store::UnknownConfigurationKey { .. } | Store::InvalidPath { .. } => Self::Configuration,
            Store::Generic { .. } => of_generic(error, &text),
            _ => Self::Other,
        }
    }

    /// Whether the same request may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Unreachable | Self::TimedOut | Self::Throttled | Self::ServerError)
    }

    /// A `CamelCase` word for conditions, events and metric labels.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::NoSuchBucket => "NoSuchBucket",
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::Precondition => "PreconditionFailed",
            Self::AccessDenied => "AccessDenied",
            Self::InvalidCredentials => "InvalidCredentials",
            Self::Unreachable => "Unreachable",
            Self::TimedOut => "TimedOut",
            Self::Tls => "TLSHandshakeFailed",
            Self::Throttled => "Throttled",
            Self::ServerError => "ServerError",
            Self::Full => "StorageFull",
            Self::ReadOnly => "StorageReadOnly",
            Self::Unsupported => "Unsupported",
            Self::Configuration => "InvalidConfiguration",
            Self::Other => "StorageError",
        }
    }

    /// What a person can do about it, as one sentence.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::NoSuchBucket => "create the bucket, or correct its name and the endpoint in the BackupStorage",
            Self::NotFound => "check that nothing but Orlop removes objects under this prefix",
            Self::AlreadyExists => "somebody else created the object first; look at who writes to this prefix",
            Self::Precondition => "somebody else changed the object in between; the next attempt reads it again",
            Self::AccessDenied => "give the credentials permission to list, read, write and delete under this prefix",
            Self::InvalidCredentials => {
                "correct the credentials in the Secret named by the BackupStorage, and check the clock of the nodes"
            }
            Self::Unreachable => "check the endpoint of the BackupStorage, network policies and the store itself",
            Self::TimedOut => "check the network path to the store and its load",
            Self::Tls => "put the store's certificate authority into the Secret as CA_CERT_DATA, or set insecureTLS for a test",
            Self::Throttled => "lower maxConnections or raise the store's request limits",
            Self::ServerError => "look at the store's own logs; the request is repeated by itself",
            Self::Full => "free space or raise the quota of the store",
            Self::ReadOnly => "mount the volume of the BackupStorage writable",
            Self::Unsupported => "use a store that supports this request",
            Self::Configuration => "correct the BackupStorage",
            Self::Other => "look at the message; it is what the store said",
        }
    }
}

impl std::fmt::Display for ErrorKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.reason())
    }
}

/// A failure at a named place, with the cause in the store's own words.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {cause}")]
pub struct Error {
    kind: ErrorKind,
    place: String,
    cause: String,
    #[source]
    source: Option<Box<object_store::Error>>,
}

impl Error {
    /// Wraps what `object_store` said about `place` (see [`crate::BackendConfig::describe`]).
    #[must_use]
    pub fn from_store(source: object_store::Error, place: impl Into<String>) -> Self {
        Self { kind: ErrorKind::of(&source), place: place.into(), cause: cause_of(&source), source: Some(Box::new(source)) }
    }

    /// A configuration that cannot work, found before any request.
    #[must_use]
    pub fn configuration(place: impl Into<String>, cause: impl Into<String>) -> Self {
        Self::of_kind(ErrorKind::Configuration, place, cause)
    }

    /// An error of our own finding.
    #[must_use]
    pub fn of_kind(kind: ErrorKind, place: impl Into<String>, cause: impl Into<String>) -> Self {
        Self { kind, place: place.into(), cause: cause.into(), source: None }
    }

    /// The class of the failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same request may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind.is_retryable()
    }

    /// What a person can do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        self.kind.remedy()
    }

    /// Message and remedy as one line for conditions and component errors.
    #[must_use]
    pub fn sentence(&self) -> String {
        format!("{self}; {}", self.remedy())
    }
}

/// The error of a local store whose root directory is missing; classified as [`ErrorKind::NoSuchBucket`].
#[derive(Debug, thiserror::Error)]
#[error("directory {0:?} does not exist: NoSuchBucket")]
pub(crate) struct RootMissing(pub std::path::PathBuf);

/// The shortest text that still says what the store said: the code and message of an XML answer, else the innermost cause.
#[must_use]
pub fn cause_of(error: &object_store::Error) -> String {
    let text = chain_text(error);
    if let (Some(code), message) = (tag(&text, "Code"), tag(&text, "Message")) {
        return shorten(&message.map_or_else(|| code.to_owned(), |message| format!("{code}: {message}")));
    }
    innermost(error)
}

/// What the cause at the end of the chain says.
pub(crate) fn innermost(error: &dyn StdError) -> String {
    let mut last = error;
    while let Some(inner) = last.source() {
        last = inner;
    }
    shorten(&last.to_string())
}

fn of_generic(error: &object_store::Error, text: &str) -> ErrorKind {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = next {
        if let Some(http) = current.downcast_ref::<HttpError>() {
            return of_http(http, text);
        }
        if let Some(io) = current.downcast_ref::<std::io::Error>()
            && let Some(kind) = of_io(io)
        {
            return kind;
        }
        if current.downcast_ref::<RootMissing>().is_some() {
            return ErrorKind::NoSuchBucket;
        }
        next = current.source();
    }
    of_text(text)
}

fn of_http(error: &HttpError, text: &str) -> ErrorKind {
    let lower = text.to_ascii_lowercase();
    let about_tls = ["certificate", "unknownissuer", "tls handshake", "handshake failure", "corrupt message"];
    match error.kind() {
        _ if about_tls.iter().any(|word| lower.contains(word)) => ErrorKind::Tls,
        HttpErrorKind::Timeout => ErrorKind::TimedOut,
        HttpErrorKind::Decode => ErrorKind::ServerError,
        // A broken connection and one that never stood are the same to a caller: nothing came back.
        _ => ErrorKind::Unreachable,
    }
}

fn of_io(error: &std::io::Error) -> Option<ErrorKind> {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    Some(match errno? {
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => ErrorKind::Full,
        Errno::ROFS => ErrorKind::ReadOnly,
        Errno::ACCESS | Errno::PERM => ErrorKind::AccessDenied,
        // A network file system that lost its server says one of these.
        Errno::STALE | Errno::TIMEDOUT | Errno::HOSTDOWN | Errno::HOSTUNREACH | Errno::NOTCONN => ErrorKind::Unreachable,
        Errno::CONNREFUSED | Errno::CONNRESET | Errno::PIPE => ErrorKind::Unreachable,
        Errno::NAMETOOLONG | Errno::NOTDIR | Errno::ISDIR | Errno::LOOP => ErrorKind::Configuration,
        _ => return None,
    })
}

fn of_text(text: &str) -> ErrorKind {
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let status = status_of(text);
    if names_missing_bucket(text) {
        ErrorKind::NoSuchBucket
    } else if refuses_identity(text) {
        ErrorKind::InvalidCredentials
    } else if status == Some(507) || has(&["InsufficientStorage", "StorageFull", "QuotaExceeded", "no space left"]) {
        ErrorKind::Full
    } else if status == Some(429) || has(&["SlowDown", "TooManyRequests", "RequestLimitExceeded"]) {
        ErrorKind::Throttled
    } else if status.is_some_and(|status| status >= 500) || has(&["InternalError", "ServiceUnavailable"]) {
        ErrorKind::ServerError
    } else if has(&["without LOCATION", "AuthorizationHeaderMalformed", "PermanentRedirect", "InvalidBucketName"]) {
        ErrorKind::Configuration
    } else if has(&["AccessDenied"]) {
        ErrorKind::AccessDenied
    } else if has(&["NotImplemented"]) {
        ErrorKind::Unsupported
    } else {
        ErrorKind::Other
    }
}

fn names_missing_bucket(text: &str) -> bool {
    ["NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist", "specified container does not exist"]
        .iter()
        .any(|word| text.contains(word))
}

fn refuses_identity(text: &str) -> bool {
    [
        "SignatureDoesNotMatch",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "ExpiredToken",
        "InvalidToken",
        "RequestTimeTooSkewed",
        "AuthenticationFailed",
        "TokenRefreshRequired",
        "invalid_grant",
    ]
    .iter()
    .any(|word| text.contains(word))
}

/// The status in the text of the client's error ("... status code: 503 Service Unavailable: ...").
fn status_of(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn tag<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (value, _) = rest.split_once(&format!("</{name}>"))?;
    (!value.is_empty()).then_some(value)
}

fn chain_text(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(current) = next {
        text.push_str(" | ");
        text.push_str(&current.to_string());
        next = current.source();
    }
    text
}

/// Answers of broken proxies are whole HTML pages; nobody needs them in a status field.
fn shorten(text: &str) -> String {
    const LIMIT: usize = 300;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    /// I8: a GET answered with a missing bucket says nothing about the object.
    #[test]
    fn a_missing_bucket_is_never_a_missing_object() {
        let body = "Server returned non-2xx status code: 404 Not Found: <Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message></Error>";
        let error = object_store::Error::NotFound { path: "config".into(), source: body.into() };
        assert_eq!(ErrorKind::of(&error), ErrorKind::NoSuchBucket);
        assert_eq!(cause_of(&error), "NoSuchBucket: The specified bucket does not exist");
    }

    #[test]
    fn identity_and_permission_are_told_apart() {
        let refused = |code: &str| object_store::Error::PermissionDenied {
            path: "x".into(),
            source: format!("status code: 403 Forbidden: <Code>{code}</Code>").into(),
        };
        assert_eq!(ErrorKind::of(&refused("SignatureDoesNotMatch")), ErrorKind::InvalidCredentials);
        assert_eq!(ErrorKind::of(&refused("AccessDenied")), ErrorKind::AccessDenied);
    }

    #[test]
    fn only_what_may_pass_by_itself_is_retryable() {
        for (text, kind) in [
            ("status code: 503 Service Unavailable: <Code>SlowDown</Code>", ErrorKind::Throttled),
            ("status code: 500 Internal Server Error: ", ErrorKind::ServerError),
            ("status code: 507 Insufficient Storage: ", ErrorKind::Full),
            ("Received redirect without LOCATION", ErrorKind::Configuration),
        ] {
            assert_eq!(ErrorKind::of(&generic(text)), kind, "{text}");
            assert_eq!(kind.is_retryable(), matches!(kind, ErrorKind::Throttled | ErrorKind::ServerError));
        }
    }

    #[test]
    fn errno_is_understood() {
        let full = std::io::Error::from_raw_os_error(28);
        let error = object_store::Error::Generic { store: "local", source: Box::new(full) };
        assert_eq!(ErrorKind::of(&error), ErrorKind::Full);
    }

    #[test]
    fn long_answers_are_cut() {
        assert!(cause_of(&generic(&"x".repeat(5_000))).len() < 310);
    }
}
