//! The contract of [`SnapshotStore`] as a test suite. Run it against a store of your own.
//!
//! ```
//! # use ruvector_snapshot::store::{Location, StoreConfig, open, testing::conformance};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = open(&Location::Memory, &StoreConfig::default())?;
//! conformance::run_all(store, "conformance-test").await?;
//! # Ok(())
//! # }
//! ```
//!
//! Each clause of the contract is one function. It works below a prefix that the caller chooses and that nothing else
//! uses. Its error says what the store did and what it should have done. [`run_all`] runs all clauses and removes their
//! objects in any case. It lists the whole store once, and writes about 120 MiB and 1,200 objects.
//!
//! Durability is part of the contract and is not tested here: a test would need a power failure.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::error::{ErrorKind, Result as StoreResult};
use crate::store::{KEY_BYTES_MAX, SEGMENT_BYTES_MAX, SnapshotStore};

/// The result of a clause: success, or a sentence that says what the store did wrong.
pub type ClauseResult = Result<(), String>;

/// Part size of the stores of this crate. Uploads of sizes around it take different code paths.
const PART_BYTES: usize = 8 * 1024 * 1024;

/// Runs every clause below `prefix` and removes all objects there.
///
/// # Errors
///
/// Returns an error if there are objects below the prefix already, and if a clause fails. The error of a clause begins
/// with its name.
pub async fn run_all(store: Arc<dyn SnapshotStore>, prefix: &str) -> ClauseResult {
    let store = store.as_ref();
    if !list(store, prefix).await?.is_empty() {
        return Err(format!("there are objects below {prefix}; choose another prefix"));
    }
    let result = run_clauses(store, prefix).await;
    let cleared = clear(store, prefix).await;
    result.and(cleared)
}

async fn run_clauses(store: &dyn SnapshotStore, prefix: &str) -> ClauseResult {
    macro_rules! run {
        ($($clause:ident),* $(,)?) => {$(
            let below = format!("{prefix}/{}", stringify!($clause));
            $clause(store, &below).await.map_err(|problem| format!("{}: {problem}", stringify!($clause)))?;
        )*};
    }
    run!(
        invalid_keys_are_rejected,
        missing_keys_are_not_found,
        create_does_not_replace,
        concurrent_creates_have_one_winner,
        get_reads_up_to_the_limit,
        get_range_reads_exactly,
        head_and_list_report_sizes,
        list_uses_whole_segments,
        list_is_complete,
        unusual_names_are_preserved,
        delete_can_be_repeated,
        uploads_of_all_sizes,
        upload_is_invisible_before_finish,
        aborted_and_dropped_uploads_leave_nothing,
    );
    Ok(())
}

/// Every method rejects an invalid key and does nothing.
pub async fn invalid_keys_are_rejected(store: &dyn SnapshotStore, prefix: &str) -> ClauseResult {
    let long_segment = "s".repeat(SEGMENT_BYTES_MAX + 1);
    let long_key = ["s"; KEY_BYTES_MAX].join("/");
    let bad =
        ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "a\0b", "a\nb", "a\u{7f}", "a\\b", "a#1", "a/b#c"];
    for key in bad.into_iter().chain([long_segment.as_str(), long_key.as_str()]) {
        // Not below the prefix: the key must be invalid by itself.
        let what = format!("with the key {:?}", key.chars().take(20).collect::<String>());
        must_fail(ErrorKind::InvalidInput, store.create(key, Bytes::new()).await, &format!("create {what}"))?;
        must_fail(ErrorKind::InvalidInput, store.upload(key, None).await.map(drop), &format!("upload {what}"))?;
        must_fail(ErrorKind::InvalidInput, store.get(key, 1).await, &format!("get {what}"))?;
        must_fail(ErrorKind::InvalidInput, store.get_range(key, 0..1).await, &format!("get_range {what}"))?;
        must_fail(ErrorKind::InvalidInput, store.head(key).await, &format!("head {what}"))?;
        must_fail(ErrorKind::InvalidInput, store.delete(key).await, &format!("delete {what}"))?;
        if !key.is_empty() {
            must_fail(ErrorKind::InvalidInput, store.list(key).try_collect::<Vec<_>>().await, &format!("list {what}"))?;
        }
    }
    let longest = format!("{prefix}/{}", "s".repeat(SEGMENT_BYTES_MAX));
    must(store.create(&longest, Bytes::new()).await, "create with a segment of maximum length")?;
    Ok(())
}

