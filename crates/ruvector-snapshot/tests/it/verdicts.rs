//! Verify and restore agree: what verify reports as intact can be restored, and what a restore refuses verify reports.
//! The snapshots are forged: every checksum fits, but the content is what no create stores.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ruvector_snapshot::source::{SnapshotSource, SourceReader};
use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::{
    CreateOptions, DatabaseInfo, ErrorKind, Record, RestoreOptions, Result, SnapshotConfig, SnapshotError,
    SnapshotManager,
};
use ruvector_snapshot_format::block::{Block, PackedBlock};
use ruvector_snapshot_format::checksum::{ContentSum, digest, sha256_hex};
use ruvector_snapshot_format::codec::crc32;
use ruvector_snapshot_format::codec::member::{Coding, pack};
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::irregular::{Encoder, IrregularInfo, IrregularItem, OwnedIrregularItem};
use ruvector_snapshot_format::layout::{self, DataFile};
use ruvector_snapshot_format::metadata::SnapshotMetadata;
use ruvector_snapshot_format::model::{Change, ChangedRow, Changes, SnapshotType};
use ruvector_snapshot_format::writer::Writer;
use serde_json::{Value, json};
use test_fixtures::{TestDir, encode_vector, local_store, memory_store, objects};
use test_servers::S3Server;

use crate::common::bucket_stores::s3_store;
use crate::common::forget;
use crate::increments::fixture::Random;
use crate::irregular::tables;

pub(crate) const OPTIONS_ROW: &str = "__ruvector_db_config__";
pub(crate) const DIMENSIONS: usize = 2;

/// The records of a state: the vector, and the text of the metadata as it is stored.
pub(crate) type State = BTreeMap<String, ([f32; DIMENSIONS], Option<String>)>;

/// A row of a forged snapshot.
#[derive(Clone)]
pub(crate) enum Row {
    /// A record with its vector.
    Record([f32; DIMENSIONS], Option<String>),
    /// A record with the vector of its base.
    Metadata(Option<String>),
    Removed,
}

/// A forged snapshot, and the state that it results in.
#[derive(Clone)]
pub(crate) struct Forged {
    pub(crate) metadata: SnapshotMetadata,
    pub(crate) state: State,
    /// The irregular rows of the state.
    pub(crate) irregular: Vec<OwnedIrregularItem>,
}

