//! TokenReview and SubjectAccessReview: questions that are answered and not stored.

use k8s_openapi::api::authorization::v1::SubjectAccessReviewSpec;
use serde_json::{Value, json};

use super::{
    route::Route,
    state::{Access, Tokens},
};

/// What a test told the server to answer.
#[derive(Clone, Default)]
pub(super) struct Answers {
    pub(super) tokens: Option<Tokens>,
    pub(super) access: Option<Access>,
}

impl Answers {
    /// Answers a review, if the request is one.
    pub(super) fn review(&self, route: &Route, body: &Value) -> Option<Value> {
        match (route.group.as_str(), route.resource.as_str()) {
            ("authentication.k8s.io", "tokenreviews") => Some(self.token(body)),
            ("authorization.k8s.io", "subjectaccessreviews") => Some(self.may(body)),
            _ => None,
        }
    }

    fn token(&self, body: &Value) -> Value {
        let mut answer = body.clone();
        let token = body["spec"]["token"].as_str().unwrap_or_default();
        let audiences = body["spec"]["audiences"].as_array();
        let audiences: Vec<String> = audiences.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        let user = self.tokens.as_ref().and_then(|answer| answer(token, &audiences));
        answer["status"] = match user {
            Some(user) => json!({ "authenticated": true, "audiences": audiences, "user": user }),
            None => json!({ "authenticated": false, "error": "token is not known" }),
        };
        answer
    }

    fn may(&self, body: &Value) -> Value {
        let mut answer = body.clone();
        let spec: SubjectAccessReviewSpec = serde_json::from_value(body["spec"].clone()).unwrap_or_default();
        let allowed = self.access.as_ref().is_some_and(|answer| answer(&spec));
        answer["status"] = json!({ "allowed": allowed, "reason": if allowed { "granted" } else { "not granted" } });
        answer
    }
}
