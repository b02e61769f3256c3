//! Buffers of large reads are used again: fresh memory is zeroed and mapped by the system page by page, which takes as long as
//! reading a file that is cached.

use std::sync::{Arc, Mutex, PoisonError};

/// Reads of at least this many bytes go into buffers of the pool; smaller ones may be kept for long, and must not hold a large one.
pub(super) const POOLED: usize = 2 << 20;

/// Bytes of buffers that wait to be used again; further ones go back to the system.
const MOST_WAITING: usize = 64 << 20;

/// Buffers that are not in use.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    free: Mutex<Vec<Vec<u8>>>,
}

/// A buffer that goes back to its pool when it is dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    used: usize,
    pool: Arc<Buffers>,
}

impl Buffers {
    /// A buffer of `length` bytes with any content.
    pub fn take(self: &Arc<Self>, length: usize) -> Buffer {
        let mut bytes = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        if bytes.is_empty() {
            bytes = vec![0; length];
        } else if bytes.len() < length {
            bytes.resize(length, 0);
        }
        Buffer { bytes, used: length, pool: Arc::clone(self) }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.used]
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.used]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting: usize = free.iter().map(Vec::len).sum();
        if waiting + self.bytes.len() <= MOST_WAITING {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again_and_not_too_many_are_kept() {
        let pool = Arc::new(Buffers::default());
        let mut first = pool.take(3);
        first.as_mut().copy_from_slice(b"abc");
        let address = first.as_ref().as_ptr();
        drop(first);
        let again = pool.take(2);
        assert_eq!((again.as_ref().as_ptr(), again.as_ref().len()), (address, 2));
        drop(again);
        assert_eq!(pool.take(5).as_ref().len(), 5);
        drop([0; 3].map(|_| pool.take(MOST_WAITING / 2)));
        let kept: usize = pool.free.lock().unwrap_or_else(PoisonError::into_inner).iter().map(Vec::len).sum();
        assert!(kept <= MOST_WAITING);
    }
}
