#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use testkit::{ApiServer, Fault, Matcher, fixtures};

use super::*;

fn server() -> ApiServer {
    let server = ApiServer::new();
    server.answer_tokens(|token, audiences| {
        (token == "good" && audiences == ["orlop-storage"])
            .then(|| fixtures::service_account_user("shop", "mover", "pod-1", "node-a"))
    });
    server
}

#[tokio::test]
async fn a_bound_token_names_its_pod() {
    let caller = Reviewer::new(server().client()).token("good", "orlop-storage").await.unwrap();
    assert_eq!(caller.service_account, Some(("shop".to_owned(), "mover".to_owned())));
    assert_eq!(caller.pod, Some(BoundPod { name: "pod-1".to_owned(), uid: "uid-pod-pod-1".to_owned() }));
    assert_eq!(caller.node.as_deref(), Some("node-a"));
}

/// reliability S-51: a token for another audience, or an unknown one, is nobody.
#[tokio::test]
async fn other_tokens_and_other_audiences_are_refused() {
    let reviewer = Reviewer::new(server().client());
    for (token, audience) in [("bad", "orlop-storage"), ("good", "orlop-session"), ("", "orlop-storage")] {
        let refusal = reviewer.token(token, audience).await.unwrap_err();
        assert!(matches!(refusal, ReviewError::Unauthenticated { .. }), "{refusal}");
    }
}

#[tokio::test]
async fn access_is_what_the_cluster_says_and_no_answer_is_no() {
    let server = server();
    server.answer_access(|spec| {
        let attributes = spec.resource_attributes.clone().unwrap_or_default();
        attributes.verb.as_deref() == Some("create") && attributes.namespace.as_deref() == Some("shop")
    });
    let reviewer = Reviewer::new(server.client());
    let caller = reviewer.token("good", "orlop-storage").await.unwrap();
    let access = |namespace: &str| Access {
        verb: "create",
        group: "core.kubestash.com",
        resource: "backupsessions",
        namespace: namespace.to_owned(),
        ..Access::default()
    };
    assert!(reviewer.allowed(&caller, &access("shop")).await.unwrap().allowed);
    assert!(!reviewer.allowed(&caller, &access("bank")).await.unwrap().allowed);
    server.fail_next(Fault::Status(500, "InternalError"), Matcher::of("create", "subjectaccessreviews"));
    assert!(reviewer.allowed(&caller, &access("shop")).await.is_err());
}

#[test]
fn only_service_accounts_are_service_accounts() {
    assert_eq!(service_account("system:serviceaccount:a:b"), Some(("a".to_owned(), "b".to_owned())));
    for other in ["alice", "system:serviceaccount:a", "system:serviceaccount::b", "system:node:x"] {
        assert_eq!(service_account(other), None, "{other}");
    }
}
