//! Buffers of packs are pooled: returning them to the system for each pack costs seconds of page faults per gigabyte, and the
//! allocator keeps what it gets back in pieces that fit nothing.

use std::sync::Arc;

use parking_lot::Mutex;

/// A buffer that grew beyond this goes back to the system.
const MOST_BYTES: usize = 40 << 20;

/// Buffers that are not in use, all of about the same size.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    free: Mutex<Vec<Vec<u8>>>,
}

impl BufferPool {
    /// A buffer of at least `length` bytes, all of them initialised, with any content.
    pub fn take(self: &Arc<Self>, length: usize) -> PooledBuffer {
        let mut bytes = self.free.lock().pop().unwrap_or_default();
        if bytes.is_empty() {
            // Fresh zeroed memory is mapped by the system page by page, as it is first written.
            bytes = vec![0; length];
        } else if bytes.len() < length {
            bytes.resize(length, 0);
        }
        PooledBuffer { bytes, used: 0, pool: Some(Arc::clone(self)) }
    }
}

/// A buffer that goes back to its pool when it is dropped.
#[derive(Debug)]
pub(crate) struct PooledBuffer {
    bytes: Vec<u8>,
    used: usize,
    /// `None` for a buffer of an odd size.
    pool: Option<Arc<BufferPool>>,
}

impl PooledBuffer {
    /// A buffer of this length that is used once.
    pub fn alone(length: usize) -> Self {
        Self { bytes: vec![0; length], used: 0, pool: None }
    }

    pub fn used(&self) -> usize {
        self.used
    }

    /// The bytes from the end of the used part on, at least `room` of them.
    pub fn spare(&mut self, room: usize) -> &mut [u8] {
        if self.bytes.len() < self.used + room {
            self.bytes.resize(self.used + room, 0);
        }
        &mut self.bytes[self.used..]
    }

    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.spare(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.advance(bytes.len());
    }

    /// Takes `length` bytes of the spare part to the used one.
    pub fn advance(&mut self, length: usize) {
        self.used = (self.used + length).min(self.bytes.len());
    }
}

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.used]
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.as_ref().filter(|_| self.bytes.len() <= MOST_BYTES) {
            pool.free.lock().push(std::mem::take(&mut self.bytes));
        }
    }
}
