//! Why a command ended badly, in a sentence for the person, with restic's exit codes for programs.

use std::io;

use repository::Error as EngineError;
use storage::ErrorKind;

use super::location::LocationError;

/// Why a command ended badly.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line asks for something that cannot be.
    #[error("{0}")]
    Usage(String),
    /// The repository's location is not understood.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// The store cannot be opened.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// There is no repository.
    #[error("there is no repository in {place}: {cause}; make one with `init`, or correct --repo")]
    NoRepository {
        /// Where it was looked for.
        place: String,
        /// What was found instead.
        cause: String,
    },
    /// The engine failed.
    #[error("{}", sentence(.0))]
    Engine(#[from] EngineError),
    /// A backup left out what it could not read; the snapshot holds the rest.
    #[error("{0}")]
    Incomplete(String),
    /// The work was done and found or left faults.
    #[error("{0}")]
    Faults(String),
    /// Standard output, or the file in its place, cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

/// Exit codes as restic has them.
mod code {
    pub const FAILED: u8 = 1;
    pub const INCOMPLETE: u8 = 3;
    pub const NO_REPOSITORY: u8 = 10;
    pub const LOCKED: u8 = 11;
    pub const WRONG_PASSWORD: u8 = 12;
    pub const INTERRUPTED: u8 = 130;
    /// What a shell reports of a process that a closed pipe ended.
    pub const CLOSED_PIPE: u8 = 141;
}

impl Failure {
    /// The process's exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        if self.is_closed_pipe() {
            return code::CLOSED_PIPE;
        }
        match self {
            Self::Usage(_) | Self::Location(_) | Self::Storage(_) | Self::Faults(_) | Self::Output(_) => code::FAILED,
            Self::NoRepository { .. } => code::NO_REPOSITORY,
            Self::Incomplete(_) => code::INCOMPLETE,
            Self::Engine(EngineError::RepositoryMissing { .. }) => code::NO_REPOSITORY,
            Self::Engine(EngineError::Locked { .. }) => code::LOCKED,
            Self::Engine(EngineError::WrongPassword { .. }) => code::WRONG_PASSWORD,
            Self::Engine(EngineError::Cancelled) => code::INTERRUPTED,
            Self::Engine(_) => code::FAILED,
        }
    }

    /// Whether nobody reads the output any more, as when `head` has seen enough: an end that needs no words.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        match self {
            Self::Output(error) => error.kind() == io::ErrorKind::BrokenPipe,
            Self::Engine(EngineError::File { source, .. }) => source.kind() == io::ErrorKind::BrokenPipe,
            _ => false,
        }
    }
}

/// The engine's words, with a remedy where its own speaks of a person's means. The store's remedies speak of a cluster's.
fn sentence(error: &EngineError) -> String {
    match error {
        EngineError::Cancelled => "interrupted; the lock was given back".to_owned(),
        EngineError::Store { source, .. } => format!("{error} ({})", ErrorKind::of(source)),
        EngineError::WrongPassword { .. } => error.to_string(),
        EngineError::Locked { .. } => {
            format!("{error}; wait for the holder with --retry-lock, or see with `unlock` whether it is dead")
        }
        error => format!("{error}; {}", error.remedy()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn codes_are_restic_s() {
        for (failure, code) in [
            (Failure::Usage("x".to_owned()), 1),
            (Failure::Incomplete("x".to_owned()), 3),
            (Failure::NoRepository { place: "x".to_owned(), cause: "x".to_owned() }, 10),
            (Failure::Engine(EngineError::WrongPassword { keys: 1 }), 12),
            (Failure::Engine(EngineError::Cancelled), 130),
            (Failure::Output(io::Error::from(io::ErrorKind::StorageFull)), 1),
            (Failure::Output(io::Error::from(io::ErrorKind::BrokenPipe)), 141),
        ] {
            assert_eq!(failure.code(), code, "{failure}");
        }
        let source = Arc::new(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(Failure::Engine(EngineError::File { operation: "write", path: "x".to_owned(), source }).is_closed_pipe());
    }
}
