//! Measures how fast a view streams a table, compared with redb's own iterator, and while a writer commits.
//!
//! `cargo run --release -p redb-live --example throughput [ROWS] [VALUE_BYTES]`
#![expect(clippy::disallowed_methods, reason = "measures time")]
#![allow(clippy::print_stdout, clippy::expect_used)]

use std::{
    error::Error,
    hint::black_box,
    ops::Range,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use redb::{Database, ReadableTable, TableDefinition};
use redb_live::{LiveFile, Mode, View, ViewOptions};

const VECTORS: TableDefinition<&str, &[u8]> = TableDefinition::new("vectors");
const ROWS_PER_COMMIT: u64 = 200;
const VIEWS: u32 = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let rows: u64 = args.next().map_or(Ok(50_000), |arg| arg.parse())?;
    let value_bytes: usize = args.next().map_or(Ok(1_540), |arg| arg.parse())?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("db");
    let database = Database::create(&path)?;
    put(&database, 0..rows, value_bytes, 0)?;
    let payload_mb = rows as f64 * (value_bytes + 11) as f64 / 1e6;
    println!("{rows} rows of {value_bytes} bytes, {payload_mb:.0} MB of payload, one core");

    for _ in 0..3 {
        let (_, time) = timed(|| read_with_redb(&database))?;
        report("redb iterator, no checksums", payload_mb, time);
    }
    let live = LiveFile::open(&path)?;
    for mode in [Mode::Direct, Mode::Mirror] {
        for _ in 0..3 {
            let (view, view_time) = timed(|| Ok(live.view(&ViewOptions { mode, ..Default::default() })?))?;
            let (_, time) = timed(|| Ok(read_view(&view)?))?;
            report(&format!("{mode:?} (view taken in {} ms)", view_time.as_millis()), payload_mb, time);
        }
    }
    for pause_ms in [10, 3, 1, 0] {
        for mode in [Mode::Direct, Mode::Mirror] {
            read_during_writes(&database, &path, rows, value_bytes, mode, Duration::from_millis(pause_ms))?;
        }
    }
    Ok(())
}

fn put(database: &Database, rows: Range<u64>, value_bytes: usize, fill: u8) -> Result<(), Box<dyn Error>> {
    let txn = database.begin_write()?;
    {
        let mut table = txn.open_table(VECTORS)?;
        let value = vec![fill; value_bytes];
        for i in rows {
            table.insert(format!("vec-{:07}", i.wrapping_mul(7_919) % 10_000_000).as_str(), value.as_slice())?;
        }
    }
    Ok(txn.commit()?)
}

fn read_with_redb(database: &Database) -> Result<usize, Box<dyn Error>> {
    let table = database.begin_read()?.open_table(VECTORS)?;
    let mut sum = 0;
    for row in table.iter()? {
        let (key, value) = row?;
        sum += black_box(key.value()).len() + black_box(value.value()).len();
    }
    Ok(sum)
}

fn read_view(view: &View) -> Result<usize, redb_live::Error> {
    let mut sum = 0;
    for leaf in view.table("vectors")?.into_iter().flat_map(|table| table.leaves()) {
        let leaf = leaf?;
        sum += (0..leaf.len()).map(|i| black_box(leaf.key(i)).len() + black_box(leaf.value(i)).len()).sum::<usize>();
    }
    Ok(sum)
}

/// Takes views while a thread commits, with a pause between commits, and prints how long they take.
fn read_during_writes(
    database: &Database,
    path: &Path,
    rows: u64,
    value_bytes: usize,
    mode: Mode,
    pause: Duration,
) -> Result<(), Box<dyn Error>> {
    let (stop, commits) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let first = commits.fetch_add(1, Ordering::Relaxed) * ROWS_PER_COMMIT % rows;
                put(database, first..first + ROWS_PER_COMMIT, value_bytes, first as u8).expect("the writer failed");
                std::thread::sleep(pause);
            }
        });
        let start = Instant::now();
        let (mut changed, mut passes_max, mut time_max) = (0, 0, Duration::ZERO);
        let result = (0..VIEWS).try_for_each(|_| -> Result<(), Box<dyn Error>> {
            let live = LiveFile::open(path)?;
            let read = |mode| -> Result<View, redb_live::Error> {
                let view = live.view(&ViewOptions { mode, ..Default::default() })?;
                read_view(&view).map(|_| view)
            };
            let (view, time) = timed(|| {
                Ok(read(mode).or_else(|error| match error {
                    redb_live::Error::Changed => {
                        changed += 1;
                        read(Mode::Mirror)
                    }
                    error => Err(error),
                })?)
            })?;
            (passes_max, time_max) = (view.passes().max(passes_max), time.max(time_max));
            Ok(())
        });
        stop.store(true, Ordering::Relaxed);
        let rate = commits.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
        println!(
            "{mode:?} with {rate:.0} commits/s (pause {} ms): {VIEWS} views, {changed} ended in Changed, up to {passes_max} \
             passes, slowest {} ms, mean {} ms",
            pause.as_millis(),
            time_max.as_millis(),
            start.elapsed().as_millis() / u128::from(VIEWS),
        );
        result
    })
}

fn timed<T>(work: impl FnOnce() -> Result<T, Box<dyn Error>>) -> Result<(T, Duration), Box<dyn Error>> {
    let start = Instant::now();
    Ok((work()?, start.elapsed()))
}

fn report(what: &str, payload_mb: f64, time: Duration) {
    println!("{what}: {:.0} MB/s", payload_mb / time.as_secs_f64());
}