pub(crate) fn bytes(vector: &[f32; DIMENSIONS]) -> Vec<u8> {
    vector.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn digest_of(id: &str, (vector, text): &([f32; DIMENSIONS], Option<String>)) -> [u8; 16] {
    digest(id, &bytes(vector), text.as_deref())
}

fn id(at: usize) -> SnapshotId {
    format!("20200101T0000{at:02}000Z-00000000000000{at:02x}").parse().unwrap()
}

/// Packs rows whose metadata is stored exactly as it is, canonical or not.
fn pack_rows(rows: &BTreeMap<String, Row>, base: &State) -> PackedBlock {
    let (mut block, mut lines, mut described) = (Block::new(DIMENSIONS), String::new(), 0);
    for (id, row) in rows {
        let old = base.get(id);
        let (digest, vector, text) = match row {
            Row::Removed => (digest_of(id, old.unwrap()), None, None),
            Row::Record(vector, text) => (digest_of(id, &(*vector, text.clone())), Some(bytes(vector)), text.as_ref()),
            Row::Metadata(text) => (digest_of(id, &(old.unwrap().0, text.clone())), None, text.as_ref()),
        };
        // `Block` stores canonical metadata only, so its lines are replaced below.
        let change = match row {
            Row::Removed => Change::Removed,
            _ => Change::Put { vector: vector.as_deref(), metadata: text.map(|_| "{}") },
        };
        block.push_change(ChangedRow { id, digest, change }).unwrap();
        if let Some(text) = text {
            lines += &format!("{{\"id\":{},\"metadata\":{text}}}\n", json!(id));
            described += 1;
        }
    }
    let mut packed = block.pack(1).unwrap();
    assert_eq!(packed.entry.metadata_rows, described);
    if described > 0 {
        packed.payloads.clear();
        pack(lines.as_bytes(), Coding::Deflate(1), &mut packed.payloads).unwrap();
        packed.entry.payloads_bytes = packed.payloads.len() as u32;
        packed.entry.payloads_raw_bytes = lines.len() as u32;
        packed.entry.payloads_crc32 = crc32(&packed.payloads);
        packed.raw_bytes[2] = lines.len() as u64;
    }
    packed
}

/// Stores a snapshot of these rows, full or on a base, with all checksums right.
async fn forge(
    store: &dyn SnapshotStore,
    at: usize,
    database: &DatabaseInfo,
    base: Option<&Forged>,
    rows: &BTreeMap<String, Row>,
) -> Forged {
    forge_with(store, at, database, base, rows, Some(&[])).await
}

/// As [`forge`], with these irregular rows. `None`: those of the base, which are not stored again.
pub(crate) async fn forge_with(
    store: &dyn SnapshotStore,
    at: usize,
    database: &DatabaseInfo,
    base: Option<&Forged>,
    rows: &BTreeMap<String, Row>,
    irregular: Option<&[OwnedIrregularItem]>,
) -> Forged {
    let old = base.map(|base| base.state.clone()).unwrap_or_default();
    let (mut state, mut changes) = (old.clone(), Changes::default());
    for (id, row) in rows {
        let new = match row {
            Row::Removed => None,
            Row::Record(vector, text) => Some((*vector, text.clone())),
            Row::Metadata(text) => Some((old[id].0, text.clone())),
        };
        match (old.contains_key(id), &new) {
            (false, _) => changes.added += 1,
            (true, Some(_)) => changes.changed += 1,
            (true, None) => changes.removed += 1,
        }
        match new {
            Some(new) => state.insert(id.clone(), new),
            None => state.remove(id),
        };
    }
    let (mut writer, mut files) = (Writer::new(), [const { Vec::new() }; 3]);
    let mut add = |pieces: [Vec<u8>; 3]| files.iter_mut().zip(pieces).for_each(|(file, piece)| file.extend(piece));
    if !rows.is_empty() {
        add(writer.append(pack_rows(rows, &old)));
    }
    let info = match irregular {
        Some(items) => encoded(items).map(|(section, info)| {
            add(writer.append_irregular(&section, 1).unwrap());
            info
        }),
        None => base.and_then(|base| base.metadata.irregular.clone()),
    };
    let (pieces, data) = writer.finish(database, None, 1).unwrap();
    add(pieces);
    let created_at = "2020-01-01T00:00:00Z".parse().unwrap();
    let mut metadata = SnapshotMetadata::new(id(at), "forged", created_at, database, data);
    let mut sum = ContentSum::default();
    state.iter().for_each(|(id, record)| sum.add(&digest_of(id, record)));
    info.iter().for_each(|info| sum.merge(&info.checksum));
    metadata.checksum = sum;
    metadata.set_irregular(info);
    metadata.vector_count = state.len() as u64;
    if let Some(base) = base {
        metadata.snapshot_type = SnapshotType::Incremental { base_id: base.metadata.id.to_string() };
        metadata.base_checksum = Some(base.metadata.checksum);
        metadata.changes = Some(changes);
    }
    let json = metadata.encode().unwrap();
    let checksums = metadata.checksum_sha256(&json).unwrap();
    for (file, bytes) in DataFile::ALL.into_iter().zip(files) {
        assert_eq!(sha256_hex(&bytes), metadata.file(file).unwrap().sha256);
        store.create(&layout::key(&metadata.id, file.name()), bytes.into()).await.unwrap();
    }
    store.create(&layout::key(&metadata.id, layout::CHECKSUM_SHA256), checksums.into()).await.unwrap();
    store.create(&layout::key(&metadata.id, layout::METADATA_JSON), json.into()).await.unwrap();
    let inherited = || base.map(|base| base.irregular.clone()).unwrap_or_default();
    let irregular = irregular.map_or_else(inherited, <[_]>::to_vec);
    Forged { metadata, state, irregular }
}

/// Encodes irregular rows, and describes them. `None` if there are none.
fn encoded(items: &[OwnedIrregularItem]) -> Option<(Vec<u8>, IrregularInfo)> {
    let mut encoder = Encoder::default();
    each_item(items, |item| encoder.push(item).unwrap());
    let (section, counts) = encoder.finish().unwrap();
    let records = counts.vector_rows.max(counts.metadata_rows);
    (!items.is_empty()).then(|| (section, IrregularInfo::new(records, &counts, Vec::new())))
}

pub(crate) fn each_item(items: &[OwnedIrregularItem], mut visit: impl FnMut(IrregularItem<'_>)) {
    let mut current = None;
    for item in items {
        match (item, current) {
            (OwnedIrregularItem::Table(table), _) => {
                current = Some(table);
                visit(IrregularItem::Table(table));
            }
            (OwnedIrregularItem::Row { key, value }, Some(table)) => visit(IrregularItem::Row { table, key, value }),
            _ => panic!("a row without a table"),
        }
    }
}

/// What a verification or a restore says of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Intact,
    Corrupt,
    Unsupported,
}

#[track_caller]
pub(crate) fn refused(error: &SnapshotError) -> Verdict {
    match error.kind() {
        ErrorKind::Corrupt => Verdict::Corrupt,
        ErrorKind::Unsupported => Verdict::Unsupported,
        kind => panic!("{kind:?}: {error:?}"),
    }
}

pub(crate) struct Court {
    pub(crate) dir: TestDir,
    pub(crate) store: Arc<dyn SnapshotStore>,
    pub(crate) manager: SnapshotManager,
    /// Restores without reading the file back.
    trusting: SnapshotManager,
}

impl Court {
    pub(crate) fn new(store: impl FnOnce(&TestDir) -> Arc<dyn SnapshotStore>) -> Self {
        let dir = TestDir::new();
        let store = store(&dir);
        let manager = dir.manager_with_store(store.clone());
        let config = SnapshotConfig { verify_checksum: false, ..dir.config() };
        let trusting = SnapshotManager::with_store(config, store.clone()).unwrap();
        Self { dir, store, manager, trusting }
    }

    pub(crate) fn in_memory() -> Self {
        Self::new(|_| memory_store())
    }

    async fn verify(&self, id: &SnapshotId) -> Verdict {
        match self.manager.verify_snapshot_with(id.as_str(), &Default::default()).await {
            Ok(report) if report.is_intact() => Verdict::Intact,
            Ok(report) => {
                assert!(report.corruption.iter().all(|one| !one.detail.is_empty()));
                Verdict::Corrupt
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
                Verdict::Unsupported
            }
        }
    }

    /// Restores to a file, with and without reading it back.
    async fn restore(&self, forged: &Forged) -> Verdict {
        let id = forged.metadata.id.as_str();
        let mut verdicts = Vec::new();
        for manager in [&self.manager, &self.trusting] {
            verdicts.push(
                match manager.restore_snapshot_to(id, self.dir.restored(), &RestoreOptions::default()).await {
                    Ok(_) => {
                        assert_restored(&self.dir.restored(), forged);
                        std::fs::remove_file(self.dir.restored()).unwrap();
                        Verdict::Intact
                    }
                    Err(error) => refused(&error),
                },
            );
            self.dir.assert_nothing_restored();
        }
        assert_eq!(verdicts[0], verdicts[1], "{id}: the verdict depends on the read-back");
        verdicts[0]
    }

    /// Restores into memory.
    async fn restore_to_memory(&self, forged: &Forged) -> Verdict {
        match self.manager.restore_snapshot(forged.metadata.id.as_str()).await {
            Ok(db) => {
                assert_eq!(db.len().unwrap(), forged.state.len());
                Verdict::Intact
            }
            Err(error) => refused(&error),
        }
    }

    /// Asserts that verify and restore agree on every snapshot of a chain, the oldest first. Returns what verify says
    /// of the newest.
    pub(crate) async fn assert_agreement(&self, what: &str, chain: &[Forged]) -> Verdict {
        let mut restored = Vec::new();
        let mut verified = Verdict::Intact;
        for forged in chain {
            let id = &forged.metadata.id;
            verified = self.verify(id).await;
            let verdict = self.restore(forged).await;
            restored.push(verdict);
            // Verify reads the ancestors too, as if each were verified by itself.
            let all_restored = restored.iter().all(|verdict| *verdict == Verdict::Intact);
            assert_eq!(verified == Verdict::Intact, all_restored, "{what}, {id}: {verified:?}, but {restored:?}");
            if verified == Verdict::Unsupported {
                assert!(restored.contains(&Verdict::Unsupported), "{what}, {id}: {restored:?}");
            }
            // A database in memory has limits of its own. It never accepts what a file refuses.
            match self.restore_to_memory(forged).await {
                Verdict::Intact => assert_eq!(verdict, Verdict::Intact, "{what}, {id}: only memory accepts it"),
                Verdict::Unsupported => {}
                Verdict::Corrupt => assert_ne!(verdict, Verdict::Intact, "{what}, {id}: corrupt only in memory"),
            }
        }
        verified
    }
}

/// Asserts that a restored file has the rows of a snapshot, and no others.
fn assert_restored(path: &Path, forged: &Forged) {
    let text = |id: &str| id.as_bytes().to_vec();
    let vectors = forged.state.iter().map(|(id, (vector, _))| (text(id), encode_vector(vector)));
    let metadata = forged.state.iter().filter_map(|(id, (_, metadata))| Some((text(id), text(metadata.as_ref()?))));
    let mut expected: BTreeMap<String, Vec<_>> = BTreeMap::new();
    expected.insert("vectors".to_owned(), vectors.collect());
    expected.insert("metadata".to_owned(), metadata.collect());
    each_item(&forged.irregular, |item| match item {
        IrregularItem::Table(table) => drop(expected.entry(table.name.clone()).or_default()),
        IrregularItem::Row { table, key, value } => {
            expected.get_mut(&table.name).unwrap().push((key.to_vec(), value.to_vec()));
        }
    });
    ["vectors", "metadata"].iter().for_each(|name| expected.get_mut(*name).unwrap().sort());
    let mut found: BTreeMap<_, _> = tables(path).into_iter().map(|(name, (_, rows))| (name, rows)).collect();
    let config = found.remove("config").unwrap();
    let irregular = expected.remove("config").unwrap_or_default();
    assert!(irregular.iter().all(|row| config.contains(row)), "{}", forged.metadata.id);
    assert!(found == expected, "{}: {found:?}, {expected:?}", forged.metadata.id);
}

pub(crate) fn options(dimensions: usize, metric: &str) -> Value {
    json!({ "dimensions": dimensions, "distance_metric": metric, "storage_path": "x.db", "hnsw_config": null,
        "quantization": null })
}

pub(crate) fn with_options(row: impl Into<String>) -> DatabaseInfo {
    let mut database = DatabaseInfo::new(DIMENSIONS as u64);
    database.distance_metric = Some("Cosine".to_owned());
    database.rows.insert(OPTIONS_ROW.to_owned(), row.into());
    database
}

/// Descriptions of a database: what they are, and what verify and restore must say of them.
fn descriptions() -> Vec<(&'static str, DatabaseInfo, Verdict)> {
    use Verdict::{Corrupt, Intact, Unsupported};
    let good = options(DIMENSIONS, "Cosine").to_string();
    let mut unknown_quantization = options(DIMENSIONS, "Cosine");
    unknown_quantization["quantization"] = json!("Qubits");
    let row = |text: &str| with_options(text);
    let without_row = |change: fn(&mut DatabaseInfo)| {
        let mut database = with_options("");
        database.rows.clear();
        change(&mut database);
        database
    };
    let mut other_row = row(&good);
    other_row.rows.insert("application".to_owned(), "not JSON, but not the options either".to_owned());
    vec![
        ("the row as Ruvector writes it", row(&good), Intact),
        ("another row that is not JSON", other_row, Intact),
        ("a row with a member more", row(&good.replacen('{', "{\"later\":[],", 1)), Intact),
        ("an empty row", row(""), Corrupt),
        ("a row that is not JSON", row("metric=cosine"), Corrupt),
        ("a row that is cut off", row(&good[..good.len() - 1]), Corrupt),
        ("two values", row(&format!("{good} {good}")), Corrupt),
        ("more dimensions", row(&options(3, "Cosine").to_string()), Corrupt),
        ("no dimensions", row(&options(0, "Cosine").to_string()), Corrupt),
        ("another metric", row(&options(DIMENSIONS, "Euclidean").to_string()), Corrupt),
        ("an unknown metric", row(&options(DIMENSIONS, "Hamming").to_string()), Unsupported),
        ("an unknown quantization", row(&unknown_quantization.to_string()), Unsupported),
        ("a list", row("[]"), Unsupported),
        ("no members", row("{}"), Unsupported),
        ("no row, and nothing recorded", without_row(|database| database.distance_metric = None), Intact),
        ("no row, but a metric", without_row(|_| {}), Intact),
        (
            "no row, and an unknown quantization",
            without_row(|database| database.quantization = json!("Qubits")),
            Unsupported,
        ),
        (
            "no row, and an unknown index",
            without_row(|database| database.hnsw_config = json!({ "m": "?" })),
            Unsupported,
        ),
    ]
}

fn nested(depth: usize) -> String {
    format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1))
}

