//! Figures, times and names for people.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use repository::format::{Node, NodeType, Time, file_mode};

/// `1.234 MiB`, as restic writes sizes.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match UNITS.iter().find(|(shift, _)| bytes >> shift > 0) {
        Some((shift, unit)) => format!("{:.3} {unit}", bytes as f64 / (1_u64 << shift) as f64),
        None => format!("{bytes} B"),
    }
}

/// `1:23` or `1:02:03`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// `2026-01-31 15:04:05` in the machine's own zone.
pub fn local_time(time: Time) -> String {
    match Timestamp::new(time.seconds, i32::try_from(time.nanos).unwrap_or(0)) {
        Ok(timestamp) => timestamp.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => time.to_string(),
    }
}

/// `drwxr-xr-x`: Go's words for mode bits, which restic prints.
pub fn mode(mode: u32) -> String {
    let kinds = [
        (file_mode::DIR, 'd'),
        (file_mode::SYMLINK, 'L'),
        (file_mode::DEVICE, 'D'),
        (file_mode::NAMED_PIPE, 'p'),
        (file_mode::SOCKET, 'S'),
        (file_mode::SETUID, 'u'),
        (file_mode::SETGID, 'g'),
        (file_mode::CHAR_DEVICE, 'c'),
        (file_mode::STICKY, 't'),
        (file_mode::IRREGULAR, '?'),
    ];
    let mut text: String = kinds.iter().filter(|(bit, _)| mode & bit != 0).map(|(_, letter)| letter).collect();
    if text.is_empty() {
        text.push('-');
    }
    text.extend("rwxrwxrwx".chars().enumerate().map(|(at, letter)| if mode & (0o400 >> at) == 0 { '-' } else { letter }));
    text
}

/// A name or path for people: what is not UTF-8, and characters that would move the terminal, are escaped.
pub fn printable(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() || is_direction(character) {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Characters that turn the direction of what follows, so that a name shows as another.
fn is_direction(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A line of a listing: the path alone, or with mode, owner, size and time before it.
pub fn node_line(path: &[u8], node: &Node, long: bool, human_readable: bool) -> String {
    let path = printable(path);
    if !long {
        return path;
    }
    let kind = match node.node_type {
        NodeType::Dir => file_mode::DIR,
        NodeType::Symlink => file_mode::SYMLINK,
        NodeType::Device => file_mode::DEVICE,
        NodeType::CharDevice => file_mode::DEVICE | file_mode::CHAR_DEVICE,
        NodeType::Fifo => file_mode::NAMED_PIPE,
        NodeType::Socket => file_mode::SOCKET,
        _ => 0,
    };
    let size = if human_readable { format!("{:>11}", bytes(node.size)) } else { format!("{:>6}", node.size) };
    let target =
        if node.node_type == NodeType::Symlink { format!(" -> {}", printable(&node.link_target)) } else { String::new() };
    let (mode, time) = (mode(node.mode | kind), local_time(node.mtime));
    format!("{mode} {:>5} {:>5} {size} {time} {path}{target}", node.uid, node.gid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_restic_s() {
        assert_eq!([0, 1023, 1024, 1_572_864, 3 << 40].map(bytes), ["0 B", "1023 B", "1.000 KiB", "1.500 MiB", "3.000 TiB"]);
        assert_eq!([5, 65, 3_723].map(|seconds| duration(Duration::from_secs(seconds))), ["0:05", "1:05", "1:02:03"]);
    }

    #[test]
    fn modes_are_go_s() {
        assert_eq!(mode(0o644), "-rw-r--r--");
        assert_eq!(mode(file_mode::DIR | file_mode::STICKY | 0o777), "dtrwxrwxrwx");
        assert_eq!(mode(file_mode::SETUID | 0o755), "urwxr-xr-x");
        assert_eq!(mode(file_mode::DEVICE | file_mode::CHAR_DEVICE | 0o600), "Dcrw-------");
    }

    /// Reliability F5: a name cannot move the cursor, colour the terminal or pass for another.
    #[test]
    fn names_cannot_speak_to_the_terminal() {
        assert_eq!(printable(b"/a\n\x1b[31m\xffb"), "/a\\n\\u{1b}[31m\\xffb");
        assert_eq!(printable("gr\u{fc}n \u{202e}txt".as_bytes()), "gr\u{fc}n \\u{202e}txt");
    }
}
