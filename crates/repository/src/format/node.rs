//! One entry of a directory, written exactly as restic writes it.

use std::borrow::Cow;
use std::convert::Infallible;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::content::{LISTED_ID, Run};
use super::{Content, Id, Time, go_json, quote};

/// What kind of entry a node is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum NodeType {
    /// Regular file.
    #[default]
    File,
    /// Directory.
    Dir,
    /// Symbolic link.
    Symlink,
    /// Block device.
    Device,
    /// Character device.
    CharDevice,
    /// Named pipe.
    Fifo,
    /// Socket.
    Socket,
    /// None of the above on the source.
    Irregular,
    /// A type of a later version.
    Unknown(String),
}

impl NodeType {
    /// restic's word for it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::File => "file",
            Self::Dir => "dir",
            Self::Symlink => "symlink",
            Self::Device => "dev",
            Self::CharDevice => "chardev",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::Irregular => "irregular",
            Self::Unknown(word) => word,
        }
    }

    fn from_word(word: &str) -> Self {
        match word {
            "file" => Self::File,
            "dir" => Self::Dir,
            "symlink" => Self::Symlink,
            "dev" => Self::Device,
            "chardev" => Self::CharDevice,
            "fifo" => Self::Fifo,
            "socket" => Self::Socket,
            "irregular" => Self::Irregular,
            other => Self::Unknown(other.to_owned()),
        }
    }
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtendedAttribute {
    /// Its full name, `user.…`; restic stores it as text, so bytes that are not UTF-8 are lost.
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// An entry of a directory. Zero and empty fields are left out where restic leaves them out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// Name in its directory, raw bytes.
    pub name: Vec<u8>,
    /// Kind of entry.
    pub node_type: NodeType,
    /// Go's mode bits, see `file_mode`.
    pub mode: u32,
    /// Last change of the content.
    pub mtime: Time,
    /// Last access; restic stores the mtime here unless told otherwise.
    pub atime: Time,
    /// Last change of the inode.
    pub ctime: Time,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Owner's name, may be empty.
    pub user: String,
    /// Group's name, may be empty.
    pub group: String,
    /// Inode number.
    pub inode: u64,
    /// Device of the file; restic stores it for files with several links only.
    pub device_id: u64,
    /// Size in bytes; of files.
    pub size: u64,
    /// Number of hard links.
    pub links: u64,
    /// Target of a symbolic link, raw bytes.
    pub link_target: Vec<u8>,
    /// Extended attributes.
    pub extended_attributes: Vec<ExtendedAttribute>,
    /// Device number of a device node.
    pub device: u64,
    /// Blobs of a file in order; `None` (JSON null) for all but files.
    pub content: Option<Content>,
    /// Tree of a directory.
    pub subtree: Option<Id>,
    /// Error met when the entry was read, may be empty.
    pub error: String,
}

impl Node {
    /// The name, if it can be used below a directory: not empty, not `.` or `..`, no slash, no NUL (reliability S-40).
    #[must_use]
    pub fn safe_name(&self) -> Option<&[u8]> {
        let name = self.name.as_slice();
        let safe = !name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/') && !name.contains(&0);
        safe.then_some(name)
    }

    /// Appends the node as JSON, byte for byte as restic's encoder does for the same node.
    pub fn write(&self, out: &mut Vec<u8>) {
        // Nothing is taken away in between, so nothing can fail.
        let _ = self.write_in_pieces(out, usize::MAX, &mut |_| Ok::<_, Infallible>(()));
    }

    /// The same for a node that may be too long to be held: whenever `piece` bytes or more have gathered in `out`, `take` gets
    /// them and empties it. What is left at the end is the caller's.
    ///
    /// # Errors
    /// That of `take`.
    pub fn write_in_pieces<E>(
        &self,
        out: &mut Vec<u8>,
        piece: usize,
        take: &mut impl FnMut(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.write_before_content(out);
        self.write_content(out, piece, take)?;
        self.write_after_content(out);
        Ok(())
    }

    /// About how long it is as JSON; never much less.
    #[must_use]
    pub fn json_length(&self) -> u64 {
        /// Labels, times and numbers.
        const FIXED: u64 = 400;
        let attributes: usize =
            self.extended_attributes.iter().map(|attribute| 32 + attribute.name.len() + attribute.value.len() * 2).sum();
        let texts = self.name.len() + self.link_target.len() * 2 + self.user.len() + self.group.len() + self.error.len();
        FIXED + (texts + attributes) as u64 + LISTED_ID * self.content.as_ref().map_or(0, Content::len)
    }

    /// About how many bytes it takes in memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        let attributes: usize = self
            .extended_attributes
            .iter()
            .map(|attribute| size_of::<ExtendedAttribute>() + attribute.name.len() + attribute.value.len())
            .sum();
        let texts = self.name.len() + self.link_target.len() + self.user.len() + self.group.len() + self.error.len();
        size_of::<Self>()
            + texts
            + attributes
            + size_of::<Run>() * self.content.as_ref().map_or(0, |content| content.runs().len())
    }

