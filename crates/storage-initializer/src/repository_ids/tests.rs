#![allow(clippy::unwrap_used)]

use testkit::{ApiServer, Fault, Matcher, fixtures};

use super::*;

const NAMESPACE: &str = "orlop-system";
const PATH: &str = "repository/v1/nightly/dump";

fn ids(pairs: &[(&str, &str)]) -> Ids {
    pairs.iter().map(|(path, id)| ((*path).to_owned(), (*id).to_owned())).collect()
}

fn start() -> (ApiServer, Repository) {
    let server = ApiServer::new();
    let repository = server.put(&fixtures::repository("shop", "web-repo"));
    (server, repository)
}

/// Architecture §4.6: the first id stands; another mover is told so.
#[tokio::test]
async fn the_first_record_stands() {
    let (server, repository) = start();
    let records = Records::of(server.client(), NAMESPACE, &repository);
    assert_eq!(records.load().await.unwrap(), Ids::new());
    assert_eq!(records.add(&ids(&[(PATH, "first")])).await.unwrap(), ids(&[(PATH, "first")]));
    assert_eq!(records.add(&ids(&[(PATH, "second")])).await.unwrap(), ids(&[(PATH, "first")]));
    assert_eq!(records.load().await.unwrap(), ids(&[(PATH, "first")]));
}

/// Dots stand for slashes in keys; paths that would share a key stay apart.
#[tokio::test]
async fn paths_that_share_a_key_stay_apart() {
    let (server, repository) = start();
    let records = Records::of(server.client(), NAMESPACE, &repository);
    let both = ids(&[("repository/v1/a.b/c", "one"), ("repository/v1/a/b.c", "two")]);
    records.add(&both).await.unwrap();
    assert_eq!(records.load().await.unwrap(), both);
}

/// Another life of a Repository of the same name has records of its own.
#[tokio::test]
async fn records_belong_to_one_life() {
    let (server, repository) = start();
    Records::of(server.client(), NAMESPACE, &repository).add(&ids(&[(PATH, "old")])).await.unwrap();
    let mut reborn = repository.clone();
    reborn.metadata.uid = Some("another".to_owned());
    let records = Records::of(server.client(), NAMESPACE, &reborn);
    assert_eq!(records.load().await.unwrap(), Ids::new());
    assert_eq!(records.add(&ids(&[(PATH, "new")])).await.unwrap(), ids(&[(PATH, "new")]));
}

/// reliability B3: a conflict is read again, and nothing is lost.
#[tokio::test]
async fn a_conflict_is_tried_again() {
    let (server, repository) = start();
    let records = Records::of(server.client(), NAMESPACE, &repository);
    records.add(&ids(&[(PATH, "first")])).await.unwrap();
    server.fail_next(Fault::Status(409, "Conflict"), Matcher::of("update", "configmaps"));
    let both = records.add(&ids(&[("repository/v1/weekly/dump", "second")])).await.unwrap();
    assert_eq!(both.len(), 2);
}

/// I8: an unanswered question is no "nothing on record".
#[tokio::test]
async fn an_error_is_not_an_empty_record() {
    let (server, repository) = start();
    server.fail_next(Fault::Status(500, "InternalError"), Matcher::of("get", "configmaps"));
    assert!(Records::of(server.client(), NAMESPACE, &repository).load().await.is_err());
}

#[tokio::test]
async fn the_config_map_names_its_repository() {
    let (server, repository) = start();
    Records::of(server.client(), NAMESPACE, &repository).add(&ids(&[(PATH, "id")])).await.unwrap();
    let config_map = server.all::<ConfigMap>().remove(0);
    assert_eq!(repository_of(&config_map.metadata), Some(("shop".to_owned(), "web-repo".to_owned())));
    Records::of(server.client(), NAMESPACE, &repository).delete().await.unwrap();
    assert!(server.all::<ConfigMap>().is_empty());
}
