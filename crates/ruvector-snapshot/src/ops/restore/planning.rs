//! Makes the plan of a restore. A restore and a dry run plan with the same code: the restore stops at the first blocker,
//! and the dry run goes on, to find all of them.

use std::path::Path;
use std::sync::Arc;

use ruvector_snapshot_format::embedding::EmbeddingInfo;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::index::BlockEntry;
use ruvector_snapshot_format::layout::{self, DataFile};
use ruvector_snapshot_format::model::DatabaseInfo;

use super::memory;
use super::options::RestoreOptions;
use super::ownership;
use super::plan::{PlannedFetch, PlannedFile, PlannedObject, PlannedSnapshot, PlannedState, RestorePlan};
use super::size;
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::progress::warn;
use crate::repo::chain::Chain;
use crate::repo::chain_checks::{Then, corruption_warning};
use crate::repo::context::Context;
use crate::repo::findings::Findings;
use crate::repo::reader::StoredSnapshot;
use crate::repo::reads::ObjectReads;
use crate::source::SourceReader as _;
use crate::source::destination::Destination;
use crate::source::destination_checks::{Check, FileSize, Finding, Purpose};
use crate::source::embedding::other_embedding;
use crate::source::file::{FileOptions, FileReader};
use crate::source::records_only;
use crate::source::target::MemoryTarget;
use crate::source::temporary::{MAGIC, Temporary};
use crate::text;

/// A database has at least its magic number.
const DATABASE_BYTES_MIN: u64 = MAGIC.len() as u64;

/// The contents of a snapshot, as far as a restore needs to know them before it reads the records.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) chain: Chain,
    pub(super) database: Arc<DatabaseInfo>,
    /// The block directories of all snapshots, the newest first.
    pub(super) directories: Vec<Arc<[BlockEntry]>>,
}

/// Plans a restore to a file. For a restore also returns what it works with.
pub(super) async fn to_file(
    context: &Context,
    id: &SnapshotId,
    path: &Path,
    options: &RestoreOptions,
    purpose: Purpose,
) -> Result<(RestorePlan, Option<(Contents, Destination, Temporary)>)> {
    let mut planner = Planner::new(context, id, options, purpose);
    let destination = planner.check_destination(path).await?;
    let chain = planner.open_chain(id).await?;
    let size = chain.as_ref().map(size::of_restored_file).transpose()?;
    let place = match destination {
        Some(destination) => Some(planner.prepare(destination, size).await?),
        None => None,
    };
    let contents = match chain {
        Some(chain) => planner.read(chain, &FileRestore(size.unwrap_or_default())).await?,
        None => None,
    };
    if let (Some((contents, ())), Some((destination, _))) = (&contents, &place) {
        let replaced_records = planner.check_replaced(destination, &contents.database).await?;
        planner.check_shrinkage(destination, replaced_records.unwrap_or_default())?;
    }
    let work = match (contents, place) {
        (Some((contents, ())), Some((destination, Some(temporary)))) => Some((contents, destination, temporary)),
        _ => None,
    };
    Ok((planner.finish(), work))
}

/// Plans a restore to a database in memory. Also returns what it works with, if there is no blocker.
pub(super) async fn to_memory(
    context: &Context,
    id: &SnapshotId,
    options: &RestoreOptions,
    purpose: Purpose,
) -> Result<(RestorePlan, Option<(Contents, MemoryTarget)>)> {
    let mut planner = Planner::new(context, id, options, purpose);
    let work = match planner.open_chain(id).await? {
        Some(chain) => planner.read(chain, &MemoryRestore).await?,
        None => None,
    };
    Ok((planner.finish(), work))
}

/// What differs between restores to a file and to memory.
trait Kind {
    type Target: Send + 'static;

    /// Creates what needs the description of the database.
    async fn create(&self, context: &Context, database: &Arc<DatabaseInfo>) -> Result<Self::Target>;

    /// Returns the error for irregular rows, if the target cannot store them.
    fn refuses_irregular(&self) -> Option<SnapshotError>;

    /// Returns the memory that the target takes, in bytes.
    fn target_bytes(&self, chain: &Chain, directories: &[Arc<[BlockEntry]>]) -> Result<u64>;
}

struct FileRestore(FileSize);

impl Kind for FileRestore {
    type Target = ();

    async fn create(&self, _context: &Context, _database: &Arc<DatabaseInfo>) -> Result<()> {
        Ok(())
    }

    fn refuses_irregular(&self) -> Option<SnapshotError> {
        None
    }

    fn target_bytes(&self, _chain: &Chain, _directories: &[Arc<[BlockEntry]>]) -> Result<u64> {
        Ok(memory::of_file(self.0))
    }
}

