//! How fast a view streams, beside redb's own iterator and beside a writer that commits without rest.
//!
//! `cargo run --release --example throughput [rows] [value bytes]`

use std::{
    error::Error,
    hint::black_box,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use redb::{Database, ReadableTable, TableDefinition};
use redb_live::{LiveFile, Mode, View, ViewOptions};

const VECTORS: TableDefinition<&str, &[u8]> = TableDefinition::new("vectors");

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let rows: u64 = args.next().map_or(Ok(50_000), |arg| arg.parse())?;
    let value_len: usize = args.next().map_or(Ok(1_540), |arg| arg.parse())?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("db");
    let database = Database::create(&path)?;
    put(&database, 0..rows, value_len, 0)?;
    let payload_mb = rows as f64 * (value_len + 11) as f64 / 1e6;
    println!("{rows} rows of {value_len} bytes, {payload_mb:.0} MB of payload, one core");

    for _ in 0..3 {
        let (_, time) = timed(|| read_redb(&database))?;
        report("redb iterator, unchecked", payload_mb, time);
    }
    let live = LiveFile::open(&path)?;
    for mode in [Mode::Direct, Mode::Mirror] {
        for _ in 0..3 {
            let (view, took) = timed(|| Ok(live.view(&ViewOptions { mode, ..Default::default() })?))?;
            let (_, time) = timed(|| Ok(read_view(&view)?))?;
            report(&format!("{mode:?}, rows (view in {} ms)", took.as_millis()), payload_mb, time);
        }
    }
    for pause_ms in [10, 3, 1, 0] {
        for mode in [Mode::Direct, Mode::Mirror] {
            beside_a_writer(&database, &path, rows, value_len, mode, Duration::from_millis(pause_ms))?;
        }
    }
    Ok(())
}

fn put(database: &Database, rows: std::ops::Range<u64>, len: usize, fill: u8) -> Result<(), Box<dyn Error>> {
    let txn = database.begin_write()?;
    {
        let mut table = txn.open_table(VECTORS)?;
        let value = vec![fill; len];
        for i in rows {
            table.insert(format!("vec-{:07}", i.wrapping_mul(7_919) % 10_000_000).as_str(), value.as_slice())?;
        }
    }
    Ok(txn.commit()?)
}

fn read_redb(database: &Database) -> Result<usize, Box<dyn Error>> {
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

fn beside_a_writer(
    database: &Database,
    path: &Path,
    rows: u64,
    value_len: usize,
    mode: Mode,
    pause: Duration,
) -> Result<(), Box<dyn Error>> {
    let (stop, commits) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let first = commits.fetch_add(1, Ordering::Relaxed) * 200 % rows;
                put(database, first..first + 200, value_len, first as u8).expect("the writer failed");
                std::thread::sleep(pause);
            }
        });
        let start = Instant::now();
        let (mut moved, mut passes_max, mut time_max) = (0, 0, Duration::ZERO);
        let result = (0..20).try_for_each(|_| -> Result<(), Box<dyn Error>> {
            let live = LiveFile::open(path)?;
            let take = |mode| -> Result<View, redb_live::Error> {
                let view = live.view(&ViewOptions { mode, ..Default::default() })?;
                read_view(&view).map(|_| view)
            };
            let (view, time) = timed(|| {
                Ok(take(mode).or_else(|error| match error {
                    redb_live::Error::Moved => {
                        moved += 1;
                        take(Mode::Mirror)
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
            "{mode:?} beside {rate:.0} commits/s (pause {} ms): 20 views, {moved} moved, passes up to {passes_max}, \
             slowest {} ms, mean {} ms",
            pause.as_millis(),
            time_max.as_millis(),
            start.elapsed().as_millis() / 20,
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
