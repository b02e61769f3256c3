//! Objects whose first choice of name may belong to somebody else (architecture §4.2).

use std::fmt::Debug;

use kube::{Api, Resource};
use kube_kit::apply::{ApplyError, Match, create_if_absent_matching};
use planner::names::Name;
use serde::{Serialize, de::DeserializeOwned};

use super::PrepareError;

/// Creates an object under the first of its names that nobody else holds; one that is there already and is the same
/// object is accepted.
///
/// # Errors
/// [`PrepareError::Refused`] when the API server says no, [`PrepareError::NoNameLeft`] when others hold every name.
pub async fn create_named<K>(
    api: &Api<K>,
    name: &Name,
    what: &'static str,
    session: &str,
    build: impl Fn(&str) -> K,
) -> Result<K, PrepareError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    for candidate in name.candidates() {
        match create_if_absent_matching(api, &build(&candidate), Match::Owner).await {
            Ok(ensured) => return Ok(ensured.object),
            Err(ApplyError::NotOurs { .. }) => {}
            Err(error) => return Err(PrepareError::of_write(error)),
        }
    }
    Err(PrepareError::NoNameLeft { what, session: session.to_owned() })
}