struct MemoryRestore;

impl Kind for MemoryRestore {
    type Target = MemoryTarget;

    async fn create(&self, context: &Context, database: &Arc<DatabaseInfo>) -> Result<MemoryTarget> {
        let database = database.clone();
        context.run_blocking(move || MemoryTarget::create(&database)).await
    }

    fn refuses_irregular(&self) -> Option<SnapshotError> {
        Some(records_only())
    }

    fn target_bytes(&self, chain: &Chain, directories: &[Arc<[BlockEntry]>]) -> Result<u64> {
        memory::of_database(chain, directories)
    }
}

/// A plan that is being made.
pub(super) struct Planner<'a> {
    context: &'a Context,
    options: &'a RestoreOptions,
    pub(super) plan: RestorePlan,
    pub(super) findings: Findings<'a>,
    /// Replaces what an error of the destination says can be done about it.
    advise: fn(SnapshotError) -> SnapshotError,
}

impl<'a> Planner<'a> {
    pub(super) fn new(context: &'a Context, id: &SnapshotId, options: &'a RestoreOptions, purpose: Purpose) -> Self {
        let findings = Findings::new(purpose, options.progress.as_deref());
        Self { context, options, plan: RestorePlan::new(id.to_string()), findings, advise: |error| error }
    }

    /// Replaces what errors of the destination say can be done about them.
    pub(super) fn advising(self, advise: fn(SnapshotError) -> SnapshotError) -> Self {
        Self { advise, ..self }
    }

    /// Makes the checks of the destination that need no snapshot. `None` if no file can have this path.
    pub(super) async fn check_destination(&mut self, path: &Path) -> Result<Option<Destination>> {
        let (path, overwrite, purpose) = (path.to_owned(), self.options.overwriting(), self.findings.purpose());
        let store = self.context.directory();
        let check = move || Ok(Destination::check(&path, overwrite, purpose, store.as_deref()));
        let (destination, checks) = self.context.run_blocking(check).await?;
        self.add_checks(checks.into_vec())?;
        Ok(destination)
    }

    /// Makes all checks of the destination. `size` is `None` if the snapshot cannot be read.
    pub(super) async fn prepare(
        &mut self,
        destination: Destination,
        size: Option<FileSize>,
    ) -> Result<(Destination, Option<Temporary>)> {
        let replaced_bytes = destination.replaced_bytes();
        let (purpose, listener) = (self.findings.purpose(), self.options.progress.clone());
        let work = move || {
            let mut leftovers = Vec::new();
            let (prepared, checks) = destination.prepare(size, purpose, &mut |warning| {
                // At once: it is known even if the restore is cancelled before the next one.
                if purpose == Purpose::Apply {
                    warn(listener.as_deref(), warning);
                }
                leftovers.push(warning.to_owned());
            });
            Ok((destination, prepared, checks, leftovers))
        };
        let (destination, prepared, checks, leftovers) = self.context.run_blocking(work).await?;
        self.findings.warnings.extend(leftovers);
        self.plan.file = Some(PlannedFile {
            path: destination.path().to_string_lossy().into_owned(),
            replaced_bytes,
            least_bytes: size.map(|size| size.least_bytes),
            likely_bytes: size.map(|size| size.likely_bytes),
            free_bytes: prepared.free_bytes,
        });
        self.add_checks(checks.into_vec())?;
        Ok((destination, prepared.temporary))
    }

    /// Compares the file that is replaced with the snapshot. A database of another embedding model, as other dimensions show
    /// too, is refused. Another metric, and a file that is no database, are warnings. A damaged database is what restores are for.
    /// Returns about how many records the database has, if it is one.
    pub(super) async fn check_replaced(
        &mut self,
        destination: &Destination,
        database: &DatabaseInfo,
    ) -> Result<Option<u64>> {
        if destination.replaced_bytes().is_none() {
            return Ok(None);
        }
        if let Some(source) = self.plan.state.as_ref().map(|state| state.source.clone()) {
            let accepts_other = self.options.other_database;
            let check = ownership::check(self.context, destination.path(), &source, accepts_other).await?;
            self.add_checks(vec![check])?;
        }
        // Of fewer bytes it is not known what they were.
        if destination.replaced_bytes().unwrap_or_default() < DATABASE_BYTES_MIN {
            return Ok(None);
        }
        let path = destination.path().to_owned();
        let options = FileOptions { scratch_dir: self.context.config.scratch_dir.clone(), ..FileOptions::default() };
        let read = move || {
            let reader = FileReader::open(&path, &options);
            Ok(reader.map(|reader| (reader.database().clone(), reader.records_expected())))
        };
        let (replaced, records) = match self.context.run_blocking(read).await? {
            Ok(replaced) => replaced,
            Err(error) => {
                self.add_checks(no_database(&error, destination).into_iter().collect())?;
                return Ok(None);
            }
        };
        let differences = differences(&replaced, database);
        if differences.is_empty() {
            self.add_checks(other_metric(&replaced, database, destination).into_iter().collect())?;
            return Ok(Some(records));
        }
        let between = ["the database there", "the snapshot"];
        let verdict = other_embedding("replace this database", between, &differences, self.options.other_embedding)
            .map(Finding::Doubtful)
            .map_err(|error| error.with_key(destination.path().display().to_string()));
        self.add_checks(vec![Check { name: "embedding", verdict }])?;
        Ok(Some(records))
    }

