//! From a valid object to an almost valid one.

use super::chance::Chance;

/// Texts that mean something to one parser or another.
const TOKENS: [&str; 28] = [
    "0",
    "-1",
    "1e309",
    "-0",
    "1.5",
    "18446744073709551616",
    "9223372036854775808",
    "4294967296",
    "99999999999999999999999999",
    "null",
    "true",
    "\"\"",
    "[]",
    "{}",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"\\\\x2e\\\\x2e\"",
    "\"..\"",
    "\"/\"",
    "\\",
    "\"",
    "[",
    "{",
    ",",
    ":",
    "\"9999-12-31T23:59:60.999999999Z\"",
    "\"-262143-01-01T00:00:00Z\"",
    "\u{feff}",
];

/// Changes an object once or a few times. `other` is an object to take pieces of.
pub fn mutate(object: &[u8], other: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = object.to_vec();
    for _ in 0..=chance.below(3) {
        change(&mut bytes, other, chance);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, other: &[u8], chance: &mut Chance) {
    let at = chance.below(bytes.len() + 1);
    let end = at + chance.below((bytes.len() - at).min(200) + 1);
    match chance.below(11) {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << chance.below(8);
            }
        }
        1 => bytes.truncate(at),
        2 => drop(bytes.drain(at..end)),
        3 => repeat(bytes, at, end, 1 + chance.below(3)),
        4 => repeat(bytes, at, end, 1 + chance.below(400)),
        5 => insert(bytes, at, chance.of(&TOKENS).as_bytes()),
        6 => number(bytes, at, chance),
        7 => {
            let depth = 1 + chance.below(3_000);
            let bracket = *chance.of(b"[{\"\\");
            insert(bytes, at, &vec![bracket; depth]);
        }
        8 => {
            let from = chance.below(other.len() + 1);
            let to = from + chance.below((other.len() - from).min(300) + 1);
            insert(bytes, at, &other[from..to]);
        }
        9 => {
            let noise: Vec<u8> = (0..chance.below(20)).map(|_| chance.number() as u8).collect();
            insert(bytes, at, &noise);
        }
        _ => array(bytes, at, chance),
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, what: &[u8]) {
    bytes.splice(at..at, what.iter().copied());
}

/// Repeats a piece: twice the same field, or an array of thousands.
fn repeat(bytes: &mut Vec<u8>, at: usize, end: usize, times: usize) {
    let piece = bytes[at..end].repeat(times);
    insert(bytes, end, &piece);
}

/// Puts another number where the next one stands.
fn number(bytes: &mut Vec<u8>, at: usize, chance: &mut Chance) {
    let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit).map(|found| at + found) else { return };
    let length = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let token = TOKENS[chance.below(9)].as_bytes();
    bytes.splice(start..start + length, token.iter().copied());
}

/// Puts a long array of small things where an array begins.
fn array(bytes: &mut Vec<u8>, at: usize, chance: &mut Chance) {
    let Some(start) = bytes[at..].iter().position(|byte| *byte == b'[').map(|found| at + found) else { return };
    let item = format!("{},", chance.of(&TOKENS));
    insert(bytes, start + 1, item.repeat(1 + chance.below(5_000)).as_bytes());
}
