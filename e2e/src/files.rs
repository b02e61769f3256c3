//! Files in a workload's volume. The cluster's volumes are folders of this machine, so they are made and compared here
//! with GNU tools, without a pod in between.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Fills a folder with a small tree that has one of everything.
pub fn make_tree(root: &Path) -> Result<()> {
    fs::create_dir_all(root.join("folder/a name with spaces"))?;
    fs::create_dir_all(root.join("empty folder"))?;
    fs::write(root.join("folder/file.txt"), "some text\n")?;
    fs::write(root.join("folder/a name with spaces/ünïcödé 日本.txt"), "more text\n")?;
    fs::write(root.join("empty"), "")?;
    fs::hard_link(root.join("folder/file.txt"), root.join("hard link"))?;
    symlink("folder/file.txt", root.join("symbolic link"))?;
    symlink("/nowhere", root.join("dangling"))?;
    fs::set_permissions(root.join("folder"), fs::Permissions::from_mode(0o750))?;
    random_file(&root.join("random"), 3 << 20)?;
    let sparse = fs::File::create(root.join("sparse"))?;
    sparse.set_len(32 << 20)?;
    Ok(())
}

/// A file of random bytes, so that nothing of it is deduplicated or compressed.
pub fn random_file(path: &Path, bytes: u64) -> Result<()> {
    let mut source = std::io::Read::take(fs::File::open("/dev/urandom")?, bytes);
    std::io::copy(&mut source, &mut fs::File::create(path)?)?;
    Ok(())
}

/// Describes a tree with GNU tools: type, mode, owner, size, times, link target, checksum and attributes of every entry.
pub fn describe(root: &Path) -> Result<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/describe.sh");
    let output = Command::new("bash").arg(&script).arg(root).output().with_context(|| format!("{}", script.display()))?;
    ensure!(output.status.success(), "describing {} failed: {}", root.display(), String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Fails with the first differing lines unless two descriptions are equal.
pub fn assert_same(before: &str, after: &str) -> Result<()> {
    let differing: Vec<String> = before
        .lines()
        .filter(|line| !after.lines().any(|other| other == *line))
        .map(|line| format!("- {line}"))
        .chain(after.lines().filter(|line| !before.lines().any(|other| other == *line)).map(|line| format!("+ {line}")))
        .take(10)
        .collect();
    ensure!(differing.is_empty(), "the trees differ:\n{}", differing.join("\n"));
    Ok(())
}

/// Removes everything in a folder but the folder itself.
pub fn empty(root: &Path) -> Result<()> {
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
    }
    Ok(())
}
