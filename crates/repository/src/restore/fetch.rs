//! Reading packs and writing their blobs to where they are wanted.

use std::{
    io,
    sync::atomic::Ordering::{AcqRel, Relaxed},
};

use super::{
    batch::{OpenFiles, PackPlan, Use},
    file::FileTarget,
    restorer::Restorer,
    walk::is_damage,
};
use crate::{
    BlobId,
    error::{Error, Result},
    format::BlobType,
    pack::{BlobScratch, FetchedPack, PackedBlob},
};

impl Restorer {
    /// Reads each pack once, several at a time, and writes what it holds. No more of them is in memory than the budget allows.
    pub(super) fn fetch_packs(&self, files: &[FileTarget], packs: &[PackPlan]) -> Result<()> {
        let open_files = OpenFiles::new(files);
        self.for_each(packs, |_, plan, scratch| {
            if self.is_full.load(Relaxed) {
                self.give_up(files, plan);
                return Ok(());
            }
            self.restore_pack(files, &open_files, plan, scratch)
        })
    }

    fn restore_pack(
        &self,
        files: &[FileTarget],
        open_files: &OpenFiles<'_>,
        plan: &PackPlan,
        scratch: &mut BlobScratch,
    ) -> Result<()> {
        let mut wanted: Vec<(PackedBlob, &[Use])> = plan
            .blobs
            .iter()
            .map(|(id, (location, uses))| {
                (PackedBlob { blob_type: BlobType::Data, id: *id, location: *location }, uses.as_slice())
            })
            .collect();
        wanted.sort_by_key(|(blob, _)| blob.location.offset);
        let blobs: Vec<PackedBlob> = wanted.iter().map(|(blob, _)| *blob).collect();
        let _held = self.pack_room.take(blobs.iter().map(|blob| u64::from(blob.location.length)).sum());
        let fetched = match self.reader.fetch_pack_blocking(plan.pack, &blobs) {
            Ok(fetched) => Ok(fetched),
            Err(error) if is_damage(&error) => Err(error),
            Err(error) => return Err(error),
        };
        for (blob, uses) in wanted {
            self.check()?;
            let length = u64::from(blob.location.plain_length());
            match self.with_plain(fetched.as_ref().ok(), &blob, scratch, |plain| self.write_uses(files, open_files, uses, plain))
            {
                Ok(()) => {}
                Err(error) if is_damage(&error) => {
                    for &Use { file, offset, count } in uses {
                        self.part_damaged(&files[file as usize], offset, length.saturating_mul(count), &error.to_string());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives the plain bytes of a blob to `then`: from the pack that was fetched, or from wherever else there is a copy.
    fn with_plain(
        &self,
        fetched: Option<&FetchedPack>,
        blob: &PackedBlob,
        scratch: &mut BlobScratch,
        then: impl FnOnce(&[u8]) -> Result<()>,
    ) -> Result<()> {
        if let Some(Ok(plain)) = fetched.map(|fetched| fetched.decode(blob, scratch)) {
            return then(plain);
        }
        then(&self.load_elsewhere(&blob.id)?)
    }

    fn load_elsewhere(&self, id: &BlobId) -> Result<bytes::Bytes, Error> {
        self.reader.load_blob_blocking(BlobType::Data, id)
    }

    /// Writes a blob to where it is wanted. An error says that we were stopped; those of files are noted.
    fn write_uses(&self, files: &[FileTarget], open_files: &OpenFiles<'_>, uses: &[Use], plain: &[u8]) -> Result<()> {
        for wanted in uses {
            let file = &files[wanted.file as usize];
            if file.is_whole(wanted.offset, plain) && self.restore_whole(file, plain) {
                continue;
            }
            if !file.failed.load(Relaxed)
                && let Err(error) = self.write_run(file, open_files, wanted, plain)?
            {
                self.file_failed(file, &error);
            }
            self.part_done(file);
        }
        Ok(())
    }

    /// Writes a blob as often as it follows itself. The inner error is the file's; after the outer one the file is not done and
    /// must not be finished.
    fn write_run(&self, file: &FileTarget, open_files: &OpenFiles<'_>, wanted: &Use, plain: &[u8]) -> Result<io::Result<()>> {
        let handle = match open_files.open(self, wanted.file) {
            Ok(handle) => handle,
            Err(error) => return Ok(Err(error)),
        };
        for time in 0..wanted.count {
            self.check()?;
            if let Err(error) = file.write(&handle, wanted.offset + time * plain.len() as u64, plain) {
                return Ok(Err(error));
            }
            self.written(plain.len() as u64);
        }
        Ok(Ok(()))
    }

    /// Names a file whose writing failed, once.
    pub(super) fn file_failed(&self, file: &FileTarget, error: &io::Error) {
        if !file.failed.swap(true, AcqRel) {
            self.failed(file.path(), "write the file", error);
        }
    }

    /// Names the files that will not be complete because there is no room left.
    fn give_up(&self, files: &[FileTarget], plan: &PackPlan) {
        let full = rustix::io::Errno::NOSPC.into();
        for &Use { file, .. } in plan.blobs.values().flat_map(|(_, uses)| uses) {
            let file = &files[file as usize];
            self.file_failed(file, &full);
            self.part_done(file);
        }
    }
}
