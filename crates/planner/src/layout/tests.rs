#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::documents::{RepositoryRecord, backend_meta, parse_backend_meta, repository_document, to_yaml};
use super::*;

#[rstest]
#[case("/web", "web")]
#[case("web", "web")]
#[case("/a//b/", "a/b")]
#[case("team-1/Web_2.0", "team-1/Web_2.0")]
fn directories_are_read_as_kubestash_joins_them(#[case] written: &str, #[case] canonical: &str) {
    assert_eq!(Directory::parse(written).unwrap().as_str(), canonical);
}

/// Reliability S-03: nothing that could name another's tree.
#[rstest]
#[case("")]
#[case("/")]
#[case("///")]
#[case("..")]
#[case("a/../b")]
#[case("/../other")]
#[case("a/./b")]
#[case("a b")]
#[case("a\\b")]
#[case("a\0b")]
#[case("ä")]
#[case("metadata.yaml")]
#[case("/metadata.yaml/x")]
fn directories_that_mislead_are_refused(#[case] written: &str) {
    let refusal = Directory::parse(written).unwrap_err().to_string();
    assert!(refusal.starts_with("directory"), "{refusal}");
}

/// Specification §2.15: the keys of the composed reference objects.
#[test]
fn keys_are_where_kubestash_puts_them() {
    let prefix = StoragePrefix::parse("/cluster1/").unwrap();
    let directory = Directory::parse("/web").unwrap();
    let component = ComponentPath::of("nightly", "dump-pod-0").unwrap();
    let keys = [
        METADATA_KEY.to_owned(),
        repository_key(&directory),
        snapshots_marker_key(&directory),
        snapshot_key(&directory, "web-repo-web-backup-nightly-1760000000"),
        restic_prefix(&directory, &component),
    ]
    .map(|key| prefix.join(&key));
    assert_eq!(
        keys,
        [
            "cluster1/metadata.yaml",
            "cluster1/web/repository.yaml",
            "cluster1/web/snapshots/",
            "cluster1/web/snapshots/web-repo-web-backup-nightly-1760000000.yaml",
            "cluster1/web/repository/v1/nightly/dump-pod-0",
        ]
    );
    assert_eq!(StoragePrefix::parse("").unwrap().join("/a/b"), "a/b");
    StoragePrefix::parse("a/../b").unwrap_err();
}

#[rstest]
#[case("repository/v1/nightly/dump", Some(("nightly", "dump")))]
#[case("/repository/v1/nightly/dump/", Some(("nightly", "dump")))]
#[case("repository/demo-session/pod-0", Some(("demo-session", "pod-0")))]
#[case("repository/v1/nightly/../other/dump", None)]
#[case("repository/v2/nightly/dump", None)]
#[case("snapshots", None)]
#[case("", None)]
fn component_paths_are_read_in_both_forms(#[case] path: &str, #[case] expected: Option<(&str, &str)>) {
    let parsed = ComponentPath::parse(path);
    let seen = parsed.as_ref().ok().map(|path| (path.session(), path.component()));
    assert_eq!(seen, expected);
    if let Ok(parsed) = parsed {
        assert_eq!(parsed.to_string(), path.trim_matches('/'));
    }
}

#[test]
fn a_session_or_component_is_one_segment() {
    for (session, component) in [("a/b", "dump"), ("a", "../b"), ("", "dump"), ("a", ""), ("/a", "b")] {
        assert!(ComponentPath::of(session, component).is_err(), "{session} {component}");
    }
}

/// Specification §4.3: old manifests ask for `pod-0`, old buckets hold it.
#[rstest]
#[case("dump-pod-0", &["dump-pod-0", "pod-0"], Some("dump-pod-0"))]
#[case("pod-0", &["dump-pod-0", "dump-pod-1"], Some("dump-pod-0"))]
#[case("dump-pod-2", &["pod-0", "pod-2"], Some("pod-2"))]
#[case("pod-0", &["dump-pod-0", "pod-0"], Some("pod-0"))]
#[case("dump", &["dump"], Some("dump"))]
#[case("pod-9", &["dump-pod-0"], None)]
fn components_match_leniently(#[case] requested: &str, #[case] available: &[&str], #[case] expected: Option<&str>) {
    assert_eq!(match_component(requested, available.iter().copied()), expected);
}

