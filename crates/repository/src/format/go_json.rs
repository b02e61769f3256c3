//! JSON strings as Go's encoder writes them, so that a tree of ours has the id that restic would give it.

/// Appends `text` as a JSON string with its quotes: `<`, `>` and `&` are escaped, and the two line separators of Unicode.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut clean_from = 0;
    let mut at = 0;
    while at < bytes.len() {
        let (escape, width): (&[u8], usize) = match bytes[at] {
            b'"' => (b"\\\"", 1),
            b'\\' => (b"\\\\", 1),
            b'\n' => (b"\\n", 1),
            b'\r' => (b"\\r", 1),
            b'\t' => (b"\\t", 1),
            0x08 => (b"\\b", 1),
            0x0c => (b"\\f", 1),
            b'<' => (b"\\u003c", 1),
            b'>' => (b"\\u003e", 1),
            b'&' => (b"\\u0026", 1),
            0xe2 if bytes[at..].starts_with(b"\xe2\x80\xa8") => (b"\\u2028", 3),
            0xe2 if bytes[at..].starts_with(b"\xe2\x80\xa9") => (b"\\u2029", 3),
            byte @ 0..0x20 => {
                out.extend_from_slice(&bytes[clean_from..at]);
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(hex::encode([byte]).as_bytes());
                at += 1;
                clean_from = at;
                continue;
            }
            _ => {
                at += 1;
                continue;
            }
        };
        out.extend_from_slice(&bytes[clean_from..at]);
        out.extend_from_slice(escape);
        at += width;
        clean_from = at;
    }
    out.extend_from_slice(&bytes[clean_from..]);
    out.push(b'"');
}

/// Appends bytes that should be text as a JSON string; each byte that is not UTF-8 becomes `\ufffd`, as Go writes it.
pub fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return write_string(text, out);
    }
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        let start = out.len();
        write_string(chunk.valid(), out);
        out.pop();
        out.remove(start);
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    out.push(b'"');
}

/// Appends a number in decimal.
pub fn write_number(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_are_go_s() {
        let mut out = Vec::new();
        write_string("<a&b>\u{2028}\u{1}\t\"\\é", &mut out);
        assert_eq!(out, "\"\\u003ca\\u0026b\\u003e\\u2028\\u0001\\t\\\"\\\\é\"".as_bytes());
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let mut out = Vec::new();
        write_bytes(b"a\xff\xfeb", &mut out);
        assert_eq!(out, br#""a\ufffd\ufffdb""#);
    }

    proptest! {
        #[test]
        fn it_is_json(text in any::<String>(), number in any::<u64>()) {
            let mut out = Vec::new();
            write_string(&text, &mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
            out.clear();
            write_number(number, &mut out);
            prop_assert_eq!(std::str::from_utf8(&out).unwrap(), number.to_string());
        }
    }
}
