//! `demo`: shows the program at work in a few seconds, on a database that it creates. Every claim that it prints has
//! been checked.
#![expect(clippy::disallowed_methods, reason = "measures how long the demo may wait for its writer")]

mod database;
mod directory;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use ruvector_snapshot::{
    CreateOptions, RestoreOptions, Snapshot, SnapshotConfig, SnapshotError, SnapshotManager, VerifyOptions,
};

use crate::documents::DemoDocument;
use crate::failure::{Exit, Failure};
use crate::output::{Text, Tone, changes, count, counted, quoted_path, size};
use crate::session::Session;
use crate::values::new_path;
use database::{DIMENSIONS, GROUP, RECORDS, Writer};
use directory::DemoDirectory;

pub(crate) const HELP: &str = "\
Creates a small database and takes a snapshot of it while a thread writes to it. Corrupts a copy of the snapshot, verifies, restores and compares every \
value. Does the same with an incremental snapshot. Each step prints the command for it. Works in a temporary directory that is removed at the end, or \
in DIR, which must be new or empty and is kept. Ignores --store.

Examples:
  ruvector-snapshot demo
  ruvector-snapshot demo ./demo

Exit codes: 0 every check passed; 1 a check or something else failed; 2 wrong usage, for example DIR is not empty.";

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// New or empty directory to work in [default: a temporary one that is removed at the end]
    #[arg(value_parser = new_path())]
    pub(crate) dir: Option<PathBuf>,
}

/// The file whose copy is corrupted.
const VECTORS_FILE: &str = "vectors.bin.gz";

pub(crate) async fn demo(session: &Session, args: Demo) -> Result<Exit, Failure> {
    let directory = DemoDirectory::new(args.dir, &session.output)?;
    let left = directory.what_is_left();
    let answer = run(session, directory).await;
    answer.map_err(|failure| match left() {
        Some(left) if !failure.is_of_run() => failure.with_outcome(&left),
        _ => failure,
    })
}

async fn run(session: &Session, directory: DemoDirectory) -> Result<Exit, Failure> {
    let manager = manager_at(&directory.path("snapshots"))?;
    let mut demo = DemoRun { session, manager, directory, checks: Vec::new() };
    let (snapshot, writer) = demo.create_while_writing().await?;
    let generation = demo.check_one_commit(&snapshot, writer).await?;
    demo.corrupt_a_copy(&snapshot).await?;
    demo.restore(&snapshot, generation).await?;
    let (increment, generation) = demo.create_increment(&snapshot).await?;
    demo.restore_increment(&increment, generation).await?;
    demo.finish(&snapshot, &increment)
}

/// One run of the demo.
struct DemoRun<'a> {
    session: &'a Session,
    manager: SnapshotManager,
    directory: DemoDirectory,
    checks: Vec<String>,
}

