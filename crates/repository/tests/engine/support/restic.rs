//! Stock restic, if it is on this machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use secrecy::ExposeSecret;

use super::password;

/// The binary with a repository.
pub struct Restic {
    binary: PathBuf,
    repository: String,
    environment: Vec<(String, String)>,
}

impl Restic {
    /// Looks for the binary under `ORLOP_TOOLS` and then in the path. Where `ORLOP_REQUIRE_TOOLS` is set a missing binary is a failure, elsewhere
    /// the test says so and passes.
    pub fn at(repository: &Path) -> Option<Self> {
        Self::on(repository.to_str().unwrap().to_owned(), Vec::new())
    }

    /// The same for a repository anywhere, with further environment variables.
    pub fn on(repository: String, environment: Vec<(String, String)>) -> Option<Self> {
        let tools = std::env::var_os("ORLOP_TOOLS").map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = tools
            .into_iter()
            .chain(std::env::split_paths(&path))
            .map(|directory| directory.join("restic"))
            .find(|file| file.is_file());
        match found {
            Some(binary) => Some(Self { binary, repository, environment }),
            None if std::env::var_os("ORLOP_REQUIRE_TOOLS").is_some() => {
                panic!("restic is neither under ORLOP_TOOLS nor in the path")
            }
            None => {
                println!("skipped: restic is neither under ORLOP_TOOLS nor in the path");
                None
            }
        }
    }

    pub fn binary(&self) -> &Path {
        &self.binary
    }

    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Runs it with our password.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, password().expose_secret())
    }

    pub fn run_with(&self, arguments: &[&str], password: &str) -> Output {
        let mut command = Command::new(&self.binary);
        command.arg("--no-cache").arg("--repo").arg(&self.repository).args(arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env("RESTIC_PASSWORD", password).env("RESTIC_PROGRESS_FPS", "0.01");
        command.output().unwrap()
    }

    /// Runs it and expects success; what it printed.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (printed, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "restic {arguments:?}: {printed}{complained}");
        printed.into_owned()
    }

    /// Runs it and expects failure; what it complained.
    #[track_caller]
    pub fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (printed, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!output.status.success(), "restic {arguments:?} should fail: {printed}");
        format!("{printed}{complained}")
    }
}
