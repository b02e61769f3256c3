//! Tree packs in memory: trees of one part of a file tree stand together, so one request serves hundreds of them.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::control::Control;
use crate::error::{Error, Result};
use crate::limits::TREE_CACHE;
use crate::objects::FileType;
use crate::{PackId, Repository};

type Slot = Arc<OnceCell<Bytes>>;

#[derive(Debug, Default)]
struct State {
    /// Most recently used last.
    packs: Vec<(PackId, Slot)>,
    /// Packs that were here and had to go: those are read blob by blob, so that the cache never reads a pack twice.
    evicted: HashSet<PackId>,
}

#[derive(Debug, Default)]
pub(super) struct TreeCache {
    state: Mutex<State>,
}

impl TreeCache {
    /// The whole pack, read at most once however many ask; `None` if the blob should be read alone.
    pub async fn pack(&self, repository: &Repository, id: &PackId, control: &Control) -> Result<Option<Bytes>> {
        let Some(slot) = self.slot(id) else { return Ok(None) };
        let loaded = slot
            .get_or_try_init(|| async {
                let bytes = repository.objects().get(FileType::Pack, id, control).await?;
                if bytes.len() > TREE_CACHE / 2 {
                    return Err(Error::BeyondLimit {
                        what: "size of a cached pack",
                        found: bytes.len() as u64,
                        limit: TREE_CACHE as u64 / 2,
                    });
                }
                Ok(bytes)
            })
            .await;
        match loaded {
            Ok(bytes) => {
                let bytes = bytes.clone();
                self.evict();
                Ok(Some(bytes))
            }
            Err(Error::BeyondLimit { .. }) => {
                self.remove(id);
                Ok(None)
            }
            Err(error) => {
                self.remove(id);
                Err(error)
            }
        }
    }

    fn slot(&self, id: &PackId) -> Option<Slot> {
        let mut state = self.state.lock();
        if let Some(at) = state.packs.iter().position(|(pack, _)| pack == id) {
            let entry = state.packs.remove(at);
            let slot = Arc::clone(&entry.1);
            state.packs.push(entry);
            return Some(slot);
        }
        if state.evicted.contains(id) {
            return None;
        }
        let slot = Slot::default();
        state.packs.push((*id, Arc::clone(&slot)));
        Some(slot)
    }

    fn remove(&self, id: &PackId) {
        let mut state = self.state.lock();
        state.packs.retain(|(pack, _)| pack != id);
        state.evicted.insert(*id);
    }

    fn evict(&self) {
        let mut state = self.state.lock();
        let mut size: usize = state.packs.iter().filter_map(|(_, slot)| slot.get()).map(Bytes::len).sum();
        while size > TREE_CACHE {
            let Some(at) = state.packs.iter().position(|(_, slot)| slot.initialized()) else { return };
            let (id, slot) = state.packs.remove(at);
            size -= slot.get().map_or(0, Bytes::len);
            state.evicted.insert(id);
        }
    }
}
