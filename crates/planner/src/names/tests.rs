#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn owner(name: &str) -> Owner {
    Owner::new("demo", name, format!("uid-of-{name}"))
}

/// Specification §1.8: the examples of the documentation come out as they stand there.
#[test]
fn familiar_forms_match_kubestash() {
    let configuration = owner("sample-backup-sts");
    assert_eq!(trigger_cron_job(&configuration, "demo-session").preferred(), "trigger-sample-backup-sts-demo-session");
    let session = backup_session(&configuration, "demo-session", 1_706_015_400);
    assert_eq!(session.preferred(), "sample-backup-sts-demo-session-1706015400");
    assert_eq!(
        snapshot(&owner("gcs-demo-repo"), &owner(&session.preferred())).preferred(),
        "gcs-demo-repo-sample-backup-sts-demo-session-1706015400"
    );
    assert_eq!(snapshot(&owner("repo"), &owner("by-hand")).preferred(), "repo-by-hand");
    let frequent = owner("cluster-resources-backup-frequent-backup-1745301300");
    assert_eq!(
        backup_job(&frequent, "manifest", None, 1).preferred(),
        "demo-cluster-resources-backup-frequent-backup-1745301300"
    );
    assert_eq!(
        backup_job(&owner("web-nightly-1742378090"), "dump-pod-0", Some("0"), 2).preferred(),
        "demo-web-nightly-1742378090-0-r2"
    );
    assert_eq!(restore_job(&owner("restore-web"), "dump", None, 1).preferred(), "restore-web");
    assert_eq!(retention_job(&owner("web-nightly-1742378090"), 1).preferred(), "retention-policy-web-nightly-1742378090");
}

/// Architecture §4.2: what does not fit keeps its head, its digest and its time whole.
#[test]
fn long_names_fall_back_to_head_digest_and_unix() {
    let configuration = owner("a-rather-long-name-of-a-backup-configuration-of-ours");
    let name = backup_session(&configuration, "every-night-at-two", 1_745_301_300).preferred();
    assert!(name.len() <= NAME_LIMIT, "{name}");
    assert!(name.starts_with("a-rather-long-name-of-a-backup-"), "{name}");
    assert!(name.ends_with("-1745301300"), "{name}");

    let trigger = trigger_cron_job(&configuration, "every-night-at-two").preferred();
    assert!(trigger.len() <= CRON_JOB_NAME_LIMIT, "{trigger}");

    let node =
        backup_job(&owner("logs-hourly-1745301300"), "dump-worker-1.example.internal", Some("worker-1.example.internal"), 3);
    assert!(node.preferred().ends_with("-1745301300-r3"), "{}", node.preferred());
    assert!(!node.preferred().contains('.'), "a Job's name becomes a host name");
}

/// Two tuples that read alike: the second one in place takes its fallback, and both keep their
/// names however often they are asked again (I4, I11).
#[test]
fn the_same_words_of_another_owner_take_the_fallback() {
    let first = trigger_cron_job(&owner("a-b"), "c");
    let second = trigger_cron_job(&owner("a"), "b-c");
    assert_eq!(first.preferred(), second.preferred());
    let mut objects = BTreeMap::new();
    let first_name = create(&mut objects, &first);
    let second_name = create(&mut objects, &second);
    assert_ne!(first_name, second_name);
    // The first goes away: the second does not move to the free name.
    objects.remove(&first_name);
    assert_eq!(create(&mut objects, &second), second_name);
}

#[test]
fn an_object_without_our_annotation_is_somebody_elses() {
    let name = trigger_cron_job(&owner("a"), "b");
    let mut found = ObjectMeta::default();
    assert_eq!(name.holder(&found), Holder::Other);
    found.annotations = Some(BTreeMap::from([(TUPLE_ANNOTATION.to_owned(), name.tuple_digest().to_owned())]));
    assert_eq!(name.holder(&found), Holder::Same);
}

#[rstest]
#[case("nightly", "nightly")]
#[case("Dump_pod.0", "Dump_pod.0")]
#[case("", "")]
fn a_fitting_label_value_is_kept(#[case] value: &str, #[case] expected: &str) {
    assert_eq!(label_value(value), expected);
}

#[test]
fn trailing_time_is_read_from_a_name() {
    assert_eq!(trailing_unix("web-nightly-1706015400"), Some(1_706_015_400));
    assert_eq!(trailing_unix("web-nightly"), None);
    assert_eq!(trailing_unix("-17"), None);
    assert_eq!(repository_ids_key("repository/v1/nightly/dump"), "repository.v1.nightly.dump");
}

/// The API server reduced to what matters here: name -> digest of its object.
fn create(objects: &mut BTreeMap<String, String>, name: &Name) -> String {
    let chosen = name
        .resolve(|candidate| match objects.get(candidate) {
            None => Holder::Nobody,
            Some(digest) if digest == name.tuple_digest() => Holder::Same,
            Some(_) => Holder::Other,
        })
        .expect("a name is always left");
    objects.insert(chosen.clone(), name.tuple_digest().to_owned());
    chosen
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof!["[ab]{1,2}(-[ab]{1,2}){0,3}", "[a-z0-9]([-a-z0-9.]{0,70}[a-z0-9])?", "[A-Za-z0-9_./ ]{1,12}",]
}

fn any_name() -> impl Strategy<Value = Name> {
    (word(), word(), word(), 0_i64..3, 1_u32..4, 0_u8..6).prop_map(|(first, second, third, slot, attempt, kind)| {
        let object = Owner::new(second.clone(), first.clone(), format!("{second}/{first}"));
        match kind {
            0 => trigger_cron_job(&object, &third),
            1 => backup_session(&object, &third, 1_700_000_000 + slot),
            2 => snapshot(&object, &Owner::new(second, format!("{third}-{slot}"), third)),
            3 => backup_job(&object, &third, Some(&third), attempt),
            4 => restore_job(&object, &third, Some(&third), attempt),
            _ => retention_job(&object, attempt),
        }
    })
}

proptest! {
    /// Architecture §4.2: whatever exists already, different tuples get different names and one
    /// tuple keeps its own; every name is one that Kubernetes takes.
    #[test]
    fn naming_is_injective_over_tuples_and_existing_objects(
        names in prop::collection::vec(any_name(), 1..40),
        foreign in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut objects = BTreeMap::new();
        for index in &foreign {
            objects.insert(index.get(&names).preferred(), "of another".to_owned());
        }
        let mut given = BTreeMap::new();
        for name in &names {
            let chosen = create(&mut objects, name);
            prop_assert!(chosen.len() <= name.limit);
            prop_assert!(is_valid(&chosen, Charset::Subdomain), "{chosen}");
            let earlier = given.insert(name.tuple_digest().to_owned(), chosen.clone());
            prop_assert!(earlier.is_none_or(|earlier| earlier == chosen));
        }
        let distinct: std::collections::BTreeSet<&String> = given.values().collect();
        prop_assert_eq!(distinct.len(), given.len());
    }

    #[test]
    fn label_values_are_valid_and_distinct(first in ".{0,90}", second in ".{0,90}") {
        let (one, two) = (label_value(&first), label_value(&second));
        for value in [&one, &two] {
            prop_assert!(value.len() <= LABEL_VALUE_LIMIT);
            prop_assert_eq!(&label_value(value), value);
        }
        prop_assert_eq!(first == second, one == two);
    }
}
