//! A chain of maximum length in a bucket, without local state: every link can be restored, and so can the compacted
//! copies after the chain is gone.

use ruvector_snapshot::{Snapshot, SnapshotManager, SnapshotType};
use test_fixtures::{TestDir, TickingClock, encode_vector};
use test_servers::S3Server;

use super::fixture::{State, assert_restores, create, make_empty_database};
use super::random_changes::{Change, RowGenerator};
use crate::common::bucket_stores::s3_store;

const LINKS: usize = 31;
const ROWS: usize = 2_000;
const DIMENSIONS: usize = 16;

fn manager(dir: &TestDir, server: &S3Server) -> SnapshotManager {
    dir.manager_with_store(s3_store(server, "chain"))
}

fn many_rows(rows: &mut RowGenerator) -> State {
    let mut state = State::default();
    for number in 0..ROWS {
        let id = format!("id/{number:04}");
        state.vectors.insert(id.clone(), encode_vector(&rows.random.vector(DIMENSIONS)));
        state.metadata.insert(id, format!("{{\"n\":{number}}}"));
    }
    state
}

/// Returns every kind of change. Those that empty a table come late, so that most bases have many rows.
fn changes() -> impl Iterator<Item = Change> {
    let small = [Change::Few, Change::PutRun, Change::RemoveRun, Change::Few, Change::Nothing];
    let large = [
        Change::DescribeAll,
        Change::ReplaceMetadata,
        Change::RemoveMetadata,
        Change::ReplaceVectors,
        Change::RemoveVectors,
        Change::PutRun,
        Change::RemoveAll,
        Change::PutRun,
        Change::Few,
        Change::PutRun,
    ];
    small.into_iter().cycle().take(LINKS - 1 - large.len()).chain(large)
}

/// Creates the chain from a database that is then removed.
async fn make_chain(server: &S3Server) -> Vec<(Snapshot, State)> {
    let dir = TestDir::new();
    let manager = manager(&dir, server).with_clock(TickingClock::seconds_from_year(2020));
    let path = dir.path("a.db");
    make_empty_database(&path, DIMENSIONS);
    let mut rows = RowGenerator::new(7, DIMENSIONS, ROWS);
    let mut state = many_rows(&mut rows);
    state.write_over(&State::default(), &path);
    let mut links = vec![(create(&manager, &path, None).await.unwrap(), state.clone())];
    for change in changes() {
        let next = rows.changed(&state, change);
        next.write_over(&state, &path);
        state = next;
        let base = links.last().map(|(snapshot, _)| snapshot);
        let made = create(&manager, &path, base).await.unwrap();
        links.push((made, state.clone()));
    }
    assert_eq!(links.len(), LINKS);
    links
}

#[tokio::test(flavor = "multi_thread")]
async fn every_link_of_a_chain_of_31_and_its_compacted_copy_restore_from_a_bucket() {
    let server = S3Server::start();
    let links = make_chain(&server).await;
    let dir = TestDir::new();
    let manager = manager(&dir, &server);
    for (snapshot, state) in &links {
        assert_restores(&manager, &dir, &snapshot.id, state).await;
    }
    let newest = &links.last().unwrap().0;
    assert_eq!(manager.chain(&newest.id).await.unwrap().len(), LINKS);
    assert!(manager.verify_snapshot(&newest.id).await.unwrap());

    // Starts with the newest, so that no deleted link has dependents.
    let mut compacted = Vec::new();
    for (snapshot, state) in links.iter().skip(1).rev() {
        let made = manager.compact_snapshot(&snapshot.id, None).await.unwrap();
        assert_eq!((&made.snapshot_type, &made.checksum), (&SnapshotType::Full, &snapshot.checksum));
        manager.delete_snapshot(&snapshot.id).await.unwrap();
        compacted.push((made, state));
    }
    let (full, state) = &links[0];
    assert_restores(&manager, &dir, &full.id, state).await;
    manager.delete_snapshot(&full.id).await.unwrap();
    for (snapshot, state) in compacted {
        assert_restores(&manager, &dir, &snapshot.id, state).await;
    }
    assert_eq!(manager.list().await.unwrap().snapshots.len(), LINKS - 1);
    assert_eq!(server.open_uploads(), 0);
}
