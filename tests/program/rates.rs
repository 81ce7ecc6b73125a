//! Sizes and rates say of what they are: of records, of bytes of the store, or of bytes of the file. Those of a chain
//! are of all its snapshots.

use std::fs;

use serde_json::Value;

use super::bucket::{Bucket, ROWS};
use super::sandbox::{RunResult, Sandbox, create_database, open_database};

/// Where the snapshots are.
enum Store {
    Bucket(Bucket),
    Directory(Sandbox),
}

impl Store {
    fn each() -> Vec<Self> {
        let buckets = Bucket::both().map(Self::Bucket);
        buckets.into_iter().chain([Self::Directory(Sandbox::with_rows(ROWS))]).collect()
    }

    fn sandbox(&self) -> &Sandbox {
        match self {
            Self::Bucket(bucket) => &bucket.sandbox,
            Self::Directory(sandbox) => sandbox,
        }
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> RunResult {
        let result = match self {
            Self::Bucket(bucket) => bucket.run(args),
            Self::Directory(sandbox) => sandbox.run(args),
        };
        assert_eq!(result.exit_code, Some(0), "{args:?}: {result:?}");
        result
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        self.run(&[args, &["--json"]].concat()).into_json().1
    }

    /// Creates a full snapshot, and an increment of one record. Returns their documents.
    fn with_chain(&self) -> [Value; 2] {
        let full = self.json(&["create", "--db", "a.db", "--name", "full"]);
        open_database(&self.sandbox().path("a.db"), 8).delete("row-000007").unwrap();
        [full, self.json(&["create", "--db", "a.db", "--name", "increment", "--base", "full"])]
    }
}

#[track_caller]
fn bytes(document: &Value, member: &str) -> u64 {
    document[member].as_u64().unwrap_or_else(|| panic!("{member} is missing in {document}"))
}

/// Asserts that every rate in a text is one of these, and says of what it is.
#[track_caller]
fn assert_rates(text: &str, expected: &[&str]) {
    let rates: Vec<_> = text.lines().filter(|line| line.contains("/s")).collect();
    assert_eq!(rates.len(), expected.len(), "{text}");
    for (rate, expected) in rates.iter().zip(expected) {
        let (label, of) = expected.split_once('|').unwrap();
        assert!(rate.trim_start().starts_with(label) && rate.contains(of), "{expected} is not in {rate}");
    }
}

#[test]
fn a_create_counts_what_it_writes_and_an_increment_what_it_reads() {
    for store in Store::each() {
        let [full, increment] = store.with_chain();
        assert_eq!(bytes(&full, "store_written_bytes"), bytes(&full["snapshot"], "stored_bytes"));
        assert_eq!(bytes(&full, "store_read_bytes"), 0);
        // An increment writes upload.json too, and reads what its base says of its rows.
        assert!(bytes(&increment, "store_written_bytes") > bytes(&increment["snapshot"], "stored_bytes"));
        assert!(bytes(&increment, "store_read_bytes") > 0);

        let text = store.run(&["create", "--db", "a.db", "--name", "other"]).stdout;
        assert_rates(&text, &["time|s, ", "written| to the store, "]);
        assert!(text.contains(" records/s\n"), "{text}");
        assert!(text.contains(" in the store, ") && text.contains(" uncompressed\n"), "{text}");
        open_database(&store.sandbox().path("a.db"), 8).delete("row-000008").unwrap();
        let text = store.run(&["create", "--db", "a.db", "--name", "next", "--base", "increment"]).stdout;
        assert_rates(&text, &["time| changes/s", "read| from the store, ", "written| to the store, "]);
    }
}

#[test]
fn a_restore_counts_the_bytes_of_the_chain_and_those_of_the_file() {
    for store in Store::each() {
        let documents = store.with_chain();
        let [full_bytes, increment_bytes] = documents.map(|document| bytes(&document["snapshot"], "stored_bytes"));
        let restored = store.json(&["restore", "increment", "--to", "b.db"]);
        let read_bytes = bytes(&restored, "store_read_bytes");
        assert!(read_bytes > full_bytes / 2, "{read_bytes} of {full_bytes}");
        assert!(read_bytes <= 2 * (full_bytes + increment_bytes), "{read_bytes} of {full_bytes} and {increment_bytes}");
        // A file that is replaced is compared with the snapshots of the store, which is read for that.
        let full = store.json(&["restore", "full", "--to", "full.db"]);
        assert!(bytes(&full, "store_read_bytes") < read_bytes);
        assert!(bytes(&restored, "file_written_bytes") > ROWS as u64 * 8 * 4, "{restored}");
        assert_eq!(bytes(&restored, "file_bytes"), {
            let again = store.json(&["restore", "increment", "--to", "b.db", "--force"]);
            assert!(bytes(&again, "store_read_bytes") > read_bytes, "{again}");
            fs::metadata(store.sandbox().path("b.db")).unwrap().len()
        });
        let text = store.run(&["restore", "increment", "--to", "c.db"]).stdout;
        assert_rates(&text, &["time| records/s", "read| from the store, ", "written| to the file, "]);
    }
}

#[test]
fn a_compact_counts_what_it_reads_and_what_it_writes() {
    for store in Store::each() {
        let [full, _] = store.with_chain();
        let compacted = store.json(&["compact", "increment"])["snapshots"][0].clone();
        assert_eq!(bytes(&compacted, "store_written_bytes"), bytes(&compacted, "stored_bytes"));
        assert!(bytes(&compacted, "store_read_bytes") > bytes(&full["snapshot"], "stored_bytes") / 2);
        let id = compacted["from_id"].as_str().unwrap();
        // It would not be stored twice.
        store.run(&["delete", compacted["id"].as_str().unwrap()]);
        let text = store.run(&["compact", id]).stdout;
        assert_rates(&text, &["time| records/s", "read| from the store, ", "written| to the store, "]);
        assert!(text.contains(" in the store; its chain of 2 snapshots has "), "{text}");
    }
}

#[test]
fn verify_and_the_check_of_a_store_say_of_what_their_bytes_are() {
    for store in Store::each() {
        let documents = store.with_chain();
        let sizes = documents.map(|document| bytes(&document["snapshot"], "stored_bytes"));
        let verified = store.json(&["verify", "increment"]);
        assert_eq!(bytes(&verified["snapshots"][0], "store_read_bytes"), sizes.iter().sum::<u64>());
        let text = store.run(&["verify", "increment"]).stdout;
        assert!(text.contains(" records, ") && text.contains(" read from the store, with 1 snapshot"), "{text}");
    }
    let sandbox = Sandbox::with_rows(ROWS);
    sandbox.create("full");
    let text = sandbox.ok(&["store", "check"]);
    let throughput = text.lines().find(|line| line.starts_with("throughput")).unwrap();
    assert!(throughput.contains("/s written to the store, ") && throughput.contains("/s read from it"), "{text}");
}

/// A line of progress comes after some seconds, so the reading is made to last that long.
#[test]
fn progress_says_that_its_bytes_are_those_of_records() {
    let sandbox = Sandbox::empty();
    create_database(&sandbox.path("a.db"), 1000, 8);
    sandbox.create("one");
    let text = sandbox.run(&["restore", "one", "--to", "b.db", "--limit-download", "7K"]);
    let line = text.stderr.lines().find(|line| line.starts_with("restoring: ")).unwrap_or_else(|| panic!("{text:?}"));
    assert!(line.contains(" of 1,000 records, ") && line.contains(" record bytes, ") && line.contains("/s"), "{line}");
}
