//! `demo`: the whole tool at work in a few seconds, on a database made for it. Every claim it prints has been checked.

mod database;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ruvector_snapshot::format::layout::DataFile;
use ruvector_snapshot::{
    CreateOptions, ErrorKind, RestoreOptions, Snapshot, SnapshotConfig, SnapshotError, SnapshotManager, VerifyOptions,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::args::Demo;
use crate::failure::{Exit, Failure};
use crate::output::{changes, count, counted, quoted_path, ratio, share, size};
use crate::session::Session;
use database::{DIMENSIONS, GROUP, RECORDS, Writer};

pub(crate) async fn demo(session: &Session, args: Demo) -> Result<Exit, Failure> {
    let place = Place::new(args.dir)?;
    let manager = manager_at(&place.path("snapshots"))?;
    let mut stage = Stage { session, manager, place, checks: Vec::new() };
    let (snapshot, writer) = stage.take().await?;
    let generation = stage.one_moment(&snapshot, writer).await?;
    stage.damage(&snapshot).await?;
    stage.bring_back(&snapshot, generation).await?;
    let (increment, generation) = stage.increment(&snapshot).await?;
    stage.bring_increment_back(&increment, generation).await?;
    stage.end(&snapshot, &increment)
}

/// Where the demo plays, and what it has shown so far.
struct Stage<'a> {
    session: &'a Session,
    manager: SnapshotManager,
    place: Place,
    checks: Vec<String>,
}

