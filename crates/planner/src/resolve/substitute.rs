//! Placeholders in JSON values (specification §2.6).
//!
//! Values are walked as values: a parameter never becomes part of a text that is parsed again, so quotes, braces and
//! dollar signs in it stay what they are (architecture §3 step 12).

use std::collections::BTreeMap;

use serde_json::Value;

use super::ResolveError;

/// Replaces `${name}` and `${name:=default}` in every string of a value. What a variable holds is not looked at again.
///
/// `place` names the object in errors.
///
/// # Errors
/// [`ResolveError::UnknownVariable`] for a placeholder with neither value nor default;
/// [`ResolveError::MalformedPlaceholder`] for one that is not closed or names nothing.
pub fn substitute(value: &Value, variables: &BTreeMap<String, String>, place: &str) -> Result<Value, ResolveError> {
    Ok(match value {
        Value::String(text) => Value::String(substitute_text(text, variables, place)?),
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| substitute(item, variables, place)).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(key, field)| Ok((key.clone(), substitute(field, variables, place)?)))
                .collect::<Result<_, ResolveError>>()?,
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    })
}

/// Replaces the placeholders of one text.
///
/// # Errors
/// As [`substitute`].
pub fn substitute_text(text: &str, variables: &BTreeMap<String, String>, place: &str) -> Result<String, ResolveError> {
    let malformed = || ResolveError::MalformedPlaceholder { text: text.to_owned(), place: place.to_owned() };
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, placeholder)) = rest.split_once("${") {
        result.push_str(before);
        let (inner, after) = placeholder.split_once('}').ok_or_else(malformed)?;
        let (name, default) = match inner.split_once(":=") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        if !is_variable_name(name) {
            return Err(malformed());
        }
        match variables.get(name).map(String::as_str).or(default) {
            Some(value) => result.push_str(value),
            None => {
                return Err(ResolveError::UnknownVariable { variable: name.to_owned(), place: place.to_owned() });
            }
        }
        rest = after;
    }
    result.push_str(rest);
    Ok(result)
}

fn is_variable_name(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|character| character.is_ascii_alphanumeric() || "_.-".contains(character))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn variables() -> BTreeMap<String, String> {
        [("paths", "/a b,/c"), ("quote", r#""}${x}'"#), ("empty", "")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[rstest]
    #[case("--paths=${paths}", "--paths=/a b,/c")]
    #[case("${paths:=/d}", "/a b,/c")]
    #[case("${other:=/d}", "/d")]
    #[case("${other:=}", "")]
    #[case("${empty:=/d}", "")]
    #[case("${paths}${empty}|${other:=x}", "/a b,/c|x")]
    #[case("$(POD_NAME) $paths $", "$(POD_NAME) $paths $")]
    #[case("${quote}", r#""}${x}'"#)]
    fn placeholders_take_their_values(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(substitute_text(text, &variables(), "Function f").unwrap(), expected);
    }

    #[rstest]
    #[case("${other}")]
    #[case("${")]
    #[case("${}")]
    #[case("${a b}")]
    #[case("${:=x}")]
    fn a_placeholder_without_a_value_is_an_error(#[case] text: &str) {
        substitute_text(text, &variables(), "Function f").unwrap_err();
    }

    #[test]
    fn only_strings_are_touched() {
        let value = json!({"args": ["${paths}", 3, true, null], "${paths}": {"nested": "${empty:=x}"}});
        let expected = json!({"args": ["/a b,/c", 3, true, null], "${paths}": {"nested": ""}});
        assert_eq!(substitute(&value, &variables(), "x").unwrap(), expected);
    }

    proptest! {
        /// S-06: whatever a parameter holds, it arrives as it is and changes nothing beside it.
        #[test]
        fn a_value_never_escapes_its_place(value in ".*") {
            let variables = BTreeMap::from([("it".to_owned(), value.clone())]);
            let template = json!({"args": ["--it=${it}", "--next=1"]});
            let filled = substitute(&template, &variables, "x").unwrap();
            prop_assert_eq!(filled, json!({"args": [format!("--it={value}"), "--next=1"]}));
        }
    }
}
