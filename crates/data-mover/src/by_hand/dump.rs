//! `dump`.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use repository::browse::{Entry, Located, directory_at, dump_directory, dump_file, locate};
use repository::format::NodeType;
use repository::source::Problems;
use repository::{BlobReader, Control, TreeId};

use super::arguments::{Archive, Dump};
use super::failure::Failure;
use super::ls::complete;
use super::output::{self, Output};
use super::session::{Access, Meant, Session};

pub async fn run(session: &Session, arguments: Dump) -> Result<(), Failure> {
    session
        .with_repository(Access::Read, async |repository, _| {
            let meant = Meant::find(session, repository, &arguments.snapshot, &arguments.filter).await?;
            let (output, arguments) = (session.output.clone(), arguments.clone());
            session.read(repository, move |reader, control| dump(&output, &arguments, &meant, reader, control)).await
        })
        .await
}

fn dump(output: &Output, arguments: &Dump, meant: &Meant, reader: &BlobReader, control: &Control) -> Result<(), Failure> {
    let root = meant.root(reader)?;
    let path = arguments.path.as_os_str().as_bytes();
    let problems = match locate(reader, &root, path)? {
        Located::Entry(entry) if entry.node.node_type != NodeType::Dir => {
            write_file(reader, &entry, arguments.target.as_deref())?;
            Problems::default()
        }
        Located::Entry(Entry { path, .. }) => archive(reader, directory_at(reader, &root, &path)?, &path, arguments, control)?,
        Located::Root(tree) => archive(reader, tree, b"", arguments, control)?,
    };
    for problem in &problems.listed {
        output.problem("error", "dump", &problem.path, &problem.reason);
    }
    complete(problems.total)
}

fn write_file(reader: &BlobReader, entry: &Entry, target: Option<&Path>) -> Result<(), Failure> {
    match target {
        Some(target) => {
            let mut file = create(target)?;
            dump_file(reader, entry, &mut file)?;
            file.sync_all()?;
        }
        None => {
            dump_file(reader, entry, &mut io::stdout())?;
        }
    }
    Ok(())
}

fn archive(reader: &BlobReader, tree: TreeId, path: &[u8], arguments: &Dump, control: &Control) -> Result<Problems, Failure> {
    let Archive::Tar = arguments.archive;
    if let Some(target) = &arguments.target {
        let mut file = BufWriter::with_capacity(1 << 20, create(target)?);
        let problems = dump_directory(reader, tree, path, &mut file, control)?;
        file.flush()?;
        file.get_ref().sync_all()?;
        return Ok(problems);
    }
    if io::stdout().is_terminal() {
        let sentence = "it is a directory, and an archive does not belong on a terminal; redirect the output, or give --target";
        return Err(Failure::Usage(sentence.to_owned()));
    }
    Ok(dump_directory(reader, tree, path, &mut output::buffered(), control)?)
}

fn create(target: &Path) -> Result<File, Failure> {
    File::create(target).map_err(|error| Failure::Usage(format!("cannot make file {}: {error}", target.display())))
}
