//! The repository's password: from a file, from the environment, or from the person.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::credentials::environment;
use super::failure::Failure;

/// The password that opens the repository.
///
/// # Errors
/// If it is given nowhere, empty, or its file cannot be read.
pub fn current(file: Option<&Path>) -> Result<SecretString, Failure> {
    if let Some(file) = file {
        return read(file);
    }
    if let Some(password) = environment("RESTIC_PASSWORD") {
        return Ok(password.into());
    }
    ask("enter the repository's password: ")?.ok_or_else(|| {
        Failure::Usage("no password; give --password-file, or set RESTIC_PASSWORD_FILE or RESTIC_PASSWORD".to_owned())
    })
}

/// A password that does not open it yet: asked for twice, for it must not be mistyped.
///
/// # Errors
/// As [`current`], or if the two differ.
pub fn new(file: Option<&Path>) -> Result<SecretString, Failure> {
    if let Some(file) = file {
        return read(file);
    }
    let none = || Failure::Usage("no new password; give --new-password-file".to_owned());
    let first = ask("enter the new password: ")?.ok_or_else(none)?;
    let second = ask("enter the new password again: ")?.ok_or_else(none)?;
    if first.expose_secret() != second.expose_secret() {
        return Err(Failure::Usage("the two passwords are not the same; nothing was changed".to_owned()));
    }
    Ok(first)
}

/// As restic reads it: without a byte order mark, and without white space around it.
fn read(file: &Path) -> Result<SecretString, Failure> {
    let failed = |reason: &dyn std::fmt::Display| Failure::Usage(format!("password file {}: {reason}", file.display()));
    let bytes = Zeroizing::new(fs::read(file).map_err(|error| failed(&error))?);
    let text = std::str::from_utf8(&bytes).map_err(|_| failed(&"it is not UTF-8"))?;
    let password = text.trim_start_matches('\u{feff}').trim();
    if password.is_empty() {
        return Err(failed(&"it is empty"));
    }
    Ok(password.into())
}

/// Asks on the terminal, without showing what is typed; `None` where there is no terminal.
fn ask(prompt: &str) -> Result<Option<SecretString>, Failure> {
    let Ok(terminal) = OpenOptions::new().read(true).write(true).open("/dev/tty") else { return Ok(None) };
    if !terminal.is_terminal() {
        return Ok(None);
    }
    let line = ask_on(terminal, prompt).map_err(|error| Failure::Usage(format!("cannot ask for the password: {error}")))?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(Failure::Usage("an empty password is not accepted".to_owned()));
    }
    Ok(Some(password.into()))
}

fn ask_on(mut terminal: File, prompt: &str) -> io::Result<Zeroizing<String>> {
    let shown = tcgetattr(&terminal)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    terminal.write_all(prompt.as_bytes())?;
    tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
    let restore = Restore { terminal: terminal.try_clone()?, shown };
    let mut line = Zeroizing::new(String::new());
    BufReader::new(&terminal).read_line(&mut line)?;
    drop(restore);
    terminal.write_all(b"\n")?;
    Ok(line)
}

/// Shows again what is typed, whatever happens meanwhile.
struct Restore {
    terminal: File,
    shown: Termios,
}

impl Drop for Restore {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.shown);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_is_read_as_restic_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        let read_back = |content: &[u8]| {
            fs::write(&file, content).unwrap();
            current(Some(&file)).map(|password| password.expose_secret().to_owned()).map_err(|error| error.to_string())
        };
        assert_eq!(read_back(b"secret\n").unwrap(), "secret");
        assert_eq!(read_back("\u{feff}with space \r\n".as_bytes()).unwrap(), "with space");
        assert!(read_back(b"\n").unwrap_err().contains("empty"));
        assert!(read_back(b"\xff").unwrap_err().contains("UTF-8"));
        fs::remove_file(&file).unwrap();
        assert!(current(Some(&file)).unwrap_err().to_string().contains("password"));
    }
}
