//! A chain as long as chains get, in a bucket and nowhere else: every state of it comes back, also when only what was
//! compacted is left.

use std::sync::Arc;

use ruvector_snapshot::store::{Location, SnapshotStore, StoreConfig, open};
use ruvector_snapshot::{Snapshot, SnapshotManager, SnapshotType};
use test_servers::S3Server;

use crate::bench::{State, Ticking, assert_restores, make_empty, take};
use crate::changes::{Change, Rows};
use crate::common::{Place, encoded};

const LINKS: usize = 31;
const ROWS: usize = 2_000;
const DIMENSIONS: usize = 16;

fn bucket(server: &S3Server) -> Arc<dyn SnapshotStore> {
    let options = [
        ("access_key_id", S3Server::ACCESS_KEY.to_owned()),
        ("secret_access_key", S3Server::SECRET_KEY.to_owned()),
        ("endpoint", server.endpoint()),
        ("allow_http", "true".to_owned()),
    ];
    let location: Location = format!("s3://{}/chain", S3Server::BUCKET).parse().unwrap();
    open(&location, &StoreConfig { options: options.into_iter().collect(), ..StoreConfig::default() }).unwrap()
}

fn manager(place: &Place, server: &S3Server) -> SnapshotManager {
    SnapshotManager::with_store(place.config(), bucket(server)).unwrap()
}

fn many_rows(rows: &mut Rows) -> State {
    let mut state = State::default();
    for number in 0..ROWS {
        let id = format!("id/{number:04}");
        state.vectors.insert(id.clone(), encoded(&rows.random.vector(DIMENSIONS)));
        state.metadata.insert(id, format!("{{\"n\":{number}}}"));
    }
    state
}

/// Each kind of change, several times; what empties a table comes late, so that most links stand on a state of all
/// rows.
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

/// Takes the chain, from a database that is gone afterwards.
async fn make_chain(server: &S3Server) -> Vec<(Snapshot, State)> {
    let place = Place::new();
    let manager = manager(&place, server).with_clock(Arc::new(Ticking::from_year(2020)));
    let path = place.path("a.db");
    make_empty(&path, DIMENSIONS);
    let mut rows = Rows::new(7, DIMENSIONS, ROWS);
    let mut state = many_rows(&mut rows);
    state.write_over(&State::default(), &path);
    let mut links = vec![(take(&manager, &path, None).await.unwrap(), state.clone().captured())];
    for change in changes() {
        let next = rows.changed(&state, change);
        next.write_over(&state, &path);
        state = next;
        let base = links.last().map(|(snapshot, _)| snapshot);
        let made = take(&manager, &path, base).await.unwrap();
        links.push((made, state.clone().captured()));
    }
    assert_eq!(links.len(), LINKS);
    links
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_31_in_a_bucket_comes_back_at_each_link_and_from_what_each_was_compacted_to() {
    let server = S3Server::start();
    let links = make_chain(&server).await;
    let place = Place::new();
    let manager = manager(&place, &server);
    for (snapshot, state) in &links {
        assert_restores(&manager, &place, &snapshot.id, state).await;
    }
    let newest = &links.last().unwrap().0;
    assert_eq!(manager.chain(&newest.id).await.unwrap().len(), LINKS);
    assert!(manager.verify_snapshot(&newest.id).await.unwrap());

    // From the newest down, so that nothing stands on a link that goes.
    let mut compacted = Vec::new();
    for (snapshot, state) in links.iter().skip(1).rev() {
        let made = manager.compact_snapshot(&snapshot.id, None).await.unwrap();
        assert_eq!((&made.snapshot_type, &made.checksum), (&SnapshotType::Full, &snapshot.checksum));
        manager.delete_snapshot(&snapshot.id).await.unwrap();
        compacted.push((made, state));
    }
    let (full, state) = &links[0];
    assert_restores(&manager, &place, &full.id, state).await;
    manager.delete_snapshot(&full.id).await.unwrap();
    for (snapshot, state) in compacted {
        assert_restores(&manager, &place, &snapshot.id, state).await;
    }
    assert_eq!(manager.list().await.unwrap().snapshots.len(), LINKS - 1);
    assert_eq!(server.open_uploads(), 0);
}