impl DemoRun<'_> {
    /// Creates the database, and takes a snapshot of it while it is being written.
    async fn create_while_writing(&mut self) -> Result<(Snapshot, Writer), Failure> {
        let path = self.directory.path("live.db");
        self.heading("A database that is being written")?;
        self.print(format_args!(
            "{} vectors of {DIMENSIONS} dimensions with metadata; a thread commits to it",
            count(RECORDS)
        ))?;
        self.print(format_args!("all the time, and each commit sets {GROUP} records to a new generation"))?;
        let writer = {
            let path = path.clone();
            blocking(move || {
                let writer = Writer::start(&path)?;
                writer.wait_for_commits(3);
                Ok(writer)
            })
            .await?
        };
        self.heading("Take a snapshot meanwhile")?;
        self.command("create --db live.db --name demo")?;
        let (before, began) = (writer.commits(), Instant::now());
        let options = CreateOptions::default();
        let work = self.manager.create_snapshot_of_file(&path, "demo", &options);
        let snapshot = self.session.run(&self.manager, work, self.directory.after_interrupt()).await?;
        let (seconds, meanwhile) = (began.elapsed().as_secs_f64(), writer.commits() - before);
        let (stored, of) = (size(snapshot.size_bytes), size(snapshot.raw_bytes));
        self.print(format_args!("stored {stored} of {of} in {seconds:.2} s"))?;
        let has_all = snapshot.vector_count as u64 == RECORDS;
        let commits = counted(meanwhile, "commit");
        self.check(
            has_all,
            format!("the snapshot has all {} vectors, and {commits} happened meanwhile", count(RECORDS)),
        )?;
        Ok((snapshot, writer))
    }

    /// Checks that the snapshot is of one generation, whatever the writer did.
    async fn check_one_commit(&mut self, snapshot: &Snapshot, writer: Writer) -> Result<u64, Failure> {
        let work = self.manager.restore_snapshot(&snapshot.id);
        let db = self.session.run(&self.manager, work, self.directory.after_interrupt()).await?;
        let (generation, now) = blocking(move || {
            let generation = database::generation(&db)?;
            let now = writer.commits();
            writer.stop()?;
            Ok((generation, now))
        })
        .await?;
        let one_commit = format!("it holds exactly one commit: generation {generation} (the database is at {now})");
        self.check(generation > 0, one_commit)?;
        Ok(generation)
    }

    /// Changes one byte in a copy of the snapshot, and checks that verify finds it.
    async fn corrupt_a_copy(&mut self, snapshot: &Snapshot) -> Result<(), Failure> {
        self.heading("Verify it, and change one byte in a copy of it")?;
        self.command("verify demo")?;
        let options = VerifyOptions::default();
        let work = self.manager.verify_snapshot_with(&snapshot.id, &options);
        let report = self.session.run(&self.manager, work, self.directory.after_interrupt()).await?;
        let intact =
            format!("intact: {}, {} read from the store", counted(report.records, "record"), size(report.bytes));
        self.check(report.is_intact() && report.records == RECORDS, intact)?;

        let (from, to) = (self.directory.path("snapshots"), self.directory.path("corrupt"));
        let directory = snapshot.prefix();
        let file = VECTORS_FILE;
        let at = blocking(move || {
            copy_directory(&from.join(&directory), &to.join(&directory))?;
            invert_byte(&to.join(&directory).join(file))
        })
        .await?;
        self.print(format_args!("copied to corrupt; changed byte {} of {file} there", count(at)))?;
        self.command("verify demo --store corrupt")?;
        let manager = manager_at(&self.directory.path("corrupt"))?;
        let work = manager.verify_snapshot_with(&snapshot.id, &options);
        let report = self.session.run(&manager, work, self.directory.after_interrupt()).await?;
        for corruption in &report.corruption {
            self.print(corruption)?;
        }
        let is_found = report.corruption.iter().any(|one| one.file == file && one.block.is_some());
        let is_elsewhere = report.corruption.iter().any(|one| one.file != file);
        self.check(
            is_found && !is_elsewhere,
            "the change was found, in the right file and block, and nowhere else".to_owned(),
        )
    }

    /// Restores, and compares everything.
    async fn restore(&mut self, snapshot: &Snapshot, generation: u64) -> Result<(), Failure> {
        self.heading("Restore it")?;
        self.command("restore demo --to restored.db")?;
        let path = self.directory.path("restored.db");
        let options = RestoreOptions::default();
        let work = self.manager.restore_snapshot_to(&snapshot.id, &path, &options);
        let restored = self.session.run(&self.manager, work, self.directory.after_interrupt()).await?;
        self.check(restored.checksum == snapshot.checksum, "the restored file was read back and verified".to_owned())?;
        blocking(move || database::compare(&database::open(&path)?, generation)).await?;
        let values = count(RECORDS * DIMENSIONS);
        let records = count(RECORDS);
        self.check(true, format!("Ruvector reads {records} ids, {values} values and all metadata as they were"))
    }

    /// Changes some records, and takes an incremental snapshot. Returns their new generation too.
    async fn create_increment(&mut self, snapshot: &Snapshot) -> Result<(Snapshot, u64), Failure> {
        self.heading("Change some records, and store only the changes")?;
        let path = self.directory.path("live.db");
        let generation = {
            let path = path.clone();
            blocking(move || database::change(&path)).await?
        };
        self.command("create --db live.db --name demo-2 --base demo")?;
        let options = CreateOptions::default().base_id(snapshot.id.as_str());
        let work = self.manager.create_snapshot_of_file(&path, "demo-2", &options);
        let increment = self.session.run(&self.manager, work, self.directory.after_interrupt()).await?;
        let percent = increment.size_bytes as f64 * 100.0 / snapshot.size_bytes.max(1) as f64;
        self.print(format_args!("stored {}, {percent:.1} % of the full snapshot", size(increment.size_bytes)))?;
        let stored = increment.changes.unwrap_or_default();
        let is_exact = (stored.added, stored.changed, stored.removed) == (0, GROUP, 0);
        let is_small = increment.size_bytes * 5 < snapshot.size_bytes;
        self.check(is_exact && is_small, format!("it stores {} records, and nothing else", changes(&stored)))?;
        Ok((increment, generation))
    }

    /// Restores the incremental snapshot, and compares everything.
    async fn restore_increment(&mut self, increment: &Snapshot, generation: u64) -> Result<(), Failure> {
        self.command("restore demo-2 --to restored-2.db")?;
        let path = self.directory.path("restored-2.db");
        let options = RestoreOptions::default();
        let work = self.manager.restore_snapshot_to(&increment.id, &path, &options);
        self.session.run(&self.manager, work, self.directory.after_interrupt()).await?;
        blocking(move || database::compare(&database::open(&path)?, generation)).await?;
        let records = count(RECORDS);
        self.check(true, format!("all {records} records are exactly as they were at generation {generation}"))
    }

    fn finish(self, snapshot: &Snapshot, increment: &Snapshot) -> Result<Exit, Failure> {
        let dir = self.directory.kept.as_ref().map(|dir| dir.to_string_lossy().into_owned());
        self.session.document(&DemoDocument::new(snapshot, increment, &self.checks, dir))?;
        let passed = format!("All {} checks passed.", self.checks.len());
        let text = Text::default().tone(Tone::Good, "\u{2714} ").tone(Tone::Heading, passed);
        match &self.directory.kept {
            Some(dir) => {
                self.session
                    .output
                    .line(text.add(format_args!(" The files are in {}; continue with:", dir.display())))?;
                let store = quoted_path(&dir.join("snapshots"));
                let list = format!("$ ruvector-snapshot list --store {store}");
                self.print(Text::default().tone(Tone::Heading, list))?;
            }
            None => self.session.output.line(text.add(" `demo DIR` keeps the files."))?,
        }
        Ok(Exit::Success)
    }

    fn heading(&self, title: &str) -> Result<(), Failure> {
        self.session.output.line(Text::default().tone(Tone::Heading, title))
    }

    fn print(&self, text: impl Into<Text>) -> Result<(), Failure> {
        self.session.output.line(Text::from("  ").append(&text.into()))
    }

    /// Prints the command that does the same in the directory of the demo.
    fn command(&self, verb: &str) -> Result<(), Failure> {
        self.print(Text::default().tone(Tone::Aside, format_args!("$ ruvector-snapshot {verb}")))
    }

    /// Prints a check that passed. One that did not ends the demo.
    fn check(&mut self, passed: bool, what: String) -> Result<(), Failure> {
        if !passed {
            return Err(Failure::check(format!("this check failed: {what}")));
        }
        self.print(Text::default().tone(Tone::Good, "ok").add(format_args!("    {what}")))?;
        self.checks.push(what);
        Ok(())
    }
}

fn manager_at(path: &Path) -> Result<SnapshotManager, Failure> {
    Ok(SnapshotManager::new(SnapshotConfig { snapshot_dir: path.to_owned(), ..SnapshotConfig::default() })?)
}

fn copy_directory(from: &Path, to: &Path) -> Result<(), Failure> {
    directory::create(to)?;
    for entry in fs::read_dir(from).map_err(|error| at(from, "read the directory", error))? {
        let entry = entry.map_err(|error| at(from, "read the directory", error))?;
        fs::copy(entry.path(), to.join(entry.file_name()))
            .map_err(|error| at(&entry.path(), "copy the file", error))?;
    }
    Ok(())
}

/// Inverts the byte three quarters into a file, and returns its position.
fn invert_byte(path: &Path) -> Result<u64, Failure> {
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
    answer.unwrap_or_else(|error| Err(Failure::check(format!("a task of the demo failed: {error}"))))
}

fn at(path: &Path, doing: &str, error: std::io::Error) -> SnapshotError {
    SnapshotError::io(path, doing, error)
}
