//! Verify, restore, compact and create agree on irregular rows: what cannot be restored beside the records of a state,
//! or into a table of its type, is refused by all of them. The snapshots are forged, as in `verdicts`.

use std::collections::BTreeMap;
use std::sync::Arc;

use ruvector_snapshot::source::{SnapshotSource, SourceReader};
use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::{
    ColumnType, CreateOptions, DatabaseInfo, ErrorKind, IrregularItem, IrregularTable, Record, RestoreOptions, Result,
    TypeOrigin,
};
use ruvector_snapshot_format::irregular::{IrregularTally, OwnedIrregularItem};
use serde_json::json;
use test_fixtures::{TestDir, encode_vector, local_store, memory_store, objects};
use test_servers::S3Server;

use crate::common::bucket_stores::s3_store;
use crate::common::forget;
use crate::increments::fixture::Random;
use crate::verdicts::{
    Court, DIMENSIONS, Forged, OPTIONS_ROW, Row, State, Verdict, bytes, each_item, forge_with, options, record,
    refused, rows, with_options,
};

type Items = Vec<OwnedIrregularItem>;

fn application(name: &str, width: Option<u32>) -> ColumnType {
    ColumnType { origin: TypeOrigin::Application, name: name.to_owned(), width }
}

fn redb(name: &str, width: Option<u32>) -> ColumnType {
    ColumnType { origin: TypeOrigin::Redb, name: name.to_owned(), width }
}

/// A table with these rows, in this order.
fn table(table: IrregularTable, rows: &[(&[u8], &[u8])]) -> Items {
    let rows = rows.iter().map(|(key, value)| OwnedIrregularItem::Row { key: key.to_vec(), value: value.to_vec() });
    [OwnedIrregularItem::Table(table)].into_iter().chain(rows).collect()
}

fn own(name: &str, rows: &[(&[u8], &[u8])]) -> Items {
    table(IrregularTable::of_ruvector(name).unwrap(), rows)
}

fn foreign(key: ColumnType, rows: &[&[u8]]) -> Items {
    let rows: Vec<_> = rows.iter().map(|key| (*key, &b"value"[..])).collect();
    table(IrregularTable { name: "foreign".to_owned(), key, value: redb("&[u8]", None) }, &rows)
}

fn both(mut one: Items, other: Items) -> Items {
    one.extend(other);
    one
}

fn database() -> DatabaseInfo {
    let mut database = with_options(options(DIMENSIONS, "Cosine").to_string());
    database.rows.insert("application".to_owned(), "text".to_owned());
    database
}

/// A database whose dimensions only its vectors show.
fn without_options() -> DatabaseInfo {
    DatabaseInfo::new(DIMENSIONS as u64)
}

/// A database without the row that holds the options: a restore writes it.
fn without_row() -> DatabaseInfo {
    let mut database = with_options("");
    database.rows.clear();
    database
}

struct Case {
    what: &'static str,
    database: DatabaseInfo,
    /// The ids of the records.
    ids: &'static [&'static str],
    items: Items,
    expected: Verdict,
}