impl Stage<'_> {
    /// Makes the database, and takes a snapshot of it while it is written.
    async fn take(&mut self) -> Result<(Snapshot, Writer), Failure> {
        let path = self.place.path("live.db");
        self.scene("A database that is being written")?;
        self.say(format_args!(
            "{} vectors of {DIMENSIONS} dimensions with metadata; a thread commits to it",
            count(RECORDS)
        ))?;
        self.say(format_args!("without a pause, and each commit sets {GROUP} records to a new generation."))?;
        let writer = {
            let path = path.clone();
            blocking(move || {
                let writer = Writer::start(&path)?;
                writer.wait_for_commits(3);
                Ok(writer)
            })
            .await?
        };
        self.scene("Take a snapshot meanwhile")?;
        self.command("snapshots", &format!("create --db {} --name demo", self.place.shown("live.db")))?;
        let (before, began) = (writer.commits(), Instant::now());
        let options = CreateOptions::default();
        let work = self.manager.create_snapshot_of_file(&path, "demo", &options);
        let snapshot = self.session.run(&self.manager, work, self.place.aftermath()).await?;
        let (seconds, meanwhile) = (began.elapsed().as_secs_f64(), writer.commits() - before);
        self.say(format_args!("{}: {}, in {seconds:.2} s", snapshot.id, ratio(&snapshot)))?;
        let has_all = snapshot.vector_count as u64 == RECORDS;
        let commits = counted(meanwhile, "commit");
        self.check(has_all, format!("all {} vectors were captured, while {commits} went on", count(RECORDS)))?;
        Ok((snapshot, writer))
    }

    /// Looks into the snapshot: it must be of one generation, whatever the writer did.
    async fn one_moment(&mut self, snapshot: &Snapshot, writer: Writer) -> Result<u64, Failure> {
        let work = self.manager.restore_snapshot(&snapshot.id);
        let db = self.session.run(&self.manager, work, self.place.aftermath()).await?;
        let (generation, now) = blocking(move || {
            let generation = database::generation(&db)?;
            let now = writer.commits();
            writer.stop()?;
            Ok((generation, now))
        })
        .await?;
        let moment = format!("its {GROUP} records are all of generation {generation}: one moment, nothing mixed");
        self.check(generation > 0, format!("{moment} (the database is at {now})"))?;
        Ok(generation)
    }

    /// Damages one byte in a copy of the snapshot, and lets verify find it.
    async fn damage(&mut self, snapshot: &Snapshot) -> Result<(), Failure> {
        self.scene("Prove it, and damage one byte in a copy of it")?;
        self.command("snapshots", "verify demo")?;
        let options = VerifyOptions::default();
        let work = self.manager.verify_snapshot_with(&snapshot.id, &options);
        let report = self.session.run(&self.manager, work, self.place.aftermath()).await?;
        let whole = format!("whole: {}, {} read", counted(report.records, "record"), size(report.bytes));
        self.check(report.is_whole() && report.records == RECORDS, whole)?;

        let (from, to) = (self.place.path("snapshots"), self.place.path("damaged"));
        let directory = format!("snapshot-{}", snapshot.id);
        let file = DataFile::Vectors.name();
        let at = blocking(move || {
            copy_directory(&from.join(&directory), &to.join(&directory))?;
            flip_byte(&to.join(&directory).join(file))
        })
        .await?;
        self.say(format_args!(
            "copied to {}; byte {} of {file} flipped there",
            self.place.shown("damaged"),
            count(at)
        ))?;
        self.command("damaged", "verify demo")?;
        let manager = manager_at(&self.place.path("damaged"))?;
        let work = manager.verify_snapshot_with(&snapshot.id, &options);
        let report = self.session.run(&manager, work, self.place.aftermath()).await?;
        for damage in &report.damage {
            self.say(damage)?;
        }
        let is_found = report.damage.iter().any(|damage| damage.file == file && damage.block.is_some());
        let is_elsewhere = report.damage.iter().any(|damage| damage.file != file);
        self.check(
            is_found && !is_elsewhere,
            "the damage was found, in its file and block, and nowhere else".to_owned(),
        )
    }

    /// Restores, and compares everything.
    async fn bring_back(&mut self, snapshot: &Snapshot, generation: u64) -> Result<(), Failure> {
        self.scene("Bring it back")?;
        self.command("snapshots", &format!("restore demo --to {}", self.place.shown("restored.db")))?;
        let path = self.place.path("restored.db");
        let options = RestoreOptions::default();
        let work = self.manager.restore_snapshot_to(&snapshot.id, &path, &options);
        let restored = self.session.run(&self.manager, work, self.place.aftermath()).await?;
        self.check(restored.checksum == snapshot.checksum, "the finished file was read back and proved".to_owned())?;
        blocking(move || database::compare(&database::open(&path)?, generation)).await?;
        let values = count(RECORDS * DIMENSIONS);
        let records = count(RECORDS);
        self.check(true, format!("opened with Ruvector: {records} ids, {values} values bit by bit and all metadata"))?;
        self.say(format_args!("      are what they were at generation {generation}"))
    }

    /// Changes some records, and stores what changed. Gives the generation that they are of now.
    async fn increment(&mut self, snapshot: &Snapshot) -> Result<(Snapshot, u64), Failure> {
        self.scene("Change a few records, and store what changed")?;
        let path = self.place.path("live.db");
        let generation = {
            let path = path.clone();
            blocking(move || database::change(&path)).await?
        };
        let create = format!("create --db {} --name demo-2 --base demo", self.place.shown("live.db"));
        self.command("snapshots", &create)?;
        let options = CreateOptions { base_id: Some(snapshot.id.clone()), ..CreateOptions::default() };
        let work = self.manager.create_snapshot_of_file(&path, "demo-2", &options);
        let increment = self.session.run(&self.manager, work, self.place.aftermath()).await?;
        self.say(format_args!("{}: {}", increment.id, share(&increment, snapshot)))?;
        let stored = increment.changes.unwrap_or_default();
        let is_exact = (stored.added, stored.changed, stored.removed) == (0, GROUP, 0);
        let is_small = increment.size_bytes * 5 < snapshot.size_bytes;
        self.check(is_exact && is_small, format!("it holds {}, and nothing of the rest", changes(&stored)))?;
        Ok((increment, generation))
    }

    /// Restores the increment with what it stands on, and compares everything.
    async fn bring_increment_back(&mut self, increment: &Snapshot, generation: u64) -> Result<(), Failure> {
        self.command("snapshots", &format!("restore demo-2 --to {}", self.place.shown("restored-2.db")))?;
        let path = self.place.path("restored-2.db");
        let options = RestoreOptions::default();
        let work = self.manager.restore_snapshot_to(&increment.id, &path, &options);
        self.session.run(&self.manager, work, self.place.aftermath()).await?;
        blocking(move || database::compare(&database::open(&path)?, generation)).await?;
        let records = count(RECORDS);
        self.check(true, format!("all {records} records are what they were at generation {generation}, bit by bit"))
    }

    fn end(self, snapshot: &Snapshot, increment: &Snapshot) -> Result<Exit, Failure> {
        let checks: Vec<Value> = self.checks.iter().map(|what| json!({ "what": what, "held": true })).collect();
        let dir = self.place.kept.as_ref().map(|dir| dir.to_string_lossy());
        self.session.output.document(&json!({
            "snapshot": snapshot, "increment": increment, "checks": checks, "dir": dir,
        }))?;
        let held = format!("All {} checks held.", self.checks.len());
        match &self.place.kept {
            Some(dir) => {
                self.session
                    .output
                    .line(format_args!("\u{2714} {held} It is all in {}; go on with:", dir.display()))?;
                self.command("snapshots", "list")?;
            }
            None => {
                self.session.output.line(format_args!("\u{2714} {held} `demo DIR` keeps the files to play with."))?
            }
        }
        Ok(Exit::Done)
    }

    fn scene(&self, title: &str) -> Result<(), Failure> {
        self.session.output.line(title)
    }

    fn say(&self, text: impl std::fmt::Display) -> Result<(), Failure> {
        self.session.output.line(format_args!("  {text}"))
    }

    fn command(&self, store: &str, verb: &str) -> Result<(), Failure> {
        self.say(format_args!("$ ruvector-snapshot --store {} {verb}", self.place.shown(store)))
    }

    /// What has been checked is said; what did not hold ends the demo.
    fn check(&mut self, held: bool, what: String) -> Result<(), Failure> {
        if !held {
            return Err(Failure::check(format!("this did not hold: {what}")));
        }
        self.say(format_args!("ok    {what}"))?;
        self.checks.push(what);
        Ok(())
    }
}

