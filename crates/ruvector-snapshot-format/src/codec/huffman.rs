//! One deflate block of Huffman codes without matches (RFC 1951, section 3.2.7), for bytes that are skewed and do not
//! repeat.
//!
//! Any inflate reads it. The exponents of the vectors are most of what a snapshot has to compress. The Huffman-only
//! strategy of zlib is built around its matcher and takes several times as long. zlib starts a new code every few ten
//! thousand bytes; this coder uses a single code for all bytes of a member.

/// One symbol for each byte, and one for the end of the block.
const LITERALS: usize = 257;
const END: usize = 256;
/// Four codes of this length and a partial byte fit into the 64 bits of the buffer. Deflate allows 15 bits.
const CODE_BITS_MAX: u8 = 14;
/// The limit of deflate for the code of the code lengths.
const LENGTH_CODE_BITS_MAX: u8 = 7;
/// Lengths of two distance codes that nothing uses. Every inflate accepts them, since they are a complete code.
const DISTANCES: [u8; 2] = [1, 1];
/// The order in which a block lists the lengths of the code of the code lengths.
const LENGTH_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Appends the deflate stream of `raw`: one final block.
pub(super) fn deflate(raw: &[u8], out: &mut Vec<u8>) {
    if raw.is_empty() {
        // A code of only one symbol, the end, would have no bits. This is the empty block of the fixed code.
        out.extend_from_slice(&[3, 0]);
        return;
    }
    let mut counts = [0u32; LITERALS];
    for byte in raw {
        counts[usize::from(*byte)] += 1;
    }
    counts[END] = 1;
    let lengths = code_lengths(&counts, CODE_BITS_MAX);
    let codes = codes(&lengths);
    let bits: u64 = counts.iter().zip(&lengths).map(|(count, length)| u64::from(*count) * u64::from(*length)).sum();
    let mut bits = BitWriter::new(out, (bits / 8) as usize + 512);
    write_header(&lengths, &mut bits);
    let literals: [Code; 256] = std::array::from_fn(|byte| codes.get(byte).copied().unwrap_or_default());
    let (fours, rest) = raw.as_chunks::<4>();
    for four in fours {
        for byte in four {
            bits.put(literals[usize::from(*byte)]);
        }
        bits.flush();
    }
    for byte in rest {
        bits.put(literals[usize::from(*byte)]);
        bits.flush();
    }
    bits.put(codes.get(END).copied().unwrap_or_default());
    bits.finish();
}

/// Writes the kind of the block, and the lengths of its codes. The lengths are Huffman-coded themselves.
fn write_header(lengths: &[u8], bits: &mut BitWriter<'_>) {
    let described: Vec<u8> = lengths.iter().copied().chain(DISTANCES).collect();
    let mut counts = [0u32; 19];
    for length in &described {
        counts[usize::from(*length)] += 1;
    }
    let length_lengths = code_lengths(&counts, LENGTH_CODE_BITS_MAX);
    let length_codes = codes(&length_lengths);
    // A final block with its own codes; 257 literal codes, 2 distance codes, 19 lengths of the code of the lengths.
    for (value, length) in [(1, 1), (2, 2), (0, 5), (1, 5), (15, 4)] {
        bits.put(Code { value, length });
        bits.flush();
    }
    for symbol in LENGTH_ORDER {
        bits.put(Code { value: u32::from(length_lengths.get(symbol).copied().unwrap_or_default()), length: 3 });
        bits.flush();
    }
    for length in described {
        bits.put(length_codes.get(usize::from(length)).copied().unwrap_or_default());
        bits.flush();
    }
}

/// A code word. Its first bit is the lowest, as deflate sends it.
#[derive(Clone, Copy, Default)]
struct Code {
    value: u32,
    length: u8,
}

/// Returns Huffman code lengths for these counts, none longer than `limit`.
///
/// If the tree is deeper, the counts are flattened until it is not. This costs almost no size, and is simpler than the
/// optimal code of a limited length.
fn code_lengths(counts: &[u32], limit: u8) -> Vec<u8> {
    let mut counts = counts.to_vec();
    loop {
        let lengths = huffman_lengths(&counts);
        if lengths.iter().all(|length| *length <= limit) {
            return lengths;
        }
        for count in counts.iter_mut().filter(|count| **count > 0) {
            *count = (*count >> 1).max(1);
        }
    }
}

/// Merges the two rarest trees until one is left. Each merge makes the codes of all its symbols one bit longer.
fn huffman_lengths(counts: &[u32]) -> Vec<u8> {
    use std::cmp::Reverse;
    let mut trees: std::collections::BinaryHeap<Reverse<(u64, Vec<usize>)>> = counts
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
        .map(|(symbol, count)| Reverse((u64::from(*count), vec![symbol])))
        .collect();
    let mut lengths = vec![0u8; counts.len()];
    while let Some(Reverse((count, mut symbols))) = trees.pop() {
        let Some(Reverse((other_count, other_symbols))) = trees.pop() else { break };
        symbols.extend(other_symbols);
        for symbol in &symbols {
            lengths[*symbol] = lengths[*symbol].saturating_add(1);
        }
        trees.push(Reverse((count + other_count, symbols)));
    }
    lengths
}

/// Returns the canonical code of these lengths (RFC 1951, section 3.2.2).
fn codes(lengths: &[u8]) -> Vec<Code> {
    let mut next = [0u32; 16];
    for bits in 1..16u8 {
        let shorter = lengths.iter().filter(|length| **length == bits - 1 && **length > 0).count() as u32;
        next[usize::from(bits)] = (next[usize::from(bits - 1)] + shorter) << 1;
    }
    let code = |length: &u8| {
        if *length == 0 {
            return Code::default();
        }
        let next = &mut next[usize::from(*length)];
        let value = next.reverse_bits() >> (32 - u32::from(*length));
        *next += 1;
        Code { value, length: *length }
    };
    lengths.iter().map(code).collect()
}

/// Packs bits into bytes, the lowest bit first.
struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    /// The number of final bytes of `out`. The bytes after them are room.
    end: usize,
    buffer: u64,
    filled: u32,
}

impl<'a> BitWriter<'a> {
    /// Makes room for `bytes` at the end of `out`.
    fn new(out: &'a mut Vec<u8>, bytes: usize) -> Self {
        let end = out.len();
        out.resize(end + bytes + size_of::<u64>(), 0);
        Self { out, end, buffer: 0, filled: 0 }
    }

    /// Adds a code; at most 56 bits fit between two flushes.
    fn put(&mut self, code: Code) {
        self.buffer |= u64::from(code.value) << self.filled;
        self.filled += u32::from(code.length);
    }

    /// Moves the full bytes of the buffer to `out`. Writes all eight bytes, because that is a single store; the next
    /// flush overwrites those that were not full.
    fn flush(&mut self) {
        if let Some(room) = self.out.get_mut(self.end..).and_then(|room| room.first_chunk_mut::<8>()) {
            *room = self.buffer.to_le_bytes();
        }
        let bytes = self.filled / 8;
        self.end += bytes as usize;
        // The buffer never overflows: a flush leaves at most 7 bits, and at most 56 follow.
        self.buffer >>= bytes * 8;
        self.filled %= 8;
    }

    fn finish(mut self) {
        self.filled = self.filled.next_multiple_of(8);
        self.flush();
        self.out.truncate(self.end);
    }
}