/// Irregular rows of Ruvector's own tables, beside records.
fn own_cases() -> Vec<Case> {
    use Verdict::{Corrupt, Intact};
    let (good, other) = (encode_vector(&[1.0, 2.0]), encode_vector(&[1.0, 2.0, 3.0]));
    let (good, other, empty) = (good.as_slice(), other.as_slice(), &[0][..]);
    let case = |what, items, expected| Case { what, database: database(), ids: &["a", "c"], items, expected };
    let infers = |what, ids, items, expected| Case { what, database: without_options(), ids, items, expected };
    let orphan = |id: &[u8], text: &[u8]| own("metadata", &[(id, text)]);
    let vector = |id: &[u8], value: &[u8]| own("vectors", &[(id, value)]);
    vec![
        case("metadata of no vector", orphan(b"b", b"{}"), Intact),
        case("metadata of no vector, no JSON", orphan(b"b", b"no JSON"), Intact),
        case("metadata of a record without metadata", orphan(b"a", b"{}"), Corrupt),
        case("metadata of a record, no JSON", orphan(b"c", b"no JSON"), Corrupt),
        case("a vector of other dimensions", vector(b"b", other), Intact),
        case("a vector of other dimensions with the id of a record", vector(b"a", other), Corrupt),
        case("a malformed vector", vector(b"b", b"\xff"), Intact),
        case("a malformed vector with the id of a record", vector(b"c", b"\xff"), Corrupt),
        case("an id that is not UTF-8", both(orphan(b"\xff", b"{}"), vector(b"\xff", good)), Intact),
        case("a vector that is a record", vector(b"b", good), Corrupt),
        case("rows that form a record", both(orphan(b"b", b"{}"), vector(b"b", good)), Corrupt),
        case("a good vector with other metadata", both(orphan(b"b", b"[1]"), vector(b"b", good)), Intact),
        case("good metadata with another vector", both(orphan(b"b", b"{}"), vector(b"b", other)), Intact),
        case("a good vector beside other metadata", both(orphan(b"b", b"[1]"), vector(b"d", good)), Corrupt),
        case(
            "many rows of which one is a record",
            both(
                own("metadata", &[(b"b", b"[1]"), (b"d", b"{}"), (b"e", b"x")]),
                own("vectors", &[(b"b", good), (b"d", other), (b"e", good), (b"f", good)]),
            ),
            Corrupt,
        ),
        case("a config row that is not text", own("config", &[(b"note", b"\xff")]), Intact),
        case("a config row without a name", own("config", &[(b"\xff", b"text")]), Intact),
        case("a config row that is text", own("config", &[(b"note", b"text")]), Corrupt),
        case("a config row that is there twice", own("config", &[(b"application", b"\xff")]), Corrupt),
        case("the options twice", own("config", &[(OPTIONS_ROW.as_bytes(), b"\xff")]), Corrupt),
        Case {
            what: "the options, which a restore writes",
            database: without_row(),
            ids: &["a"],
            items: own("config", &[(OPTIONS_ROW.as_bytes(), b"\xff")]),
            expected: Corrupt,
        },
        infers("options that are not text", &["a"], own("config", &[(OPTIONS_ROW.as_bytes(), b"\xff")]), Intact),
        infers("other dimensions before the first record", &["b"], vector(b"a", other), Corrupt),
        infers("other dimensions after the first record", &["b"], vector(b"c", other), Intact),
        infers("other dimensions, and no record", &[], vector(b"a", other), Corrupt),
        infers("no dimensions, and no record", &[], vector(b"a", empty), Corrupt),
        infers("no dimensions before the first record", &["b"], vector(b"a", empty), Intact),
        infers(
            "the dimensions of the database come first",
            &["c"],
            both(orphan(b"a", b"x"), own("vectors", &[(b"a", good), (b"b", other)])),
            Intact,
        ),
        infers(
            "the dimensions of the database come second",
            &["c"],
            both(orphan(b"b", b"x"), own("vectors", &[(b"a", other), (b"b", good)])),
            Corrupt,
        ),
    ]
}

