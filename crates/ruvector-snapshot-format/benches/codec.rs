//! Measures compression and expansion for each kind of member, next to zlib-rs called directly on the same bytes.
//!
//!     cargo bench -p ruvector-snapshot-format [-- ROWS]
//!
//! The data resembles sentence embeddings: ROWS (default 4,096) random normalised vectors of 384 f32 values, their ids,
//! and short JSON metadata. Each line is the fastest of several rounds. The rounds of both libraries alternate, so that
//! other load on the machine affects both.
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use ruvector_snapshot_format::block::Block;
use ruvector_snapshot_format::codec::crc32;
use ruvector_snapshot_format::codec::member::{Coding, pack, unpack};
use ruvector_snapshot_format::model::OwnedRecord;
use zlib_rs::{DeflateConfig, Inflate, InflateFlush, Method, ReturnCode, Status, Strategy};

const DIMENSIONS: usize = 384;
const ROUNDS: usize = 400;
const SAMPLE_TIME: Duration = Duration::from_millis(2);
/// A gzip wrapper around a window of 15 bits.
const GZIP_WINDOW_BITS: u8 = 31;

fn main() {
    let rows = std::env::args().skip(1).find(|argument| argument != "--bench");
    let rows = rows.map_or(4096, |rows| rows.parse().expect("ROWS is a number"));
    let records: Vec<_> = (0..rows).map(record).collect();
    println!("{rows} records, MB/s of uncompressed data, the fastest of {ROUNDS} rounds");
    println!(
        "{:<28}{:>8}{:>10}{:>10}{:>9}{:>10}{:>10}{:>9}",
        "member", "KiB", "pack", "zlib-rs", "ratio", "unpack", "zlib-rs", "ratio"
    );
    for (kind, raw, coding) in members(&records) {
        compare(kind, &raw, coding);
    }
    blocks(&records);
}

/// The members of a block, by kind, with the coding that a writer chooses.
fn members(records: &[OwnedRecord]) -> Vec<(&'static str, Vec<u8>, Coding)> {
    let bits = || records.iter().flat_map(|record| record.values()).map(|value| value.to_bits().rotate_left(1));
    let plane = |number: u32| bits().map(|bits| (bits >> (8 * number)) as u8).collect::<Vec<u8>>();
    let digests = records.iter().flat_map(|record| record.as_record().digest()).collect();
    let ids: Vec<u8> = records.iter().flat_map(|record| record.id.bytes()).collect();
    let line = |record: &OwnedRecord| {
        format!("{{\"id\":\"{}\",\"metadata\":{}}}\n", record.id, record.metadata.as_deref().unwrap_or_default())
    };
    let lines = records.iter().map(line).collect::<String>().into_bytes();
    let (exponents, mantissas) = (plane(3), plane(0));
    let planes = [("exponents, as chosen", exponents.clone()), ("mantissas, as chosen", mantissas)];
    let mut members: Vec<_> = planes.map(|(kind, raw)| (kind, raw.clone(), Coding::choose(&raw, 6))).into();
    members.push(("exponents, deflate 6", exponents, Coding::Deflate(6)));
    members.push(("digests, stored", digests, Coding::Stored));
    members.push(("ids, deflate 6", ids, Coding::Deflate(6)));
    members.extend([1, 6, 9].map(|level| {
        let kind = ["lines, deflate 1", "lines, deflate 6", "lines, deflate 9"][level as usize / 4];
        (kind, lines.clone(), Coding::Deflate(level))
    }));
    members
}

/// Prints one line. Long runs would be interrupted by other processes, so a slow member is measured on its beginning
/// only.
fn compare(kind: &str, raw: &[u8], coding: Coding) {
    let trial = time(|| drop(black_box(into_new(|out| pack(raw, coding, out).unwrap()))));
    let share = (SAMPLE_TIME.as_secs_f64() / trial.as_secs_f64()).min(1.0);
    let raw = &raw[..(raw.len() as f64 * share) as usize];
    let mut member = Vec::new();
    pack(raw, coding, &mut member).unwrap();
    assert_eq!(member.len(), into_new(|out| reference_pack(raw, coding, out)).len(), "the sizes differ");
    let mut times = [Duration::MAX; 4];
    for round in 0..ROUNDS {
        let packed = || drop(black_box(into_new(|out| pack(black_box(raw), coding, out).unwrap())));
        let packed_reference = || drop(black_box(into_new(|out| reference_pack(black_box(raw), coding, out))));
        let unpacked = || drop(black_box(unpack(black_box(&member), raw.len()).unwrap()));
        let unpacked_reference = || drop(black_box(reference_unpack(black_box(&member), raw.len())));
        let work: [&dyn Fn(); 4] = [&packed, &packed_reference, &unpacked, &unpacked_reference];
        // Neither library always runs first: a run leaves the allocator and the caches in another state for the next.
        for step in [[0, 1, 2, 3], [1, 0, 3, 2]][round % 2] {
            times[step] = times[step].min(time(work[step]));
        }
    }
    let [pack, pack_reference, unpack, unpack_reference] =
        times.map(|time| raw.len() as f64 / 1e6 / time.as_secs_f64());
    println!(
        "{kind:<28}{:>8}{pack:>10.0}{pack_reference:>10.0}{:>9.3}{unpack:>10.0}{unpack_reference:>10.0}{:>9.3}",
        raw.len() / 1024,
        pack / pack_reference,
        unpack / unpack_reference
    );
}