/// Every read of a key without an object returns `NotFound`.
pub async fn missing_keys_are_not_found(store: &dyn SnapshotStore, prefix: &str) -> ClauseResult {
    let there = format!("{prefix}/there");
    must(store.create(&there, Bytes::from_static(b"x")).await, "create")?;
    // The last two: a key below an object, and a key that is a directory.
    for key in [format!("{prefix}/missing"), format!("{prefix}/no/such/place"), format!("{there}/below"), prefix.into()]
    {
        must_fail(ErrorKind::NotFound, store.get(&key, 1).await, "get of a missing key")?;
        must_fail(ErrorKind::NotFound, store.get_range(&key, 0..1).await, "get_range of a missing key")?;
        must_fail(ErrorKind::NotFound, store.head(&key).await, "head of a missing key")?;
        must_be(list(store, &key).await?.contains(&key), false, "whether list shows a missing key")?;
    }
    must_be(list(store, &format!("{prefix}/missing")).await?.len(), 0, "objects below a missing prefix")?;
    must_be(list(store, &there).await?.len(), 0, "objects below a prefix that is an object")
}

/// A second `create` of a key fails and does not change the object.
pub async fn create_does_not_replace(store: &dyn SnapshotStore, prefix: &str) -> ClauseResult {
    for (name, first) in [("filled", "first"), ("empty", "")] {
        let key = format!("{prefix}/{name}");
        must(store.create(&key, Bytes::from(first)).await, "create of a free key")?;
        let second = store.create(&key, Bytes::from_static(b"second, and longer")).await;
        must_fail(ErrorKind::AlreadyExists, second, "create of a key that exists")?;
        let repeated = store.create(&key, Bytes::from(first)).await;
        must_fail(ErrorKind::AlreadyExists, repeated, "create of the same bytes again")?;
        must_hold(store, &key, first.as_bytes(), "after a failed create").await?;
    }
    Ok(())
}

/// Exactly one of many concurrent creates of one key succeeds, and the object has its bytes.
pub async fn concurrent_creates_have_one_winner(store: &dyn SnapshotStore, prefix: &str) -> ClauseResult {
    for round in 0..8 {
        let key = format!("{prefix}/{round}");
        let bytes_of = |racer: u8| pattern(50_000 + usize::from(racer), u64::from(racer));
        let races = (0..16).map(|racer| store.create(&key, bytes_of(racer)));
        let mut winners = Vec::new();
        for (racer, outcome) in (0..).zip(join_all(races).await) {
            match outcome {
                Ok(()) => winners.push(racer),
                lost => must_fail(ErrorKind::AlreadyExists, lost, "create that lost the race")?,
            }
        }
        let &[winner] = winners.as_slice() else {
            return Err(format!("{} of 16 concurrent creates of one key succeeded; expected 1", winners.len()));
        };
        must_hold(store, &key, &bytes_of(winner), "after a race").await?;
    }
    Ok(())
}

/// `get` returns all bytes if there are no more than the limit.
pub async fn get_reads_up_to_the_limit(store: &dyn SnapshotStore, prefix: &str) -> ClauseResult {
    let key = format!("{prefix}/object");
    let bytes = pattern(100_003, 1);
    must(store.create(&key, bytes.clone()).await, "create")?;
    for limit_bytes in [100_003, 100_004, u64::MAX] {
        let read = must(store.get(&key, limit_bytes).await, "get within the limit")?;
        must_be(read == bytes, true, "whether get returns what was created")?;
    }
    for limit_bytes in [100_002, 1, 0] {
        must_fail(ErrorKind::Corrupt, store.get(&key, limit_bytes).await, "get of more than the limit")?;
    }
    let empty = format!("{prefix}/empty");
    must(store.create(&empty, Bytes::new()).await, "create of an empty object")?;
    let read = must(store.get(&empty, 0).await, "get of an empty object with a limit of 0")?;
    must_be(read.len(), 0, "bytes of an empty object")
}

