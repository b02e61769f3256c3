//! Tests that mount file systems do so in a process and a mount namespace of their own: whatever becomes of the test, nothing stays
//! mounted on the machine.

use std::future::Future;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Set in the process that the test really runs in.
const INSIDE: &str = "ORLOP_TEST_MOUNTS";

/// A test that takes longer hangs.
const MOST_TIME: Duration = Duration::from_secs(120);

/// Runs the calling test again in a process of its own, which may mount what it likes, and there `body`.
///
/// Where the machine does not let us, the test says so and passes; with `ORLOP_REQUIRE_TOOLS` it fails.
pub fn privately<F: Future<Output = ()>>(body: impl FnOnce() -> F) {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(body());
    }
    let works = unshare().arg("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !works || !std::path::Path::new("/dev/fuse").exists() {
        return lacks("unshare of util-linux, leave to make a mount namespace, and /dev/fuse");
    }
    let test = std::thread::current().name().expect("a test has a thread of its name").to_owned();
    let mut command = unshare();
    command.arg(std::env::current_exe().unwrap()).args(["--exact", &test, "--nocapture"]).env(INSIDE, "1");
    let status = wait(command.spawn().unwrap(), &test);
    assert!(status.success(), "{test} failed in its own process: {status}");
}

/// Says what the machine lacks.
pub fn lacks(what: &str) {
    assert!(std::env::var_os("ORLOP_REQUIRE_TOOLS").is_none(), "the test needs {what}");
    println!("skipped: the test needs {what}");
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whoever is not root becomes root of a user namespace, which may mount `tmpfs` and FUSE.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "--propagation", "private"]);
    command
}

fn wait(mut child: Child, test: &str) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if start.elapsed() > MOST_TIME {
            // Its file systems die with it, so that nothing can keep it.
            let _ = child.kill();
            let _ = child.wait();
            panic!("{test} hangs: it did not end within {} s", MOST_TIME.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