/// Packs and unpacks whole blocks: planes, digests, canonical JSON, compression and checksums.
fn blocks(records: &[OwnedRecord]) {
    let mut blocks = vec![Block::new(DIMENSIONS)];
    for record in records {
        let record = record.as_record();
        if blocks.last().unwrap().is_full_for(record) {
            blocks.push(Block::new(DIMENSIONS));
        }
        blocks.last_mut().unwrap().push(record).unwrap();
    }
    let raw_bytes = blocks.iter().map(Block::content_bytes).sum::<usize>() as f64 / 1e6;
    let packed: Vec<_> = blocks.iter().map(|block| block.clone().pack(6).unwrap()).collect();
    let stored_bytes: usize = packed.iter().map(|b| b.vectors.len() + b.index.len() + b.payloads.len()).sum();
    let mut best = [Duration::MAX; 2];
    for _ in 0..ROUNDS / 20 {
        let pack = time(|| blocks.iter().for_each(|block| drop(black_box(block.clone().pack(6).unwrap()))));
        let unpack = time(|| {
            for block in &packed {
                let pieces = [&block.vectors[..], &block.index, &block.payloads];
                drop(black_box(Block::unpack(&block.entry, DIMENSIONS, pieces).unwrap()));
            }
        });
        best.iter_mut().zip([pack, unpack]).for_each(|(best, time)| *best = time.min(*best));
    }
    let [pack, unpack] = best.map(|time| raw_bytes / time.as_secs_f64());
    println!("{:<28}{:>8}{pack:>10.0}{:>19}{unpack:>10.0}", format!("{} blocks, level 6", blocks.len()), "", "");
    println!("stored: {:.2} of {raw_bytes:.2} MB", stored_bytes as f64 / 1e6);
}

fn record(row: usize) -> OwnedRecord {
    let mut random = (row as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut uniform = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 40) as f32 / 16_777_216.0
    };
    // The sum of uniform values is close to a normal distribution, as the values of embeddings are.
    let mut vector: Vec<f32> = (0..DIMENSIONS).map(|_| (0..6).map(|_| uniform()).sum::<f32>() - 3.0).collect();
    let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|value| *value /= norm);
    let words = ["vector", "database", "snapshot", "index", "recall", "latency", "tree", "page", "chunk", "model"];
    let text: Vec<_> = (0..12).map(|_| words[(uniform() * 10.0) as usize % 10]).collect();
    let metadata = format!(
        "{{\"chunk\":{},\"source\":\"https://example.org/doc/{:06}\",\"text\":\"{}\"}}",
        row % 17,
        row / 17,
        text.join(" ")
    );
    let vector = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    OwnedRecord { id: format!("doc-{:06}-chunk-{:03}", row / 17, row % 17), vector, metadata: Some(metadata) }
}

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn into_new<T>(pack: impl FnOnce(&mut Vec<u8>) -> T) -> Vec<u8> {
    let mut out = Vec::new();
    pack(&mut out);
    out
}

/// Packs a member with zlib-rs directly. The Huffman coder has no counterpart there; it is its own reference.
fn reference_pack(raw: &[u8], coding: Coding, out: &mut Vec<u8>) -> usize {
    let level = match coding {
        Coding::Stored => 0,
        Coding::Deflate(level) => level as i32,
        _ => return pack(raw, coding, out).unwrap(),
    };
    let config = DeflateConfig {
        level,
        method: Method::Deflated,
        window_bits: i32::from(GZIP_WINDOW_BITS),
        mem_level: 8,
        strategy: Strategy::Default,
    };
    out.resize(zlib_rs::compress_bound(raw.len()) + 64, 0);
    let (written, code) = zlib_rs::compress_slice(out, raw, config);
    assert_eq!(code, ReturnCode::Ok);
    let size = written.len();
    out.truncate(size);
    size
}

/// Unpacks a member with zlib-rs directly.
fn reference_unpack(member: &[u8], raw_bytes: usize) -> Vec<u8> {
    let mut inflate = Inflate::new(true, GZIP_WINDOW_BITS);
    let mut raw = vec![0; raw_bytes + 1];
    assert!(inflate.decompress(member, &mut raw, InflateFlush::Finish) == Ok(Status::StreamEnd));
    raw.truncate(raw_bytes);
    assert_eq!(crc32(&[]), zlib_rs::crc32::crc32(0, &[]));
    raw
}