fn claim(repository: &str, storage: &str, directory: &str) -> DirectoryClaim {
    DirectoryClaim {
        namespace: "demo".to_owned(),
        repository: repository.to_owned(),
        storage: ("demo".to_owned(), storage.to_owned()),
        directory: Directory::parse(directory).unwrap(),
    }
}

#[rstest]
#[case("web", "main", "/web", None)]
#[case("other", "main", "web/", Some("is also the directory"))]
#[case("other", "main", "/web/inner", Some("lies inside the directory"))]
#[case("other", "main", "/webby", None)]
#[case("other", "second", "/web", None)]
#[case("outer", "main", "/team", Some("contains the directory"))]
fn one_directory_one_repository(
    #[case] repository: &str,
    #[case] storage: &str,
    #[case] directory: &str,
    #[case] expected: Option<&str>,
) {
    let existing = [claim("web", "main", "/web"), claim("api", "main", "team/api")];
    let verdict = check_directories(&claim(repository, storage, directory), &existing);
    match expected {
        None => assert_eq!(verdict, Ok(())),
        Some(words) => {
            let sentence = verdict.unwrap_err().to_string();
            assert!(sentence.contains(words), "{sentence}");
            assert!(sentence.contains("BackupStorage demo/main"), "{sentence}");
        }
    }
}

#[test]
fn storage_metadata_reads_back_and_refuses_strangers() {
    let created = "2026-01-02T03:04:05.678Z".parse().unwrap();
    let record = RepositoryRecord {
        name: "web".to_owned(),
        namespace: "demo".to_owned(),
        path: "/web".to_owned(),
        ..RepositoryRecord::default()
    };
    let meta = backend_meta(created, "v0.1.0", &[record]);
    let text = to_yaml(&meta).unwrap();
    insta::assert_snapshot!("metadata", text);
    assert_eq!(parse_backend_meta(&text).unwrap(), meta);
    let stranger = "apiVersion: v1\nkind: ConfigMap\n";
    assert!(parse_backend_meta(stranger).unwrap_err().to_string().contains("ConfigMap"));
    assert!(parse_backend_meta("<html>").is_err());
}

#[test]
fn uploaded_objects_lose_what_only_their_cluster_understands() {
    let object = json!({
        "apiVersion": "storage.kubestash.com/v1alpha1", "kind": "Repository",
        "metadata": {
            "name": "web", "namespace": "demo", "uid": "1", "resourceVersion": "7",
            "managedFields": [{}], "ownerReferences": [{}], "generation": 2,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
        },
        "spec": {"path": "/web"},
    });
    let ids = BTreeMap::from([("repository/v1/nightly/dump".to_owned(), "abc".to_owned())]);
    let text = to_yaml(&repository_document(&object, &ids).unwrap()).unwrap();
    insta::assert_snapshot!("repository", text);
}

proptest! {
    /// S-03: whatever is accepted stays below the root and is already canonical.
    #[test]
    fn accepted_directories_stay_below_the_root(written in "[a-z./_ \\-]{0,24}") {
        if let Ok(directory) = Directory::parse(&written) {
            let text = directory.as_str();
            prop_assert!(!text.is_empty());
            prop_assert!(text.split('/').all(|segment| !matches!(segment, "" | "." | "..")));
            prop_assert_eq!(Directory::parse(text), Ok(directory.clone()));
        }
    }

    /// Keys of two apart directories never meet.
    #[test]
    fn keys_are_injective(one in "[ab]{1,2}(/[ab]{1,2}){0,2}", other in "[ab]{1,2}(/[ab]{1,2}){0,2}") {
        let (one, other) = (Directory::parse(&one).unwrap(), Directory::parse(&other).unwrap());
        if one.overlap(&other) == Overlap::None {
            prop_assert_ne!(repository_key(&one), repository_key(&other));
            let other_folder = format!("{other}/");
            prop_assert!(!repository_key(&one).starts_with(&other_folder));
        }
        prop_assert_eq!(one.overlap(&other) == Overlap::Inside, other.overlap(&one) == Overlap::Contains);
    }
}
