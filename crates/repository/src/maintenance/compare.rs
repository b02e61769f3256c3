//! Packs that are not in the store as the index names them.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt;

use crate::control::Control;
use crate::error::{Error, Result};
use crate::index::Index;
use crate::limits;
use crate::objects::{FileType, Listed};
use crate::{PackId, Repository};

/// A pack that is not listed as the index names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Suspect {
    pub pack: PackId,
    /// Bytes by the index.
    pub expected: u64,
    /// Bytes by the listing, if it has the pack.
    pub listed: Option<u64>,
}

/// How a pack is, after it was looked at by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disagreement {
    /// It is not there.
    Absent,
    /// It has another size.
    Size { expected: u64, found: u64 },
}

/// The packs that are not listed as the index names them, with the listing given back. Work for the processor with many blobs: not
/// on a thread that drives I/O.
pub(super) async fn suspects(index: &Arc<Index>, listed: Vec<Listed>) -> Result<(Vec<Suspect>, Vec<Listed>)> {
    let index = Arc::clone(index);
    tokio::task::spawn_blocking(move || (differing(&index, &listed), listed)).await.map_err(Error::internal)
}

fn differing(index: &Index, listed: &[Listed]) -> Vec<Suspect> {
    let sizes: HashMap<PackId, u64> = listed.iter().map(|pack| (pack.id, pack.size)).collect();
    let named = index.pack_ids().into_iter().zip(index.pack_sizes());
    let suspects = named.filter(|(_, expected)| *expected > 0).filter_map(|(pack, expected)| {
        let listed = sizes.get(&pack).copied();
        (listed != Some(expected)).then_some(Suspect { pack, expected, listed })
    });
    suspects.collect()
}

impl Repository {
    /// Looks at each suspect: a listing alone is no evidence that a pack is gone or cut (invariant I8). Those that are as the
    /// index says are left out.
    pub(super) async fn look_at(&self, suspects: Vec<Suspect>, control: &Control) -> Result<HashMap<PackId, Disagreement>> {
        let mut looks = futures::stream::iter(suspects)
            .map(|suspect| async move { (suspect, control.run(self.objects().head(FileType::Pack, &suspect.pack)).await) })
            .buffer_unordered(limits::PARALLEL_READS);
        let mut found = HashMap::new();
        while let Some((Suspect { pack, expected, .. }, looked)) = looks.next().await {
            let disagreement = match looked? {
                None => Disagreement::Absent,
                Some(pack) if pack.size != expected => Disagreement::Size { expected, found: pack.size },
                Some(_) => continue,
            };
            found.insert(pack, disagreement);
        }
        Ok(found)
    }
}
