//! What an upload counts as sent, and what is left for its finish.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use object_store::memory::InMemory;
use ruvector_snapshot::ErrorKind;
use ruvector_snapshot::store::{ObjectSnapshotStore, SnapshotStore as _};

const MIB: u64 = 1024 * 1024;

#[tokio::test]
async fn every_byte_is_counted_once_when_the_store_has_received_it() {
    let store = ObjectSnapshotStore::new(Arc::new(InMemory::new()), "", "memory").unwrap();
    // An object that fits in one part is sent by its finish, and the parts of a larger one before it.
    for (bytes, before_finish) in [(0, 0), (10, 0), (20 * MIB, 20 * MIB)] {
        let counted = Arc::<AtomicU64>::default();
        let mut upload = store.upload("key", None).await.unwrap();
        let counter = counted.clone();
        upload.count_sent(Arc::new(move |bytes| {
            counter.fetch_add(bytes, Ordering::SeqCst);
        }));
        upload.write(vec![0; bytes as usize].into()).await.unwrap();
        upload.send_rest().await.unwrap();
        assert_eq!(counted.load(Ordering::SeqCst), before_finish);
        assert_eq!(upload.finish().await.unwrap(), bytes);
        assert_eq!(counted.load(Ordering::SeqCst), bytes);
    }
}

#[tokio::test]
async fn nothing_can_be_written_after_the_rest_was_sent() {
    let store = ObjectSnapshotStore::new(Arc::new(InMemory::new()), "", "memory").unwrap();
    let mut upload = store.upload("key", None).await.unwrap();
    upload.send_rest().await.unwrap();
    assert_eq!(upload.write("more".into()).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(upload.finish().await.unwrap_err().kind(), ErrorKind::InvalidInput);
}
