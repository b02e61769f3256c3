//! Bearer tokens in gRPC metadata. The token itself is judged elsewhere, by the API server.

use std::{fs, path::PathBuf};

use proto_api::status::ApiError;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataMap, MetadataValue},
    service::Interceptor,
};

use crate::trace_context;

const AUTHORIZATION: &str = "authorization";
const SCHEME: &str = "Bearer ";

/// Adds the token of a file and the trace context to each call.
///
/// The file is read each time, because the kubelet replaces a projected token well before it expires.
#[derive(Clone, Debug)]
pub struct TokenFileInterceptor {
    path: PathBuf,
}

impl TokenFileInterceptor {
    /// Sends the token that this file holds.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn header(&self) -> Result<MetadataValue<Ascii>, ApiError> {
        let path = self.path.display();
        let token = fs::read_to_string(&self.path).map_err(|error| {
            ApiError::unauthenticated(format!("cannot read token file {path}: {error}"))
                .with_remedy("the pod needs a projected ServiceAccount token there")
        })?;
        let mut header: MetadataValue<Ascii> = format!("{SCHEME}{}", token.trim())
            .parse()
            .map_err(|_| ApiError::unauthenticated(format!("token file {path} does not hold a token")))?;
        header.set_sensitive(true);
        Ok(header)
    }
}

impl Interceptor for TokenFileInterceptor {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let header = self.header()?;
        request.metadata_mut().insert(AUTHORIZATION, header);
        trace_context::inject(request.metadata_mut());
        Ok(request)
    }
}

/// The bearer token that a call carries.
///
/// # Errors
/// `Unauthenticated` when there is none, or more than one could be meant.
pub fn bearer_token(metadata: &MetadataMap) -> Result<&str, ApiError> {
    let missing = || {
        ApiError::unauthenticated("the call carries no bearer token")
            .with_remedy("send metadata `authorization: Bearer <ServiceAccount token>`")
    };
    let mut values = metadata.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or_else(missing)?.to_str().map_err(|_| missing())?;
    if values.next().is_some() {
        return Err(ApiError::unauthenticated("the call carries several authorization headers").with_remedy("send one"));
    }
    let (scheme, token) = value.split_once(' ').ok_or_else(missing)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case(SCHEME.trim()) || token.is_empty() {
        return Err(missing());
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Tokens rotate: each call sends what the file holds then.
    #[test]
    fn the_token_file_is_read_on_each_call() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let mut interceptor = TokenFileInterceptor::new(&path);
        for token in ["first", "second"] {
            fs::write(&path, format!("{token}\n")).unwrap();
            let request = interceptor.call(Request::new(())).unwrap();
            assert_eq!(bearer_token(request.metadata()).unwrap(), token);
            assert!(!format!("{:?}", request.metadata()).contains(token), "the header must not be printable");
        }
    }

    #[test]
    fn a_missing_token_file_is_named() {
        let status = TokenFileInterceptor::new("/nonexistent/token").call(Request::new(())).unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unauthenticated);
        assert!(status.message().contains("/nonexistent/token"));
    }

    #[test]
    fn calls_without_one_clear_token_are_refused() {
        let mut metadata = MetadataMap::new();
        assert!(bearer_token(&metadata).is_err());
        for value in ["Bearer", "Bearer ", "Basic dXNlcg=="] {
            metadata.insert(AUTHORIZATION, value.parse().unwrap());
            assert!(bearer_token(&metadata).is_err(), "{value}");
        }
        metadata.insert(AUTHORIZATION, "bearer abc".parse().unwrap());
        assert_eq!(bearer_token(&metadata).unwrap(), "abc");
        metadata.append(AUTHORIZATION, "bearer def".parse().unwrap());
        assert!(bearer_token(&metadata).is_err());
    }
}