/// Foreign tables.
fn foreign_cases() -> Vec<Case> {
    use Verdict::{Corrupt, Intact, Unsupported};
    let number = |of: u64| of.to_le_bytes();
    let pair = |number: u32, text: &str| [&4u32.to_le_bytes()[..], &number.to_le_bytes(), text.as_bytes()].concat();
    let u64s = || redb("u64", Some(8));
    let pairs = || redb("(u32,&str)", None);
    let uuids = || application("uuid", None);
    let case = |what, items, expected| Case { what, database: database(), ids: &["a"], items, expected };
    let value_of = |value: ColumnType, rows: &[(&[u8], &[u8])]| {
        table(IrregularTable { name: "foreign".to_owned(), key: redb("&str", None), value }, rows)
    };
    vec![
        case("no rows", foreign(u64s(), &[]), Intact),
        case("numbers in order", foreign(u64s(), &[&number(2), &number(256)]), Intact),
        case("numbers in the order of their bytes", foreign(u64s(), &[&number(256), &number(2)]), Corrupt),
        case("a number twice", foreign(u64s(), &[&number(1), &number(2), &number(1)]), Corrupt),
        case("signed numbers", foreign(redb("i8", Some(1)), &[&[255], &[0], &[1]]), Intact),
        case("signed numbers out of order", foreign(redb("i8", Some(1)), &[&[0], &[255]]), Corrupt),
        case("numbers without a width", foreign(redb("u64", None), &[]), Corrupt),
        case("numbers of another width", foreign(redb("u64", Some(4)), &[&[0; 4]]), Corrupt),
        case("text with a width", foreign(redb("&str", Some(1)), &[b"a"]), Corrupt),
        case("a value of another width", value_of(redb("u16", Some(3)), &[(b"a", &[0; 3])]), Corrupt),
        case("a value that its type cannot hold", value_of(redb("bool", Some(1)), &[(b"a", &[7])]), Intact),
        case("a key that its type cannot hold", foreign(redb("bool", Some(1)), &[&[0], &[2]]), Corrupt),
        case("pairs", foreign(pairs(), &[&pair(2, "z"), &pair(256, "a"), &pair(256, "b")]), Intact),
        case("pairs out of order", foreign(pairs(), &[&pair(256, "a"), &pair(2, "z")]), Corrupt),
        case("a pair that ends early", foreign(pairs(), &[&pair(1, "a")[..7]]), Corrupt),
        case("options", foreign(redb("Option<u8>", Some(2)), &[&[0, 0], &[1, 0], &[1, 7]]), Intact),
        case("nothing twice", foreign(redb("Option<u8>", Some(2)), &[&[0, 0], &[0, 1]]), Corrupt),
        case("an application's order", foreign(uuids(), &[b"c", b"a", b"b"]), Intact),
        case("a key of an application twice", foreign(uuids(), &[b"c", b"a", b"b", b"c"]), Corrupt),
        case(
            "a key of an application twice, in the last of two tables",
            both(
                foreign(uuids(), &[b"c", b"a"]),
                table(
                    IrregularTable { name: "more".to_owned(), key: uuids(), value: u64s() },
                    &[(b"c", &[0; 8]), (b"a", &[0; 8]), (b"c", &[0; 8])],
                ),
            ),
            Corrupt,
        ),
        case("pairs with a type of an application", foreign(redb("(uuid,u8)", Some(2)), &[&[2, 0], &[1, 0]]), Intact),
        case(
            "a pair with a type of an application twice",
            foreign(redb("(uuid,u8)", Some(2)), &[&[2, 0], &[1, 0], &[2, 0]]),
            Corrupt,
        ),
        case("an unknown type", foreign(redb("f16", Some(2)), &[]), Unsupported),
        case("an unknown type of a value", value_of(redb("u256", Some(32)), &[]), Unsupported),
    ]
}

fn cases() -> Vec<Case> {
    own_cases().into_iter().chain(foreign_cases()).collect()
}

impl Case {
    fn records(&self) -> BTreeMap<String, Row> {
        self.ids.iter().map(|id| ((*id).to_owned(), record(None))).collect()
    }

    /// Stores the state as a full snapshot.
    async fn full(&self, store: &dyn SnapshotStore) -> Vec<Forged> {
        vec![forge_with(store, 0, &self.database, None, &self.records(), Some(&self.items)).await]
    }

    /// Stores the state as a chain whose increment adds the records, the irregular rows, or both.
    async fn chain(&self, store: &dyn SnapshotStore, records_first: bool, rows_first: bool) -> Vec<Forged> {
        let none = BTreeMap::new();
        let records = self.records();
        let in_full = if records_first { &records } else { &none };
        let rows: &[_] = if rows_first { &self.items } else { &[] };
        let full = forge_with(store, 0, &self.database, None, in_full, Some(rows)).await;
        let in_increment = if records_first { &none } else { &records };
        let rows: Option<&[_]> = if rows_first { None } else { Some(&self.items) };
        let increment = forge_with(store, 1, &self.database, Some(&full), in_increment, rows).await;
        vec![full, increment]
    }
}

#[tokio::test]
async fn what_verify_and_restore_say_of_irregular_rows_in_a_full_snapshot_is_the_same() {
    for case in cases() {
        let court = Court::in_memory();
        let chain = case.full(court.store.as_ref()).await;
        assert_eq!(court.assert_agreement(case.what, &chain).await, case.expected, "{}", case.what);
        if case.expected != Verdict::Corrupt {
            continue;
        }
        let id = chain[0].metadata.id.as_str();
        let report = court.manager.verify_snapshot_with(id, &Default::default()).await.unwrap();
        let [one] = report.corruption.as_slice() else { panic!("{}: {:?}", case.what, report.corruption) };
        assert_eq!((one.snapshot.as_str(), one.file.as_str(), one.block), (id, "index.bin.gz", None), "{}", case.what);
    }
}