/// The directory of the demo.
struct Place {
    root: PathBuf,
    /// As typed, if the user named one.
    kept: Option<PathBuf>,
    /// Removed when dropped, if the user did not.
    _temporary: Option<TempDir>,
}

impl Place {
    fn new(dir: Option<PathBuf>) -> Result<Self, Failure> {
        let Some(dir) = dir else {
            let temporary = tempfile::Builder::new().prefix("ruvector-snapshot-demo-").tempdir();
            let temporary = temporary.map_err(|error| at(&std::env::temp_dir(), "make a directory", error))?;
            return Ok(Self { root: temporary.path().to_owned(), kept: None, _temporary: Some(temporary) });
        };
        match fs::read_dir(&dir).map(|mut entries| entries.next().is_none()) {
            Ok(true) => {}
            Ok(false) => return Err(refused(&dir, "the demo needs a directory that is missing or empty")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                fs::create_dir_all(&dir).map_err(|error| at(&dir, "make the directory", error))?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
                return Err(refused(&dir, "a file stands there, and the demo needs a directory"));
            }
            Err(error) => return Err(at(&dir, "look into the directory", error).into()),
        }
        // Ruvector takes no relative path that leads upwards.
        let root = std::path::absolute(&dir).map_err(|error| at(&dir, "find the directory", error))?;
        Ok(Self { root, kept: Some(dir), _temporary: None })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The path to show: short where the directory is gone before anybody could use it.
    fn shown(&self, name: &str) -> String {
        self.kept.as_ref().map_or_else(|| name.to_owned(), |dir| quoted_path(&dir.join(name)))
    }

    fn aftermath(&self) -> impl FnOnce() -> String + Send + 'static {
        let kept = self.kept.clone();
        move || match kept {
            Some(dir) => format!("what the demo had made so far is in {}", dir.display()),
            None => "the directory of the demo was removed".to_owned(),
        }
    }
}

fn manager_at(path: &Path) -> Result<SnapshotManager, Failure> {
    Ok(SnapshotManager::new(SnapshotConfig { snapshot_dir: path.to_owned(), ..SnapshotConfig::default() })?)
}

fn copy_directory(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::create_dir_all(to).map_err(|error| at(to, "make the directory", error))?;
    for entry in fs::read_dir(from).map_err(|error| at(from, "read the directory", error))? {
        let entry = entry.map_err(|error| at(from, "read the directory", error))?;
        fs::copy(entry.path(), to.join(entry.file_name()))
            .map_err(|error| at(&entry.path(), "copy the file", error))?;
    }
    Ok(())
}

/// Flips a byte three quarters into a file, and says which.
fn flip_byte(path: &Path) -> Result<u64, Failure> {
    let mut bytes = fs::read(path).map_err(|error| at(path, "read the file", error))?;
    let position = bytes.len() / 4 * 3;
    if let Some(byte) = bytes.get_mut(position) {
        *byte ^= 0xff;
    }
    fs::write(path, bytes).map_err(|error| at(path, "write the file", error))?;
    Ok(position as u64)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    let answer = tokio::task::spawn_blocking(work).await;
    answer.unwrap_or_else(|error| Err(Failure::check(format!("a task of the demo has failed: {error}"))))
}

fn refused(path: &Path, message: &str) -> Failure {
    Failure::typed(SnapshotError::new(ErrorKind::Invalid, message).at(path.display().to_string()))
}

fn at(path: &Path, doing: &str, error: std::io::Error) -> SnapshotError {
    SnapshotError::io(path, doing, error)
}