/// Texts of metadata, and what verify and restore must say of them.
fn texts() -> Vec<(String, Verdict)> {
    use Verdict::{Corrupt, Intact};
    let canonical = [
        "{}",
        r#"{"a":1}"#,
        r#"{"a":[1,{"b":null}],"ü":"x"}"#,
        r#"{"":"","\n":0}"#,
        r#"{"n":1E400}"#,
        r#"{"s":"\ud800"}"#,
    ];
    let others = [
        r#"{"b":1,"a":2}"#,
        r#"{"a": 1}"#,
        r#" {"a":1}"#,
        r#"{"a":1} "#,
        "{\"a\":\n1}",
        r#"{"a":1,"a":2}"#,
        r#"{"a":{"c":1,"b":2}}"#,
        r#"{"a":[1, 2]}"#,
        r#"{"\u0061":1}"#,
        r#"{"\u000A":0}"#,
        r#"{"\/":0}"#,
        r#"{"\ud800":1}"#,
        r#"{"a":01}"#,
        r#"{"a":1"#,
        r#"{"a":1}}"#,
        r#"{"a":1},"more":{}"#,
        "[1]",
        "1",
        "null",
        "\"text\"",
        "",
    ];
    let canonical = canonical.map(str::to_owned).into_iter().chain([nested(127)]).map(|text| (text, Intact));
    let others = others.map(str::to_owned).into_iter().chain([nested(128), nested(140)]).map(|text| (text, Corrupt));
    canonical.chain(others).collect()
}