/// `get_range` returns exactly the requested bytes, or an error.
pub async fn get_range_reads_exactly(store: &dyn SnapshotStore, prefix: &str) -> ClauseResult {
    let key = format!("{prefix}/object");
    let bytes = pattern(70_001, 2);
    must(store.create(&key, bytes.clone()).await, "create")?;
    for (start, end) in [(0, 1), (0, 70_001), (70_000, 70_001), (1, 2), (8_191, 8_193), (12_345, 67_890)] {
        let what = format!("get_range of {start}..{end} of 70001 bytes");
        let read = must(store.get_range(&key, start as u64..end as u64).await, &what)?;
        must_be(read.len(), end - start, &format!("bytes of {what}"))?;
        must_be(read == bytes[start..end], true, &format!("whether {what} returns the right bytes"))?;
    }
    for at in [0, 35_000, 70_001] {
        must_be(
            must(store.get_range(&key, at..at).await, "get_range of an empty range")?.len(),
            0,
            "bytes of an empty range",
        )?;
    }
    let huge = 1 << 60;
    for (start, end) in [(0, 70_002), (70_000, 70_002), (70_001, 70_002), (80_000, 90_000), (0, huge), (huge, huge + 1)]
    {
        let what = format!("get_range of {start}..{end} of 70001 bytes");
        must_fail(ErrorKind::Corrupt, store.get_range(&key, start..end).await, &what)?;
    }
    let backwards = std::ops::Range { start: 5, end: 4 };
    must_fail(ErrorKind::InvalidInput, store.get_range(&key, backwards).await, "get_range of 5..4")
}

/// `head` and `list` return the size that was written.
pub async fn head_and_list_report_sizes(store: &dyn SnapshotStore, prefix: &str) -> ClauseResult {
    for size_bytes in [0_u32, 1, 65_537] {
        let key = format!("{prefix}/{size_bytes}");
        must(store.create(&key, pattern(size_bytes as usize, 3)).await, "create")?;
        let info = must(store.head(&key).await, "head")?;
        must_be((info.key.as_str(), info.size_bytes), (key.as_str(), size_bytes.into()), "key and size by head")?;
    }
    let listed: Vec<_> = must(store.list(prefix).try_collect().await, "list")?;
    for info in listed {
        must_be(format!("{prefix}/{}", info.size_bytes), info.key, "key, by the size that list returns")?;
    }
    Ok(())
}

/// The prefix of `list` consists of whole segments, and includes objects at any depth below it.
pub async fn list_uses_whole_segments(store: &dyn SnapshotStore, prefix: &str) -> ClauseResult {
    let names = ["a/x", "a/b/x", "a/b/c/d/x", "ab/x", "a b/x", "a.x", "a-/x", "b/a/x", "z"];
    for name in names {
        must(store.create(&format!("{prefix}/{name}"), Bytes::from_static(b"x")).await, "create")?;
    }
    let expected: [(&str, &[&str]); 8] = [
        ("/a", &["a/x", "a/b/x", "a/b/c/d/x"]),
        ("/a/b", &["a/b/x", "a/b/c/d/x"]),
        ("/ab", &["ab/x"]),
        ("/a/b/c/d", &["a/b/c/d/x"]),
        ("/z", &[]),
        ("/a/b/c/d/x", &[]),
        ("/a/b/x", &[]),
        ("", &names),
    ];
    for (below, names) in expected {
        let expected: BTreeSet<_> = names.iter().map(|name| format!("{prefix}/{name}")).collect();
        must_be(list(store, &format!("{prefix}{below}")).await?, expected, &format!("objects below {prefix}{below}"))?;
    }
    let everything = list(store, "").await?;
    must_be(everything.contains(&format!("{prefix}/a/x")), true, "whether the empty prefix lists the whole store")
}

/// `list` returns every object once, even if there are more than fit into one response of a server.
pub async fn list_is_complete(store: &dyn SnapshotStore, prefix: &str) -> ClauseResult {
    let keys: BTreeSet<String> = (0..1_100).map(|number| format!("{prefix}/{}/{number}", number % 3)).collect();
    let creates = keys.iter().map(|key| store.create(key, Bytes::from_static(b"x")));
    must(stream::iter(creates).buffer_unordered(16).try_collect::<Vec<()>>().await, "create of 1100 objects")?;
    let listed: Vec<_> = must(store.list(prefix).try_collect().await, "list")?;
    must_be(listed.len(), keys.len(), "listed objects")?;
    must_be(listed.into_iter().map(|info| info.key).collect::<BTreeSet<_>>() == keys, true, "whether all are listed")
}

