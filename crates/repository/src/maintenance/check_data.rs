//! Reading packs in full: their sum, their header against the index, and every blob.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::Semaphore;

use super::check::{CheckError, CheckReport};
use super::usage::for_each_copy;
use crate::control::{Control, Counters};
use crate::error::{Error, Result};
use crate::format::{Id, IndexBlob};
use crate::index::Index;
use crate::objects::FileType;
use crate::pack::{BlobScratch, open_blob, parse_pack};
use crate::{PackId, Repository};

/// Packs that are read ahead of those being examined.
const READ_AHEAD: usize = 1;

impl Repository {
    pub(super) async fn check_packs(
        &self,
        index: &Arc<Index>,
        packs: &[PackId],
        report: &mut CheckReport,
        control: &Control,
    ) -> Result<()> {
        let expected = Arc::new(entries_by_pack(index, packs));
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        // Each examination holds a pack and a blob in three forms: no more of them than cores, or memory grows for nothing.
        let examiners = Arc::new(Semaphore::new(cores));
        let mut checks = futures::stream::iter(packs.iter().copied())
            .map(|pack| {
                let (expected, examiners) = (Arc::clone(&expected), Arc::clone(&examiners));
                async move { (pack, self.check_pack(pack, expected, &examiners, control).await) }
            })
            .buffer_unordered(cores + READ_AHEAD);
        while let Some((pack, checked)) = checks.next().await {
            match checked {
                Ok((bytes, faults)) => {
                    report.packs_read += 1;
                    report.bytes_read += bytes;
                    report.errors.extend(faults.into_iter().map(|reason| CheckError::PackDamaged { pack, reason }));
                }
                Err(error @ (Error::Damaged { .. } | Error::BeyondLimit { .. })) => {
                    report.errors.push(CheckError::PackDamaged { pack, reason: error.to_string() });
                }
                Err(error) if error.is_not_found() => {
                    report.errors.push(CheckError::PackDamaged { pack, reason: "it is gone".into() });
                }
                Err(error) => return Err(error),
            }
            Counters::add(&control.counters().packs_examined, 1);
        }
        Ok(())
    }

    async fn check_pack(
        &self,
        pack: PackId,
        expected: Arc<Entries>,
        examiners: &Semaphore,
        control: &Control,
    ) -> Result<(u64, Vec<String>)> {
        let bytes = self.objects().get(FileType::Pack, &pack, control).await?;
        let repository = self.clone();
        let size = bytes.len() as u64;
        let _turn = examiners.acquire().await.map_err(Error::internal)?;
        let check = move || repository.faults_of_pack(pack, &bytes, expected.get(&pack).map_or(&[], Vec::as_slice));
        Ok((size, tokio::task::spawn_blocking(check).await.map_err(Error::internal)??))
    }

    /// What is wrong with a pack; nothing, if it is well.
    fn faults_of_pack(&self, pack: PackId, bytes: &Bytes, expected: &[IndexBlob]) -> Result<Vec<String>> {
        let mut faults = Vec::new();
        if Id::of(bytes) != pack {
            faults.push("its content does not have the sum that its name says".to_owned());
        }
        match parse_pack(self.cipher(), &pack, bytes) {
            Ok(header) if header.blobs == expected => {}
            Ok(_) => faults.push("its header and the index differ".to_owned()),
            Err(reason) => faults.push(reason),
        }
        let mut scratch = BlobScratch::default();
        for blob in expected {
            let end = blob.offset as usize + blob.length as usize;
            let Some(sealed) = bytes.get(blob.offset as usize..end) else {
                faults.push(format!("it ends before {} blob {}", blob.blob_type, blob.id));
                continue;
            };
            if let Err(reason) =
                open_blob(self.cipher(), sealed, (blob.blob_type, blob.id, blob.uncompressed_length), &mut scratch)?
            {
                faults.push(format!("{} blob {}: {reason}", blob.blob_type, blob.id));
            }
        }
        Ok(faults)
    }
}

type Entries = HashMap<PackId, Vec<IndexBlob>>;

/// What the index says about these packs, in the order in which the blobs stand there.
fn entries_by_pack(index: &Index, packs: &[PackId]) -> Entries {
    let ids = index.pack_ids();
    let mut entries: Entries = packs.iter().map(|pack| (*pack, Vec::new())).collect();
    for_each_copy(index, |_, pack, blob| {
        if let Some(blobs) = entries.get_mut(&ids[pack as usize]) {
            blobs.push(blob);
        }
    });
    entries.values_mut().for_each(|blobs| blobs.sort_by_key(|blob| blob.offset));
    entries
}
