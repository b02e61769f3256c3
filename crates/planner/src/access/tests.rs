#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use rstest::rstest;
use serde_json::json;

use super::*;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn policy(value: serde_json::Value) -> Option<UsagePolicy> {
    serde_json::from_value(value).unwrap()
}

/// Specification §1.2.1, reliability S-04.
#[rstest]
#[case(json!(null), "storage", None)]
#[case(json!(null), "team", Some("its own namespace only"))]
#[case(json!({"allowedNamespaces": {"from": "Same"}}), "storage", None)]
#[case(json!({"allowedNamespaces": {"from": "Same"}}), "team", Some("its own namespace only"))]
#[case(json!({"allowedNamespaces": {"from": "All"}}), "team", None)]
#[case(json!({"allowedNamespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "a"}}}}), "team", None)]
#[case(json!({"allowedNamespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "b"}}}}), "team", Some("does not match"))]
// The own namespace needs the labels too: that is what the policy says.
#[case(json!({"allowedNamespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "b"}}}}), "storage", Some("does not match"))]
#[case(json!({"allowedNamespaces": {"from": "Selector"}}), "team", Some("has no selector"))]
#[case(json!({"allowedNamespaces": {"from": "Selector", "selector": {}}}), "team", None)]
#[case(json!({"allowedNamespaces": {"from": "Some"}}), "team", Some("none of All"))]
#[case(json!({}), "team", Some("does not say"))]
fn usage_policies(#[case] value: serde_json::Value, #[case] consumer: &str, #[case] refused: Option<&str>) {
    let subject = Subject::new("BackupStorage", "storage", "main");
    let verdict = admits(policy(value).as_ref(), &subject, consumer, &labels(&[("team", "a")]));
    match refused {
        None => assert_eq!(verdict, Ok(())),
        Some(words) => {
            let refusal = verdict.unwrap_err();
            let sentence = refusal.to_string();
            assert!(sentence.contains(words), "{sentence}");
            assert!(sentence.contains("BackupStorage storage/main") && sentence.contains("allowedNamespaces"), "{sentence}");
            assert_eq!(refusal.reason(), "UsagePolicyDenied");
        }
    }
}

#[rstest]
#[case(json!({}), true)]
#[case(json!({"matchLabels": {"a": "1", "b": "2"}}), true)]
#[case(json!({"matchLabels": {"a": "1", "b": "3"}}), false)]
#[case(json!({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "9"]}]}), true)]
#[case(json!({"matchExpressions": [{"key": "a", "operator": "In", "values": []}]}), false)]
#[case(json!({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["2"]}]}), true)]
#[case(json!({"matchExpressions": [{"key": "none", "operator": "NotIn", "values": ["2"]}]}), true)]
#[case(json!({"matchExpressions": [{"key": "none", "operator": "Exists"}]}), false)]
#[case(json!({"matchExpressions": [{"key": "none", "operator": "DoesNotExist"}]}), true)]
#[case(json!({"matchExpressions": [{"key": "a", "operator": "Like", "values": ["1"]}]}), false)]
#[case(json!({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "DoesNotExist"}]}), false)]
fn selectors_match_as_in_kubernetes(#[case] selector: serde_json::Value, #[case] expected: bool) {
    let selector: LabelSelector = serde_json::from_value(selector).unwrap();
    assert_eq!(matches(&selector, &labels(&[("a", "1"), ("b", "2")])), expected);
}

