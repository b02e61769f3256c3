//! Paths of components below a Repository, and how a restore finds the one it asks for.

use std::fmt;

use super::path::{PathError, is_key_character, segments};

/// Version of the layout we write, `Snapshot.spec.version`.
pub const LAYOUT_VERSION: &str = crd_types::names::LAYOUT_VERSION;

/// What today's component names begin with and older ones do not (specification §4.3).
pub const COMPONENT_PREFIX: &str = "dump-";

/// Path of one restic repository below its Repository: `repository/v1/<session>/<component>`.
///
/// Data older than layout v1 lacks the version; such paths are read, never made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentPath {
    versioned: bool,
    session: String,
    component: String,
}

impl ComponentPath {
    /// The path of `component` as made by `session`.
    ///
    /// # Errors
    /// If either is not one plain segment.
    pub fn of(session: &str, component: &str) -> Result<Self, PathError> {
        Ok(Self { versioned: true, session: single(session, "session name")?, component: single(component, "component name")? })
    }

    /// A path found in `Snapshot.status.components.<c>.path`, with or without the version.
    ///
    /// # Errors
    /// If it is anything else: a Snapshot forged to lead elsewhere is refused (reliability S-13).
    pub fn parse(path: &str) -> Result<Self, PathError> {
        let found = segments("component path", path, is_key_character)?;
        let (versioned, session, component) = match found.as_slice() {
            ["repository", version, session, component] if *version == LAYOUT_VERSION => (true, *session, *component),
            ["repository", session, component] => (false, *session, *component),
            _ => {
                return Err(PathError::Component { path: path.to_owned() });
            }
        };
        Ok(Self { versioned, session: session.to_owned(), component: component.to_owned() })
    }

    /// The session that made it.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// Its last segment.
    pub fn component(&self) -> &str {
        &self.component
    }
}

impl fmt::Display for ComponentPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { versioned, session, component } = self;
        if *versioned {
            write!(formatter, "repository/{LAYOUT_VERSION}/{session}/{component}")
        } else {
            write!(formatter, "repository/{session}/{component}")
        }
    }
}

fn single(name: &str, what: &'static str) -> Result<String, PathError> {
    match segments(what, name, is_key_character)?.as_slice() {
        [only] if *only == name => Ok(name.to_owned()),
        [] => Err(PathError::Empty { what, path: name.to_owned() }),
        _ => Err(PathError::Character { what, path: name.to_owned(), character: '/' }),
    }
}

/// The component meant by `requested`: that very name first, then with or without `dump-`.
pub fn match_component<'a>(requested: &str, available: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let bare = |name: &str| name.strip_prefix(COMPONENT_PREFIX).unwrap_or(name).to_owned();
    let wanted = bare(requested);
    let mut lenient = None;
    for name in available {
        if name == requested {
            return Some(name);
        }
        if bare(name) == wanted {
            lenient = lenient.or(Some(name));
        }
    }
    lenient
}
