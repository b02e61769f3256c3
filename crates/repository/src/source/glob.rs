//! One component of a pattern, with the meaning of Go's `filepath.Match`, which restic's users know.

/// A compiled pattern of one path component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob(Vec<Token>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Literal(Vec<u8>),
    AnyCharacter,
    AnySequence,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Glob {
    /// Compiles the pattern, or says what is malformed.
    pub(super) fn parse(pattern: &[u8]) -> Result<Self, &'static str> {
        let mut tokens = Vec::new();
        let mut rest = pattern;
        while let Some((&first, tail)) = rest.split_first() {
            rest = tail;
            match first {
                b'*' => {
                    if tokens.last() != Some(&Token::AnySequence) {
                        tokens.push(Token::AnySequence);
                    }
                }
                b'?' => tokens.push(Token::AnyCharacter),
                b'[' => tokens.push(parse_class(&mut rest)?),
                b'\\' => {
                    let (&escaped, tail) = rest.split_first().ok_or("it ends in a backslash")?;
                    rest = tail;
                    push_literal(&mut tokens, escaped);
                }
                byte => push_literal(&mut tokens, byte),
            }
        }
        Ok(Self(tokens))
    }

    /// Whether all of `text` matches.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        let (mut token, mut position) = (0, 0);
        // Where to go on when what follows the latest `*` did not fit: that `*` takes in one byte more.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            match self.0.get(token) {
                Some(Token::AnySequence) => {
                    retry = Some((token + 1, position));
                    token += 1;
                    continue;
                }
                Some(other) => {
                    if let Some(length) = other.match_length(&text[position..]) {
                        (token, position) = (token + 1, position + length);
                        continue;
                    }
                }
                None if position == text.len() => return true,
                None => {}
            }
            match retry {
                Some((after, start)) if start < text.len() => {
                    retry = Some((after, start + 1));
                    (token, position) = (after, start + 1);
                }
                _ => return false,
            }
        }
    }
}

impl Token {
    /// How many bytes at the beginning of `text` the token takes, if it fits.
    fn match_length(&self, text: &[u8]) -> Option<usize> {
        match self {
            Self::Literal(literal) => text.starts_with(literal).then_some(literal.len()),
            Self::AnyCharacter => first_character(text).map(|(_, length)| length),
            Self::Class { negated, ranges } => {
                let (character, length) = first_character(text)?;
                let inside = ranges.iter().any(|&(low, high)| (low..=high).contains(&character));
                (inside != *negated).then_some(length)
            }
            Self::AnySequence => Some(0),
        }
    }
}

fn push_literal(tokens: &mut Vec<Token>, byte: u8) {
    match tokens.last_mut() {
        Some(Token::Literal(literal)) => literal.push(byte),
        _ => tokens.push(Token::Literal(vec![byte])),
    }
}

/// Reads a class after its opening bracket.
fn parse_class(rest: &mut &[u8]) -> Result<Token, &'static str> {
    let negated = rest.first() == Some(&b'^');
    if negated {
        *rest = &rest[1..];
    }
    let mut ranges = Vec::new();
    loop {
        if rest.first() == Some(&b']') && !ranges.is_empty() {
            *rest = &rest[1..];
            return Ok(Token::Class { negated, ranges });
        }
        let low = class_character(rest)?;
        let high = if rest.first() == Some(&b'-') {
            *rest = &rest[1..];
            class_character(rest)?
        } else {
            low
        };
        ranges.push((low, high));
    }
}

fn class_character(rest: &mut &[u8]) -> Result<char, &'static str> {
    match rest.first() {
        None => return Err("a bracket is not closed"),
        Some(b'-' | b']') => return Err("a bracket holds a misplaced '-' or ']'"),
        Some(b'\\') => *rest = &rest[1..],
        Some(_) => {}
    }
    let (character, length) = first_character(rest).ok_or("a bracket is not closed")?;
    if character == char::REPLACEMENT_CHARACTER && length == 1 {
        return Err("a bracket holds bytes that are not UTF-8");
    }
    *rest = &rest[length..];
    Ok(character)
}

/// The first character and its length in bytes. A byte that is not UTF-8 stands for itself, as in Go.
fn first_character(text: &[u8]) -> Option<(char, usize)> {
    let first = *text.first()?;
    if first.is_ascii() {
        return Some((char::from(first), 1));
    }
    let longest = &text[..text.len().min(4)];
    let valid = match std::str::from_utf8(longest) {
        Ok(valid) => valid,
        Err(error) => std::str::from_utf8(&longest[..error.valid_up_to()]).unwrap_or_default(),
    };
    valid.chars().next().map(|character| (character, character.len_utf8())).or(Some((char::REPLACEMENT_CHARACTER, 1)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The table of Go's own documentation of `filepath.Match`, case by case.
    #[test]
    fn matches_as_go_does() {
        let cases = [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "abc", true),
            ("a*b*c*d*e*", "axbxcxdxe", true),
            ("a*b*c*d*e*", "axbxcxdxexxx", true),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^b-d]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("*[a-ζ]", "A", false),
            ("[\\]a]", "]", true),
            ("[\\-]", "-", true),
            ("[x\\-]", "x", true),
            ("[\\-x]", "-", true),
            ("*x", "xxx", true),
            ("", "", true),
            ("", "a", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(Glob::parse(pattern.as_bytes()).unwrap().matches(text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for pattern in ["[]a]", "[-]", "[x-]", "[-x]", "[", "[^", "[^bc", "a[", "a\\", "[a-b-c]"] {
            assert!(Glob::parse(pattern.as_bytes()).is_err(), "{pattern}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_can_be_matched() {
        assert!(Glob::parse(b"a\xff*").unwrap().matches(b"a\xffb"));
        assert!(Glob::parse(b"a?b").unwrap().matches(b"a\xffb"));
        assert!(!Glob::parse(b"a?b").unwrap().matches(b"a\xff\xffb"));
    }
}
