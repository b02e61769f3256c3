//! Files of patterns.

use std::fs;
use std::path::PathBuf;

use super::credentials::Lookup;
use super::failure::Failure;

/// The patterns of some files, in order.
///
/// # Errors
/// If a file cannot be read.
pub fn read(files: &[PathBuf], environment: Lookup<'_>) -> Result<Vec<String>, Failure> {
    let mut patterns = Vec::new();
    for file in files {
        let text = fs::read_to_string(file)
            .map_err(|error| Failure::Usage(format!("cannot read the patterns of {}: {error}", file.display())))?;
        patterns.extend(parse(&text, environment));
    }
    Ok(patterns)
}

/// One pattern a line; empty lines and those that begin with `#` are none, and variables of the environment stand for their values.
fn parse(text: &str, environment: Lookup<'_>) -> Vec<String> {
    let text = text.trim_start_matches('\u{feff}');
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| expand(line, environment)).collect()
}

/// Puts the values of `$NAME` and `${NAME}` in their places; `$$` is a dollar sign.
fn expand(line: &str, environment: Lookup<'_>) -> String {
    let mut expanded = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let (name, remaining) = match after.strip_prefix('{').and_then(|braced| braced.split_once('}')) {
            Some(braced) => braced,
            None => {
                let end = after.find(|character: char| !character.is_ascii_alphanumeric() && character != '_');
                after.split_at(end.unwrap_or(after.len()))
            }
        };
        match after.strip_prefix('$') {
            Some(remaining) => {
                expanded.push('$');
                rest = remaining;
            }
            None if name.is_empty() => {
                expanded.push('$');
                rest = after;
            }
            None => {
                expanded.push_str(&environment(name).unwrap_or_default());
                rest = remaining;
            }
        }
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_patterns_and_variables_are_replaced() {
        let text = "\u{feff}# comment\n\n *.o \n$HOME/.cache\n${HOME}x\ncost$$5\n$ alone\n$UNSET/y\n";
        let environment = |name: &str| (name == "HOME").then(|| "/home/me".to_owned());
        assert_eq!(parse(text, &environment), ["*.o", "/home/me/.cache", "/home/mex", "cost$5", "$ alone", "/y"]);
    }
}
