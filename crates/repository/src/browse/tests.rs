//! The readers on small repositories in memory.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::testing::{Maker, Memory, link, lost_directory, nowhere, walked};
use super::*;
use crate::format::{Node, Time};
use crate::{Error, TreeId};

/// `/data/{a, deep/{x.txt, y.md}, link, z}`.
fn sample(maker: &Maker) -> TreeId {
    let deep = maker.directory("deep", &[maker.file("x.txt", "some text"), maker.file("y.md", "")]);
    let data = maker.directory("data", &[maker.file("a", "alpha"), deep, link("link", "a"), maker.file("z", "zeta")]);
    maker.tree(&[data])
}

fn bytes(paths: &[&str]) -> Vec<Vec<u8>> {
    paths.iter().map(|path| path.as_bytes().to_vec()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ls_lists_in_order_all_or_what_is_asked_for() {
    let memory = Memory::new().await;
    let root = memory.store(sample).await;
    let list = |directories: &[&str], recursive| {
        let request = LsRequest { directories: bytes(directories), recursive };
        memory.look(move |reader, control| walked(ls(reader, root, &request, control)).0)
    };
    let all = ["/data", "/data/a", "/data/deep", "/data/deep/x.txt", "/data/deep/y.md", "/data/link", "/data/z"];
    assert_eq!(list(&[], false).await, all);
    assert_eq!(list(&["/data"], false).await, ["/data", "/data/a", "/data/deep", "/data/link", "/data/z"]);
    assert_eq!(list(&["/data/"], true).await, all);
    assert_eq!(list(&["/data/deep", "/data/z"], false).await, all[2..5].iter().chain(&all[6..]).copied().collect::<Vec<_>>());
    assert!(list(&["/dat", "/data/nothing"], true).await.is_empty());
}

/// Damaged objects cost only what they contain. Reliability S-40: a hostile name is told and not shown.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_or_believed_costs_only_itself() {
    let memory = Memory::new().await;
    let root = memory
        .store(|maker| {
            let hostile = br#"{"nodes":[{"name":"..","type":"file","content":[]},{"name":"ok","type":"file","content":[]}]}"#;
            let hostile = Node { subtree: Some(maker.raw_tree(hostile)), ..lost_directory("b") };
            maker.tree(&[lost_directory("a"), hostile, maker.file("c", "kept")])
        })
        .await;
    let (paths, problems) = memory.look(move |reader, control| walked(ls(reader, root, &LsRequest::default(), control))).await;
    assert_eq!(paths, ["/a", "/b", "/b/ok", "/c"]);
    let told: Vec<_> = problems.iter().map(|problem| (problem.path.to_str().unwrap(), problem.class)).collect();
    assert_eq!(told, [("/a", "damaged"), ("/b/..", "refused")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn find_reads_only_where_something_can_be_found() {
    let memory = Memory::new().await;
    let root = memory
        .store(|maker| {
            let data = maker.directory("data", &[maker.file("x.txt", "1"), maker.file("y.md", "2")]);
            maker.tree(&[data, lost_directory("lost")])
        })
        .await;
    let found = |pattern: &str| {
        let finder = Finder::new(&FindRequest { patterns: vec![pattern.to_owned()], ..FindRequest::default() }).unwrap();
        memory.look(move |reader, control| walked(finder.search(reader, root, control)))
    };
    let (paths, problems) = found("/data/*.txt").await;
    assert_eq!((paths, problems), (vec!["/data/x.txt".to_owned()], vec![]));
    let (paths, problems) = found("*.md").await;
    assert_eq!((paths, problems.len()), (vec!["/data/y.md".to_owned()], 1), "anywhere includes what cannot be read");
    assert!(Finder::new(&FindRequest { patterns: vec!["[".to_owned()], ..FindRequest::default() }).is_err());
}

/// The changes as restic would mark them.
fn marks(diff: &mut Diff) -> Vec<String> {
    let mut marks = Vec::new();
    for step in diff {
        let DiffStep::Change { path, is_directory, change } = step.unwrap() else { panic!("a problem") };
        let mark = match change {
            Change::Added => "+".to_owned(),
            Change::Removed => "-".to_owned(),
            Change::Different(Differences { kind, content, silent, metadata }) => {
                [(kind, "T"), (content, "M"), (silent, "?"), (metadata, "U")]
                    .iter()
                    .filter(|mark| mark.0)
                    .map(|mark| mark.1)
                    .collect()
            }
        };
        marks.push(format!("{mark} {}{}", String::from_utf8(path).unwrap(), if is_directory { "/" } else { "" }));
    }
    marks
}

#[tokio::test(flavor = "multi_thread")]
async fn diff_tells_what_came_went_and_changed() {
    let memory = Memory::new().await;
    let later = |node: Node| Node { mtime: Time { seconds: 1_800_000_000, nanos: 0 }, ..node };
    let (before, after) = memory
        .store(move |maker| {
            let file = |name: &str, content: &str| maker.file(name, content);
            let before = maker.tree(&[
                file("changed", "one"),
                maker.directory("gone", &[file("x", "only here")]),
                file("rotten", "good"),
                file("same", "same"),
                file("touched", "same"),
                file("turned", "was a file"),
            ]);
            let after = maker.tree(&[
                later(file("changed", "two")),
                maker.directory("new", &[file("y", "came")]),
                file("rotten", "g00d"),
                file("same", "same"),
                later(file("touched", "same")),
                link("turned", "a link"),
            ]);
            (before, after)
        })
        .await;
    let compared = |metadata| {
        memory.look(move |reader, control| {
            let mut diff = diff(reader, before, after, DiffRequest { metadata }, control);
            (marks(&mut diff), diff.statistics().unwrap())
        })
    };
    let (changes, statistics) = compared(false).await;
    assert_eq!(changes, ["M /changed", "- /gone/", "- /gone/x", "+ /new/", "+ /new/y", "M? /rotten", "T /turned"]);
    let (changes, _) = compared(true).await;
    assert_eq!(changes.len(), 8, "{changes:?}");
    assert!(changes.contains(&"U /touched".to_owned()) && changes.contains(&"TU /turned".to_owned()), "{changes:?}");
    let sums = |side: SideStatistics| (side.files, side.dirs, side.others, side.data_blobs, side.tree_blobs);
    assert_eq!(statistics.changed_files, 2);
    // Three blobs of "only here", three of "was a file", and one each of the two changed files; the root and a directory.
    assert_eq!(sums(statistics.removed), (1, 1, 0, 8, 2));
    assert_eq!(sums(statistics.added), (1, 1, 0, 3, 2));
    assert_eq!((statistics.unknown_blobs, statistics.unreadable_trees), (0, 0));
}

/// A directory that both have is not read to compare it, and what it holds counts as neither added nor removed.
#[tokio::test(flavor = "multi_thread")]
async fn diff_passes_over_directories_that_are_the_same() {
    let memory = Memory::new().await;
    let (before, after) = memory
        .store(|maker| {
            let same = maker.directory("same", &[maker.file("copy", "moved"), lost_directory("lost")]);
            let moved = maker.directory("a", &[maker.file("file", "moved")]);
            (maker.tree(&[moved, same.clone()]), maker.tree(&[maker.directory("a", &[]), same]))
        })
        .await;
    let (changes, statistics) = memory
        .look(move |reader, control| {
            let mut diff = diff(reader, before, after, DiffRequest::default(), control);
            (marks(&mut diff), diff.statistics().unwrap())
        })
        .await;
    assert_eq!(changes, ["- /a/file"]);
    assert_eq!((statistics.removed.files, statistics.removed.data_blobs, statistics.removed.tree_blobs), (1, 0, 2));
    assert_eq!(statistics.unreadable_trees, 1, "it is looked at for the sums only");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_lead_to_what_stands_there() {
    let memory = Memory::new().await;
    let root = memory.store(sample).await;
    memory
        .look(move |reader, _| {
            let found = locate(reader, &root, b"/data/../data/./deep//x.txt").unwrap();
            let Located::Entry(Entry { path, node }) = found else { panic!("not an entry") };
            assert_eq!((path.as_slice(), node.size), (&b"/data/deep/x.txt"[..], 9));
            assert_eq!(locate(reader, &root, b"/").unwrap(), Located::Root(root));
            for (path, said) in [("/nothing", "does not exist"), ("/data/link/x", "symlink"), ("/data/a/x", "file")] {
                let error = locate(reader, &root, path.as_bytes()).unwrap_err().to_string();
                assert!(error.contains(said), "{error}");
            }
            assert!(matches!(directory_at(reader, &root, b"/data/a"), Err(Error::NotInSnapshot { .. })));
            assert!(directory_at(reader, &root, b"data/deep").is_ok());
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dump_writes_a_file_in_order_and_never_a_short_one() {
    let memory = Memory::new().await;
    // The same blob some times in a row, then others.
    let long = "same".repeat(5) + &(0..1_000).map(|number| format!("{number} ")).collect::<String>();
    let expected = long.clone();
    let root = memory
        .store(move |maker| {
            let short = Node { size: 7, ..maker.file("short", "six by") };
            let lost = Node { size: 4, content: Some(vec![nowhere()].into()), ..maker.file("lost", "") };
            let data = maker.directory("data", &[maker.file("long", &long), lost, short]);
            maker.tree(&[data, link("link", "data")])
        })
        .await;
    memory
        .look(move |reader, control| {
            let at = |path: &str| match locate(reader, &root, path.as_bytes()).unwrap() {
                Located::Entry(entry) => entry,
                Located::Root(_) => panic!("the root"),
            };
            let mut out = Vec::new();
            assert_eq!(dump_file(reader, &at("/data/long"), &mut out).unwrap(), expected.len() as u64);
            assert!(out == expected.as_bytes());
            for (path, said) in [("/data/short", "7 bytes"), ("/data/lost", "does not have it"), ("/link", "no file")] {
                let mut out = Vec::new();
                let error = dump_file(reader, &at(path), &mut out).unwrap_err().to_string();
                assert!(error.contains(said) && out.is_empty(), "{error}");
            }
            let mut archive = Vec::new();
            let problems = dump_directory(reader, root, b"/", &mut archive, control).unwrap();
            let left_out: Vec<_> = problems.listed.iter().map(|problem| problem.path.to_str().unwrap()).collect();
            assert_eq!(left_out, ["/data/lost", "/data/short"]);
            let names = [&b"data/\0"[..], b"data/long\0", b"link\0"];
            assert!(names.iter().all(|name| archive.chunks(512).any(|block| block.starts_with(name))));
            assert_eq!(archive.len(), 512 * (1 + 1 + expected.len().div_ceil(512) + 1 + 2));
        })
        .await;
}

/// A reading that breaks off without a word, as that of a task that panics does, is no end of a file.
#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_breaks_off_is_told() {
    let memory = Memory::new().await;
    let root = memory.store(sample).await;
    memory
        .look(move |reader, control| {
            let Located::Entry(file) = locate(reader, &root, b"/data/a").unwrap() else { panic!("the root") };
            // The tasks of a runtime that is gone are never run.
            let gone = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let handle = gone.handle().clone();
            drop(gone);
            let _entered = handle.enter();
            let mut out = Vec::new();
            let error = dump_file(reader, &file, &mut out).unwrap_err();
            assert!(matches!(error, Error::Internal { .. }) && error.to_string().contains("5 bytes"), "{error}");
            let mut archive = Vec::new();
            let error = dump_directory(reader, root, b"/", &mut archive, control).unwrap_err();
            assert!(matches!(error, Error::Internal { .. }), "{error}");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_count_hard_links_and_shared_blobs_once() {
    let memory = Memory::new().await;
    let (first, second) = memory
        .store(|maker| {
            let linked = |name: &str| Node { links: 2, inode: 77, ..maker.file(name, "four") };
            let shared = maker.directory("shared", &[maker.file("f", "four"), maker.file("g", "12345678")]);
            (maker.tree(&[linked("a"), linked("b"), shared.clone()]), maker.tree(&[shared]))
        })
        .await;
    memory
        .look(move |reader, control| {
            let size = restore_size(reader, &[first, second], control).unwrap();
            assert_eq!((size.entries, size.bytes), (5 + 3, 4 + 12 + 12));
            let raw = raw_data(reader, &[first, second], control).unwrap();
            // Data: "four", "1234" and "5678"; trees: two roots and the shared one.
            assert_eq!((raw.blobs, raw.unknown_blobs, raw.unreadable_trees), (6, 0, 0));
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_found_by_the_first_digits_of_their_ids() {
    let memory = Memory::new().await;
    let tree = memory.store(|maker| maker.tree(&[])).await;
    let mut ids = Vec::new();
    // Of seventeen ids two begin with the same digit.
    for seconds in 0..17 {
        ids.push(memory.snapshot(seconds, tree).await);
    }
    let find = async |wanted: &str| {
        let found = memory.repository.find_snapshot(wanted, &SnapshotFilter::default(), &memory.control).await;
        found.map(|(id, _)| id)
    };
    for id in &ids {
        let text = id.to_string();
        assert_eq!(find(&text).await.unwrap(), *id);
        let unique =
            (1..=64).find(|length| ids.iter().filter(|other| other.to_string().starts_with(&text[..*length])).count() == 1);
        assert_eq!(find(&text[..unique.unwrap()].to_uppercase()).await.unwrap(), *id);
    }
    assert_eq!(find("latest").await.unwrap(), ids[16]);
    let ambiguous = "0123456789abcdef"
        .chars()
        .map(String::from)
        .find(|digit| ids.iter().filter(|id| id.to_string().starts_with(digit.as_str())).count() > 1);
    let error = find(&ambiguous.unwrap()).await.unwrap_err();
    let Error::SnapshotAmbiguous { candidates, .. } = &error else { panic!("{error}") };
    assert!(candidates.len() > 1 && candidates.iter().all(|id| error.to_string().contains(&id.to_string())), "{error}");
    for unknown in ["", "xyz", "latest2", &nowhere().to_string()[..20]] {
        assert!(matches!(find(unknown).await, Err(Error::SnapshotUnknown { .. })), "{unknown}");
    }
    let filter = SnapshotFilter { hosts: vec!["another".to_owned()], ..SnapshotFilter::default() };
    let none = memory.repository.find_snapshot("latest", &filter, &memory.control).await;
    assert!(matches!(none, Err(Error::SnapshotUnknown { .. })));
    let wanted = [3, 1, 3].map(|at: usize| ids[at].to_string());
    let found = memory.repository.find_snapshots(&wanted, &filter, &memory.control).await.unwrap();
    assert_eq!(found.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), [ids[1], ids[3]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_walk_ends() {
    let memory = Memory::new().await;
    let root = memory.store(sample).await;
    let ended = memory
        .look(move |reader, control| {
            let mut list = ls(reader, root, &LsRequest::default(), control);
            assert!(list.next().unwrap().is_ok());
            control.cancelled().cancel();
            (list.next(), list.next().is_none())
        })
        .await;
    assert!(matches!(ended, (Some(Err(Error::Cancelled)), true)), "{ended:?}");
}

/// Trees that are read as streams show the same, and of one that breaks off what came before.
#[tokio::test(flavor = "multi_thread")]
async fn streams_are_listed_compared_and_measured_like_trees() {
    let memory = Memory::new().await;
    let (root, other, broken) = memory
        .store(|maker| {
            let other = maker.tree(&[maker.directory("data", &[maker.file("a", "ALPHA"), maker.file("b", "new")])]);
            let cut =
                br#"{"nodes":[{"name":"..","type":"file","content":[]},{"name":"a","type":"file","content":[]},{"name":"b""#;
            let cut = Node { subtree: Some(maker.raw_tree(cut)), ..lost_directory("cut") };
            (sample(maker), other, maker.tree(&[cut, maker.file("z", "")]))
        })
        .await;
    let looks = memory
        .look(move |reader, control| {
            [reader.clone(), reader.clone().with_whole_trees(0)].map(|reader| {
                let listed = walked(ls(&reader, root, &LsRequest::default(), control));
                let mut differences = diff(&reader, root, other, DiffRequest::default(), control);
                let marks = marks(&mut differences);
                let located = locate(&reader, &root, b"/data/deep/y.md").unwrap();
                assert!(locate(&reader, &root, b"/data/deep/x").is_err() && locate(&reader, &root, b"/data/zz").is_err());
                let statistics = differences.statistics().unwrap();
                let raw = raw_data(&reader, &[root, other], control).unwrap();
                let mut archive = Vec::new();
                dump_directory(&reader, root, b"", &mut archive, control).unwrap();
                (listed, marks, located, statistics, raw, archive)
            })
        })
        .await;
    assert_eq!(looks[0], looks[1]);
    let (paths, problems) = memory
        .look(move |reader, control| walked(ls(&reader.clone().with_whole_trees(0), broken, &LsRequest::default(), control)))
        .await;
    assert_eq!(paths, ["/cut", "/cut/a", "/z"]);
    let told: Vec<_> = problems.iter().map(|problem| (problem.path.to_str().unwrap(), problem.class)).collect();
    assert_eq!(told, [("/cut/..", "refused"), ("/cut", "damaged")]);
}