pub(crate) fn record(text: Option<&str>) -> Row {
    Row::Record([1.0, 2.0], text.map(str::to_owned))
}

pub(crate) fn rows<const N: usize>(rows: [(&str, Row); N]) -> BTreeMap<String, Row> {
    rows.into_iter().map(|(id, row)| (id.to_owned(), row)).collect()
}

#[tokio::test]
async fn what_verify_and_restore_say_of_a_description_of_the_database_is_the_same() {
    for (what, database, expected) in descriptions() {
        // Without records nothing but the description shows it.
        for content in [rows([]), rows([("a", record(None)), ("b", record(Some("{}")))])] {
            let court = Court::in_memory();
            let forged = forge(court.store.as_ref(), 0, &database, None, &content).await;
            assert_eq!(court.assert_agreement(what, std::slice::from_ref(&forged)).await, expected, "{what}");
            if expected == Verdict::Corrupt {
                let report =
                    court.manager.verify_snapshot_with(forged.metadata.id.as_str(), &Default::default()).await.unwrap();
                let [one] = report.corruption.as_slice() else { panic!("{what}: {:?}", report.corruption) };
                assert_eq!((one.file.as_str(), one.block), ("index.bin.gz", None), "{what}");
                assert!(one.detail.contains(OPTIONS_ROW), "{what}: {}", one.detail);
            }
        }
    }
}

