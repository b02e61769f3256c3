//! Repositories and targets made to lead a restore astray (reliability G6 and S-40).

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use crate::{
    BlobType, Id, SaverOptions, SnapshotId,
    backup::testing::{Fixture, describe},
    format::{Node, NodeType, Snapshot, Time, file_mode},
    restore::{Existing, restore},
};

/// A tree's bytes, whatever its names; the engine's own writer refuses what we need here.
fn tree(nodes: &[Node]) -> Vec<u8> {
    let mut bytes = b"{\"nodes\":[".to_vec();
    for (position, node) in nodes.iter().enumerate() {
        if position > 0 {
            bytes.push(b',');
        }
        node.write(&mut bytes);
    }
    bytes.extend_from_slice(b"]}\n");
    bytes
}

fn node(name: &[u8], node_type: NodeType) -> Node {
    let kind = match node_type {
        NodeType::Dir => file_mode::DIR,
        NodeType::Symlink => file_mode::SYMLINK,
        _ => 0,
    };
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Node { name: name.to_vec(), node_type, mode: kind | 0o755, uid, gid, ..Node::default() }
}

/// A repository with trees of any shape.
struct Forge<'a> {
    fixture: &'a Fixture,
    saver: crate::BlobSaver,
}

impl<'a> Forge<'a> {
    async fn new(fixture: &'a Fixture) -> Self {
        let index = fixture.repository.load_index(&fixture.control).await.unwrap();
        let saver =
            fixture.repository.blob_saver(index, fixture.guard.handle(), SaverOptions::default(), &fixture.control).unwrap();
        Self { fixture, saver }
    }

    fn save(&self, blob_type: BlobType, bytes: Vec<u8>) -> Id {
        let saver = self.saver.clone();
        std::thread::spawn(move || saver.save_blob(blob_type, &bytes).unwrap().id).join().unwrap()
    }

    fn file(&self, name: &[u8], content: &[u8]) -> Node {
        let id = self.save(BlobType::Data, content.to_vec());
        Node { content: Some(vec![id].into()), size: content.len() as u64, ..node(name, NodeType::File) }
    }

    fn link(name: &[u8], target: &Path) -> Node {
        use std::os::unix::ffi::OsStrExt;
        Node { link_target: target.as_os_str().as_bytes().to_vec(), ..node(name, NodeType::Symlink) }
    }

    fn directory(&self, name: &[u8], nodes: &[Node]) -> Node {
        let subtree = self.save(BlobType::Tree, tree(nodes));
        Node { subtree: Some(subtree), ..node(name, NodeType::Dir) }
    }

    fn nodes_by_chance(&self, chance: &mut impl FnMut(u64) -> u64, canary: &Path, depth: u64) -> Vec<Node> {
        let absolute = canary.join("f").display().to_string();
        let names =
            ["a", "b", "f", "link", "..", ".", "", "../canary/f", "a/b", "canary", "source", &absolute, "x\0y", "../../escaped"];
        (0..chance(6))
            .map(|_| {
                let name = names[chance(names.len() as u64) as usize].as_bytes();
                let made = match chance(8) {
                    0..3 if depth > 0 => self.directory(name, &self.nodes_by_chance(chance, canary, depth - 1)),
                    0..4 => self.file(name, &chance(u64::MAX).to_le_bytes()),
                    4 => Self::link(name, canary),
                    5 => Self::link(name, Path::new(["..", "../..", "../canary", "/", "a"][chance(5) as usize])),
                    6 => node(name, NodeType::Fifo),
                    _ => node(
                        name,
                        [NodeType::Socket, NodeType::Irregular, NodeType::Dir, NodeType::File][chance(4) as usize].clone(),
                    ),
                };
                Node { links: chance(3), inode: chance(3), ..made }
            })
            .collect()
    }

