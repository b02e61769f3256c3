//! Reading packs in full: their sum, their header against the index, and every blob.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::Semaphore;

use super::check::{CheckError, CheckReport};
use super::damaged_blobs::{BlobKey, DamagedBlobs};
use super::groups::{PackEntries, PackGroups};
use crate::control::{Control, Counters};
use crate::crypto::RunningHash;
use crate::error::{Error, Result};
use crate::format::{Id, IndexBlob};
use crate::index::Index;
use crate::limits::NAMED_DAMAGES;
use crate::objects::FileType;
use crate::pack::compress::with_codec;
use crate::pack::{BlobScratch, WRONG_SUM, open_unchecked, parse_pack};
use crate::{PackId, Repository};

/// Packs that are read ahead of those being examined.
const READ_AHEAD: usize = 1;

/// Something that is wrong with a pack.
#[derive(Debug)]
pub(super) struct Fault {
    pub reason: String,
    /// The blob that cannot be read, if it is one.
    pub blob: Option<BlobKey>,
}

impl Fault {
    fn of_pack(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), blob: None }
    }

    fn of_blob(blob: &IndexBlob, reason: String) -> Self {
        Self { reason, blob: Some((blob.blob_type, blob.id)) }
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
        while let Some(group) = groups.next(|_, _| true).await? {
            self.check_group(group, most, report, damaged, control).await?;
        }
        Ok(())
    }

    async fn check_group(
        &self,
        group: Vec<PackEntries>,
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
                    faults.iter().filter_map(|fault| fault.blob).for_each(|blob| damaged.add(blob));
                    for fault in faults {
                        report.add(most, CheckError::PackDamaged { pack, reason: fault.reason });
                    }
                }
                Err(error) => {
                    let reason = why_unreadable(error)?;
                    report.add(most, CheckError::PackDamaged { pack, reason });
                    expected.iter().for_each(|blob| damaged.add((blob.blob_type, blob.id)));
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
        expected: &Arc<Vec<IndexBlob>>,
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
        expected: &Arc<Vec<IndexBlob>>,
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
    pub(super) fn faults_of_pack(&self, pack: PackId, bytes: &Bytes, expected: &[IndexBlob]) -> Result<Vec<Fault>> {
        let mut faults = Vec::new();
        match parse_pack(self.cipher(), &pack, bytes) {
            Ok(header) if header.blobs == expected => {}
            Ok(_) => faults.push(Fault::of_pack("its header and the index differ")),
            Err(reason) => faults.push(Fault::of_pack(reason)),
        }
        let mut sum = PackSum { bytes, hash: RunningHash::new(), done: 0 };
        let mut scratch = BlobScratch::default();
        for blob in expected {
            let place = blob.offset as usize..blob.offset as usize + blob.length as usize;
            let Some(sealed) = bytes.get(place.clone()) else {
                faults.push(Fault::of_blob(blob, format!("it ends before {} blob {}", blob.blob_type, blob.id)));
                continue;
            };
            let what = (blob.blob_type, blob.uncompressed_length);
            let opened = with_codec(|codec| open_unchecked(self.cipher(), codec, sealed, what, &mut scratch))?;
            let fault = match opened {
                Ok(plain) if sum.of_blob(place, plain) == blob.id => continue,
                Ok(_) => WRONG_SUM.to_owned(),
                Err(reason) => reason,
            };
            faults.push(Fault::of_blob(blob, format!("{} blob {}: {fault}", blob.blob_type, blob.id)));
        }
        if sum.of_pack() != pack {
            faults.insert(0, Fault::of_pack("its content does not have the sum that its name says"));
        }
        Ok(faults)
    }
}

/// Memory for examining the largest of these packs: it, and its largest blob decrypted and decompressed.
fn bytes_to_examine(group: &[PackEntries]) -> u64 {
    let forms = |blob: &IndexBlob| u64::from(blob.length) + u64::from(blob.uncompressed_length);
    let of_pack = |blobs: &Vec<IndexBlob>| {
        let end = blobs.last().map_or(0, |blob| u64::from(blob.offset) + u64::from(blob.length));
        end + blobs.iter().map(forms).max().unwrap_or(0)
    };
    group.iter().map(|(_, blobs)| of_pack(blobs)).max().unwrap_or(0).max(1)
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
