//! `ls`.

use std::io::Write;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use repository::browse::{Entry, LsRequest, Step, ls};
use repository::format::{NodeType, Time};
use serde::Serialize;

use super::arguments::Ls;
use super::failure::Failure;
use super::output::{self, Output};
use super::session::{Access, Meant, Session};
use super::snapshots::Shown;
use super::text;

pub async fn run(session: &Session, arguments: Ls) -> Result<(), Failure> {
    if let Some(relative) = arguments.directories.iter().find(|directory| !directory.is_absolute()) {
        return Err(Failure::Usage(format!("directory {} must be a path from the root of the snapshot", relative.display())));
    }
    session
        .with_repository(Access::Read, async |repository, _| {
            let meant = Meant::find(session, repository, &arguments.snapshot, &arguments.filter).await?;
            let (output, arguments) = (session.output.clone(), arguments.clone());
            session
                .read(repository, move |reader, control| {
                    let directories = arguments.directories.iter().map(|directory| directory.as_os_str().as_bytes().to_vec());
                    let request = LsRequest { directories: directories.collect(), recursive: arguments.recursive };
                    list(&output, &arguments, &meant, ls(reader, meant.root(reader)?, &request, control))
                })
                .await
        })
        .await
}

fn list(
    output: &Output,
    arguments: &Ls,
    meant: &Meant,
    steps: impl Iterator<Item = repository::Result<Step>>,
) -> Result<(), Failure> {
    let mut out = output::buffered();
    if output.json {
        let mut header = serde_json::to_value(Shown::new(meant.id, &meant.snapshot)).map_err(std::io::Error::from)?;
        header["message_type"] = "snapshot".into();
        header["struct_type"] = "snapshot".into();
        writeln!(out, "{header}")?;
    } else if !output.quiet {
        writeln!(out, "{}", heading(meant, &arguments.directories))?;
    }
    let mut unreadable = 0_u64;
    for step in steps {
        match step? {
            Step::Entry(entry) if output.json => {
                serde_json::to_writer(&mut out, &ShownNode::new(&entry)).map_err(std::io::Error::from)?;
                out.write_all(b"\n")?;
            }
            Step::Entry(Entry { path, node }) => {
                writeln!(out, "{}", text::node_line(&path, &node, arguments.long, arguments.human_readable))?;
            }
            Step::Problem(problem) => {
                output.problem("error", "ls", &problem.path, &problem.reason);
                unreadable += 1;
            }
        }
    }
    out.flush()?;
    complete(unreadable)
}

/// What could not be shown makes a failure of a listing, as everything else is there.
pub fn complete(unreadable: u64) -> Result<(), Failure> {
    if unreadable == 0 { Ok(()) } else { Err(Failure::Faults(format!("{unreadable} entries could not be read; run a check"))) }
}

fn heading(meant: &Meant, directories: &[PathBuf]) -> String {
    let Meant { id, snapshot, .. } = meant;
    let (paths, time) = (text::printable(snapshot.paths.join(" ").as_bytes()), text::local_time(snapshot.time));
    let user =
        if snapshot.username.is_empty() { String::new() } else { format!("{}@", text::printable(snapshot.username.as_bytes())) };
    let host = text::printable(snapshot.hostname.as_bytes());
    let filtered = if directories.is_empty() {
        String::new()
    } else {
        let shown: Vec<_> = directories.iter().map(|directory| text::printable(directory.as_os_str().as_bytes())).collect();
        format!(" filtered by [{}]", shown.join(" "))
    };
    format!("snapshot {} of [{paths}] at {time} by {user}{host}{filtered}:", id.short())
}

/// A node as restic's JSON of `ls` has it.
#[derive(Serialize)]
struct ShownNode<'a> {
    name: String,
    r#type: &'a str,
    path: String,
    uid: u32,
    gid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    mode: u32,
    permissions: String,
    mtime: Time,
    atime: Time,
    ctime: Time,
    inode: u64,
    message_type: &'static str,
    struct_type: &'static str,
}

impl<'a> ShownNode<'a> {
    fn new(entry: &'a Entry) -> Self {
        let Entry { path, node } = entry;
        Self {
            name: String::from_utf8_lossy(&node.name).into_owned(),
            r#type: node.node_type.as_str(),
            path: String::from_utf8_lossy(path).into_owned(),
            uid: node.uid,
            gid: node.gid,
            size: (node.node_type == NodeType::File).then_some(node.size),
            mode: node.mode,
            permissions: text::mode(node.mode),
            mtime: node.mtime,
            atime: node.atime,
            ctime: node.ctime,
            inode: node.inode,
            message_type: "node",
            struct_type: "node",
        }
    }
}
