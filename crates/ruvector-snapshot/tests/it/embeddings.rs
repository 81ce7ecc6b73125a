//! The embedding identity: what a snapshot records of it, and what is refused because of it.

use std::path::{Path, PathBuf};

use ruvector_core::types::{DbOptions, QuantizationConfig};
use ruvector_core::{AgenticDB, VectorDB};
use ruvector_snapshot::{
    CopyOptions, CopySelection, CreateOptions, EmbeddingInfo, ErrorKind, MergeOptions, RecordFilter, Remedy,
    RestoreOptions, Result, Snapshot, SnapshotError, SnapshotManager,
};
use test_fixtures::{TestDir, Warnings, create_full, entry, memory_store, options, records_of_file};
use test_servers::S3Server;

use crate::common::bucket_stores::s3_store;

const SPACE_ROW: &str = "__ruvector_embedding_space__";

/// Makes a database that records this model, if one is given.
fn make_database(dir: &TestDir, name: &str, model: Option<&str>) -> PathBuf {
    let path = dir.path(name);
    let db = VectorDB::new(options(&path, 4)).unwrap();
    db.insert(entry(format!("only in {name}"), 1, 4, 1)).unwrap();
    if let Some(model) = model {
        db.save_config_value(SPACE_ROW, &format!(r#"{{"model_id":"{model}","normalize":true}}"#)).unwrap();
    }
    path
}

async fn create(manager: &SnapshotManager, path: &Path, options: CreateOptions) -> Result<Snapshot> {
    manager.create_snapshot_of_file(path, "embedded", &options.base_from_elsewhere(true)).await
}

fn given(snapshot: &Snapshot) -> Vec<(String, String)> {
    let given = snapshot.embedding.iter().flat_map(|embedding| embedding.given.iter());
    given.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[track_caller]
fn assert_refused(error: &SnapshotError, words: &[&str]) {
    assert_eq!((error.kind(), error.remedy()), (ErrorKind::InvalidInput, Some(Remedy::OtherEmbedding)), "{error:?}");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in: {error}");
    }
}

#[tokio::test]
async fn what_ruvector_records_is_in_the_snapshot() {
    let dir = TestDir::new();
    let manager = dir.manager();
    let agentic = dir.path("agentic.db");
    drop(AgenticDB::new(options(&agentic, 8)).unwrap());
    let embedding = create_full(&manager, &agentic, "agentic").await.unwrap().embedding.unwrap();
    let space: serde_json::Value = serde_json::from_str(embedding.recorded.get(SPACE_ROW).unwrap()).unwrap();
    assert!(space["provider"].is_string() && space["output_dimension"] == 8, "{space}");
    assert!(embedding.lines()[0].contains("provider") && embedding.given.is_empty(), "{:?}", embedding.lines());

    let turbo = dir.path("turbo.db");
    let quantization: QuantizationConfig =
        serde_json::from_value(serde_json::json!({ "Turbo4": {} })).expect("Turbo4 has defaults");
    let db = VectorDB::new(DbOptions { quantization: Some(quantization), ..options(&turbo, 8) }).unwrap();
    assert!(db.load_config_value("turbo4_provenance").unwrap().is_some());
    drop(db);
    let snapshot = create_full(&manager, &turbo, "turbo").await.unwrap();
    let lines = snapshot.embedding.as_ref().unwrap().lines();
    assert!(lines[0].starts_with("recorded in turbo4_provenance: "), "{lines:?}");
    assert_eq!(manager.get_snapshot(&snapshot.id).await.unwrap(), Some(snapshot.clone()));

    // A database that records nothing, and a user who says nothing: the member is not there.
    let plain = create_full(&manager, &make_database(&dir, "plain.db", None), "plain").await.unwrap();
    assert_eq!(plain.embedding, None);
    let json = std::fs::read_to_string(dir.snapshots().join(plain.prefix()).join("metadata.json")).unwrap();
    assert!(!json.contains("\"embedding\""), "{json}");
}

#[tokio::test]
async fn what_the_user_says_is_kept_by_increments_copies_and_compaction() {
    let server = S3Server::start();
    let (dir, other) = (TestDir::new(), s3_store(&server, "embeddings"));
    let manager = dir.manager();
    let path = make_database(&dir, "a.db", Some("a"));
    let options = CreateOptions::default().embedding("model", "m").embedding("normalized", "true");
    let full = create(&manager, &path, options).await.unwrap();
    assert_eq!(given(&full), pairs(&[("model", "m"), ("normalized", "true")]));
    let increment = create(&manager, &path, CreateOptions::default().base_id(&full.id)).await.unwrap();
    assert_eq!(increment.embedding, full.embedding);
    let more = CreateOptions::default().base_id(&increment.id).embedding("revision", "r").embedding("model", "m");
    let newest = create(&manager, &path, more).await.unwrap();
    assert_eq!(given(&newest), pairs(&[("model", "m"), ("normalized", "true"), ("revision", "r")]));

    let target = dir.manager_with_store(other);
    let plan = manager.plan_copy(&target, &CopySelection::All, &CopyOptions::default()).await.unwrap();
    manager.apply_copy(&target, &plan, None).await.unwrap();
    assert_eq!(target.get_snapshot(&newest.id).await.unwrap().unwrap().embedding, newest.embedding);
    assert_eq!(target.compact_snapshot(&newest.id, None).await.unwrap().embedding, newest.embedding);
    assert!(target.verify_snapshot(&newest.id).await.unwrap());
    assert_eq!(manager.list_snapshots().await.unwrap()[0].embedding, newest.embedding);
}

#[tokio::test]
async fn a_base_of_another_identity_is_refused_unless_it_is_accepted() {
    let dir = TestDir::new();
    let manager = dir.manager_with_store(memory_store());
    let [a, b, none] = [("a.db", Some("a")), ("b.db", Some("b")), ("none.db", None)]
        .map(|(name, model)| make_database(&dir, name, model));
    let full = create(&manager, &a, CreateOptions::default().embedding("model", "m")).await.unwrap();
    let on_full = || CreateOptions::default().base_id(&full.id);
    let recorded = create(&manager, &b, on_full()).await.unwrap_err();
    assert_refused(&recorded, &[&full.id, r#"model_id "a" and "b""#]);
    let said = create(&manager, &a, on_full().embedding("model", "n")).await.unwrap_err();
    assert_refused(&said, &[&full.id, r#"model "m" and "n""#]);
    assert_eq!(manager.list_snapshots().await.unwrap().len(), 1);

    // What is not known is not another identity.
    create(&manager, &none, on_full().embedding("revision", "r")).await.unwrap();
    let warnings = std::sync::Arc::new(Warnings::default());
    let accepted = on_full().embedding("model", "n").other_embedding(true).progress(warnings.clone());
    let made = create(&manager, &b, accepted).await.unwrap();
    assert_eq!(given(&made), pairs(&[("model", "n")]));
    assert!(warnings.list().iter().any(|warning| warning.contains("different embedding identities")), "{warnings:?}");
    assert!(manager.verify_snapshot(&made.id).await.unwrap());
}

#[tokio::test]
async fn an_identity_that_cannot_be_compared_is_refused() {
    let dir = TestDir::new();
    let (manager, path) = (dir.manager(), make_database(&dir, "a.db", None));
    let long = "x".repeat(1025);
    for (key, value, words) in [
        ("Model", "a", "lower-case"),
        ("", "a", "lower-case"),
        ("model", " ", "1 to 1024 bytes"),
        ("model", "a\nb", "no control"),
        ("model", &long, "1 to 1024 bytes"),
        ("normalized", "yes", "must be true or false"),
    ] {
        let error = create(&manager, &path, CreateOptions::default().embedding(key, value)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(words), "{error}");
    }
    let many = (0..17).fold(CreateOptions::default(), |options, number| options.embedding(format!("k{number}"), "v"));
    assert!(create(&manager, &path, many).await.unwrap_err().to_string().contains("17 entries"));
    dir.assert_no_snapshots();
}

#[tokio::test]
async fn records_are_not_merged_into_a_database_of_another_identity() {
    let dir = TestDir::new();
    let manager = dir.manager();
    let [a, b, none] = [("a.db", Some("a")), ("b.db", Some("b")), ("none.db", None)]
        .map(|(name, model)| make_database(&dir, name, model));
    let snapshot = create(&manager, &a, CreateOptions::default()).await.unwrap();
    let before = records_of_file(&b);
    let error = manager.merge_snapshot_into(&snapshot.id, &b, &MergeOptions::default()).await.unwrap_err();
    assert_refused(&error, &["b.db: cannot merge into this database", r#"model_id "b" and "a""#]);
    assert!(records_of_file(&b) == before);
    // Of the same identity, and of one that is not known.
    for path in [&a, &none] {
        manager.merge_snapshot_into(&snapshot.id, path, &MergeOptions::default()).await.unwrap();
    }
    let warnings = std::sync::Arc::new(Warnings::default());
    let accepted = MergeOptions::default().other_embedding(true).progress(warnings.clone());
    assert_eq!(manager.merge_snapshot_into(&snapshot.id, &b, &accepted).await.unwrap().counts.inserted, 1);
    assert!(warnings.list()[0].contains("different embedding identities"), "{warnings:?}");
}

#[tokio::test]
async fn a_database_of_another_identity_is_not_replaced() {
    let dir = TestDir::new();
    let manager = dir.manager();
    let [a, b] = [("a.db", Some("a")), ("b.db", Some("b"))].map(|(name, model)| make_database(&dir, name, model));
    let snapshot = create(&manager, &a, CreateOptions::default()).await.unwrap();
    let (before, names) = (std::fs::read(&b).unwrap(), test_fixtures::names(dir.path("x").parent().unwrap()));
    let overwrite = RestoreOptions::default().overwrite(true);
    let filter = RecordFilter::default().id("only in a.db");
    let plan = manager.plan_restore(&snapshot.id, ruvector_snapshot::RestoreDestination::File(b.clone()), &overwrite);
    let plan = plan.await.unwrap();
    assert!(plan.blockers.len() == 1 && plan.blockers[0].message.contains("cannot replace"), "{:?}", plan.blockers);
    assert_eq!(plan.blockers[0].remedy, Some(Remedy::OtherEmbedding));
    for error in [
        manager.restore_snapshot_to(&snapshot.id, &b, &overwrite).await.unwrap_err(),
        manager.restore_part_to(&snapshot.id, &b, &filter, &overwrite).await.unwrap_err(),
    ] {
        assert_refused(&error, &["b.db: cannot replace this database", r#"model_id "b" and "a""#]);
    }
    assert!(std::fs::read(&b).unwrap() == before);
    assert_eq!(test_fixtures::names(dir.path("x").parent().unwrap()), names);

    manager.restore_snapshot_to(&snapshot.id, &b, &overwrite.clone().other_embedding(true)).await.unwrap();
    assert!(records_of_file(&b) == records_of_file(&a));
    // What is no database records nothing, and the same identity is no reason.
    std::fs::write(&b, "no database").unwrap();
    for _ in 0..2 {
        manager.restore_snapshot_to(&snapshot.id, &b, &overwrite).await.unwrap();
    }
}

#[test]
fn an_identity_is_serialized_as_it_is_stored() {
    let info = EmbeddingInfo { given: [("model", "m")].into(), ..EmbeddingInfo::default() };
    let json = serde_json::to_string(&info).unwrap();
    assert_eq!(json, r#"{"given":{"model":"m"}}"#);
    assert_eq!(serde_json::from_str::<EmbeddingInfo>(&json).unwrap(), info);
}