/// Names are preserved: they are not encoded, decoded, case-folded or normalized.
pub async fn unusual_names_are_preserved(store: &dyn SnapshotStore, prefix: &str) -> ClauseResult {
    let names = [
        "with space",
        " leading and trailing ",
        "%41",
        "%2F",
        "%",
        "&amp;",
        "a+b",
        "a=b;c,d",
        "?q",
        "*",
        "~",
        "'\"`",
        "(x)[y]{z}",
        "<>|^",
        "$@!",
        ".hidden",
        "...",
        "-dash",
        "ÄÖ",
        "日本語",
        "🗄",
        "CON",
        "UPPER",
        "a.b.c",
        // The same letter, composed and decomposed. Some file systems treat them as one name, so each has a directory
        // of its own.
        "nfc/\u{e9}",
        "nfd/e\u{301}",
    ];
    for name in names {
        for key in [format!("{prefix}/{name}"), format!("{prefix}/in {name}/{name}/x")] {
            let bytes = Bytes::from(key.clone());
            must(store.create(&key, bytes.clone()).await, &format!("create of {key:?}"))?;
            must_hold(store, &key, &bytes, "under an unusual name").await?;
            must_be(must(store.head(&key).await, "head of an unusual name")?.key, key.clone(), "key by head")?;
        }
    }
    let expected: BTreeSet<_> =
        names.iter().flat_map(|name| [format!("{prefix}/{name}"), format!("{prefix}/in {name}/{name}/x")]).collect();
    must_be(list(store, prefix).await?, expected, "listed unusual names")?;
    for name in names {
        let below = format!("{prefix}/in {name}");
        must_be(list(store, &below).await?.len(), 1, &format!("objects below {below:?}"))?;
        must(store.delete(&format!("{prefix}/{name}")).await, &format!("delete of {name:?}"))?;
        let read = store.get(&format!("{prefix}/{name}"), 100).await;
        must_fail(ErrorKind::NotFound, read, &format!("get of {name:?} after its delete"))?;
    }
    Ok(())
}

/// `delete` removes one object and nothing else, and succeeds if there is none.
pub async fn delete_can_be_repeated(store: &dyn SnapshotStore, prefix: &str) -> ClauseResult {
    let (gone, stays, below) = (format!("{prefix}/a"), format!("{prefix}/ab"), format!("{prefix}/c/d"));
    for key in [&gone, &stays, &below] {
        must(store.create(key, Bytes::from_static(b"x")).await, "create")?;
    }
    for what in ["delete", "delete of a deleted key"] {
        must(store.delete(&gone).await, what)?;
        must_fail(ErrorKind::NotFound, store.get(&gone, 10).await, "get of a deleted key")?;
    }
    must(store.delete(&format!("{prefix}/never/was")).await, "delete of a key that never existed")?;
    must(store.delete(&format!("{stays}/below")).await, "delete of a key below an object")?;
    must(store.delete(&format!("{prefix}/c")).await, "delete of a key that is a directory")?;
    must_be(list(store, prefix).await?, BTreeSet::from([stays, below]), "objects left")?;
    must(store.create(&gone, Bytes::from_static(b"again")).await, "create of a deleted key")?;
    must_hold(store, &gone, b"again", "created again after a delete").await
}

/// An upload keeps all bytes in order, for sizes around the part size and pieces of all sizes.
pub async fn uploads_of_all_sizes(store: &dyn SnapshotStore, prefix: &str) -> ClauseResult {
    let sizes_bytes = [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES + 12_345];
    for (number, size_bytes) in sizes_bytes.into_iter().enumerate() {
        let key = format!("{prefix}/{size_bytes}");
        let bytes = pattern(size_bytes, 4);
        let size_hint_bytes = (number % 2 == 0).then_some(size_bytes as u64);
        let mut upload = must(store.upload(&key, size_hint_bytes).await, "upload")?;
        let mut rest = bytes.clone();
        for piece_bytes in [0, 1, 4_095, 70_001, PART_BYTES, 2_999_999, PART_BYTES + 3].into_iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let piece = rest.split_to(rest.len().min(piece_bytes));
            must(upload.write(piece).await, &format!("write to an upload of {size_bytes} bytes"))?;
        }
        if number % 3 == 0 {
            must(upload.send_rest().await, &format!("sending the rest of an upload of {size_bytes} bytes"))?;
        }
        let written_bytes = must(upload.finish().await, &format!("finish of an upload of {size_bytes} bytes"))?;
        must_be(written_bytes, size_bytes as u64, "size by finish")?;
        must_hold(store, &key, &bytes, &format!("after an upload of {size_bytes} bytes")).await?;
        must(store.delete(&key).await, "delete")?;
    }
    Ok(())
}

