//! Writing tar archives: POSIX ustar headers, with extended (pax) headers for what does not fit into them.

use std::io::{self, Write};

use crate::format::{Node, NodeType, Time, file_mode};

const BLOCK: usize = 512;
/// What a field of eleven octal digits holds.
const MOST_SIZE: u64 = (1 << 33) - 1;
/// What a field of seven octal digits holds.
const MOST_NUMBER: u32 = (1 << 21) - 1;

/// An archive being written.
#[derive(Debug)]
pub(super) struct TarWriter<W> {
    out: W,
    /// Bytes of the current entry's content so far.
    written: u64,
}

/// The fields of a ustar header.
struct Header<'a> {
    name: &'a [u8],
    link: &'a [u8],
    user: &'a [u8],
    group: &'a [u8],
    kind: u8,
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
    seconds: u64,
}

impl<W: Write> TarWriter<W> {
    pub fn new(out: W) -> Self {
        Self { out, written: 0 }
    }

    /// Begins an entry, which [`Self::data`] of exactly `size` bytes and [`Self::end`] must follow.
    pub fn begin(&mut self, path: &[u8], node: &Node, size: u64) -> io::Result<()> {
        let mut name = path.strip_prefix(b"/").unwrap_or(path).to_vec();
        let kind = match node.node_type {
            NodeType::Dir => b'5',
            NodeType::Symlink => b'2',
            _ => b'0',
        };
        if kind == b'5' {
            name.push(b'/');
        }
        let link: &[u8] = if kind == b'2' { &node.link_target } else { b"" };
        let header = Header {
            name: &name,
            link,
            user: node.user.as_bytes(),
            group: node.group.as_bytes(),
            kind,
            mode: file_mode::permissions_to_unix(node.mode),
            uid: node.uid,
            gid: node.gid,
            size,
            seconds: u64::try_from(node.mtime.seconds).unwrap_or(0),
        };
        let records = records(&header, node);
        if !records.is_empty() {
            self.extended(&name, &records)?;
        }
        self.written = 0;
        self.out.write_all(&header.block())
    }

    pub fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    /// Fills up the entry's last block.
    pub fn end(&mut self) -> io::Result<()> {
        let rest = usize::try_from(self.written % BLOCK as u64).unwrap_or(0);
        if rest == 0 { Ok(()) } else { self.out.write_all(&[0; BLOCK][rest..]) }
    }

    /// Two empty blocks end an archive.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()
    }

    fn extended(&mut self, name: &[u8], records: &[u8]) -> io::Result<()> {
        let name = [b"PaxHeaders/", name].concat();
        let header = Header {
            name: &name,
            link: b"",
            user: b"",
            group: b"",
            kind: b'x',
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: records.len() as u64,
            seconds: 0,
        };
        self.out.write_all(&header.block())?;
        self.written = 0;
        self.data(records)?;
        self.end()
    }
}

impl Header<'_> {
    /// The header's block. Values that do not fit are cut; an extended header before it says them in full.
    fn block(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        text(&mut block[..100], self.name);
        octal(&mut block[100..108], self.mode.into());
        octal(&mut block[108..116], self.uid.min(MOST_NUMBER).into());
        octal(&mut block[116..124], self.gid.min(MOST_NUMBER).into());
        octal(&mut block[124..136], self.size.min(MOST_SIZE));
        octal(&mut block[136..148], self.seconds.min(MOST_SIZE));
        block[148..156].fill(b' ');
        block[156] = self.kind;
        text(&mut block[157..257], self.link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        text(&mut block[265..297], self.user);
        text(&mut block[297..329], self.group);
        // The sum is taken with spaces in its own place.
        let sum = block.iter().map(|byte| u64::from(*byte)).sum();
        octal(&mut block[148..155], sum);
        block
    }
}

fn text(field: &mut [u8], value: &[u8]) {
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
}

/// Octal digits and a NUL; the value fits.
fn octal(field: &mut [u8], value: u64) {
    let digits = format!("{value:0width$o}\0", width = field.len() - 1);
    text(field, digits.as_bytes());
}

