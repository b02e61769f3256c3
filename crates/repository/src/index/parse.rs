//! Taking an index file apart while it is decompressed. The text of one pack is held at a time, never that of the file.

use serde::Deserialize;

use crate::format::{IndexPack, SEAL_OVERHEAD, header_entry_size};
use crate::limits;

/// The key whose value lists the packs.
const PACKS: &[u8] = b"packs";

/// A file whose packs are taken out; a `null` stands for each.
#[derive(Deserialize)]
struct Skeleton {
    #[serde(default)]
    packs: Vec<()>,
}

/// Takes the parts of an index file in their order.
///
/// Only where objects of the list of packs begin and end is found here; what JSON is and is not, serde says: of each such object,
/// and at the end of the rest of the file.
#[derive(Debug, Default)]
pub(super) struct IndexParser {
    packs: Vec<IndexPack>,
    skeleton: Vec<u8>,
    /// The text of a pack so far.
    pack: Vec<u8>,
    is_in_pack: bool,
    /// Objects and lists that are open.
    depth: usize,
    /// The list of the packs is open.
    is_in_packs: bool,
    is_in_string: bool,
    is_escaped: bool,
    /// The last string right within the file's object, as far as it may be the key.
    key: Vec<u8>,
}

impl IndexParser {
    /// Takes the next part.
    ///
    /// # Errors
    /// A sentence on what is wrong with a pack.
    pub fn push(&mut self, part: &[u8]) -> Result<(), String> {
        // What is not copied yet.
        let mut from = 0;
        let mut at = 0;
        while let Some(found) = self.next_of_interest(&part[at..]) {
            at += found;
            let byte = part[at];
            at += 1;
            if self.is_in_string {
                self.string(byte);
                continue;
            }
            match byte {
                b'"' => self.begin_string(),
                b'{' if self.is_in_packs && self.depth == 2 => {
                    self.skeleton.extend_from_slice(&part[from..at - 1]);
                    from = at - 1;
                    self.is_in_pack = true;
                    self.depth += 1;
                }
                b'{' | b'[' => {
                    self.is_in_packs |= byte == b'[' && self.depth == 1 && self.key == PACKS;
                    self.depth += 1;
                }
                _ => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.is_in_pack && self.depth == 2 {
                        self.pack.extend_from_slice(&part[from..at]);
                        from = at;
                        self.end_pack()?;
                    }
                    self.is_in_packs &= self.depth >= 2;
                }
            }
        }
        let rest = if self.is_in_pack { &mut self.pack } else { &mut self.skeleton };
        rest.extend_from_slice(&part[from..]);
        Ok(())
    }

    /// The packs, when all parts were taken.
    ///
    /// # Errors
    /// A sentence on what is wrong with the file.
    pub fn finish(self) -> Result<Vec<IndexPack>, String> {
        let skeleton: Skeleton = serde_json::from_slice(&self.skeleton).map_err(|error| error.to_string())?;
        if self.is_in_pack || skeleton.packs.len() != self.packs.len() {
            return Err("its list of packs holds something else".into());
        }
        Ok(self.packs)
    }

    /// Where the next byte is that changes anything.
    fn next_of_interest(&self, rest: &[u8]) -> Option<usize> {
        if !self.is_in_string {
            rest.iter().position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']'))
        } else if self.is_escaped || self.depth == 1 {
            (!rest.is_empty()).then_some(0)
        } else {
            rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))
        }
    }

    fn begin_string(&mut self) {
        self.is_in_string = true;
        if self.depth == 1 {
            self.key.clear();
        }
    }

    fn string(&mut self, byte: u8) {
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' => self.is_escaped = true,
            b'"' => self.is_in_string = false,
            _ if self.depth == 1 && self.key.len() <= PACKS.len() => self.key.push(byte),
            _ => {}
        }
    }

    fn end_pack(&mut self) -> Result<(), String> {
        let pack: IndexPack = serde_json::from_slice(&self.pack).map_err(|error| error.to_string())?;
        check(&pack)?;
        self.packs.push(pack);
        self.pack.clear();
        self.is_in_pack = false;
        self.skeleton.extend_from_slice(b"null");
        Ok(())
    }
}