    async fn snapshot(&self, nodes: &[Node], paths: &[&str]) -> SnapshotId {
        let tree = self.save(BlobType::Tree, tree(nodes));
        self.saver.flush().await.unwrap();
        let snapshot = Snapshot {
            time: Time { seconds: 1, nanos: 0 },
            parent: None,
            tree,
            paths: paths.iter().map(ToString::to_string).collect(),
            hostname: String::new(),
            username: String::new(),
            uid: 0,
            gid: 0,
            excludes: Vec::new(),
            tags: Vec::new(),
            original: None,
            program_version: String::new(),
            summary: None,
        };
        let handle = self.fixture.guard.handle();
        self.fixture.repository.save_snapshot(&handle, &snapshot, &self.fixture.control).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_leave_the_directory_are_refused_and_the_rest_is_restored() {
    let fixture = Fixture::new().await;
    let canary = fixture.path("canary");
    fs::create_dir(&canary).unwrap();
    fs::write(canary.join("precious"), b"untouched").unwrap();
    let before = describe(&canary);
    let forge = Forge::new(&fixture).await;
    let absolute = canary.join("absolute").display().to_string();
    let mut nodes: Vec<Node> =
        ["..", ".", "", "../canary/up", "a/b", "/etc/cron.d/x", &absolute, "nul\0byte", "deeper/../../canary/x"]
            .iter()
            .map(|name| forge.file(name.as_bytes(), b"evil"))
            .collect();
    nodes.push(forge.directory(b"..", &[forge.directory(b"canary", &[forge.file(b"precious", b"evil")])]));
    nodes.push(forge.directory(b"inner", &[forge.directory(b"..", &[forge.file(b"x", b"evil")]), forge.file(b"good", b"good")]));
    nodes.push(forge.file(b"zz", b"good"));
    let snapshot = forge.snapshot(&nodes, &["/"]).await;
    let report = fixture.restore(fixture.restore_request(snapshot)).await;
    assert_eq!(report.errors.total, 11, "{:?}", report.errors);
    assert!(report.errors.listed.iter().all(|problem| problem.class == "refused"));
    assert_eq!(describe(&canary), before);
    let names: Vec<Vec<u8>> = describe(&fixture.path("target")).into_keys().collect();
    assert_eq!(names, ["", "inner", "inner/good", "zz"].map(|name| name.as_bytes().to_vec()));
}

/// A link and a directory of one name: restoring the link and then through it would lead outside.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_planted_by_the_snapshot_is_not_followed() {
    let fixture = Fixture::new().await;
    let canary = fixture.path("canary");
    fs::create_dir(&canary).unwrap();
    fs::write(canary.join("f"), b"untouched").unwrap();
    let before = describe(&canary);
    let forge = Forge::new(&fixture).await;
    for order in [false, true] {
        let mut nodes =
            vec![Forge::link(b"x", &canary), forge.directory(b"x", &[forge.file(b"f", b"evil"), forge.file(b"g", b"evil")])];
        if order {
            nodes.reverse();
        }
        nodes.push(Forge::link(b"y", &canary.join("f")));
        nodes.push(forge.file(b"y", b"evil"));
        let snapshot = forge.snapshot(&nodes, &["/"]).await;
        let report = fixture.restore(fixture.restore_request(snapshot)).await;
        assert_eq!(report.errors.total, 2, "{:?}", report.errors);
        assert_eq!(describe(&canary), before);
    }
}

/// What rustic and old restic did (reliability §8.5): a link in the target where the snapshot has a directory or a file.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_stands_in_the_target_is_replaced_and_not_followed() {
    let fixture = Fixture::new().await;
    let canary = fixture.path("canary");
    fs::create_dir_all(canary.join("sub")).unwrap();
    fs::write(canary.join("f"), b"untouched").unwrap();
    let before = describe(&canary);
    fs::create_dir_all(fixture.source().join("directory/sub")).unwrap();
    fs::write(fixture.source().join("directory/sub/f"), b"good").unwrap();
    fs::write(fixture.source().join("directory/f"), b"good").unwrap();
    fs::write(fixture.source().join("f"), b"good").unwrap();
    let backup = fixture.backup(fixture.request()).await;
    let out = fixture.restored();
    fs::create_dir_all(&out).unwrap();
    std::os::unix::fs::symlink(&canary, out.join("directory")).unwrap();
    std::os::unix::fs::symlink(canary.join("f"), out.join("f")).unwrap();
    let report = fixture.restore(fixture.restore_request(backup.snapshot)).await;
    assert!(report.is_complete(), "{:?}", report.errors);
    assert_eq!(describe(&canary), before);
    assert!(fs::symlink_metadata(out.join("directory")).unwrap().is_dir());

    // Above what was backed up a link is neither followed nor replaced.
    let above = out.parent().unwrap().to_owned();
    fs::rename(&above, fixture.path("target/aside")).unwrap();
    std::os::unix::fs::symlink(&canary, &above).unwrap();
    let report = fixture.restore(fixture.restore_request(backup.snapshot)).await;
    assert!(!report.is_complete());
    assert_eq!(describe(&canary), before);
    assert!(fs::symlink_metadata(&above).unwrap().is_symlink());
}