/// Reliability S-01: another namespace's Secret needs its owner's consent, at every use.
#[rstest]
#[case(SecretRule::Deny, None, "vault", None)]
#[case(SecretRule::Consent, None, "vault", None)]
#[case(SecretRule::Allow, None, "team", None)]
#[case(SecretRule::Consent, Some("team"), "team", None)]
#[case(SecretRule::Consent, Some("other, team"), "team", None)]
#[case(SecretRule::Consent, Some("*"), "team", None)]
#[case(SecretRule::Consent, None, "team", Some("SecretConsentMissing"))]
#[case(SecretRule::Consent, Some("teams,tea"), "team", Some("SecretConsentMissing"))]
#[case(SecretRule::Deny, Some("team"), "team", Some("CrossNamespaceSecretDenied"))]
fn secrets_of_other_namespaces(
    #[case] rule: SecretRule,
    #[case] annotation: Option<&str>,
    #[case] consumer: &str,
    #[case] refused: Option<&str>,
) {
    let metadata = ObjectMeta {
        annotations: annotation.map(|allowed| labels(&[(ALLOW_NAMESPACES_ANNOTATION, allowed)])),
        ..ObjectMeta::default()
    };
    let secret = Subject::new("Secret", "vault", "password");
    let verdict = secret_use(rule, &secret, &metadata, consumer);
    assert_eq!(verdict.as_ref().err().map(Refusal::reason), refused, "{verdict:?}");
    if let Err(refusal) = verdict {
        assert!(refusal.to_string().contains("Secret vault/password"));
    }
}

#[test]
fn secret_rules_are_read_from_the_chart() {
    assert_eq!("consent".parse(), Ok(SecretRule::Consent));
    assert_eq!("allow".parse(), Ok(SecretRule::Allow));
    assert_eq!("deny".parse(), Ok(SecretRule::Deny));
    assert!("maybe".parse::<SecretRule>().unwrap_err().contains("deny"));
}

/// Architecture §7: the session's own Secret first, then the Repository's, each in the namespace
/// it was named in.
#[test]
fn a_restore_finds_its_password() {
    let repository = Subject::new("Repository", "prod", "web");
    let reference = |name: &str, namespace: Option<&str>| ObjectReference {
        name: name.to_owned(),
        namespace: namespace.map(ToOwned::to_owned),
    };
    let (own, theirs) = (reference("own", None), reference("theirs", Some("")));
    let chosen = |own, theirs| restore_password("lab", own, &repository, theirs);
    assert_eq!(chosen(Some(&own), Some(&theirs)), Ok(Subject::new("Secret", "lab", "own")));
    assert_eq!(chosen(None, Some(&theirs)), Ok(Subject::new("Secret", "prod", "theirs")));
    let refusal = chosen(None, None).unwrap_err().to_string();
    assert!(refusal.contains("Repository prod/web") && refusal.contains("dataSource.encryptionSecret"), "{refusal}");
    let elsewhere = reference("shared", Some("vault"));
    assert_eq!(backup_password(&repository, Some(&elsewhere)), Ok(Subject::new("Secret", "vault", "shared")));
    assert!(backup_password(&repository, None).is_err());
}

fn storage(namespace: &str, name: &str, from: Option<&str>, default: bool) -> BackupStorage {
    let policy = from.map(|from| json!({"allowedNamespaces": {"from": from, "selector": {"matchLabels": {"team": "a"}}}}));
    serde_json::from_value(json!({
        "apiVersion": "storage.kubestash.com/v1alpha1", "kind": "BackupStorage",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"default": default, "usagePolicy": policy},
    }))
    .unwrap()
}

/// Specification §1.6: own namespace, then selector, then all.
#[test]
fn the_default_storage_is_the_nearest() {
    let own = storage("team", "own", None, true);
    let selected = storage("ops", "selected", Some("Selector"), true);
    let open = storage("ops", "open", Some("All"), true);
    let other = storage("ops", "other", Some("Same"), true);
    let plain = storage("team", "plain", Some("All"), false);
    let found = |storages: &[&BackupStorage], team: &str| {
        default_storage(storages.iter().copied(), "team", &labels(&[("team", team)]))
            .and_then(|storage| storage.metadata.name.clone())
    };
    let all = [&open, &selected, &own, &other, &plain];
    assert_eq!(found(&all, "a").as_deref(), Some("own"));
    assert_eq!(found(&[&open, &selected, &other], "a").as_deref(), Some("selected"));
    assert_eq!(found(&[&open, &selected, &other], "b").as_deref(), Some("open"));
    assert_eq!(found(&[&other, &plain], "a"), None);
    let (first, second) = (storage("a", "z", Some("All"), true), storage("b", "a", Some("All"), true));
    assert_eq!(found(&[&second, &first], "a").as_deref(), Some("z"));
}