    fn write_before_content(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"name\":");
        let mut name = String::with_capacity(self.name.len());
        quote::quote(&self.name, &mut name);
        go_json::write_string(&name, out);
        out.extend_from_slice(b",\"type\":");
        go_json::write_string(self.node_type.as_str(), out);
        number(out, b",\"mode\":", self.mode.into());
        for (label, time) in [(&b",\"mtime\":\""[..], self.mtime), (b",\"atime\":\"", self.atime), (b",\"ctime\":\"", self.ctime)]
        {
            out.extend_from_slice(label);
            time.write(out);
            out.push(b'"');
        }
        out.extend_from_slice(b",\"uid\":");
        go_json::write_number(self.uid.into(), out);
        out.extend_from_slice(b",\"gid\":");
        go_json::write_number(self.gid.into(), out);
        text(out, b",\"user\":", self.user.as_bytes());
        text(out, b",\"group\":", self.group.as_bytes());
        number(out, b",\"inode\":", self.inode);
        number(out, b",\"device_id\":", self.device_id);
        number(out, b",\"size\":", self.size);
        number(out, b",\"links\":", self.links);
        text(out, b",\"linktarget\":", &self.link_target);
        if std::str::from_utf8(&self.link_target).is_err() {
            out.extend_from_slice(b",\"linktarget_raw\":\"");
            out.extend_from_slice(STANDARD.encode(&self.link_target).as_bytes());
            out.push(b'"');
        }
        self.write_extended_attributes(out);
        number(out, b",\"device\":", self.device);
    }

    fn write_after_content(&self, out: &mut Vec<u8>) {
        if let Some(subtree) = self.subtree {
            out.extend_from_slice(b",\"subtree\":\"");
            out.extend_from_slice(&subtree.to_hex());
            out.push(b'"');
        }
        text(out, b",\"error\":", self.error.as_bytes());
        out.push(b'}');
    }

    fn write_extended_attributes(&self, out: &mut Vec<u8>) {
        for (position, attribute) in self.extended_attributes.iter().enumerate() {
            out.extend_from_slice(if position == 0 { b",\"extended_attributes\":[{\"name\":" } else { b",{\"name\":" });
            go_json::write_bytes(&attribute.name, out);
            out.extend_from_slice(b",\"value\":\"");
            out.extend_from_slice(STANDARD.encode(&attribute.value).as_bytes());
            out.extend_from_slice(b"\"}");
        }
        if !self.extended_attributes.is_empty() {
            out.push(b']');
        }
    }

    fn write_content<E>(
        &self,
        out: &mut Vec<u8>,
        piece: usize,
        take: &mut impl FnMut(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        out.extend_from_slice(b",\"content\":");
        let Some(content) = &self.content else {
            out.extend_from_slice(b"null");
            return Ok(());
        };
        out.push(b'[');
        let mut separator: &[u8] = b"\"";
        for run in content.runs() {
            let digits = run.id.to_hex();
            for _ in 0..run.count {
                out.extend_from_slice(separator);
                out.extend_from_slice(&digits);
                out.push(b'"');
                separator = b",\"";
                if out.len() >= piece {
                    take(out)?;
                }
            }
        }
        out.push(b']');
        Ok(())
    }
}

fn number(out: &mut Vec<u8>, label: &[u8], value: u64) {
    if value != 0 {
        out.extend_from_slice(label);
        go_json::write_number(value, out);
    }
}

fn text(out: &mut Vec<u8>, label: &[u8], value: &[u8]) {
    if !value.is_empty() {
        out.extend_from_slice(label);
        go_json::write_bytes(value, out);
    }
}

/// The JSON as it stands, with borrowed text.
#[derive(Deserialize)]
pub(super) struct RawNode<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    node_type: Cow<'a, str>,
    #[serde(default)]
    mode: u32,
    #[serde(default)]
    mtime: Time,
    #[serde(default)]
    atime: Time,
    #[serde(default)]
    ctime: Time,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    #[serde(default)]
    user: String,
    #[serde(default)]
    group: String,
    #[serde(default)]
    inode: u64,
    #[serde(default)]
    device_id: u64,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    links: u64,
    #[serde(default, borrow)]
    linktarget: Cow<'a, str>,
    #[serde(default, borrow)]
    linktarget_raw: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    extended_attributes: Option<Vec<RawAttribute<'a>>>,
    #[serde(default)]
    device: u64,
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    subtree: Option<Id>,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
struct RawAttribute<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    value: Option<Cow<'a, str>>,
}

impl TryFrom<RawNode<'_>> for Node {
    type Error = String;

    fn try_from(raw: RawNode<'_>) -> Result<Self, String> {
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| format!("a value of node {:?} is not base64", raw.name));
        let link_target = match &raw.linktarget_raw {
            Some(encoded) => decode(encoded)?,
            None => raw.linktarget.as_bytes().to_vec(),
        };
        let extended_attributes = raw
            .extended_attributes
            .unwrap_or_default()
            .into_iter()
            .map(|attribute| {
                let value = attribute.value.map_or_else(|| Ok(Vec::new()), |value| decode(&value))?;
                Ok(ExtendedAttribute { name: attribute.name.as_bytes().to_vec(), value })
            })
            .collect::<Result<_, String>>()?;
        Ok(Self {
            name: quote::unquote(&raw.name).ok_or_else(|| format!("the name {:?} is not quoted as it must be", raw.name))?,
            node_type: NodeType::from_word(&raw.node_type),
            mode: raw.mode,
            mtime: raw.mtime,
            atime: raw.atime,
            ctime: raw.ctime,
            uid: raw.uid,
            gid: raw.gid,
            user: raw.user,
            group: raw.group,
            inode: raw.inode,
            device_id: raw.device_id,
            size: raw.size,
            links: raw.links,
            link_target,
            extended_attributes,
            device: raw.device,
            content: raw.content,
            subtree: raw.subtree,
            error: raw.error,
        })
    }
}