    /// Warns if the database that is replaced has at least twice the records of the snapshot.
    fn check_shrinkage(&mut self, destination: &Destination, replaced_records: u64) -> Result<()> {
        let records = self.plan.state.as_ref().map_or(0, |state| state.records);
        if replaced_records == 0 || records > replaced_records / 2 {
            return Ok(());
        }
        let warning = format!(
            "{} is replaced: it has about {}, and the snapshot {}; check that it is the right snapshot",
            destination.path().display(),
            text::records(replaced_records),
            text::count(records)
        );
        self.add_checks(vec![Check { name: "replaced records", verdict: Ok(Finding::Doubtful(warning)) }])
    }

    /// Opens the chain and describes it. `None` if that is a blocker.
    pub(super) async fn open_chain(&mut self, id: &SnapshotId) -> Result<Option<Chain>> {
        let chain = Chain::open(self.context, id).await;
        let Some(chain) = self.findings.unless_blocked(chain)? else { return Ok(None) };
        corruption_warning(self.context, &chain, Then::ReadsAgain)
            .await
            .into_iter()
            .for_each(|warning| self.findings.warn(warning));
        let metadata = &chain.newest()?.metadata;
        self.plan.state = Some(PlannedState {
            name: metadata.name.clone(),
            created_at: metadata.created_at,
            source: metadata.source.clone(),
            records: metadata.vector_count,
            dimensions: metadata.dimensions,
            distance_metric: metadata.distance_metric.clone(),
            checksum: metadata.checksum.to_string(),
            irregular: metadata.irregular.clone(),
            not_captured: metadata.source.not_captured.clone(),
        });
        let snapshots = chain.snapshots().iter().rev().map(describe);
        self.plan.chain = snapshots.collect::<Result<_>>()?;
        Ok(Some(chain))
    }

    /// Reads what is needed before the records, and completes the plan. `None` if there is a blocker.
    async fn read<K: Kind>(&mut self, chain: Chain, kind: &K) -> Result<Option<(Contents, K::Target)>> {
        let target = self.create(&chain, kind).await?;
        self.check_irregular(&chain, kind)?;
        let directories = chain.directories(&self.context.config).await;
        let directories = self.findings.unless_blocked(directories)?;
        let mut reads = None;
        if let Some(directories) = &directories {
            reads = Some(chain.reads(directories, !self.options.skip_irregular, &self.context.config)?);
            self.count_reads(reads.as_deref().unwrap_or_default());
            let working_bytes = memory::of_reading(&chain, directories, &self.context.config)?;
            self.plan.memory_bytes = Some(working_bytes.saturating_add(kind.target_bytes(&chain, directories)?));
        }
        if self.findings.purpose() == Purpose::Plan {
            // A restore does not ask: it finds out when it reads, and misses only what it reads.
            let wrong = chain.wrong_sizes(reads.as_deref(), &self.context.config).await?;
            self.findings.add_wrong_sizes(wrong)?;
        }
        let (Some((database, target)), Some(directories)) = (target, directories) else { return Ok(None) };
        Ok(Some((Contents { chain, database, directories }, target)))
    }

    /// Reads the description of the database. `None` if that is a blocker.
    pub(super) async fn describe_database(&mut self, chain: &Chain) -> Result<Option<Arc<DatabaseInfo>>> {
        let database = chain.newest()?.restorable_database().await;
        Ok(self.findings.unless_blocked(database)?.map(Arc::new))
    }

    /// Reads the description of the database, and creates what needs it.
    async fn create<K: Kind>(&mut self, chain: &Chain, kind: &K) -> Result<Option<(Arc<DatabaseInfo>, K::Target)>> {
        let Some(database) = self.describe_database(chain).await? else { return Ok(None) };
        let target = kind.create(self.context, &database).await;
        Ok(self.findings.unless_blocked(target)?.map(|target| (database, target)))
    }

