//! Corrupt and hostile files: a view returns the right error, never panics, and never returns rows that were not
//! committed.

use std::{
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use redb::Database;
use redb_live::{Error, LiveFile, Mode};
use twox_hash::XxHash3_128;

use crate::support::*;

const PAGE_LEN: usize = 4096;
const SLOT_LEN: usize = 128;

/// A small database with two commits.
struct Sample {
    bytes: Vec<u8>,
    /// The committed states, oldest first.
    states: Vec<TableRows>,
}

/// Returns a file that was closed cleanly, or a copy of a file that is open in redb.
fn sample(v3: bool, is_clean: bool) -> Sample {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut builder = Database::builder();
    builder.create_with_file_format_v3(v3);
    let database = builder.create_with_backend(HookedFile::create(&path)).unwrap();
    let mut states = vec![TableRows::new()];
    for generation in 0..2u64 {
        let txn = database.begin_write().unwrap();
        for i in 0..120u64 {
            let value = noise(i + generation * 1_000, 150);
            txn.open_table(STR_BYTES).unwrap().insert(format!("row {i:03}").as_str(), value.as_slice()).unwrap();
        }
        txn.open_table(INT_INT).unwrap().insert(generation, 5).unwrap();
        txn.commit().unwrap();
        states.push(redb_rows(&database));
    }
    let open = std::fs::read(&path).unwrap();
    drop(database);
    Sample { bytes: if is_clean { std::fs::read(&path).unwrap() } else { open }, states }
}

/// A database file in a directory of its own.
struct TempFile {
    dir: tempfile::TempDir,
    path: PathBuf,
}

impl TempFile {
    fn new(bytes: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        std::fs::write(&path, bytes).unwrap();
        Self { dir, path }
    }

    fn rows(&self, mode: Mode) -> Result<TableRows, Error> {
        file_rows(&self.path, mode, self.dir.path())
    }

    fn error(&self) -> Error {
        let error = self.rows(Mode::Mirror).expect_err("the corruption was not detected");
        assert!(file_rows_with_fallback(&self.path, self.dir.path()).is_err());
        let text = error.to_string();
        assert!(!text.ends_with('.') && text.contains("db"), "{text}");
        error
    }
}

fn primary_slot(bytes: &[u8]) -> usize {
    if bytes[9] & 1 == 0 { 64 } else { 64 + SLOT_LEN }
}

/// Updates the checksum of a commit slot.
fn fix_slot(bytes: &mut [u8], slot: usize) {
    let sum = XxHash3_128::oneshot(&bytes[slot..slot + 112]);
    bytes[slot + 112..slot + 128].copy_from_slice(&sum.to_le_bytes());
}

/// Returns the byte range of the page whose number is stored at `at`.
fn page_at(bytes: &[u8], at: usize) -> Range<usize> {
    let number = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let header_pages = u32::from_le_bytes(bytes[16..20].try_into().unwrap()) as usize;
    let len = PAGE_LEN << (number >> 59);
    let start = PAGE_LEN + header_pages * PAGE_LEN + (number & 0xF_FFFF) as usize * len;
    start..start + len
}

/// Returns the length that the checksum covers, in a page whose keys and values have no fixed width. Never fails.
fn covered_len(page: &[u8]) -> usize {
    let count = u16::from_le_bytes([page[2], page[3]]) as usize;
    let at = match page[0] {
        1 => 4 + 4 * count + 4 * count.saturating_sub(1),
        _ => 8 + 24 * (count + 1) + 4 * count.saturating_sub(1),
    };
    let end = page.get(at..at + 4).map_or(0, |end| u32::from_le_bytes(end.try_into().unwrap()) as usize);
    end.min(page.len())
}

/// Returns the offset of the definition of the table `str to bytes`. The table tree has only one page.
fn definition_at(bytes: &[u8]) -> usize {
    let page = page_at(bytes, primary_slot(bytes) + 8);
    let count = usize::from(bytes[page.start + 2]);
    let end = |i: usize| {
        let at = page.start + 4 + 4 * count + 4 * i;
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
    };
    page.start + end(count - 2)
}

/// Updates all checksums, from the table's root page to the commit slot.
fn fix_checksums(bytes: &mut [u8]) {
    let definition = definition_at(bytes);
    let root = page_at(bytes, definition + 10);
    fix_page(bytes, root, definition + 18);
    fix_table_tree(bytes);
}

/// Updates the checksums of the table tree and of the commit slot.
fn fix_table_tree(bytes: &mut [u8]) {
    let slot = primary_slot(bytes);
    fix_page(bytes, page_at(bytes, slot + 8), slot + 16);
    fix_slot(bytes, slot);
}

/// Updates the checksum of a page, which its parent stores at `checksum_at`.
fn fix_page(bytes: &mut [u8], page: Range<usize>, checksum_at: usize) {
    let page = &bytes[page];
    let sum = XxHash3_128::oneshot(&page[..covered_len(page)]);
    bytes[checksum_at..checksum_at + 16].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn a_file_of_another_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(LiveFile::open(dir.path().join("none")), Err(Error::NotFound { .. })));
    assert!(matches!(LiveFile::open(dir.path()), Err(Error::NotRedb { .. })));
    let text = "This is a text, and longer than the header of a database. ".repeat(20);
    let sample = sample(false, true).bytes;
    for bytes in [&b""[..], b"redb", text.as_bytes(), &sample[..9], &sample[..319]] {
        assert!(matches!(LiveFile::open(TempFile::new(bytes).path), Err(Error::NotRedb { .. })));
    }
}

