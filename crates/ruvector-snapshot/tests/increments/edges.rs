//! Databases at the edge of what there can be: vectors of no values, and metadata of nobody that is larger than any record's.

use std::sync::Arc;

use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::RestoreOptions;

use crate::bench::{State, Ticking, make_empty, take};
use crate::common::{Place, encoded, options, rows_of_file};

#[tokio::test]
async fn a_database_without_dimensions_comes_back() {
    let place = Place::new();
    let manager = place.manager().with_clock(Arc::new(Ticking::from_year(2020)));
    let path = place.path("a.db");
    let db = VectorDB::new(options(&path, 0)).unwrap();
    let entry = |id: &str, round: Option<u32>| VectorEntry {
        id: Some(id.to_owned()),
        vector: Vec::new(),
        metadata: round.map(|round| [("round".to_owned(), round.into())].into()),
    };
    db.insert(entry("a", None)).unwrap();
    db.insert(entry("b", Some(1))).unwrap();
    let full = take(&manager, &path, None).await.unwrap();
    db.insert(entry("b", Some(2))).unwrap();
    db.insert(entry("c", None)).unwrap();
    db.delete("a").unwrap();
    let increment = take(&manager, &path, Some(&full)).await.unwrap();
    let changes = increment.changes.unwrap();
    assert_eq!((changes.added, changes.changed, changes.removed), (1, 1, 1));
    assert_eq!(increment.checksum, take(&manager, &path, None).await.unwrap().checksum);
    for snapshot in [&full, &increment] {
        assert!(manager.verify_snapshot(&snapshot.id).await.unwrap());
        manager.restore_snapshot_to(&snapshot.id, place.restored(), &RestoreOptions::default()).await.unwrap();
        let restored = rows_of_file(&place.restored());
        assert_eq!(restored.vectors.len(), snapshot.vector_count);
        std::fs::remove_file(place.restored()).unwrap();
    }
}

/// A full snapshot leaves it out without a look at its size, and so does an increment.
#[tokio::test]
async fn metadata_of_nobody_may_be_of_any_size() {
    let (long_id, long_text) = ("z".repeat((1 << 20) + 1), format!("{{\"a\":\"{}\"}}", "x".repeat(64 << 20)));
    for (id, text) in [(long_id.as_str(), "{}"), ("z", &long_text), ("z", "no json")] {
        let place = Place::new();
        let manager = place.manager().with_clock(Arc::new(Ticking::from_year(2020)));
        let path = place.path("a.db");
        make_empty(&path, 2);
        let mut state = State::default();
        state.vectors.insert("a".to_owned(), encoded(&[1.0, 2.0]));
        state.metadata.insert("a".to_owned(), "{}".to_owned());
        state.write_over(&State::default(), &path);
        let full = take(&manager, &path, None).await.unwrap();
        let before = state.clone();
        state.metadata.insert(id.to_owned(), text.to_owned());
        state.write_over(&before, &path);
        let increment = take(&manager, &path, Some(&full)).await.unwrap();
        assert_eq!((increment.vector_count, increment.checksum), (1, full.checksum));
        assert!(manager.verify_snapshot(&increment.id).await.unwrap());
    }
}
