//! Verifies a chain: the files of each snapshot, then what the snapshots say of each other, then the state at each of
//! them.

use std::sync::Arc;

use ruvector_snapshot_format::checksum::ContentSum;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::index;
use ruvector_snapshot_format::layout::{self, DataFile};
use ruvector_snapshot_format::model::Changes;

use super::files::{FileCheck, Found};
use super::report::{Corruption, VerifyReport};
use super::scope::Scope;
use crate::error::{ErrorKind, Result, SnapshotError, corrupt};
use crate::progress::Progress;
use crate::repo::chain::Chain;
use crate::repo::context::Context;
use crate::repo::presence::gone;
use crate::repo::reader::StoredSnapshot;
use crate::source::irregular_rows::{IrregularIds, StateCheck};

pub(super) async fn verify_once(
    context: &Context,
    id: &SnapshotId,
    scope: &Scope,
    progress: Option<&dyn Progress>,
) -> Result<VerifyReport> {
    let mut check = ChainCheck {
        context,
        scope,
        progress,
        report: VerifyReport::new(id.to_string()),
        unsupported: None,
        found: Vec::new(),
    };
    match Chain::open(context, id).await {
        Ok(chain) => check.chain(&chain).await?,
        Err(error) if error.kind() == ErrorKind::Corrupt => check.broken_chain(id, error).await?,
        Err(error) => return Err(error),
    }
    match check.unsupported {
        // Whether it is intact is for a newer version to say.
        Some(error) if check.report.is_intact() => Err(error),
        _ => Ok(check.report),
    }
}

struct ChainCheck<'a> {
    context: &'a Context,
    scope: &'a Scope,
    progress: Option<&'a dyn Progress>,
    report: VerifyReport,
    /// Why this version cannot restore a snapshot of the chain.
    unsupported: Option<SnapshotError>,
    /// What the files of each snapshot have shown, the newest first.
    found: Vec<Found>,
}