#[tokio::test]
async fn what_verify_and_restore_say_of_the_metadata_of_a_record_is_the_same() {
    let database = with_options(options(DIMENSIONS, "Cosine").to_string());
    for (text, expected) in texts() {
        for id in ["a", "quoted \"id\"", ""] {
            let court = Court::in_memory();
            let content = rows([(id, record(Some(&text))), ("z", record(None))]);
            let forged = forge(court.store.as_ref(), 0, &database, None, &content).await;
            let verdict = court.assert_agreement(&text, std::slice::from_ref(&forged)).await;
            assert_eq!(verdict, expected, "{id:?}: {text:?}");
            if expected == Verdict::Corrupt {
                let report =
                    court.manager.verify_snapshot_with(forged.metadata.id.as_str(), &Default::default()).await.unwrap();
                let blamed = report.corruption.iter().any(|one| one.file == "metadata.bin.gz" && one.block == Some(0));
                assert!(blamed, "{text:?}: {:?}", report.corruption);
            }
        }
    }
}

/// Returns a random row that fits the base. Most are good.
fn random_row(random: &mut Random, is_in_base: bool, texts: &[(String, Verdict)]) -> Row {
    let text = match random.below(20) {
        0 => Some(texts[random.below(texts.len())].0.clone()),
        1..=10 => Some(format!("{{\"n\":{}}}", random.below(100))),
        _ => None,
    };
    let vector = [random.below(100) as f32, random.below(100) as f32];
    match random.below(3) {
        0 if is_in_base => Row::Removed,
        1 if is_in_base => Row::Metadata(text),
        _ => Row::Record(vector, text),
    }
}