#[test]
fn an_unsupported_version_is_refused() {
    for (v3, version) in [(false, 1), (false, 4), (true, 9)] {
        let Sample { bytes, .. } = sample(v3, true);
        for slots in [vec![64, 192], vec![primary_slot(&bytes)]] {
            let mut bytes = bytes.clone();
            for slot in slots {
                bytes[slot] = version;
                fix_slot(&mut bytes, slot);
            }
            let error = LiveFile::open(TempFile::new(&bytes).path).unwrap_err();
            assert!(matches!(error, Error::UnsupportedVersion { version: v, .. } if v == version), "{error}");
        }
    }
}

#[test]
fn an_invalid_geometry_is_corruption() {
    let Sample { bytes, .. } = sample(false, true);
    for (at, value) in [(12, 0u32), (12, 4095), (12, 1 << 31), (12, 256), (16, u32::MAX), (20, 0), (20, u32::MAX)] {
        let mut bytes = bytes.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        assert!(matches!(TempFile::new(&bytes).error(), Error::Corrupt { page: None, .. }));
    }
}

#[test]
fn in_a_clean_file_only_the_primary_commit_slot_must_be_intact() {
    for v3 in [false, true] {
        let Sample { bytes, states } = sample(v3, true);
        let slot = primary_slot(&bytes);
        for at in 1..SLOT_LEN {
            let mut corrupt = bytes.clone();
            corrupt[slot + at] ^= 0x10;
            assert!(matches!(TempFile::new(&corrupt).error(), Error::Corrupt { .. }));
        }
        let mut corrupt = bytes.clone();
        corrupt[256 - slot + 20] ^= 0x10;
        assert_eq!(&TempFile::new(&corrupt).rows(Mode::Direct).unwrap(), states.last().unwrap());
    }
}