impl ChainCheck<'_> {
    /// Verifies every snapshot of the chain, then the state that they result in.
    async fn chain(&mut self, chain: &Chain) -> Result<()> {
        let ids = chain.snapshots().iter().map(|snapshot| snapshot.id().to_string());
        self.report.chain = ids.skip(1).collect();
        for snapshot in chain.snapshots() {
            self.files(snapshot).await?;
        }
        self.counts(chain);
        if !self.report.is_intact() || matches!(self.scope, Scope::Quick { .. }) {
            return Ok(());
        }
        self.leaves(chain).await?;
        self.irregular(chain).await?;
        // The blocks of a single full snapshot have shown its state already.
        if chain.snapshots().len() > 1 {
            self.states(chain).await?;
        }
        if self.report.is_intact() {
            self.report.checksum = Some(chain.newest()?.metadata.checksum.to_string());
        }
        Ok(())
    }

    /// Verifies what can be read of a chain that does not reach a full snapshot, and reports where it breaks.
    async fn broken_chain(&mut self, first: &SnapshotId, broken: SnapshotError) -> Result<()> {
        let mut next = Some(first.clone());
        while let Some(id) = next {
            let snapshot = match StoredSnapshot::open_for(self.context, &id, first).await {
                Ok(snapshot) => snapshot,
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    let detail = format!("{}; the other files cannot be checked without it", error.message());
                    self.add(id.to_string(), layout::METADATA_JSON, detail);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::NotFound && id != *first => break,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Err(gone(self.context.store.as_ref(), first).await);
                }
                Err(error) => return Err(error),
            };
            if id != *first {
                self.report.chain.push(id.to_string());
            }
            self.files(&snapshot).await?;
            next = snapshot.metadata.base_id()?;
        }
        self.add_error(broken)
    }

    async fn files(&mut self, snapshot: &StoredSnapshot) -> Result<()> {
        let mut found =
            FileCheck::new(self.context, snapshot, self.scope, self.progress, &mut self.report).run().await?;
        self.unsupported = self.unsupported.take().or(found.unsupported.take());
        self.found.push(found);
        // During a deletion files are missing too.
        if !self.report.is_intact() {
            snapshot.check_exists().await?;
        }
        Ok(())
    }

    /// Compares the counts of each increment with those of its base, from the oldest up to the first that is wrong.
    fn counts(&mut self, chain: &Chain) {
        let dependents = chain.snapshots().iter().zip(chain.snapshots().iter().skip(1));
        for (dependent, base) in dependents.rev() {
            let base_id = base.id().to_string();
            if self.report.corruption.iter().any(|one| one.snapshot == base_id) {
                return;
            }
            let Some(changes) = dependent.metadata.changes else { continue };
            let kept = base.metadata.vector_count.checked_sub(changes.removed);
            if kept.and_then(|kept| kept.checked_add(changes.added)) != Some(dependent.metadata.vector_count) {
                let detail = "its number of records does not follow from that of its base and its changes";
                self.add(dependent.id().to_string(), layout::METADATA_JSON, detail);
            }
        }
    }

    /// Checks that the leaf tables, on which the next increment relies, can be read and cover all records.
    async fn leaves(&mut self, chain: &Chain) -> Result<()> {
        let read = chain.each_leaves(&self.context.config, |snapshot, [vectors, _]| {
            let rows: u64 = vectors.rows.iter().map(|rows| u64::from(*rows)).sum();
            let records = snapshot.metadata.vector_count;
            if rows == records {
                return Ok(());
            }
            let message =
                format!("the section {:?} has {rows} rows, but the snapshot has {records} records", index::LEAVES);
            Err(corrupt(message).with_key(snapshot.key(DataFile::Index)))
        });
        read.await.map(drop).or_else(|error| self.add_error(error))
    }

    /// Compares the records of the state at each snapshot with its irregular rows.
    async fn irregular(&mut self, chain: &Chain) -> Result<()> {
        let mut states: Vec<Option<StateCheck>> = Vec::new();
        for number in 0..chain.snapshots().len() {
            states.push(match self.irregular_ids(chain, number).await {
                Ok(ids) => ids.filter(|ids| ids.concerns_records()).map(|ids| ids.state()),
                Err(error) => return self.add_irregular(chain, number, error),
            });
        }
        if states.iter().all(Option::is_none) {
            return Ok(());
        }
        let mut failed = 0;
        let read = chain.each_record(&self.context.config, |number, id| {
            let Some(Some(state)) = states.get_mut(number) else { return Ok(()) };
            failed = number;
            state.add(id)
        });
        if let Err(error) = read.await {
            return self.add_irregular(chain, failed, error);
        }
        for (number, state) in states.into_iter().enumerate() {
            if let Some(Err(error)) = state.map(StateCheck::finish) {
                self.add_irregular(chain, number, error)?;
            }
        }
        Ok(())
    }

    /// Returns the ids of the irregular rows of a state. Rows that an ancestor stores are read again only if the
    /// description of the database is another one.
    async fn irregular_ids(&self, chain: &Chain, number: usize) -> Result<Option<Arc<IrregularIds>>> {
        let newer_first = self.found.get(number..).unwrap_or_default();
        let Some(database) = newer_first.first().and_then(|found| found.database.as_ref()) else { return Ok(None) };
        let Some(sections) = chain.irregular_of(number)? else { return Ok(None) };
        let stores_them = |snapshot: &StoredSnapshot| snapshot.id() == sections.stored_in();
        let stored = self.found.iter().zip(chain.snapshots()).find(|(_, snapshot)| stores_them(snapshot));
        if let Some((Found { irregular: Some(ids), database: Some(known), .. }, _)) = stored
            && known == database
        {
            return Ok(Some(ids.clone()));
        }
        sections.restorable(database).check().await.map(|ids| Some(Arc::new(ids)))
    }

    /// Adds a corruption of a snapshot whose irregular rows do not fit. Of two, the first decides.
    fn add_irregular(&mut self, chain: &Chain, number: usize, error: SnapshotError) -> Result<()> {
        match (error.kind(), chain.snapshots().get(number)) {
            (ErrorKind::Corrupt, Some(snapshot)) => {
                self.add(snapshot.id().to_string(), DataFile::Index.name(), error.message());
            }
            (ErrorKind::Unsupported, _) => self.unsupported = self.unsupported.take().or(Some(error)),
            _ => return Err(error),
        }
        Ok(())
    }

    /// Verifies the records of the state at each snapshot of the chain, by their digests and the content checksum. If not
    /// everything is read, the digests are taken as they are stored.
    async fn states(&mut self, chain: &Chain) -> Result<()> {
        let steps = match self.scope {
            Scope::Full => chain.steps(&self.context.config).await,
            _ => chain.steps_of_indexes(&self.context.config).await,
        };
        let steps = match steps {
            Ok(steps) => steps,
            Err(error) => return self.add_error(error),
        };
        let mut sum = ContentSum::default();
        for (snapshot, step) in chain.snapshots().iter().zip(steps).rev() {
            let metadata = &snapshot.metadata;
            sum.merge(&step.sum);
            let mut found = sum;
            // Verified with the files of the snapshot that stores them.
            found.merge(&metadata.irregular_checksum());
            if found != metadata.checksum {
                let detail = format!("the chain has the content checksum {found} instead of {}", metadata.checksum);
                self.add(metadata.id.to_string(), layout::METADATA_JSON, detail);
            }
            if let Some(recorded) = metadata.changes.filter(|recorded| *recorded != step.changes) {
                let detail = format!("it has {} instead of {}", counts(&step.changes), counts(&recorded));
                self.add(metadata.id.to_string(), layout::METADATA_JSON, detail);
            }
        }
        if self.report.is_intact() && matches!(self.scope, Scope::Full) {
            self.report.records = chain.newest()?.metadata.vector_count;
        }
        Ok(())
    }

    fn add(&mut self, snapshot: String, file: &str, detail: impl Into<String>) {
        self.report.corruption.push(Corruption { snapshot, file: file.to_owned(), block: None, detail: detail.into() });
    }

    /// Adds a corruption at the key of the error. An error of another kind is returned.
    fn add_error(&mut self, error: SnapshotError) -> Result<()> {
        if error.kind() != ErrorKind::Corrupt {
            return Err(error);
        }
        let place = error.key().and_then(layout::parse_key).map(|(id, file)| (id.to_string(), file.to_owned()));
        let (id, file) = place.unwrap_or_else(|| (self.report.id.clone(), layout::METADATA_JSON.to_owned()));
        self.add(id, &file, error.message());
        Ok(())
    }
}

fn counts(changes: &Changes) -> String {
    format!("{} added, {} changed and {} removed rows", changes.added, changes.changed, changes.removed)
}
