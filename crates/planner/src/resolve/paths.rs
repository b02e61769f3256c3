//! The comma-separated list of paths that a backup takes (specification §4.2).

use super::ResolveError;

/// The paths of a `paths` parameter: absolute, without trailing slashes and repetitions, in the order given.
///
/// # Errors
/// [`ResolveError::BadPath`] for one that is relative or holds `..`; [`ResolveError::NoPaths`] when none is left.
pub fn split_paths(list: &str, task: &str) -> Result<Vec<String>, ResolveError> {
    let mut paths = Vec::new();
    for written in list.split(',').map(str::trim).filter(|path| !path.is_empty()) {
        let path = normalise(written).ok_or_else(|| ResolveError::BadPath { task: task.to_owned(), path: written.to_owned() })?;
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(ResolveError::NoPaths { task: task.to_owned() });
    }
    Ok(paths)
}

/// The `paths` parameter for a target's mount paths.
///
/// # Errors
/// [`ResolveError::NoPaths`] when there are none; [`ResolveError::BadPath`] for one with a comma, which the list
/// could not hold.
pub(super) fn join_paths(mounted: &[String], task: &str) -> Result<String, ResolveError> {
    if mounted.is_empty() {
        return Err(ResolveError::NoPaths { task: task.to_owned() });
    }
    if let Some(path) = mounted.iter().find(|path| path.contains(',')) {
        return Err(ResolveError::BadPath { task: task.to_owned(), path: path.clone() });
    }
    Ok(mounted.join(","))
}

fn normalise(path: &str) -> Option<String> {
    let relative = path.strip_prefix('/')?;
    let parts: Vec<&str> = relative.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    (!parts.contains(&"..")).then(|| format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn lists_are_split_and_cleaned() {
        assert_eq!(split_paths("/source/data/, /b//c,/source/data,,/", "t").unwrap(), ["/source/data", "/b/c", "/"]);
        assert!(matches!(split_paths("data", "t"), Err(ResolveError::BadPath { .. })));
        assert!(matches!(split_paths("/data/../etc", "t"), Err(ResolveError::BadPath { .. })));
        assert!(matches!(split_paths(" , ", "t"), Err(ResolveError::NoPaths { .. })));
    }
}