/// An object is invisible before `finish`, however much of it was written.
pub async fn upload_is_invisible_before_finish(store: &dyn SnapshotStore, prefix: &str) -> ClauseResult {
    let key = format!("{prefix}/object");
    let mut upload = must(store.upload(&key, None).await, "upload")?;
    must_be_absent(store, prefix, &key, "before the first write").await?;
    must(upload.write(Bytes::from_static(b"x")).await, "write")?;
    must_be_absent(store, prefix, &key, "after a small write").await?;
    let much = pattern(2 * PART_BYTES, 5);
    must(upload.write(much.clone()).await, "write")?;
    must_be_absent(store, prefix, &key, "after a write of two parts").await?;
    must(upload.send_rest().await, "sending the rest")?;
    must_be_absent(store, prefix, &key, "after sending the rest").await?;
    must(upload.finish().await, "finish")?;
    must_be(list(store, prefix).await?, BTreeSet::from([key.clone()]), "objects after finish")?;
    must_hold(store, &key, &[b"x", &much[..]].concat(), "after finish").await
}

/// An upload that was aborted or dropped leaves nothing, and its key can be created.
pub async fn aborted_and_dropped_uploads_leave_nothing(store: &dyn SnapshotStore, prefix: &str) -> ClauseResult {
    for size_bytes in [0, 10, 2 * PART_BYTES + 10] {
        for abort in [true, false] {
            let key = format!("{prefix}/object");
            let mut upload = must(store.upload(&key, None).await, "upload")?;
            must(upload.write(pattern(size_bytes, 6)).await, "write")?;
            let what = if abort { "abort" } else { "drop" };
            match abort {
                true => must(upload.abort().await, "abort")?,
                false => drop(upload),
            }
            must_be_absent(store, prefix, &key, &format!("after the {what} of an upload")).await?;
            must(store.create(&key, Bytes::from_static(b"x")).await, &format!("create after {what}"))?;
            must_hold(store, &key, b"x", &format!("created after {what}")).await?;
            must(store.delete(&key).await, "delete")?;
        }
    }
    Ok(())
}

fn must<T>(outcome: StoreResult<T>, what: &str) -> Result<T, String> {
    outcome.map_err(|error| format!("{what} should succeed, but failed: {error:?}"))
}

fn must_fail<T>(kind: ErrorKind, outcome: StoreResult<T>, what: &str) -> ClauseResult {
    match outcome {
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => Err(format!("{what} should fail with {kind:?}, but failed with {error:?}")),
        Ok(_) => Err(format!("{what} should fail with {kind:?}, but succeeded")),
    }
}

fn must_be<T: PartialEq + Debug>(found: T, expected: T, what: &str) -> ClauseResult {
    if found == expected { Ok(()) } else { Err(format!("{what}: found {found:?}, expected {expected:?}")) }
}

async fn must_hold(store: &dyn SnapshotStore, key: &str, expected: &[u8], when: &str) -> ClauseResult {
    let size_bytes = must(store.head(key).await, &format!("head {when}"))?.size_bytes;
    must_be(size_bytes, expected.len() as u64, &format!("size by head {when}"))?;
    let read = must(store.get(key, expected.len() as u64).await, &format!("get {when}"))?;
    must_be(read == expected, true, &format!("whether the bytes are the expected ones {when}"))
}

async fn must_be_absent(store: &dyn SnapshotStore, prefix: &str, key: &str, when: &str) -> ClauseResult {
    must_fail(ErrorKind::NotFound, store.get(key, u64::MAX).await, &format!("get {when}"))?;
    must_fail(ErrorKind::NotFound, store.head(key).await, &format!("head {when}"))?;
    must_be(list(store, prefix).await?, BTreeSet::new(), &format!("objects listed {when}"))
}

async fn list(store: &dyn SnapshotStore, prefix: &str) -> Result<BTreeSet<String>, String> {
    let infos: Vec<_> = must(store.list(prefix).try_collect().await, &format!("list of {prefix:?}"))?;
    Ok(infos.into_iter().map(|info| info.key).collect())
}

/// Deletes what is below the prefix and nothing else, even if `list` returns more.
async fn clear(store: &dyn SnapshotStore, prefix: &str) -> ClauseResult {
    let own = format!("{prefix}/");
    let keys: Vec<_> = list(store, prefix).await?.into_iter().filter(|key| key.starts_with(&own)).collect();
    let deletes = keys.iter().map(|key| store.delete(key));
    must(stream::iter(deletes).buffer_unordered(16).try_collect::<Vec<()>>().await, "delete")?;
    must_be(list(store, prefix).await?.len(), 0, "objects that were not deleted")
}

/// Returns bytes that differ by position and by seed.
fn pattern(size_bytes: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::with_capacity(size_bytes + 8);
    while bytes.len() < size_bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size_bytes);
    bytes.into()
}
