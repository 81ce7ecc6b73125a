//! Damage and hostility of every class: an error by its name, never a panic, never rows that were not committed.

mod common;

use std::{
    collections::BTreeMap,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use common::*;
use proptest::prelude::*;
use redb::Database;
use redb_live::{Error, LiveFile, Mode};
use twox_hash::XxHash3_128;

const PAGE_LEN: usize = 4096;
const SLOT_LEN: usize = 128;

/// A small database of two commits, of which the second is the last, cleanly closed or as it stands while it is open.
struct Sample {
    bytes: Vec<u8>,
    states: Vec<BTreeMap<String, Rows>>,
}

fn sample(v3: bool, is_clean: bool) -> Sample {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let mut builder = Database::builder();
    builder.create_with_file_format_v3(v3);
    let database = builder.create_with_backend(HookedFile::create(&path)).unwrap();
    let mut states = vec![BTreeMap::new()];
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

struct Home {
    dir: tempfile::TempDir,
    path: PathBuf,
}

fn home(bytes: &[u8]) -> Home {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    std::fs::write(&path, bytes).unwrap();
    Home { dir, path }
}

impl Home {
    fn rows(&self, mode: Mode) -> Result<BTreeMap<String, Rows>, Error> {
        file_rows(&self.path, mode, self.dir.path())
    }

    fn error(&self) -> Error {
        let error = self.rows(Mode::Mirror).expect_err("damage goes unnoticed");
        assert!(rows_as_advised(&self.path, self.dir.path()).is_err());
        let text = error.to_string();
        assert!(!text.ends_with('.') && text.contains("db"), "{text}");
        error
    }
}

fn primary_slot(bytes: &[u8]) -> usize {
    if bytes[9] & 1 == 0 { 64 } else { 64 + SLOT_LEN }
}

fn fix_slot(bytes: &mut [u8], slot: usize) {
    let sum = XxHash3_128::oneshot(&bytes[slot..slot + 112]);
    bytes[slot + 112..slot + 128].copy_from_slice(&sum.to_le_bytes());
}

/// The byte range of a page of order 0 or above, by the number that is stored at `at`.
fn page_at(bytes: &[u8], at: usize) -> std::ops::Range<usize> {
    let number = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let header_pages = u32::from_le_bytes(bytes[16..20].try_into().unwrap()) as usize;
    let len = PAGE_LEN << (number >> 59);
    let start = PAGE_LEN + header_pages * PAGE_LEN + (number & 0xF_FFFF) as usize * len;
    start..start + len
}

/// What the checksum covers in a page of keys and values of any length, as far as the page makes sense.
fn used_len(page: &[u8]) -> usize {
    let count = u16::from_le_bytes([page[2], page[3]]) as usize;
    let at = match page[0] {
        1 => 4 + 4 * count + 4 * count.saturating_sub(1),
        _ => 8 + 24 * (count + 1) + 4 * count.saturating_sub(1),
    };
    let end = page.get(at..at + 4).map_or(0, |end| u32::from_le_bytes(end.try_into().unwrap()) as usize);
    end.min(page.len())
}

/// Where the definition of the table `str to bytes` begins in the table tree's only page.
fn definition_at(bytes: &[u8]) -> usize {
    let page = page_at(bytes, primary_slot(bytes) + 8);
    let count = usize::from(bytes[page.start + 2]);
    let end = |i: usize| {
        let at = page.start + 4 + 4 * count + 4 * i;
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
    };
    page.start + end(count - 2)
}

/// Makes the checksums right again: of the table's root page, of the table tree's page, and of the slot.
fn fix_checksums(bytes: &mut [u8]) {
    let definition = definition_at(bytes);
    let root = page_at(bytes, definition + 10);
    fix_page(bytes, root, definition + 18);
    fix_table_tree(bytes);
}

fn fix_table_tree(bytes: &mut [u8]) {
    let slot = primary_slot(bytes);
    fix_page(bytes, page_at(bytes, slot + 8), slot + 16);
    fix_slot(bytes, slot);
}

fn fix_page(bytes: &mut [u8], page: std::ops::Range<usize>, checksum_at: usize) {
    let page = &bytes[page];
    let sum = XxHash3_128::oneshot(&page[..used_len(page)]);
    bytes[checksum_at..checksum_at + 16].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn what_is_not_a_redb_file_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(LiveFile::open(dir.path().join("none")), Err(Error::NotFound { .. })));
    assert!(matches!(LiveFile::open(dir.path()), Err(Error::NotRedb { .. })));
    let text = "This is a text, and longer than the header of a database. ".repeat(20);
    let sample = sample(false, true).bytes;
    for bytes in [&b""[..], b"redb", text.as_bytes(), &sample[..9], &sample[..319]] {
        assert!(matches!(LiveFile::open(home(bytes).path), Err(Error::NotRedb { .. })));
    }
}

#[test]
fn another_version_is_refused_by_name() {
    for (v3, version) in [(false, 1), (false, 4), (true, 9)] {
        let Sample { bytes, .. } = sample(v3, true);
        for slots in [vec![64, 192], vec![primary_slot(&bytes)]] {
            let mut bytes = bytes.clone();
            for slot in slots {
                bytes[slot] = version;
                fix_slot(&mut bytes, slot);
            }
            let error = LiveFile::open(home(&bytes).path).unwrap_err();
            assert!(matches!(error, Error::UnsupportedVersion { version: v, .. } if v == version), "{error}");
        }
    }
}

#[test]
fn impossible_geometry_is_damage() {
    let Sample { bytes, .. } = sample(false, true);
    for (at, value) in [(12, 0u32), (12, 4095), (12, 1 << 31), (12, 256), (16, u32::MAX), (20, 0), (20, u32::MAX)] {
        let mut bytes = bytes.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        assert!(matches!(home(&bytes).error(), Error::Damaged { page: None, .. }));
    }
}

#[test]
fn a_flipped_byte_in_the_slot_of_a_clean_file_is_damage_and_in_the_other_slot_nothing() {
    for v3 in [false, true] {
        let Sample { bytes, states } = sample(v3, true);
        let slot = primary_slot(&bytes);
        for at in 1..SLOT_LEN {
            let mut broken = bytes.clone();
            broken[slot + at] ^= 0x10;
            assert!(matches!(home(&broken).error(), Error::Damaged { .. }));
        }
        let mut broken = bytes.clone();
        broken[256 - slot + 20] ^= 0x10;
        assert_eq!(&home(&broken).rows(Mode::Direct).unwrap(), states.last().unwrap());
    }
}

#[test]
fn a_flipped_byte_in_a_page_of_a_clean_file_is_damage_with_its_page_and_table() {
    let Sample { bytes, .. } = sample(false, true);
    let definition = definition_at(&bytes);
    let root = page_at(&bytes, definition + 10);
    assert_eq!(bytes[root.start], 2, "the table's root is no branch");
    let children = usize::from(bytes[root.start + 2]) + 1;
    let leaf = page_at(&bytes, root.start + 8 + 16 * children);
    assert_eq!(bytes[leaf.start], 1, "the branch's child is no leaf");
    for at in
        [root.start, root.start + 2, root.start + 20, leaf.start, leaf.start + 3, leaf.start + 4, leaf.start + 999]
    {
        let mut broken = bytes.clone();
        broken[at] ^= 1;
        let home = home(&broken);
        for mode in [Mode::Direct, Mode::Mirror] {
            match home.rows(mode) {
                Err(Error::Damaged { page: Some(_), table: Some(table), .. }) => assert_eq!(table, "str to bytes"),
                other => panic!("{mode:?} at {at}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_clean_file_that_lost_its_end_is_damaged() {
    for v3 in [false, true] {
        let Sample { bytes, .. } = sample(v3, true);
        for len in [320, 4096, 5000, bytes.len() / 2, bytes.len() - 4096, bytes.len() - 1] {
            assert!(matches!(home(&bytes[..len]).error(), Error::Damaged { .. }));
        }
    }
}

#[test]
fn a_count_that_is_not_the_tables_is_damage() {
    let Sample { bytes, .. } = sample(false, true);
    for rows in [0u64, 119, 121, u64::MAX] {
        let mut broken = bytes.clone();
        let definition = definition_at(&bytes);
        broken[definition + 1..definition + 9].copy_from_slice(&rows.to_le_bytes());
        fix_table_tree(&mut broken);
        match home(&broken).error() {
            Error::Damaged { table: Some(table), .. } => assert_eq!(table, "str to bytes"),
            other => panic!("{other}"),
        }
    }
    let mut broken = bytes.clone();
    let slot = primary_slot(&bytes);
    broken[slot + 32] += 1;
    fix_slot(&mut broken, slot);
    assert!(matches!(home(&broken).error(), Error::Damaged { page: None, .. }));
}

#[test]
fn pages_that_name_each_other_again_end_with_an_error() {
    let Sample { bytes, .. } = sample(false, true);
    let root = page_at(&bytes, definition_at(&bytes) + 10);
    let children = usize::from(bytes[root.start + 2]) + 1;
    let (checksums, numbers) = (root.start + 8, root.start + 8 + 16 * children);
    let mut broken = bytes.clone();
    for i in 1..children {
        broken.copy_within(checksums..checksums + 16, checksums + 16 * i);
        broken.copy_within(numbers..numbers + 8, numbers + 8 * i);
    }
    fix_checksums(&mut broken);
    assert!(matches!(home(&broken).error(), Error::Damaged { .. }));
}

/// A page's number as it is stored: the index, and the order in the uppermost bits.
fn packed(index: u64, order: u64) -> u64 {
    index | order << 59
}

/// A leaf of tables with these names, all of them without rows.
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

/// A branch that names one child again and again, between keys without bytes.
fn branch_of_one(children: usize, child: u64, checksum: u128) -> Vec<u8> {
    let mut branch = vec![2, 0];
    branch.extend((children as u16 - 1).to_le_bytes());
    branch.extend([0; 4]);
    (0..children).for_each(|_| branch.extend(checksum.to_le_bytes()));
    (0..children).for_each(|_| branch.extend(child.to_le_bytes()));
    let end = (branch.len() + 4 * (children - 1)) as u32;
    (1..children).for_each(|_| branch.extend(end.to_le_bytes()));
    branch
}

/// A file with a table tree of one leaf under `children` times `children` branches, with right checksums. Most of the
/// file is a hole, so that its length allows for many pages.
fn hostile_tables(path: &Path, names: &[String], children: usize, entries: u64) {
    const DATA_PAGES: u64 = 1 << 16;
    let file = std::fs::File::create(path).unwrap();
    file.set_len((1 + DATA_PAGES) * PAGE_LEN as u64).unwrap();
    let put = |index: u64, bytes: &[u8]| file.write_all_at(bytes, (1 + index) * PAGE_LEN as u64).unwrap();
    let leaf = tables_leaf(names);
    let order = leaf.len().div_ceil(PAGE_LEN).next_power_of_two().trailing_zeros();
    let (lower_at, upper_at) = (DATA_PAGES / 2, DATA_PAGES / 2 + 1);
    let lower = branch_of_one(children, packed(0, order.into()), XxHash3_128::oneshot(&leaf));
    let upper = branch_of_one(children, packed(lower_at, 0), XxHash3_128::oneshot(&lower));
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
fn a_leaf_of_tables_that_is_named_again_and_again_ends_with_an_error_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let names: Vec<String> = (0..40).map(|i| format!("{i:02}")).collect();
    let (same, reason_order, reason_count) = (vec!["a".to_owned(); 40], "order", "more tables");
    for (names, children, entries, expected) in [
        (&names, 100, 100 * 100 * 40, reason_order),
        (&same, 100, 100 * 100 * 40, reason_order),
        (&names, 100, 39, reason_count),
    ] {
        hostile_tables(&path, names, children, entries);
        for mode in [Mode::Direct, Mode::Mirror] {
            let view = LiveFile::open(&path).unwrap().view(&options(mode, dir.path()));
            match view.map(|view| view.tables().unwrap().len()) {
                Err(Error::Damaged { page: Some(_), reason, .. }) => assert!(reason.contains(expected), "{reason}"),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_mirror_needs_room_and_a_directory_and_leaves_nothing_there() {
    let Sample { bytes, states } = sample(false, false);
    let home = home(&bytes);
    let scratch = tempfile::tempdir().unwrap();
    let live = LiveFile::open(&home.path).unwrap();
    let view = live.view(&options(Mode::Mirror, scratch.path())).unwrap();
    assert!(view.is_mirrored());
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    assert_eq!(&view_rows(&view).unwrap(), states.last().unwrap());

    let nowhere = scratch.path().join("nowhere");
    assert!(matches!(live.view(&options(Mode::Mirror, &nowhere)), Err(Error::Scratch { dir, .. }) if dir == nowhere));

    // A file of holes that is longer than the filesystem has room.
    let stat = rustix::fs::statvfs(scratch.path()).unwrap();
    let len = stat.f_bavail * stat.f_frsize + (16 << 30);
    std::fs::File::options().write(true).open(&home.path).unwrap().set_len(len).unwrap();
    match live.view(&options(Mode::Mirror, scratch.path())) {
        Err(Error::NoSpace { dir, needed_bytes, available_bytes }) => {
            assert_eq!((dir.as_path(), needed_bytes), (scratch.path(), len));
            assert!(available_bytes < needed_bytes);
        }
        // A filesystem with reflinks copies holes for nothing.
        other => assert_eq!(&view_rows(&other.unwrap()).unwrap(), states.last().unwrap()),
    }
    assert_eq!(&rows_as_advised(&home.path, scratch.path()).unwrap(), states.last().unwrap());
}

#[derive(Debug, Clone)]
enum Harm {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Fill(prop::sample::Index, u8, u16),
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        8 => (any::<prop::sample::Index>(), 1u8..).prop_map(|(at, bits)| Harm::Flip(at, bits)),
        1 => any::<prop::sample::Index>().prop_map(Harm::Cut),
        2 => (any::<prop::sample::Index>(), any::<u8>(), 1u16..5_000).prop_map(|(at, byte, len)| Harm::Fill(at, byte, len)),
    ]
}

/// Half of the harm goes where it hurts: the header, and the pages that are in use.
fn hurt(bytes: &mut Vec<u8>, places: &[std::ops::Range<usize>], aim: bool, harm: &Harm) {
    let place = |at: &prop::sample::Index| {
        if aim {
            let total = places.iter().map(|range| range.len()).sum();
            let mut i = at.index(total);
            for range in places {
                if i < range.len() {
                    return range.start + i;
                }
                i -= range.len();
            }
        }
        at.index(places.iter().map(|range| range.end).max().unwrap())
    };
    match harm {
        Harm::Flip(at, bits) => {
            if let Some(byte) = bytes.get_mut(place(at)) {
                *byte ^= bits;
            }
        }
        Harm::Cut(at) => bytes.truncate(place(at)),
        Harm::Fill(at, byte, len) => {
            let start = place(at).min(bytes.len());
            let end = (start + usize::from(*len)).min(bytes.len());
            bytes[start..end].fill(*byte);
        }
    }
}

fn used_places(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let definition = definition_at(bytes);
    let (tree, root) = (page_at(bytes, primary_slot(bytes) + 8), page_at(bytes, definition + 10));
    let children = usize::from(bytes[root.start + 2]) + 1;
    let leaves = (0..children).map(|i| page_at(bytes, root.start + 8 + 16 * children + 8 * i));
    [0..320, tree, root.clone()].into_iter().chain(leaves).collect()
}

fn never_wrong(path: &Path, dir: &Path, allowed: &[BTreeMap<String, Rows>]) {
    for mode in [Mode::Direct, Mode::Mirror] {
        if let Ok(rows) = file_rows(path, mode, dir) {
            assert!(allowed.contains(&rows), "rows that were never committed, in {mode:?} mode");
        }
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn harm_gives_an_error_or_the_true_rows(
        v3: bool, is_clean: bool, aim: bool, harms in prop::collection::vec(harm(), 1..4),
    ) {
        thread_local! {
            static SAMPLES: [Sample; 4] =
                [sample(false, false), sample(false, true), sample(true, false), sample(true, true)];
        }
        SAMPLES.with(|samples| {
            let Sample { bytes, states } = &samples[usize::from(v3) * 2 + usize::from(is_clean)];
            let places = used_places(bytes);
            let mut hurt_bytes = bytes.clone();
            for harm in &harms {
                hurt(&mut hurt_bytes, &places, aim, harm);
            }
            // The god byte stands under no checksum, and says which commit is the newest and whether to look further.
            let is_trusted = is_clean && hurt_bytes.get(9) == Some(&bytes[9]);
            let allowed = if is_trusted { &states[states.len() - 1..] } else { &states[..] };
            let home = home(&hurt_bytes);
            never_wrong(&home.path, home.dir.path(), allowed);
        });
    }

    #[test]
    fn hostile_pages_with_right_checksums_end_without_panic(
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
            let tree = tree.start..tree.start + used_len(&bytes[tree]);
            let root = root.start..root.start + used_len(&bytes[root]);
            let range = [slot..slot + 112, tree, root][inner].clone();
            for (at, byte) in edits {
                bytes[range.start + at.index(range.len())] = byte;
            }
            match inner {
                0 => fix_slot(&mut bytes, slot),
                1 => fix_table_tree(&mut bytes),
                _ => fix_checksums(&mut bytes),
            }
            let home = home(&bytes);
            for mode in [Mode::Direct, Mode::Mirror] {
                drop(home.rows(mode));
            }
        });
    }
}