/// Bounds what an index says about the blobs of a pack, before anything is read or allocated for it.
fn check(pack: &IndexPack) -> Result<(), String> {
    if pack.blobs.len() > limits::MAX_PACK_HEADER as usize / header_entry_size(false) {
        return Err(format!("pack {} has {} blobs, more than a header can name", pack.id, pack.blobs.len()));
    }
    for blob in &pack.blobs {
        let end = u64::from(blob.offset) + u64::from(blob.length);
        if (blob.length as usize) < SEAL_OVERHEAD || end > limits::MAX_PACK_OBJECT {
            return Err(format!("blob {} of pack {} has an impossible place", blob.id, pack.id));
        }
        let (most_stored, most_plain) = limits::most_blob_bytes(blob.blob_type);
        let stored = blob.length as usize - SEAL_OVERHEAD;
        let (length, most) =
            if stored > most_stored { (stored, most_stored) } else { (blob.uncompressed_length as usize, most_plain) };
        if length > most {
            return Err(format!("blob {} of pack {} has {length} bytes, more than the limit of {most}", blob.id, pack.id));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::format::{BlobType, Id, IndexBlob, IndexFile};

    fn parse_in_parts(text: &[u8], part: usize) -> Result<Vec<IndexPack>, String> {
        let mut parser = IndexParser::default();
        text.chunks(part.max(1)).try_for_each(|part| parser.push(part))?;
        parser.finish()
    }

    fn parse(text: &[u8]) -> Result<Vec<IndexPack>, String> {
        parse_in_parts(text, text.len())
    }

    fn packs() -> impl Strategy<Value = Vec<IndexPack>> {
        let blob = (any::<[u8; 32]>(), any::<bool>(), 0..1_000_000u32, 32..1_000_000u32, 0..1_000_000u32);
        let blob = blob.prop_map(|(id, is_tree, offset, length, uncompressed_length)| {
            let blob_type = if is_tree { BlobType::Tree } else { BlobType::Data };
            IndexBlob { id: Id(id), blob_type, offset, length, uncompressed_length }
        });
        let pack = (any::<[u8; 32]>(), prop::collection::vec(blob, 0..5));
        prop::collection::vec(pack.prop_map(|(id, blobs)| IndexPack { id: Id(id), blobs }), 0..5)
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(text in ".{0,200}", part in 1..50usize) {
            let _ = parse_in_parts(text.as_bytes(), part);
        }

        /// Text that is nearly an index gives what serde gives, packs or an error, wherever it is cut.
        #[test]
        fn nearly_an_index_is_taken_as_serde_takes_it(pieces in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"packs\"", "\"supersedes\"", "\"x\"", "\"\\\"{\"", "null", "1", " ", "{\"packs\":[",
            "{\"id\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}", "{\"id\":1}", "]}", "[{}]", "\\",
        ]), 0..12), part in 1..9usize) {
            let text = pieces.concat();
            // A struct may be a list of its fields to serde. Nobody writes that.
            prop_assume!(!text.trim_start().starts_with('['));
            let expected = serde_json::from_str::<IndexFile>(&text);
            prop_assert_eq!(parse_in_parts(text.as_bytes(), part).ok(), expected.ok().map(|file| file.packs), "{}", text);
        }

        #[test]
        fn an_index_may_be_cut_anywhere(packs in packs(), part in 1..300usize, pretty in any::<bool>()) {
            let file = IndexFile { packs };
            let text = if pretty { serde_json::to_vec_pretty(&file) } else { serde_json::to_vec(&file) }.unwrap();
            prop_assert_eq!(parse_in_parts(&text, part).unwrap(), file.packs);
            prop_assert!(parse_in_parts(&text[..text.len() - 1], part).is_err());
        }
    }

    #[test]
    fn other_fields_are_ignored_and_what_is_no_pack_is_not() {
        let id = Id::of(b"x");
        let pack = format!(r#"{{"id":"{id}","blobs":[],"new":{{"packs":[{{"a":"\"}}"}}]}}}}"#);
        for part in 1..60 {
            let parsed = |text: &str| parse_in_parts(text.as_bytes(), part).map(|packs| packs.len());
            assert_eq!(parsed(&format!(r#"{{"new":[{pack}],"supersedes":["{id}"],"packs":[{pack},{pack}]}}"#)), Ok(2));
            assert_eq!(parsed(&format!(r#"{{"a":{{"packs":[{{}}]}},"packs":[ {pack} ] , "b":"packs","c":[{{}}]}}"#)), Ok(1));
            assert_eq!(parsed("{}"), Ok(0));
            for text in [
                format!(r#"{{"packs":[{pack},null]}}"#),
                format!(r#"{{"packs":[{pack},{{}}]}}"#),
                format!(r#"{{"packs":[[{pack}]]}}"#),
                format!(r#"{{"packs":[{pack}],"packs":[{pack}]}}"#),
                format!(r#"{{"packs":[{pack}]}}}}"#),
                format!(r#"{{"packs":[{pack}"#),
                format!(r#"[{{"packs":[{pack}]}}]"#),
            ] {
                assert!(parsed(&text).is_err(), "{text}");
            }
        }
    }

    #[test]
    fn impossible_places_are_refused() {
        let id = Id::of(b"x");
        let index = |offset: u64, length: u64| {
            format!(
                r#"{{"packs":[{{"id":"{id}","blobs":[{{"id":"{id}","type":"data","offset":{offset},"length":{length}}}]}}]}}"#
            )
        };
        assert!(parse(index(0, 32).as_bytes()).is_ok());
        assert!(parse(index(0, 31).as_bytes()).is_err());
        assert!(parse(index(4_294_967_295, 100).as_bytes()).is_err());
        assert!(parse(index(0, 4_294_967_296).as_bytes()).is_err());
    }

    /// Reliability S-42: a length is bounded by the blob's type before anybody reads or allocates that much.
    #[test]
    fn impossible_lengths_are_refused() {
        let id = Id::of(b"x");
        let parsed = |blob_type: &str, length: usize, plain: usize| {
            let text = format!(
                r#"{{"packs":[{{"id":"{id}","blobs":[{{"id":"{id}","type":"{blob_type}","offset":0,"length":{length},"uncompressed_length":{plain}}}]}}]}}"#
            );
            parse(text.as_bytes()).is_ok()
        };
        for (blob_type, most, most_plain) in
            [("data", limits::MAX_DATA_BLOB, limits::MAX_DATA_BLOB), ("tree", limits::MAX_STORED_TREE, u32::MAX as usize)]
        {
            assert!(parsed(blob_type, most + SEAL_OVERHEAD, 0) && parsed(blob_type, 100, most_plain));
            assert!(!parsed(blob_type, most + SEAL_OVERHEAD + 1, 0) && !parsed(blob_type, 100, most_plain + 1));
        }
    }
}
