//! Go's `strconv.Quote`, by which restic writes names of any bytes into JSON strings.
//!
//! A name is quoted first and the result then stands as a JSON string, so a backslash of a name appears four times in the object.

/// Appends the quoted form of `name` without the surrounding quotes.
pub fn quote(name: &[u8], out: &mut String) {
    for chunk in name.utf8_chunks() {
        let valid = chunk.valid();
        if valid.bytes().all(|byte| (b' '..0x7f).contains(&byte) && byte != b'"' && byte != b'\\') {
            out.push_str(valid);
        } else {
            valid.chars().for_each(|character| quote_char(character, out));
        }
        for byte in chunk.invalid() {
            push_hex(out, *byte);
        }
    }
}

fn push_hex(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push_str("\\x");
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

fn quote_char(character: char, out: &mut String) {
    use std::fmt::Write as _;
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        ' '..='~' => out.push(character),
        '\0'..='\x7f' => push_hex(out, u8::try_from(character).unwrap_or(b'?')),
        _ if is_printable(character) => out.push(character),
        _ => {
            let code = u32::from(character);
            // Writing to a String cannot fail.
            let _ = if code < 0x1_0000 { write!(out, "\\u{code:04x}") } else { write!(out, "\\U{code:08x}") };
        }
    }
}

/// Whether Go prints the character as it is. Only the classes that matter for names are told apart: controls, separators,
/// format characters, surrogates, private use and non-characters are escaped. A character that Go's table does not know yet
/// may come out differently; it reads back the same, and only its directory's id differs from restic's.
fn is_printable(character: char) -> bool {
    !matches!(u32::from(character),
        0x80..=0xa0 | 0xad | 0x61c | 0x600..=0x605 | 0x6dd | 0x70f | 0x8e2 | 0x1680 | 0x180e
        | 0x2000..=0x200f | 0x2028..=0x202f | 0x205f..=0x206f | 0x3000 | 0xd800..=0xf8ff
        | 0xfeff | 0xfff0..=0xfffb | 0xfffe | 0xffff | 0x110bd | 0x110cd | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a
        | 0xe0000..=0xe00ff | 0xe01f0..=0x10_ffff)
}

/// Undoes [`quote`]; `None` if the text is not of that form.
#[must_use]
pub fn unquote(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    if !bytes.contains(&b'\\') {
        return (!bytes.contains(&b'"') && !bytes.contains(&b'\n')).then(|| bytes.to_vec());
    }
    let mut name = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'"' || first == b'\n' {
            return None;
        }
        if first != b'\\' {
            name.push(first);
            rest = tail;
            continue;
        }
        let (&escape, tail) = tail.split_first()?;
        rest = tail;
        match escape {
            b'a' => name.push(7),
            b'b' => name.push(8),
            b'f' => name.push(12),
            b'n' => name.push(b'\n'),
            b'r' => name.push(b'\r'),
            b't' => name.push(b'\t'),
            b'v' => name.push(11),
            b'\\' | b'"' => name.push(escape),
            b'x' => name.push(u8::try_from(number(&mut rest, 2, 16)?).ok()?),
            b'u' => push_char(&mut name, number(&mut rest, 4, 16)?)?,
            b'U' => push_char(&mut name, number(&mut rest, 8, 16)?)?,
            b'0'..=b'7' => {
                let low = number(&mut rest, 2, 8)?;
                name.push(u8::try_from(u32::from(escape - b'0') * 64 + low).ok()?);
            }
            _ => return None,
        }
    }
    Some(name)
}

fn number(rest: &mut &[u8], digits: usize, radix: u32) -> Option<u32> {
    let (head, tail) = rest.split_at_checked(digits)?;
    *rest = tail;
    head.iter().try_fold(0u32, |value, byte| Some(value.checked_mul(radix)? + char::from(*byte).to_digit(radix)?))
}

fn push_char(name: &mut Vec<u8>, code: u32) -> Option<()> {
    let character = char::from_u32(code)?;
    name.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quoted(name: &[u8]) -> String {
        let mut out = String::new();
        quote(name, &mut out);
        out
    }

    #[test]
    fn known_forms() {
        assert_eq!(quoted(b"plain name.txt"), "plain name.txt");
        assert_eq!(quoted("žluťoučký 🐎".as_bytes()), "žluťoučký 🐎");
        assert_eq!(quoted(b"a\"b\\c\n\x01\x7f\xff"), r#"a\"b\\c\n\x01\x7f\xff"#);
        assert_eq!(quoted("\u{a0}\u{2028}\u{e0001}".as_bytes()), r"\u00a0\u2028\U000e0001");
        assert_eq!(unquote(r"\101\x42\u0043"), Some(b"ABC".to_vec()));
        assert_eq!(unquote(r"\ud800"), None);
        assert_eq!(unquote("\\"), None);
        assert_eq!(unquote(r"\q"), None);
        assert_eq!(unquote("a\"b"), None);
    }

    proptest! {
        #[test]
        fn any_name_survives(name in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(unquote(&quoted(&name)), Some(name));
        }

        #[test]
        fn any_text_is_read_without_panic(text in ".{0,40}") {
            let _ = unquote(&text);
        }
    }
}