/// Forges random chains and asks for every verdict.
async fn random_forgeries(
    runs: u64,
    first_seed: u64,
    store: impl Fn(&TestDir, u64) -> Arc<dyn SnapshotStore>,
) -> BTreeMap<Verdict, usize> {
    let (descriptions, texts) = (descriptions(), texts());
    let ids = ["", "a", "b", "c\"d", "e\n", "ü", "z"];
    let mut counts = BTreeMap::new();
    for seed in first_seed..first_seed + runs {
        let court = Court::new(|dir| store(dir, seed));
        let mut random = Random::new(seed + 1);
        let mut chain: Vec<Forged> = Vec::new();
        for at in 0..1 + random.below(3) {
            // A chain has one metric. The descriptions that record none are for chains of their own.
            let metric = chain.first().map(|full| full.metadata.distance_metric.clone());
            let fitting: Vec<_> = descriptions
                .iter()
                .filter(|(_, database, _)| metric.as_ref().is_none_or(|metric| *metric == database.distance_metric))
                .collect();
            let (_, database, _) = match random.below(3) {
                0 => fitting[random.below(fitting.len())],
                _ => fitting[0],
            };
            let base = chain.last().cloned();
            let old = base.as_ref().map(|base| base.state.clone()).unwrap_or_default();
            let mut content = BTreeMap::new();
            for _ in 0..random.below(6) {
                let id = ids[random.below(ids.len())];
                content.insert(id.to_owned(), random_row(&mut random, old.contains_key(id), &texts));
            }
            chain.push(forge(court.store.as_ref(), at, database, base.as_ref(), &content).await);
        }
        let verdict = court.assert_agreement(&format!("seed {seed}"), &chain).await;
        *counts.entry(verdict).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn verify_and_restore_agree_on_random_forgeries() {
    let counts = random_forgeries(60, 0, |_, _| memory_store()).await;
    // Each verdict must occur, or nothing was tested.
    assert!(counts.len() == 3 && counts.values().all(|count| *count >= 5), "{counts:?}");
}

#[tokio::test]
async fn verify_and_restore_agree_on_random_forgeries_on_disk_and_in_a_bucket() {
    random_forgeries(8, 1000, |dir, _| local_store(&dir.snapshots())).await;
    let server = S3Server::start();
    random_forgeries(8, 2000, |_, seed| s3_store(&server, &format!("forged-{seed}"))).await;
}

#[tokio::test]
async fn compact_refuses_what_restore_refuses() {
    let good = with_options(options(DIMENSIONS, "Cosine").to_string());
    let cases = [
        ("good", good.clone(), record(None), Verdict::Intact),
        ("options that are not JSON", with_options("x"), record(None), Verdict::Corrupt),
        ("an unknown metric", with_options(options(2, "Hamming").to_string()), record(None), Verdict::Unsupported),
        ("metadata that is not canonical", good.clone(), record(Some("{ }")), Verdict::Corrupt),
    ];
    for (what, database, row, expected) in cases {
        let court = Court::in_memory();
        let full = forge(court.store.as_ref(), 0, &good, None, &rows([("a", record(None))])).await;
        let increment = forge(court.store.as_ref(), 1, &database, Some(&full), &rows([("b", row)])).await;
        assert_eq!(court.assert_agreement(what, &[full, increment.clone()]).await, expected, "{what}");
        forget(court.store.as_ref()).await;
        let before = objects(court.store.as_ref()).await;
        match court.manager.compact_snapshot(increment.metadata.id.as_str(), None).await {
            Ok(compacted) => {
                assert_eq!(expected, Verdict::Intact, "{what}");
                assert!(court.manager.verify_snapshot(&compacted.id).await.unwrap());
            }
            Err(error) => {
                assert_eq!(refused(&error), expected, "{what}");
                forget(court.store.as_ref()).await;
                assert!(objects(court.store.as_ref()).await == before, "{what}: the store has changed");
            }
        }
    }
}

#[tokio::test]
async fn a_good_increment_can_be_restored_on_a_base_that_cannot_and_verify_names_the_base() {
    let good = with_options(options(DIMENSIONS, "Cosine").to_string());
    let court = Court::in_memory();
    let full = forge(court.store.as_ref(), 0, &with_options("x"), None, &rows([("a", record(None))])).await;
    let increment = forge(court.store.as_ref(), 1, &good, Some(&full), &rows([("b", record(None))])).await;
    assert_eq!(court.restore(&full).await, Verdict::Corrupt);
    assert_eq!(court.restore(&increment).await, Verdict::Intact);
    let report = court.manager.verify_snapshot_with(increment.metadata.id.as_str(), &Default::default()).await.unwrap();
    assert!(report.corruption.iter().all(|one| one.snapshot == full.metadata.id.as_str()), "{:?}", report.corruption);
    assert!(!report.is_intact());
}

/// A source of the application's own, whose description is whatever the test says.
#[derive(Debug)]
struct Described(DatabaseInfo, usize);

impl SnapshotSource for Described {
    fn open(&self) -> Result<Box<dyn SourceReader>> {
        Ok(Box::new(Self(self.0.clone(), 0)))
    }
}

impl SourceReader for Described {
    fn database(&self) -> &DatabaseInfo {
        &self.0
    }

    fn next_record(&mut self) -> Result<Option<Record<'_>>> {
        self.1 += 1;
        Ok((self.1 == 1).then_some(Record { id: "a", vector: &[0; 4 * DIMENSIONS], metadata: Some("{ }") }))
    }
}

#[tokio::test]
async fn create_stores_nothing_that_could_not_be_restored() {
    for (what, database, expected) in descriptions() {
        let court = Court::in_memory();
        let source = Described(database, 0);
        match court.manager.create_from(&source, "described", &CreateOptions::default()).await {
            Ok(made) => {
                assert_eq!(expected, Verdict::Intact, "{what}");
                assert!(court.manager.verify_snapshot(&made.id).await.unwrap(), "{what}");
                court
                    .manager
                    .restore_snapshot_to(&made.id, court.dir.restored(), &RestoreOptions::default())
                    .await
                    .unwrap();
            }
            Err(error) => {
                assert_ne!(expected, Verdict::Intact, "{what}: {error:?}");
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{what}: {error:?}");
                assert!(error.message().contains("could be restored"), "{error}");
                assert!(objects(court.store.as_ref()).await.is_empty(), "{what}: something was stored");
            }
        }
    }
}

#[tokio::test]
async fn metadata_that_only_a_file_can_hold_is_refused_in_memory_with_the_reason() {
    let database = with_options(options(DIMENSIONS, "Cosine").to_string());
    for text in [r#"{"n":1E400}"#, r#"{"s":"\ud800"}"#] {
        let court = Court::in_memory();
        let forged = forge(court.store.as_ref(), 0, &database, None, &rows([("a", record(Some(text)))])).await;
        assert_eq!(court.assert_agreement(text, std::slice::from_ref(&forged)).await, Verdict::Intact);
        let error = court.manager.restore_snapshot(forged.metadata.id.as_str()).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        assert!(error.message().contains("restore it to a file") && error.message().contains("\"a\""), "{error}");
    }
}
