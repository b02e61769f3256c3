//! Reading packs in full: their sum, their header against the index, and every blob.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::Semaphore;

use super::check::{CheckError, CheckReport};
use super::damaged_blobs::DamagedBlobs;
use super::groups::{PackGroups, StoredCopy};
use crate::control::{Control, Counters};
use crate::crypto::RunningHash;
use crate::error::{Error, Result};
use crate::format::{Id, IndexBlob};
use crate::index::{Index, Place, StoredBlob};
use crate::limits::NAMED_DAMAGES;
use crate::objects::FileType;
use crate::pack::compress::with_codec;
use crate::pack::{BlobScratch, WRONG_SUM, is_streamed, open_unchecked, parse_pack, sum_in_pieces};
use crate::{PackId, Repository};

/// Packs that are read ahead of those being examined.
const READ_AHEAD: usize = 1;

/// Something that is wrong with a pack.
#[derive(Debug)]
pub(super) struct Fault {
    pub reason: String,
    /// The blob that cannot be read, if it is one, by its place in the index.
    pub blob: Option<Place>,
}

impl Fault {
    fn of_pack(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), blob: None }
    }

    fn of_blob(place: Place, reason: String) -> Self {
        Self { reason, blob: Some(place) }
    }
}

/// What an index says of a pack. It may keep no ids, but knows by its place which blob it is.
pub(super) struct ExpectedPack {
    index: Arc<Index>,
    /// In the order in which the blobs stand there.
    copies: Vec<StoredCopy>,
}

impl ExpectedPack {
    /// What an index says that keeps ids.
    pub fn of_named(index: &Arc<Index>, blobs: &[IndexBlob]) -> Self {
        let copy = |blob: &IndexBlob| Some((index.place(blob.blob_type, &blob.id)?, StoredBlob::from(*blob)));
        Self { index: Arc::clone(index), copies: blobs.iter().filter_map(copy).collect() }
    }

    /// Whether a header names the very blobs that the index expects.
    fn is_named_by(&self, header: &[IndexBlob]) -> bool {
        let is_same = |(named, (place, blob)): (&IndexBlob, &StoredCopy)| {
            *blob == StoredBlob::from(*named) && self.index.place(named.blob_type, &named.id) == Some(*place)
        };
        header.len() == self.copies.len() && header.iter().zip(&self.copies).all(is_same)
    }
}

impl Repository {
    /// Reads packs, given by their numbers, and adds to the damaged blobs what cannot be read in them.
    pub(super) async fn check_packs(
        &self,
        index: &Arc<Index>,
        packs: Vec<u32>,
        report: &mut CheckReport,
        damaged: &mut DamagedBlobs,
        control: &Control,
    ) -> Result<()> {
        let most = report.errors.len() + NAMED_DAMAGES;
        let mut groups = PackGroups::new(index, packs).await?;
        while let Some(group) = groups.next_copies().await? {
            let expected = |(pack, copies)| (pack, ExpectedPack { index: Arc::clone(index), copies });
            self.check_group(group.into_iter().map(expected).collect(), most, report, damaged, control).await?;
        }
        Ok(())
    }

    async fn check_group(
        &self,
        group: Vec<(PackId, ExpectedPack)>,
        most: usize,
        report: &mut CheckReport,
        damaged: &mut DamagedBlobs,
        control: &Control,
    ) -> Result<()> {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        // Each examination holds a pack and a blob in two more forms: no more of them than cores, and than memory is left for.
        let one = bytes_to_examine(&group);
        let share = self.memory().draw_part(one, one * (cores + READ_AHEAD) as u64);
        let held = usize::try_from(share.bytes() / one).unwrap_or(1).max(1);
        let examiners = Arc::new(Semaphore::new(cores.min(held)));
        let mut checks = futures::stream::iter(group)
            .map(|(pack, expected)| {
                let (expected, examiners) = (Arc::new(expected), Arc::clone(&examiners));
                async move { (pack, self.check_pack(pack, &expected, &examiners, control).await, expected) }
            })
            .buffer_unordered(held);
        while let Some((pack, checked, expected)) = checks.next().await {
            match checked {
                Ok((bytes, faults)) => {
                    report.packs_read += 1;
                    report.bytes_read += bytes;
                    faults.iter().filter_map(|fault| fault.blob).for_each(|place| damaged.add_place(place));
                    for fault in faults {
                        report.add(most, CheckError::PackDamaged { pack, reason: fault.reason });
                    }
                }
                Err(error) => {
                    let reason = why_unreadable(error)?;
                    report.add(most, CheckError::PackDamaged { pack, reason });
                    expected.copies.iter().for_each(|(place, _)| damaged.add_place(*place));
                }
            }
            Counters::add(&control.counters().packs_examined, 1);
        }
        Ok(())
    }

    /// Examines a pack; one with faults is read once more before they are believed: they may have happened on the way.
    async fn check_pack(
        &self,
        pack: PackId,
        expected: &Arc<ExpectedPack>,
        examiners: &Semaphore,
        control: &Control,
    ) -> Result<(u64, Vec<Fault>)> {
        match self.examine(pack, expected, examiners, control).await? {
            (bytes, faults) if faults.is_empty() => Ok((bytes, faults)),
            _ => self.examine(pack, expected, examiners, control).await,
        }
    }