/// What the ustar header cannot say, as records of an extended header.
fn records(header: &Header<'_>, node: &Node) -> Vec<u8> {
    let mut records = Vec::new();
    let fits = |value: &[u8], room: usize| value.len() <= room && value.is_ascii();
    for (key, value, room) in [
        (&b"path"[..], header.name, 100),
        (b"linkpath", header.link, 100),
        (b"uname", header.user, 31),
        (b"gname", header.group, 31),
    ] {
        if !fits(value, room) {
            record(&mut records, key, value);
        }
    }
    for (key, number, most) in [
        (&b"size"[..], header.size, MOST_SIZE),
        (b"uid", header.uid.into(), MOST_NUMBER.into()),
        (b"gid", header.gid.into(), MOST_NUMBER.into()),
    ] {
        if number > most {
            record(&mut records, key, number.to_string().as_bytes());
        }
    }
    if node.mtime.nanos != 0 || !(0..=MOST_SIZE.cast_signed()).contains(&node.mtime.seconds) {
        record(&mut records, b"mtime", seconds(node.mtime).as_bytes());
    }
    for attribute in &node.extended_attributes {
        let key = [b"SCHILY.xattr.", escaped(&attribute.name).as_slice()].concat();
        record(&mut records, &key, &attribute.value);
    }
    records
}

/// `LENGTH KEY=VALUE\n`, where the length counts all of it, its own digits too.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// Names of attributes may hold the character that ends a key; it is written as GNU tar does.
fn escaped(name: &[u8]) -> Vec<u8> {
    name.iter()
        .flat_map(|byte| match byte {
            b'%' => b"%25".to_vec(),
            b'=' => b"%3D".to_vec(),
            byte => vec![*byte],
        })
        .collect()
}

/// Seconds with a fraction; before 1970 both count backwards.
fn seconds(time: Time) -> String {
    let nanos = i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
    let sign = if nanos < 0 { "-" } else { "" };
    let (whole, fraction) = (nanos.unsigned_abs() / 1_000_000_000, nanos.unsigned_abs() % 1_000_000_000);
    format!("{sign}{whole}.{fraction:09}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::format::ExtendedAttribute;

    /// The records of an archive of one entry, and its header's block.
    fn archived(path: &str, node: &Node, content: &[u8]) -> (String, Vec<u8>) {
        let mut out = Vec::new();
        let mut archive = TarWriter::new(&mut out);
        archive.begin(path.as_bytes(), node, content.len() as u64).unwrap();
        archive.data(content).unwrap();
        archive.end().unwrap();
        archive.finish().unwrap();
        assert_eq!(out.len() % BLOCK, 0);
        if out[156] != b'x' {
            return (String::new(), out);
        }
        let size = usize::from_str_radix(std::str::from_utf8(&out[124..135]).unwrap(), 8).unwrap();
        let records = String::from_utf8_lossy(&out[BLOCK..BLOCK + size]).into_owned();
        (records, out[BLOCK + size.next_multiple_of(BLOCK)..].to_vec())
    }

    #[test]
    fn an_ordinary_file_needs_no_more_than_a_header() {
        let node = Node { mode: 0o640, uid: 7, size: 3, mtime: Time { seconds: 8, nanos: 0 }, ..Node::default() };
        let (records, block) = archived("/dir/file", &node, b"abc");
        assert_eq!(records, "");
        assert_eq!(&block[..9], b"dir/file\0");
        assert_eq!(
            (&block[100..108], &block[108..116], &block[136..148]),
            (&b"0000640\0"[..], &b"0000007\0"[..], &b"00000000010\0"[..])
        );
        assert_eq!(&block[BLOCK..BLOCK + 4], b"abc\0");
        let sum: u32 = block[..148].iter().chain(&block[156..BLOCK]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
        assert_eq!(block[148..156], *format!("{sum:06o}\0 ").as_bytes());
    }

    #[test]
    fn what_does_not_fit_stands_in_records() {
        let node = Node {
            uid: 3_000_000,
            mtime: Time { seconds: -2, nanos: 500_000_000 },
            extended_attributes: vec![ExtendedAttribute { name: b"user.a=b%".to_vec(), value: b"1\n2".to_vec() }],
            ..Node::default()
        };
        let path = format!("/{}", "d".repeat(101));
        let (records, _) = archived(&path, &node, b"");
        assert!(records.contains(&format!("111 path={}\n", "d".repeat(101))), "{records}");
        assert!(records.contains("15 uid=3000000\n"), "{records}");
        assert!(records.contains("22 mtime=-1.500000000\n"), "{records}");
        assert!(records.contains("SCHILY.xattr.user.a%3Db%25=1\n2\n"), "{records}");
    }

    #[test]
    fn a_record_counts_its_own_digits() {
        for length in [1, 90, 91, 92, 93, 990, 9_990] {
            let mut written = Vec::new();
            record(&mut written, b"k", &vec![b'v'; length]);
            let text = String::from_utf8(written.clone()).unwrap();
            assert_eq!(text.split_once(' ').unwrap().0.parse::<usize>().unwrap(), written.len());
        }
    }
}