#[test]
fn a_corrupt_page_of_a_clean_file_is_reported_with_its_table() {
    let Sample { bytes, .. } = sample(false, true);
    let definition = definition_at(&bytes);
    let root = page_at(&bytes, definition + 10);
    assert_eq!(bytes[root.start], 2, "the root of the table is not a branch");
    let children = usize::from(bytes[root.start + 2]) + 1;
    let leaf = page_at(&bytes, root.start + 8 + 16 * children);
    assert_eq!(bytes[leaf.start], 1, "the child of the branch is not a leaf");
    for at in
        [root.start, root.start + 2, root.start + 20, leaf.start, leaf.start + 3, leaf.start + 4, leaf.start + 999]
    {
        let mut corrupt = bytes.clone();
        corrupt[at] ^= 1;
        let file = TempFile::new(&corrupt);
        for mode in [Mode::Direct, Mode::Mirror] {
            match file.rows(mode) {
                Err(Error::Corrupt { page: Some(_), table: Some(table), .. }) => assert_eq!(table, "str to bytes"),
                other => panic!("{mode:?} at {at}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_truncated_clean_file_is_corrupt() {
    for v3 in [false, true] {
        let Sample { bytes, .. } = sample(v3, true);
        for len in [320, 4096, 5000, bytes.len() / 2, bytes.len() - 4096, bytes.len() - 1] {
            assert!(matches!(TempFile::new(&bytes[..len]).error(), Error::Corrupt { .. }));
        }
    }
}

#[test]
fn a_wrong_count_of_rows_or_tables_is_corruption() {
    let Sample { bytes, .. } = sample(false, true);
    for rows in [0u64, 119, 121, u64::MAX] {
        let mut corrupt = bytes.clone();
        let definition = definition_at(&bytes);
        corrupt[definition + 1..definition + 9].copy_from_slice(&rows.to_le_bytes());
        fix_table_tree(&mut corrupt);
        match TempFile::new(&corrupt).error() {
            Error::Corrupt { table: Some(table), .. } => assert_eq!(table, "str to bytes"),
            other => panic!("{other}"),
        }
    }
    let mut corrupt = bytes.clone();
    let slot = primary_slot(&bytes);
    corrupt[slot + 32] += 1;
    fix_slot(&mut corrupt, slot);
    assert!(matches!(TempFile::new(&corrupt).error(), Error::Corrupt { page: None, .. }));
}

#[test]
fn a_branch_that_references_one_child_many_times_is_corrupt() {
    let Sample { bytes, .. } = sample(false, true);
    let root = page_at(&bytes, definition_at(&bytes) + 10);
    let children = usize::from(bytes[root.start + 2]) + 1;
    let (checksums, numbers) = (root.start + 8, root.start + 8 + 16 * children);
    let mut corrupt = bytes.clone();
    for i in 1..children {
        corrupt.copy_within(checksums..checksums + 16, checksums + 16 * i);
        corrupt.copy_within(numbers..numbers + 8, numbers + 8 * i);
    }
    fix_checksums(&mut corrupt);
    assert!(matches!(TempFile::new(&corrupt).error(), Error::Corrupt { .. }));
}

/// Returns a page number as it is stored: the index, and the order in the uppermost bits.
fn packed(index: u64, order: u64) -> u64 {
    index | order << 59
}

/// Returns a leaf of the table tree that defines empty tables with these names.
fn tables_leaf(names: &[String]) -> Vec<u8> {
    let mut definition = vec![0u8; 64];
    definition[0] = 3;
    definition[52] = 1;
    definition[56] = 1;
    definition[60] = 2;
    definition.extend([1, b'k', 1, b'v']);
    let mut leaf = vec![1, 0];
    leaf.extend((names.len() as u16).to_le_bytes());
    let mut end = 4 + 8 * names.len();
    for len in names.iter().map(String::len).chain(names.iter().map(|_| definition.len())) {
        end += len;
        leaf.extend((end as u32).to_le_bytes());
    }
    names.iter().for_each(|name| leaf.extend(name.as_bytes()));
    names.iter().for_each(|_| leaf.extend(&definition));
    leaf
}

/// Returns a branch that references one child many times. Its keys are empty.
fn repeating_branch(children: usize, child: u64, checksum: u128) -> Vec<u8> {
    let mut branch = vec![2, 0];
    branch.extend((children as u16 - 1).to_le_bytes());
    branch.extend([0; 4]);
    (0..children).for_each(|_| branch.extend(checksum.to_le_bytes()));
    (0..children).for_each(|_| branch.extend(child.to_le_bytes()));
    let end = (branch.len() + 4 * (children - 1)) as u32;
    (1..children).for_each(|_| branch.extend(end.to_le_bytes()));
    branch
}

/// Writes a file whose table tree references one leaf `children * children` times, with correct checksums. The file is
/// sparse and long: its length permits many pages.
fn write_hostile_table_tree(path: &Path, names: &[String], children: usize, entries: u64) {
    const DATA_PAGES: u64 = 1 << 16;
    let file = std::fs::File::create(path).unwrap();
    file.set_len((1 + DATA_PAGES) * PAGE_LEN as u64).unwrap();
    let put = |index: u64, bytes: &[u8]| file.write_all_at(bytes, (1 + index) * PAGE_LEN as u64).unwrap();
    let leaf = tables_leaf(names);
    let order = leaf.len().div_ceil(PAGE_LEN).next_power_of_two().trailing_zeros();
    let (lower_at, upper_at) = (DATA_PAGES / 2, DATA_PAGES / 2 + 1);
    let lower = repeating_branch(children, packed(0, order.into()), XxHash3_128::oneshot(&leaf));
    let upper = repeating_branch(children, packed(lower_at, 0), XxHash3_128::oneshot(&lower));
    put(0, &leaf);
    put(lower_at, &lower);
    put(upper_at, &upper);
    let mut header = vec![0u8; 320];
    header[..9].copy_from_slice(b"redb\x1A\x0A\xA9\x0D\x0A");
    for (at, value) in [(12, PAGE_LEN as u32), (20, DATA_PAGES as u32), (24, 1)] {
        header[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    for slot in [64, 64 + SLOT_LEN] {
        header[slot..slot + 2].copy_from_slice(&[2, 1]);
        header[slot + 8..slot + 16].copy_from_slice(&packed(upper_at, 0).to_le_bytes());
        header[slot + 16..slot + 32].copy_from_slice(&XxHash3_128::oneshot(&upper).to_le_bytes());
        header[slot + 32..slot + 40].copy_from_slice(&entries.to_le_bytes());
        fix_slot(&mut header, slot);
    }
    file.write_all_at(&header, 0).unwrap();
}

#[test]
fn a_table_tree_that_references_one_leaf_many_times_is_refused_early() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let names: Vec<String> = (0..40).map(|i| format!("{i:02}")).collect();
    let (same, reason_order, reason_count) = (vec!["a".to_owned(); 40], "order", "more tables");
    for (names, children, entries, expected) in [
        (&names, 100, 100 * 100 * 40, reason_order),
        (&same, 100, 100 * 100 * 40, reason_order),
        (&names, 100, 39, reason_count),
    ] {
        write_hostile_table_tree(&path, names, children, entries);
        for mode in [Mode::Direct, Mode::Mirror] {
            let view = LiveFile::open(&path).unwrap().view(&options(mode, dir.path()));
            match view.map(|view| view.tables().unwrap().len()) {
                Err(Error::Corrupt { page: Some(_), reason, .. }) => assert!(reason.contains(expected), "{reason}"),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_mirror_needs_space_and_a_directory_and_leaves_no_file_behind() {
    let Sample { bytes, states } = sample(false, false);
    let file = TempFile::new(&bytes);
    let scratch = tempfile::tempdir().unwrap();
    let live = LiveFile::open(&file.path).unwrap();
    let view = live.view(&options(Mode::Mirror, scratch.path())).unwrap();
    assert!(view.is_mirrored());
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    assert_eq!(&view_rows(&view).unwrap(), states.last().unwrap());

    let nowhere = scratch.path().join("nowhere");
    assert!(matches!(live.view(&options(Mode::Mirror, &nowhere)), Err(Error::Scratch { dir, .. }) if dir == nowhere));

    // Make the file longer than the free space of the filesystem. The added part is sparse.
    let stat = rustix::fs::statvfs(scratch.path()).unwrap();
    let len = stat.f_bavail * stat.f_frsize + (16 << 30);
    std::fs::File::options().write(true).open(&file.path).unwrap().set_len(len).unwrap();
    match live.view(&options(Mode::Mirror, scratch.path())) {
        Err(Error::StorageFull { dir, needed_bytes, available_bytes }) => {
            assert_eq!((dir.as_path(), needed_bytes), (scratch.path(), len));
            assert!(available_bytes < needed_bytes);
        }
        // On a filesystem with reflinks, the copy needs no space.
        other => assert_eq!(&view_rows(&other.unwrap()).unwrap(), states.last().unwrap()),
    }
    assert_eq!(&file_rows_with_fallback(&file.path, scratch.path()).unwrap(), states.last().unwrap());
}

#[derive(Debug, Clone)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Fill(prop::sample::Index, u8, u16),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        8 => (any::<prop::sample::Index>(), 1u8..).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        1 => any::<prop::sample::Index>().prop_map(Damage::Cut),
        2 => (any::<prop::sample::Index>(), any::<u8>(), 1u16..5_000).prop_map(|(at, byte, len)| Damage::Fill(at, byte, len)),
    ]
}

/// Applies the damage anywhere in the file or, with `aim`, to the header and to pages that are in use.
fn apply_damage(bytes: &mut Vec<u8>, targets: &[Range<usize>], aim: bool, damage: &Damage) {
    let offset = |at: &prop::sample::Index| {
        if aim {
            let total = targets.iter().map(|range| range.len()).sum();
            let mut i = at.index(total);
            for range in targets {
                if i < range.len() {
                    return range.start + i;
                }
                i -= range.len();
            }
        }
        at.index(targets.iter().map(|range| range.end).max().unwrap())
    };
    match damage {
        Damage::Flip(at, bits) => {
            if let Some(byte) = bytes.get_mut(offset(at)) {
                *byte ^= bits;
            }
        }
        Damage::Cut(at) => bytes.truncate(offset(at)),
        Damage::Fill(at, byte, len) => {
            let start = offset(at).min(bytes.len());
            let end = (start + usize::from(*len)).min(bytes.len());
            bytes[start..end].fill(*byte);
        }
    }
}

/// Returns the header and the pages of the table tree and of the table `str to bytes`.
fn ranges_in_use(bytes: &[u8]) -> Vec<Range<usize>> {
    let definition = definition_at(bytes);
    let (tree, root) = (page_at(bytes, primary_slot(bytes) + 8), page_at(bytes, definition + 10));
    let children = usize::from(bytes[root.start + 2]) + 1;
    let leaves = (0..children).map(|i| page_at(bytes, root.start + 8 + 16 * children + 8 * i));
    [0..320, tree, root.clone()].into_iter().chain(leaves).collect()
}

/// Asserts that each mode returns an error or one of the allowed states.
fn assert_error_or_allowed(path: &Path, dir: &Path, allowed: &[TableRows]) {
    for mode in [Mode::Direct, Mode::Mirror] {
        if let Ok(rows) = file_rows(path, mode, dir) {
            assert!(allowed.contains(&rows), "rows that were never committed, in {mode:?} mode");
        }
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn a_damaged_file_gives_an_error_or_committed_rows(
        v3: bool, is_clean: bool, aim: bool, damages in prop::collection::vec(damage(), 1..4),
    ) {
        thread_local! {
            static SAMPLES: [Sample; 4] =
                [sample(false, false), sample(false, true), sample(true, false), sample(true, true)];
        }
        SAMPLES.with(|samples| {
            let Sample { bytes, states } = &samples[usize::from(v3) * 2 + usize::from(is_clean)];
            let targets = ranges_in_use(bytes);
            let mut damaged = bytes.clone();
            for damage in &damages {
                apply_damage(&mut damaged, &targets, aim, damage);
            }
            // No checksum covers the god byte, which says which commit is the newest and whether the file was closed.
            let is_trusted = is_clean && damaged.get(9) == Some(&bytes[9]);
            let allowed = if is_trusted { &states[states.len() - 1..] } else { &states[..] };
            let file = TempFile::new(&damaged);
            assert_error_or_allowed(&file.path, file.dir.path(), allowed);
        });
    }

    #[test]
    fn hostile_pages_with_correct_checksums_do_not_panic(
        v3: bool, is_clean: bool, inner in 0usize..3,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        thread_local! {
            static SAMPLES: [Sample; 4] =
                [sample(false, false), sample(false, true), sample(true, false), sample(true, true)];
        }
        SAMPLES.with(|samples| {
            let mut bytes = samples[usize::from(v3) * 2 + usize::from(is_clean)].bytes.clone();
            let slot = primary_slot(&bytes);
            let (tree, root) = (page_at(&bytes, slot + 8), page_at(&bytes, definition_at(&bytes) + 10));
            let tree = tree.start..tree.start + covered_len(&bytes[tree]);
            let root = root.start..root.start + covered_len(&bytes[root]);
            let range = [slot..slot + 112, tree, root][inner].clone();
            for (at, byte) in edits {
                bytes[range.start + at.index(range.len())] = byte;
            }
            match inner {
                0 => fix_slot(&mut bytes, slot),
                1 => fix_table_tree(&mut bytes),
                _ => fix_checksums(&mut bytes),
            }
            let file = TempFile::new(&bytes);
            for mode in [Mode::Direct, Mode::Mirror] {
                drop(file.rows(mode));
            }
        });
    }
}
