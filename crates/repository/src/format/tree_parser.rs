//! Trees that are parsed while they are being read, node by node in bounded memory.
//!
//! What comes is split into nodes without building anything: strings and brackets are told apart, a file's list of blobs is
//! taken over as runs on the way, and only what is left of a node is kept for the parser of JSON. The names of such a tree must
//! be in order, for that two are the same could not be noticed otherwise. Anything else that JSON permits and that no client
//! writes (fields beside the nodes, say) is refused: it is no tree of a huge directory then.

use super::node::RawNode;
use super::{Content, Id, Node};
use crate::error::{self, Error};
use crate::limits::{MAX_CONTENT_RUNS, MAX_NAME, MAX_NODE_TEXT};

/// What stands before the nodes.
const HEAD: &[u8] = b"{\"nodes\":[";

/// The field of a file's blobs as it stands before its value.
const CONTENT: &[u8] = b"\"content\":";

/// Brackets within one another in a node; real ones have three.
const MOST_DEPTH: u32 = 32;

/// An id in a list, from its comma to its last quote.
const LISTED_ID: usize = 67;

/// Takes the plain bytes of a tree in pieces of any size and gives its nodes.
#[derive(Debug, Default)]
pub struct TreeParser {
    stage: Stage,
    text: NodeText,
    last_name: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// So much of the head was there.
    Head(usize),
    /// Behind the opening bracket.
    First,
    /// Behind a comma.
    Next,
    Node,
    /// Behind a node.
    After,
    /// Behind the closing bracket.
    Tail,
    End,
}

impl Default for Stage {
    fn default() -> Self {
        Self::Head(0)
    }
}

impl TreeParser {
    /// Takes bytes from the front of `input`: up to the end of the next node, which is returned, or all.
    ///
    /// # Errors
    /// [`Error::InvalidTree`]; nothing more must be fed then.
    pub fn feed(&mut self, input: &mut &[u8]) -> error::Result<Option<Node>> {
        self.advance(input).map_err(|reason| Error::InvalidTree { reason })
    }

    /// Whether all of the tree has been there.
    ///
    /// # Errors
    /// [`Error::InvalidTree`] if something is missing.
    pub fn finish(&self) -> error::Result<()> {
        match self.stage {
            Stage::End => Ok(()),
            _ => Err(Error::InvalidTree { reason: "it ends in the middle".to_owned() }),
        }
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Node>, String> {
        while let Some((&byte, rest)) = input.split_first() {
            if let Stage::Node = self.stage {
                if self.text.take(input)? {
                    self.stage = Stage::After;
                    return self.node().map(Some);
                }
                continue;
            }
            self.stage = match (self.stage, byte) {
                (Stage::Head(matched), _) if byte == HEAD[matched] => {
                    if matched + 1 == HEAD.len() {
                        Stage::First
                    } else {
                        Stage::Head(matched + 1)
                    }
                }
                (Stage::Head(_), _) => return Err("it does not begin as a tree".to_owned()),
                (stage, b' ' | b'\n' | b'\r' | b'\t') => stage,
                (Stage::First | Stage::Next, b'{') => {
                    // The bracket belongs to the node.
                    self.stage = Stage::Node;
                    continue;
                }
                (Stage::After, b',') => Stage::Next,
                (Stage::First | Stage::After, b']') => Stage::Tail,
                (Stage::Tail, b'}') => Stage::End,
                _ => return Err(format!("an unexpected {:?} beside its nodes", char::from(byte))),
            };
            *input = rest;
        }
        Ok(None)
    }

    fn node(&mut self) -> Result<Node, String> {
        let raw: RawNode<'_> = serde_json::from_slice(&self.text.text).map_err(|error| error.to_string())?;
        let mut node = Node::try_from(raw)?;
        if let Some(content) = self.text.content.take() {
            node.content = Some(content);
        }
        self.text.clear();
        if node.name.len() > MAX_NAME {
            return Err(format!("a name of {} bytes", node.name.len()));
        }
        match &mut self.last_name {
            Some(last) if *last >= node.name => {
                let shown = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
                return Err(format!("{:?} does not come after {:?}", shown(&node.name), shown(last)));
            }
            Some(last) => last.clone_from(&node.name),
            None => self.last_name = Some(node.name.clone()),
        }
        Ok(node)
    }
}

/// One node as far as it has come.
#[derive(Debug, Default)]
struct NodeText {
    /// Its JSON, with `null` in place of the list of blobs.
    text: Vec<u8>,
    /// The list of blobs, if there was one.
    content: Option<Content>,
    depth: u32,
    in_string: bool,
    /// The byte before was a backslash in a string.
    is_escaped: bool,
    /// Where the last string begins in the text, with its quote.
    string_start: usize,
    list: Option<List>,
}

/// Where in the list of blobs it is.
#[derive(Debug, Default)]
struct List {
    position: Position,
    digits: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Position {
    #[default]
    First,
    Next,
    Digits,
    After,
}

impl NodeText {
    fn clear(&mut self) {
        self.text.clear();
        *self = Self { text: std::mem::take(&mut self.text), ..Self::default() };
    }