    async fn examine(
        &self,
        pack: PackId,
        expected: &Arc<ExpectedPack>,
        examiners: &Semaphore,
        control: &Control,
    ) -> Result<(u64, Vec<Fault>)> {
        let bytes = self.objects().get(FileType::Pack, &pack, control).await?;
        let (repository, expected) = (self.clone(), Arc::clone(expected));
        let size = bytes.len() as u64;
        let _turn = examiners.acquire().await.map_err(Error::internal)?;
        let check = move || repository.faults_of_pack(pack, &bytes, &expected);
        Ok((size, tokio::task::spawn_blocking(check).await.map_err(Error::internal)??))
    }

    /// What is wrong with a pack; nothing, if it is well.
    pub(super) fn faults_of_pack(&self, pack: PackId, bytes: &Bytes, expected: &ExpectedPack) -> Result<Vec<Fault>> {
        let mut faults = Vec::new();
        match parse_pack(self.cipher(), &pack, bytes) {
            Ok(header) if expected.is_named_by(&header.blobs) => {}
            Ok(_) => faults.push(Fault::of_pack("its header and the index differ")),
            Err(reason) => faults.push(Fault::of_pack(reason)),
        }
        let mut sum = PackSum { bytes, hash: RunningHash::new(), done: 0 };
        let mut scratch = BlobScratch::default();
        for (known, blob) in &expected.copies {
            let place = blob.offset as usize..blob.offset as usize + blob.length as usize;
            let Some(sealed) = bytes.get(place.clone()) else {
                let reason = format!("it ends before the {} blob at byte {}", blob.blob_type, blob.offset);
                faults.push(Fault::of_blob(*known, reason));
                continue;
            };
            let summed = if is_opened_in_pieces(blob) {
                sum_in_pieces(self.cipher(), sealed, blob.uncompressed_length)
            } else {
                let what = (blob.blob_type, blob.uncompressed_length);
                let opened = with_codec(|codec| open_unchecked(self.cipher(), codec, sealed, what, &mut scratch))?;
                opened.map(|plain| sum.of_blob(place, plain))
            };
            let fault = match summed {
                Ok(id) if expected.index.place(blob.blob_type, &id) == Some(*known) => continue,
                Ok(_) => WRONG_SUM.to_owned(),
                Err(reason) => reason,
            };
            faults.push(Fault::of_blob(*known, format!("the {} blob at byte {}: {fault}", blob.blob_type, blob.offset)));
        }
        if sum.of_pack() != pack {
            faults.insert(0, Fault::of_pack("its content does not have the sum that its name says"));
        }
        Ok(faults)
    }
}

/// Whether a blob is a large tree: more than it takes as it is stored is never held of it.
fn is_opened_in_pieces(blob: &StoredBlob) -> bool {
    is_streamed(blob.blob_type, blob.length.max(blob.uncompressed_length))
}

/// Memory for examining the largest of these packs: it, and its largest blob decrypted and decompressed.
fn bytes_to_examine(group: &[(PackId, ExpectedPack)]) -> u64 {
    let forms = |(_, blob): &StoredCopy| {
        if is_opened_in_pieces(blob) { 0 } else { u64::from(blob.length) + u64::from(blob.uncompressed_length) }
    };
    let of_pack = |copies: &Vec<StoredCopy>| {
        let end = copies.last().map_or(0, |(_, blob)| u64::from(blob.offset) + u64::from(blob.length));
        end + copies.iter().map(forms).max().unwrap_or(0)
    };
    group.iter().map(|(_, expected)| of_pack(&expected.copies)).max().unwrap_or(0).max(1)
}

/// What is said of a pack that cannot be read at all; an error that says nothing about the pack stays one.
pub(super) fn why_unreadable(error: Error) -> Result<String> {
    match error {
        Error::Damaged { .. } | Error::BeyondLimit { .. } => Ok(error.to_string()),
        error if error.is_not_found() => Ok("it is gone".to_owned()),
        error => Err(error),
    }
}

/// The sum of a pack, which advances together with those of its blobs: two at a time take little longer than one.
struct PackSum<'a> {
    bytes: &'a [u8],
    hash: RunningHash,
    /// Bytes of the pack that are summed.
    done: usize,
}

impl PackSum<'_> {
    /// The sum of the plain bytes of the blob that stands at `place`.
    fn of_blob(&mut self, place: Range<usize>, plain: &[u8]) -> Id {
        // Blobs that overlap stand only in a broken index.
        if place.start < self.done {
            return Id::of(plain);
        }
        self.hash.update(&self.bytes[self.done..place.start]);
        self.done = place.end;
        self.hash.update_with(&self.bytes[place], plain)
    }

    fn of_pack(mut self) -> Id {
        self.hash.update(&self.bytes[self.done..]);
        self.hash.finish()
    }
}