#[tokio::test]
async fn what_verify_restore_and_compact_say_of_irregular_rows_in_a_chain_is_the_same() {
    for case in cases() {
        for (records_first, rows_first) in [(true, false), (false, true)] {
            let court = Court::in_memory();
            let chain = case.chain(court.store.as_ref(), records_first, rows_first).await;
            let what = format!("{}, {records_first}, {rows_first}", case.what);
            let verdict = court.assert_agreement(&what, &chain).await;
            // With rows before the records that show the dimensions, the full snapshot can be worse.
            assert!(verdict == case.expected || (rows_first && verdict == Verdict::Corrupt), "{what}: {verdict:?}");
            forget(court.store.as_ref()).await;
            let before = objects(court.store.as_ref()).await;
            match court.manager.compact_snapshot(chain[1].metadata.id.as_str(), None).await {
                Ok(compacted) => {
                    assert_eq!(case.expected, Verdict::Intact, "{what}");
                    assert!(court.manager.verify_snapshot(&compacted.id).await.unwrap(), "{what}");
                }
                Err(error) => {
                    assert_eq!(refused(&error), case.expected, "{what}: {error:?}");
                    court.manager.wait_for_cleanup().await;
                    forget(court.store.as_ref()).await;
                    assert!(objects(court.store.as_ref()).await == before, "{what}: the store has changed");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_rows_of_a_base_must_fit_the_records_and_the_description_of_each_increment() {
    let note = || own("config", &[(b"note", b"\xff")]);
    let orphan = || own("metadata", &[(b"b", b"{}")]);
    let mut with_note = database();
    with_note.rows.insert("note".to_owned(), "text".to_owned());
    let nothing = rows([]);
    let cases = [
        ("a config row comes that is there twice", note(), with_note, nothing.clone()),
        ("a record comes whose id has irregular rows", orphan(), database(), rows([("b", record(None))])),
    ];
    for (what, items, described, records) in cases {
        let court = Court::in_memory();
        let store = court.store.as_ref();
        let full = forge_with(store, 0, &database(), None, &rows([("a", record(None))]), Some(&items)).await;
        let bad = forge_with(store, 1, &described, Some(&full), &records, None).await;
        assert_eq!(court.assert_agreement(what, &[full.clone(), bad.clone()]).await, Verdict::Corrupt, "{what}");
        let report = court.manager.verify_snapshot_with(bad.metadata.id.as_str(), &Default::default()).await.unwrap();
        let blamed: Vec<_> = report.corruption.iter().map(|one| one.snapshot.as_str()).collect();
        assert_eq!(blamed, [bad.metadata.id.as_str()], "{what}");
        // The next increment has none of these rows. It can be restored, but its base cannot.
        let good = forge_with(store, 2, &database(), Some(&bad), &nothing, Some(&[])).await;
        assert_eq!(court.assert_agreement(what, &[full, bad, good]).await, Verdict::Corrupt, "{what}");
    }
}

// ---- random chains

/// Returns irregular rows, of which most can be restored.
fn random_items(random: &mut Random) -> Items {
    let ids: [&[u8]; 8] = [b"", b"a", b"b", b"c\"d", b"z", b"zz", b"\xff", b"zzz"];
    let (good, other) = (encode_vector(&[1.0, 2.0]), encode_vector(&[1.0]));
    let vectors: [&[u8]; 4] = [&other, b"\xff", &[0], &good];
    let mut items = Items::new();
    let mut add = |random: &mut Random, name: &str, keys: &[&[u8]], values: &[&[u8]]| {
        let rows: BTreeMap<_, _> = (0..1 + random.below(2))
            .map(|_| (keys[random.below(keys.len())], values[random.below(values.len())]))
            .collect();
        items.extend(own(name, &rows.into_iter().collect::<Vec<_>>()));
    };
    // Ids that no record has are more likely.
    let ids = if random.below(4) == 0 { &ids[..] } else { &ids[5..] };
    if random.below(4) == 0 {
        let names: [&[u8]; 4] = [b"note", b"\xff", b"application", OPTIONS_ROW.as_bytes()];
        let names = if random.below(2) == 0 { &names[..] } else { &names[..2] };
        let texts: [&[u8]; 2] = [b"\xff", b"text"];
        let texts = if random.below(3) == 0 { &texts[..] } else { &texts[..1] };
        add(random, "config", names, texts);
    }
    let mut foreign_items = Items::new();
    if random.below(3) == 0 {
        let types = [redb("u16", Some(2)), application("uuid", Some(2)), redb("&[u8]", None), redb("f16", None)];
        let of = types[if random.below(3) == 0 { 3 } else { random.below(3) }].clone();
        let mut keys: Vec<_> = (0..random.below(5)).map(|_| [random.below(4) as u8, random.below(4) as u8]).collect();
        if random.below(3) > 0 {
            keys.sort_by_key(|key| if of.name == "u16" { [key[1], key[0]] } else { *key });
            keys.dedup();
        }
        foreign_items = foreign(of, &keys.iter().map(|key| &key[..]).collect::<Vec<_>>());
    }
    let texts: [&[u8]; 3] = [b"no JSON", b"[1]", b"{}"];
    let mut own_items = Vec::new();
    if random.below(2) == 0 {
        add(random, "metadata", ids, &texts);
        if random.below(2) == 0 {
            add(random, "vectors", ids, &vectors);
        }
    } else if random.below(2) == 0 {
        add(random, "vectors", ids, &vectors[..3]);
    }
    own_items.append(&mut items);
    // Between `config` and `metadata`.
    let at = own_items
        .iter()
        .position(|item| matches!(item, OwnedIrregularItem::Table(table) if table.name.as_str() > "foreign"));
    own_items.splice(at.unwrap_or(own_items.len())..at.unwrap_or(own_items.len()), foreign_items);
    let mut tally = IrregularTally::default();
    let mut is_in_order = true;
    each_item(&own_items, |item| is_in_order &= tally.add(item).is_ok());
    // The stream itself is checked elsewhere.
    if is_in_order { own_items } else { Items::new() }
}

async fn random_forgeries(
    runs: u64,
    first_seed: u64,
    store: impl Fn(&TestDir, u64) -> Arc<dyn SnapshotStore>,
) -> BTreeMap<Verdict, usize> {
    let ids = ["", "a", "b", "c\"d", "z"];
    let mut counts = BTreeMap::new();
    for seed in first_seed..first_seed + runs {
        let court = Court::new(|dir| store(dir, seed));
        let mut random = Random::new(seed + 1);
        let has_options = random.below(3) > 0;
        let mut chain: Vec<Forged> = Vec::new();
        for at in 0..1 + random.below(3) {
            let mut described = if has_options { database() } else { without_options() };
            if random.below(6) == 0 {
                described.rows.insert("note".to_owned(), "text".to_owned());
            }
            let base = chain.last().cloned();
            let old = base.as_ref().map(|base| base.state.clone()).unwrap_or_default();
            let mut content = BTreeMap::new();
            for _ in 0..random.below(4) {
                let id = ids[random.below(ids.len())];
                let row = match random.below(3) {
                    0 if old.contains_key(id) => Row::Removed,
                    1 if old.contains_key(id) => Row::Metadata(Some("{}".to_owned())),
                    _ => record(Some("{\"n\":1}").filter(|_| random.below(2) == 0)),
                };
                content.insert(id.to_owned(), row);
            }
            let items = if base.is_some() && random.below(2) == 0 { None } else { Some(random_items(&mut random)) };
            let items = items.as_deref();
            chain.push(forge_with(court.store.as_ref(), at, &described, base.as_ref(), &content, items).await);
        }
        let verdict = court.assert_agreement(&format!("seed {seed}"), &chain).await;
        *counts.entry(verdict).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn verify_and_restore_agree_on_random_irregular_rows() {
    let counts = random_forgeries(100, 0, |_, _| memory_store()).await;
    // Each verdict must occur, or nothing was tested.
    assert!(counts.len() == 3 && counts.values().all(|count| *count >= 3), "{counts:?}");
}

#[tokio::test]
async fn verify_and_restore_agree_on_random_irregular_rows_on_disk_and_in_a_bucket() {
    random_forgeries(8, 1000, |dir, _| local_store(&dir.snapshots())).await;
    let server = S3Server::start();
    random_forgeries(8, 2000, |_, seed| s3_store(&server, &format!("irregular-{seed}"))).await;
}

// ---- create

/// A source of the application's own, which yields whatever the test says.
#[derive(Debug, Clone)]
struct Sourced {
    database: DatabaseInfo,
    state: State,
    items: Items,
    at: usize,
    item: usize,
    vector: Vec<u8>,
    table: Option<IrregularTable>,
}

impl SnapshotSource for Sourced {
    fn open(&self) -> Result<Box<dyn SourceReader>> {
        Ok(Box::new(self.clone()))
    }
}

impl SourceReader for Sourced {
    fn database(&self) -> &DatabaseInfo {
        &self.database
    }

    fn next_record(&mut self) -> Result<Option<Record<'_>>> {
        self.at += 1;
        let Some((id, (vector, metadata))) = self.state.iter().nth(self.at - 1) else { return Ok(None) };
        self.vector = bytes(vector);
        Ok(Some(Record { id, vector: &self.vector, metadata: metadata.as_deref() }))
    }

    fn next_irregular(&mut self) -> Result<Option<IrregularItem<'_>>> {
        self.item += 1;
        Ok(match self.items.get(self.item - 1) {
            None => None,
            Some(OwnedIrregularItem::Table(table)) => Some(IrregularItem::Table(self.table.insert(table.clone()))),
            Some(OwnedIrregularItem::Row { key, value }) => {
                Some(IrregularItem::Row { table: self.table.as_ref().unwrap(), key, value })
            }
        })
    }
}

impl Sourced {
    fn new(database: &DatabaseInfo, ids: &[&str], items: Items) -> Self {
        let state = ids.iter().map(|id| ((*id).to_owned(), ([1.0, 2.0], None))).collect();
        let (database, vector) = (database.clone(), Vec::new());
        Self { database, state, items, at: 0, item: 0, vector, table: None }
    }
}

/// What the stream itself does not allow, either.
fn disordered() -> Vec<Case> {
    let case = |what, items| Case { what, database: database(), ids: &["a"], items, expected: Verdict::Corrupt };
    let other_types = IrregularTable { value: redb("u8", Some(1)), ..IrregularTable::of_ruvector("vectors").unwrap() };
    vec![
        case("keys out of order", foreign(redb("&str", None), &[b"b", b"a"])),
        case("the same key twice in a row", foreign(application("uuid", None), &[b"a", b"a"])),
        case("a key of another width", foreign(redb("u64", Some(8)), &[&[0; 4]])),
        case("tables out of order", both(own("vectors", &[(b"b", b"")]), own("metadata", &[(b"b", b"")]))),
        case("the same table twice", both(foreign(application("x", None), &[]), foreign(application("x", None), &[]))),
        case("an own table without rows", own("metadata", &[])),
        case("an own table without rows before another", both(own("metadata", &[]), own("vectors", &[(b"b", b"")]))),
        case("an own table of other types", table(other_types, &[(b"b", b"x")])),
    ]
}

#[tokio::test]
async fn create_from_a_source_stores_no_irregular_rows_that_could_not_be_restored() {
    for case in cases().into_iter().chain(disordered()) {
        for is_increment in [false, true] {
            let (court, what) = (Court::in_memory(), format!("{}, {is_increment}", case.what));
            let mut create = CreateOptions::default();
            if is_increment {
                let empty = Sourced::new(&case.database, &["0"], Items::new());
                let full = court.manager.create_from(&empty, "base", &create).await.unwrap();
                create = create.base_id(&full.id);
            }
            let before = objects(court.store.as_ref()).await;
            let source = Sourced::new(&case.database, case.ids, case.items.clone());
            match court.manager.create_from(&source, "sourced", &create).await {
                Ok(made) => {
                    assert_eq!(case.expected, Verdict::Intact, "{what}");
                    assert!(court.manager.verify_snapshot(&made.id).await.unwrap(), "{what}");
                    let restored = court.dir.restored();
                    court.manager.restore_snapshot_to(&made.id, restored, &RestoreOptions::default()).await.unwrap();
                }
                Err(error) => {
                    assert_ne!(case.expected, Verdict::Intact, "{what}: {error:?}");
                    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{what}: {error:?}");
                    assert!(error.message().contains("could be restored"), "{what}: {error}");
                    court.manager.wait_for_cleanup().await;
                    assert!(objects(court.store.as_ref()).await == before, "{what}: something was stored");
                }
            }
        }
    }
}

#[tokio::test]
async fn an_application_type_with_the_name_of_one_of_redb_keeps_its_own_order() {
    let key = ColumnType { origin: TypeOrigin::Application, name: "u64".to_owned(), width: Some(8) };
    let (one, other) = (256u64.to_le_bytes(), 1u64.to_le_bytes());
    let items = foreign(key, &[&one, &other]);
    let court = Court::in_memory();
    let forged = forge_with(court.store.as_ref(), 0, &database(), None, &rows([]), Some(&items)).await;
    assert_eq!(court.assert_agreement("u64", &[forged]).await, Verdict::Intact);
    assert_eq!(json!(court.manager.list_snapshots().await.unwrap()[0].irregular.as_ref().unwrap().table_rows), 2);
}