    /// Takes bytes up to the end of the node; says whether it was there.
    fn take(&mut self, input: &mut &[u8]) -> Result<bool, String> {
        while !input.is_empty() {
            let ended = if self.list.is_some() {
                self.take_blobs(input)?;
                false
            } else if self.in_string {
                self.take_string(input);
                false
            } else {
                self.take_structure(input)?
            };
            if self.text.len() > MAX_NODE_TEXT {
                return Err(format!("a node of more than {MAX_NODE_TEXT} bytes"));
            }
            if ended {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes a string up to its end, its next escape or the end of what there is.
    fn take_string(&mut self, input: &mut &[u8]) {
        if self.is_escaped {
            self.is_escaped = false;
            self.copy(input, 1);
            return;
        }
        let clean = input.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(input.len());
        match input.get(clean) {
            Some(b'\\') => self.is_escaped = true,
            Some(_) => self.in_string = false,
            None => {}
        }
        self.copy(input, clean + 1);
    }

    /// Takes what stands between strings, up to the next string, bracket or end.
    fn take_structure(&mut self, input: &mut &[u8]) -> Result<bool, String> {
        let is_mark = |byte: &u8| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']');
        let plain = input.iter().position(is_mark).unwrap_or(input.len());
        self.copy(input, plain);
        let Some((&mark, rest)) = input.split_first() else { return Ok(false) };
        match mark {
            b'"' => {
                self.string_start = self.text.len();
                self.in_string = true;
            }
            b'[' if self.depth == 1 && self.text.get(self.string_start..) == Some(CONTENT) => {
                self.text.extend_from_slice(b"null");
                self.content = Some(Content::new());
                self.list = Some(List::default());
                *input = rest;
                return Ok(false);
            }
            b'{' | b'[' => self.depth += 1,
            _ => self.depth = self.depth.saturating_sub(1),
        }
        if self.depth > MOST_DEPTH {
            return Err(format!("a node of more than {MOST_DEPTH} levels"));
        }
        self.copy(input, 1);
        Ok(self.depth == 0)
    }

    fn copy(&mut self, input: &mut &[u8], length: usize) {
        let (taken, rest) = input.split_at(length.min(input.len()));
        // One byte more than may be is enough to be noticed.
        let room = (MAX_NODE_TEXT + 1).saturating_sub(self.text.len());
        self.text.extend_from_slice(&taken[..taken.len().min(room)]);
        *input = rest;
    }

    /// Takes ids of blobs up to the end of their list.
    fn take_blobs(&mut self, input: &mut &[u8]) -> Result<(), String> {
        let (Some(list), Some(content)) = (&mut self.list, &mut self.content) else { return Ok(()) };
        let malformed = || "a list of blobs that is none".to_owned();
        // Nearly all of them are whole in what has come.
        while list.position == Position::After
            && let Some((listed, rest)) = input.split_at_checked(LISTED_ID)
            && let [b',', b'"', digits @ .., b'"'] = listed
        {
            push(content, digits)?;
            *input = rest;
        }
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            list.position = match (list.position, byte) {
                (Position::Digits, b'"') => {
                    push(content, &list.digits)?;
                    list.digits.clear();
                    Position::After
                }
                (Position::Digits, _) if list.digits.len() < 64 => {
                    list.digits.push(byte);
                    Position::Digits
                }
                (Position::First | Position::Next, b'"') => Position::Digits,
                (Position::After, b',') => Position::Next,
                (Position::First | Position::After, b']') => {
                    self.list = None;
                    return Ok(());
                }
                (position, b' ' | b'\n' | b'\r' | b'\t') if position != Position::Digits => position,
                _ => return Err(malformed()),
            };
            if list.position == Position::After {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn push(content: &mut Content, digits: &[u8]) -> Result<(), String> {
    content.push(Id::from_hex(digits).map_err(|error| error.to_string())?);
    if content.runs().len() > MAX_CONTENT_RUNS {
        return Err(format!("a file of more than {MAX_CONTENT_RUNS} blobs"));
    }
    Ok(())
}

#[cfg(test)]
#[path = "tree_parser_tests.rs"]
mod tests;