/// Somebody who may write in the target swaps directories for links all the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_race_for_links_is_not_lost() {
    let fixture = Fixture::new().await;
    let canary = fixture.path("canary");
    fs::create_dir(&canary).unwrap();
    fs::write(canary.join("precious"), b"untouched").unwrap();
    for number in 0..40 {
        let directory = fixture.source().join(format!("d{number}"));
        fs::create_dir(&directory).unwrap();
        for file in 0..5 {
            fs::write(directory.join(format!("f{file}")), b"content").unwrap();
        }
    }
    let backup = fixture.backup(fixture.request()).await;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let attacker = {
        let (stop, out, canary) = (stop.clone(), fixture.restored(), canary.clone());
        std::thread::spawn(move || {
            let mut number = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let victim = out.join(format!("d{}", number % 40));
                let aside = out.join(format!("aside{number}"));
                if fs::rename(&victim, &aside).is_ok() {
                    let _ = std::os::unix::fs::symlink(&canary, &victim);
                }
                number += 1;
            }
        })
    };
    for round in 0..20 {
        let mut request = fixture.restore_request(backup.snapshot);
        request.sync = false;
        // Half of them also remove what was put aside, and what is below what looked like a directory.
        request.existing = if round % 2 == 0 { Existing::Merge } else { Existing::Replace };
        let _ = fixture.restore(request).await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    attacker.join().unwrap();
    assert_eq!(fs::read_dir(&canary).unwrap().count(), 1);
    assert_eq!(fs::read(canary.join("precious")).unwrap(), b"untouched");
}

/// Trees by chance from everything nasty, restored one over the other, so that each finds the links that the last one planted.
#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_forged_snapshots_reach_nothing_outside() {
    let fixture = Fixture::new().await;
    let canary = fixture.path("canary");
    fs::create_dir_all(canary.join("a/b")).unwrap();
    for name in ["a/b/f", "f", "link"] {
        fs::write(canary.join(name), b"untouched").unwrap();
    }
    let before = describe(&canary);
    let forge = Forge::new(&fixture).await;
    let mut state = 2_026_u64;
    let mut chance = move |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    for _ in 0..300 {
        let nodes = forge.nodes_by_chance(&mut chance, &canary, 4);
        let snapshot = forge.snapshot(&nodes, if chance(2) == 0 { &["/"] } else { &["/a/b"] }).await;
        let mut request = fixture.restore_request(snapshot);
        request.sync = false;
        request.existing = if chance(2) == 0 { Existing::Merge } else { Existing::Replace };
        // An error of the whole is as good as errors of entries, as long as nothing is reached.
        let _ = restore(&fixture.repository, &fixture.guard.handle(), request, &fixture.control).await;
    }
    assert_eq!(describe(&canary), before);
    let mut expected = vec!["canary", "repository", "source", "target"];
    let mut outside: Vec<_> = fs::read_dir(fixture.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    outside.sort();
    expected.sort_unstable();
    assert_eq!(outside, expected);
}

/// One inode with two contents, links to what was not restored, sizes that lie, directories without trees, unknown types.
#[tokio::test(flavor = "multi_thread")]
async fn lies_about_files_are_told() {
    let fixture = Fixture::new().await;
    let forge = Forge::new(&fixture).await;
    let linked = |file: Node| Node { links: 2, inode: 7, device_id: 1, ..file };
    let nodes = [
        linked(forge.file(b"a", b"one")),
        linked(forge.file(b"b", b"another")),
        Node { size: 1_000, ..forge.file(b"c", b"short") },
        node(b"d", NodeType::Dir),
        node(b"e", NodeType::Unknown("door".to_owned())),
        Node { subtree: Some(Id::of(b"no such tree")), ..node(b"f", NodeType::Dir) },
        forge.file(b"g", b"good"),
    ];
    let snapshot = forge.snapshot(&nodes, &["/"]).await;
    let report = fixture.restore(fixture.restore_request(snapshot)).await;
    let target = fixture.path("target");
    assert_eq!(fs::read(target.join("a")).unwrap(), b"one");
    assert_eq!(fs::read(target.join("b")).unwrap(), b"another");
    assert_eq!(fs::read(target.join("g")).unwrap(), b"good");
    let named: Vec<_> =
        report.errors.listed.iter().map(|problem| problem.path.strip_prefix(&target).unwrap().to_owned()).collect();
    assert_eq!(named, ["c", "d", "e", "f"].map(Into::into) as [std::path::PathBuf; 4], "{:?}", report.errors);
    assert_eq!(fs::metadata(target.join("a")).unwrap().nlink(), 1);
}