    fn check_irregular(&mut self, chain: &Chain, kind: &impl Kind) -> Result<()> {
        let Some(what) = chain.newest()?.metadata.irregular.as_ref().map(ToString::to_string) else { return Ok(()) };
        if self.options.skip_irregular {
            let warning = format!("{what} of the snapshot are not restored: they are not records of the target");
            self.findings.warn(warning);
            return Ok(());
        }
        match kind.refuses_irregular() {
            Some(error) => self.findings.unless_blocked(Err::<(), _>(cannot_store(&what, error))).map(drop),
            None => Ok(()),
        }
    }

    fn count_reads(&mut self, reads: &[[ObjectReads; 4]]) {
        let mut all = PlannedFetch::default();
        for (planned, reads) in self.plan.chain.iter_mut().rev().zip(reads) {
            for (object, reads) in planned.objects.iter_mut().zip(reads) {
                let fetch = PlannedFetch::of_object(reads.bytes, reads.requests);
                object.fetch = Some(fetch);
                all.add(fetch);
            }
        }
        self.plan.fetch = Some(all);
    }

    /// Adds checks of the destination. Fails at the first blocker, unless this is only planned.
    fn add_checks(&mut self, checks: Vec<Check>) -> Result<()> {
        let advise = self.advise;
        let mut checks = checks.into_iter();
        checks.try_for_each(|Check { name, verdict }| {
            self.findings.add_check(Check { name, verdict: verdict.map_err(advise) })
        })
    }

    /// Returns the plan.
    pub(super) fn finish(self) -> RestorePlan {
        let Findings { checks, warnings, blockers, .. } = self.findings;
        RestorePlan { checks, warnings, blockers, ..self.plan }
    }
}

/// Returns what differs between the embedding models of a database that is replaced and of the snapshot.
fn differences(replaced: &DatabaseInfo, snapshots: &DatabaseInfo) -> Vec<String> {
    let recorded = |database: &DatabaseInfo| EmbeddingInfo::recorded_in(&database.rows);
    let mut differences = recorded(replaced).differences(&recorded(snapshots));
    let (there, own) = (replaced.dimensions, snapshots.dimensions);
    // An empty database may record none.
    if there != own && there > 0 && own > 0 {
        differences.push(format!("{there} and {own} dimensions"));
    }
    differences
}

fn other_metric(replaced: &DatabaseInfo, snapshots: &DatabaseInfo, destination: &Destination) -> Option<Check> {
    let (there, own) = (replaced.distance_metric.as_ref()?, snapshots.distance_metric.as_ref()?);
    let warning = format!(
        "{} is replaced by a database of another metric: it has {there}, and the snapshot {own}; check that the snapshot is of this \
         database",
        destination.path().display()
    );
    (there != own).then(|| Check { name: "replaced file", verdict: Ok(Finding::Doubtful(warning)) })
}

/// Returns the check of a file that is replaced and cannot be read as a Ruvector database. `None` if it may be a damaged one.
fn no_database(error: &SnapshotError, destination: &Destination) -> Option<Check> {
    // The file itself was there a moment ago.
    if error.is_of_process()
        || !matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::Corrupt)
    {
        return Some(Check { name: "replaced file", verdict: Ok(Finding::NotMade("the file could not be read")) });
    }
    let warning = format!(
        "{} is replaced, and is no database that this program knows: {}; check that it is the right file",
        destination.path().display(),
        error.problem()
    );
    (error.kind() != ErrorKind::Corrupt)
        .then(|| Check { name: "replaced file", verdict: Ok(Finding::Doubtful(warning)) })
}

fn describe(snapshot: &StoredSnapshot) -> Result<PlannedSnapshot> {
    let (id, metadata) = (snapshot.id(), &snapshot.metadata);
    let object = |name: &str, size_bytes| PlannedObject { key: layout::key(id, name), size_bytes, fetch: None };
    let mut objects = vec![object(layout::METADATA_JSON, snapshot.metadata_json_bytes)];
    for file in DataFile::ALL {
        objects.push(object(file.name(), metadata.file(file)?.bytes));
    }
    Ok(PlannedSnapshot {
        id: id.to_string(),
        snapshot_type: metadata.snapshot_type.clone(),
        created_at: metadata.created_at,
        format_version: metadata.format_version,
        writer: metadata.writer.clone(),
        objects,
    })
}

/// Returns the error for irregular rows that a target cannot store, for the reason that it gives.
pub(super) fn cannot_store(what: &str, error: SnapshotError) -> SnapshotError {
    let message = format!(
        "the snapshot holds {what} that this target cannot store ({}); restore to a file with the newest version of this \
         program, or skip them (RestoreOptions::skip_irregular)",
        error.message()
    );
    SnapshotError::new(ErrorKind::Unsupported, message).with_source(error)
}
