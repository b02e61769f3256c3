//! Writes JSON values as YAML that every parser reads the same way.
//!
//! Helm's parser still takes `on`, `no` and `1e3` for something other than strings. Here a string is plain only if it
//! consists of letters and looks like no other word of YAML; all others are quoted as JSON, which is YAML too.

use serde_json::Value;

/// Words that some YAML parser reads as a boolean or null.
const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// A document, with keys in the order of the value. What `on_one_line` picks is written as JSON.
pub(crate) fn write(value: &Value, on_one_line: &dyn Fn(&Value) -> bool) -> String {
    let mut text = String::new();
    Writer { on_one_line }.block(value, 0, &mut text);
    text
}

struct Writer<'a> {
    on_one_line: &'a dyn Fn(&Value) -> bool,
}

impl Writer<'_> {
    fn block(&self, value: &Value, depth: usize, text: &mut String) {
        let indent = "  ".repeat(depth);
        match value {
            Value::Object(members) if !members.is_empty() => {
                for (name, member) in members {
                    text.push_str(&indent);
                    text.push_str(&scalar(&Value::String(name.clone())));
                    text.push(':');
                    self.beneath(member, depth + 1, text);
                }
            }
            Value::Array(items) if !items.is_empty() => {
                for item in items {
                    text.push_str(&indent);
                    text.push('-');
                    let mut inner = String::new();
                    self.beneath(item, depth + 1, &mut inner);
                    // A nested block starts on the line of its dash.
                    match inner.strip_prefix('\n') {
                        Some(nested) => {
                            text.push(' ');
                            text.push_str(nested.trim_start());
                        }
                        None => text.push_str(&inner),
                    }
                }
            }
            _ => {
                text.push_str(&indent);
                text.push_str(&scalar(value));
                text.push('\n');
            }
        }
    }

    /// A value behind a key or a dash.
    fn beneath(&self, value: &Value, depth: usize, text: &mut String) {
        match value {
            Value::Object(members) if !members.is_empty() && !(self.on_one_line)(value) => {
                text.push('\n');
                self.block(value, depth, text);
            }
            Value::Array(items) if !items.is_empty() => {
                text.push('\n');
                self.block(value, depth, text);
            }
            _ => {
                text.push(' ');
                text.push_str(&scalar(value));
                text.push('\n');
            }
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(string) if is_plain(string) => string.clone(),
        other => other.to_string(),
    }
}

fn is_plain(string: &str) -> bool {
    let mut characters = string.chars();
    let starts_well = characters.next().is_some_and(|first| first.is_ascii_alphabetic());
    let goes_on_well = characters.all(|character| character.is_ascii_alphanumeric() || "-._/".contains(character));
    starts_well && goes_on_well && !WORDS.contains(&string.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::write;

    #[test]
    fn what_is_written_reads_the_same() {
        let value = json!({
            "name": "a.b/c-d", "on": "off", "number": "1e3", "empty": {}, "list": [[1, 2], { "a": { "b": [] }, "c": "x: y # z" }, "t"],
            "multi": "line\nline", "quote": "say \"hi\" '{{'", "null": null, "0x": true
        });
        let text = write(&value, &|_| false);
        let back: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(back, value, "{text}");
        let one_line = write(&value, &Value::is_object);
        assert_eq!(serde_saphyr::from_str::<Value>(&one_line).unwrap(), value, "{one_line}");
    }

    #[test]
    fn words_that_look_like_booleans_are_quoted() {
        assert_eq!(write(&json!({ "y": "Yes" }), &|_| false), "\"y\": \"Yes\"\n");
        assert_eq!(write(&json!({ "type": "string" }), &|_| false), "type: string\n");
    }
}
