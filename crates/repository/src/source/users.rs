//! Names of user and group numbers, as the local files tell them.

use std::{collections::HashMap, fs, path::Path};

/// The names that restic records beside the numbers. They inform people; restores go by number.
#[derive(Debug, Default)]
pub struct Users {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl Users {
    /// Reads the local user and group files; what cannot be read has no names.
    #[must_use]
    pub fn local() -> Self {
        Self { users: read_names(Path::new("/etc/passwd")), groups: read_names(Path::new("/etc/group")) }
    }

    /// The user's name, empty if unknown.
    #[must_use]
    pub fn user(&self, uid: u32) -> &str {
        self.users.get(&uid).map_or("", String::as_str)
    }

    /// The group's name, empty if unknown.
    #[must_use]
    pub fn group(&self, gid: u32) -> &str {
        self.groups.get(&gid).map_or("", String::as_str)
    }
}

fn read_names(path: &Path) -> HashMap<u32, String> {
    let bytes = fs::read(path).unwrap_or_default();
    parse_names(&String::from_utf8_lossy(&bytes))
}

/// Both files begin a line with `name:password:number`; the first line of a number counts.
fn parse_names(text: &str) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(number)) = (fields.next(), fields.nth(1).and_then(|field| field.parse().ok())) {
            names.entry(number).or_insert_with(|| name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_broken_lines_ignored() {
        let names = parse_names("root:x:0:0:root:/root:/bin/sh\nbroken\n# comment\ntoor:x:0:0::/:\ndaemon:x:1:1::/:\n");
        assert_eq!((names.len(), names[&0].as_str(), names[&1].as_str()), (2, "root", "daemon"));
    }
}
