//! Memory that direct I/O accepts: chunks aligned to the block, filled by appends, emptied by a commit.

use std::fmt;

use super::format::BLOCK_BYTES;

/// Capacity of a chunk, bytes: large enough that a commit of megabytes is few writes, small enough that a
/// commit of one record does not tie up much memory.
pub const CHUNK_BYTES: usize = 256 * 1024;

const _: () = assert!(
    CHUNK_BYTES.is_multiple_of(BLOCK_BYTES),
    "a padded chunk must stay inside itself"
);

/// A block-aligned buffer of [`CHUNK_BYTES`].
pub struct Chunk {
    memory: Box<[u8]>,
    start: usize,
    len: usize,
}

impl Default for Chunk {
    fn default() -> Self {
        let memory = vec![0; CHUNK_BYTES + BLOCK_BYTES].into_boxed_slice();
        // For u8 the offset is always found: it is smaller than the alignment.
        let start = memory.as_ptr().align_offset(BLOCK_BYTES);
        Self {
            memory,
            start,
            len: 0,
        }
    }
}

impl Chunk {
    /// Forgets the content.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Appends as much of `bytes` as fits and returns the rest.
    pub fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let n = bytes.len().min(CHUNK_BYTES - self.len);
        let at = self.start + self.len;
        self.memory[at..at + n].copy_from_slice(&bytes[..n]);
        self.len += n;
        &bytes[n..]
    }

    /// Appends zeros up to the next multiple of `align`, which divides the block. Returns how many.
    pub fn pad(&mut self, align: usize) -> usize {
        let padded = self.len.next_multiple_of(align);
        self.memory[self.start + self.len..self.start + padded].fill(0);
        let n = padded - self.len;
        self.len = padded;
        n
    }

    /// A chunk of `len` zeros.
    pub fn zeros(len: usize) -> Self {
        // New memory is zeros.
        Self {
            len: len.min(CHUNK_BYTES),
            ..Self::default()
        }
    }

    /// Whether nothing more fits.
    pub fn is_full(&self) -> bool {
        self.len == CHUNK_BYTES
    }

    /// The content.
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_aligned_takes_what_fits_and_pads_with_zeros() {
        let mut chunk = Chunk::default();
        assert_eq!(chunk.bytes().as_ptr().align_offset(BLOCK_BYTES), 0);
        let bytes = vec![7; CHUNK_BYTES - 100];
        assert!(chunk.fill(&bytes).is_empty());
        assert_eq!(chunk.fill(&bytes).len(), bytes.len() - 100);
        assert!(chunk.is_full());
        chunk.clear();
        assert!(chunk.fill(b"abc").is_empty());
        assert_eq!(chunk.pad(8), 5);
        assert_eq!(chunk.bytes(), b"abc\0\0\0\0\0");
        assert_eq!(chunk.pad(BLOCK_BYTES), BLOCK_BYTES - 8);
        assert!(chunk.bytes()[3..].iter().all(|&b| b == 0));
    }
}
