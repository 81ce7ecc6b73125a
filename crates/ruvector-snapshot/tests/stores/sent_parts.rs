//! What an upload counts as sent, and what is left for its finish.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use object_store::memory::InMemory;
use ruvector_snapshot::ErrorKind;
use ruvector_snapshot::store::{
    Location, ObjectSnapshotStore, Sent, SnapshotStore as _, StoreConfig, TransferConfig, open,
};

const MIB: u64 = 1024 * 1024;

#[tokio::test]
async fn every_byte_is_counted_once_when_the_store_has_received_it() {
    let store = ObjectSnapshotStore::new(Arc::new(InMemory::new()), "", "memory").unwrap();
    // An object that fits in one part is sent by its finish, and the parts of a larger one before it.
    for (bytes, before_finish) in [(0, 0), (10, 0), (20 * MIB, 20 * MIB)] {
        let counted = Arc::<AtomicU64>::default();
        let mut upload = store.upload("key", None).await.unwrap();
        let counter = counted.clone();
        upload.count_sent(Arc::new(move |sent| match sent {
            Sent::Received(bytes) => drop(counter.fetch_add(bytes, Ordering::SeqCst)),
            sent => panic!("there is no limit, and {sent:?}"),
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

/// Of a part that waits for the limit nothing was sent.
#[tokio::test(start_paused = true)]
async fn what_a_limit_has_allowed_is_counted_apart_until_the_store_has_received_it() {
    let limits = TransferConfig::default().max_upload_bytes_per_second(100_000);
    let store = open(&Location::Memory, &StoreConfig::default().transfers(limits)).unwrap();
    for bytes in [300_000, 12 * MIB] {
        let counted = Arc::<Mutex<Vec<Sent>>>::default();
        let mut upload = store.upload(&format!("{bytes}"), None).await.unwrap();
        let counter = counted.clone();
        upload.count_sent(Arc::new(move |sent| counter.lock().unwrap().push(sent)));
        upload.write(vec![0; bytes as usize].into()).await.unwrap();
        assert_eq!(upload.finish().await.unwrap(), bytes);
        let counted = counted.lock().unwrap();
        let (mut allowed, mut received) = (0, 0);
        for sent in counted.iter() {
            match *sent {
                Sent::Allowed(more) => allowed += more,
                Sent::Received(more) => received += more,
                other => panic!("{other:?}"),
            }
            assert!(received <= allowed && allowed <= bytes, "{counted:?}");
        }
        assert_eq!((allowed, received), (bytes, bytes));
        assert!(counted.len() > 10, "{counted:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_allowed_of_an_upload_that_is_aborted_is_withdrawn() {
    let limits = TransferConfig::default().max_upload_bytes_per_second(100_000);
    let store = open(&Location::Memory, &StoreConfig::default().transfers(limits)).unwrap();
    let allowed = Arc::<AtomicU64>::default();
    let mut upload = store.upload("key", None).await.unwrap();
    let counter = allowed.clone();
    upload.count_sent(Arc::new(move |sent| match sent {
        Sent::Allowed(bytes) => drop(counter.fetch_add(bytes, Ordering::SeqCst)),
        Sent::Withdrawn(bytes) => drop(counter.fetch_sub(bytes, Ordering::SeqCst)),
        other => panic!("{other:?}"),
    }));
    upload.write(vec![0; 300_000].into()).await.unwrap();
    upload.send_rest().await.unwrap();
    assert_eq!(allowed.load(Ordering::SeqCst), 300_000);
    upload.abort().await.unwrap();
    assert_eq!(allowed.load(Ordering::SeqCst), 0);
}
