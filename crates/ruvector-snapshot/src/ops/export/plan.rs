//! The plan of an export: what it would write, and what is in its way. Writes nothing. The checks, and what is estimated, are
//! those of the export.

use std::path::PathBuf;

use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::index;
use tracing::Instrument as _;

use super::amount::{Amount, Counter};
use super::options::{ExportFormat, ExportOptions, ExportPlan};
use super::{KNOWN_FILES, NOTHING, check_format, check_values, size_of, warnings_of};
use crate::error::Result;
use crate::progress::Phase;
use crate::repo::chain::Chain;
use crate::repo::chain_checks::{Then, corruption_warning};
use crate::repo::context::Context;
use crate::repo::findings::Findings;
use crate::repo::location::check_output;
use crate::repo::selection::{Put, check_selected, read_selected};
use crate::snapshot::Snapshot;
use crate::source::destination_checks::Purpose;
use crate::source::export_directory::PlannedDirectory;
use crate::store::metered::Meter;

/// Plans an export. All records are not read for it; selected ones are.
pub(crate) async fn plan(
    context: &Context,
    id: &SnapshotId,
    path: PathBuf,
    options: &ExportOptions,
) -> Result<ExportPlan> {
    let span = tracing::info_span!("plan_export", snapshot = %id);
    async {
        let (context, meter) = &context.metered();
        let mut planner = Planner {
            context,
            options,
            findings: Findings::new(Purpose::Plan, options.progress.as_deref()),
            plan: ExportPlan::new(id.to_string(), options.format),
        };
        planner.findings.unless_blocked(check_format(options.format))?;
        let directory = planner.check_directory(path).await?;
        let chain = Chain::open(context, id).await;
        let chain = planner.findings.unless_blocked(chain)?;
        let mut refusal = None;
        if let Some(chain) = &chain {
            let newest = chain.newest()?;
            planner.plan.snapshot = Some(Snapshot::new(&newest.metadata, newest.metadata_json_bytes)?);
            refusal = match options.filter.accepts_everything() {
                true => planner.estimate(chain).await?,
                false => planner.count(chain, meter).await?,
            };
            planner.findings.warnings.extend(corruption_warning(context, chain, Then::ReadsAgain).await);
            planner.findings.warnings.extend(warnings_of(chain)?);
        }
        let size = (!planner.plan.files.is_empty()).then(|| size_of(&planner.plan.files));
        planner.findings.add_checks(PlannedDirectory::check_size(directory.as_ref(), size))?;
        if let Some(chain) = &chain {
            let dimensions = chain.newest()?.metadata.dimensions;
            let checked = check_values(options.format, dimensions, planner.plan.records.unwrap_or_default());
            planner.findings.unless_blocked(checked)?;
        }
        // An export reads the records last.
        refusal.map(|refusal| planner.findings.unless_refused(refusal)).transpose()?;
        planner.plan.free_bytes = directory.as_ref().and_then(|directory| directory.free_bytes);
        planner.plan.directory = directory.map(PlannedDirectory::into_path);
        Ok(planner.finish())
    }
    .instrument(span)
    .await
}

/// A plan that is being made.
struct Planner<'a> {
    context: &'a Context,
    options: &'a ExportOptions,
    findings: Findings<'a>,
    plan: ExportPlan,
}

impl Planner<'_> {
    async fn check_directory(&mut self, path: PathBuf) -> Result<Option<PlannedDirectory>> {
        let store = self.context.directory();
        let check = move || {
            let refused = check_output(&path, "an export", store.as_deref());
            let mut leftovers = Vec::new();
            let mut warn = |warning: &str| leftovers.push(warning.to_owned());
            let checked = PlannedDirectory::check(refused.map(|()| path.as_path()), &KNOWN_FILES, &mut warn);
            Ok((checked, leftovers))
        };
        let ((directory, checks), leftovers) = self.context.run_blocking(check).await?;
        self.findings.warnings.extend(leftovers);
        self.findings.add_checks(checks)?;
        Ok(directory)
    }

    /// Estimates an export of all records. Returns what would refuse it.
    async fn estimate(&mut self, chain: &Chain) -> Result<Option<Result<()>>> {
        let config = &self.context.config;
        let directories = chain.directories(config).await;
        let directories = self.findings.unless_blocked(directories)?;
        let reads = directories.map(|directories| chain.reads(&directories, false, config)).transpose()?;
        if let Some(reads) = &reads {
            let all_bytes = reads.iter().flatten().fold(0_u64, |sum, reads| sum.saturating_add(reads.bytes));
            // An export does not need the description of the database.
            let description = chain.newest()?.metadata.section(index::DATABASE)?.range();
            let description_bytes = description.end.saturating_sub(description.start);
            self.plan.read_bytes = Some(all_bytes.saturating_sub(description_bytes));
        }
        self.plan.records = Some(chain.records()?);
        self.plan.is_complete = Some(true);
        self.set_files(chain, &Amount::estimated(chain, &self.options.filter)?)?;
        let wrong = chain.wrong_sizes(reads.as_deref(), config).await?;
        self.findings.add_wrong_sizes(wrong)?;
        Ok(None)
    }

    /// Reads the selected records, and counts them. Returns whether an export would refuse them.
    async fn count(&mut self, chain: &Chain, meter: &Meter) -> Result<Option<Result<()>>> {
        let metadata = &chain.newest()?.metadata;
        let (filter, progress) = (&self.options.filter, self.options.progress.as_deref());
        let what = Put { filter, progress, phase: Phase::Stream, outcome: NOTHING };
        let read = read_selected(self.context, chain, what, Counter::new(metadata.dimensions), Counter::put).await;
        let (counter, selected) = match read {
            Ok(read) => read,
            Err(error) => return Ok(Some(Err(error))),
        };
        let mut found = metadata.irregular_checksum();
        found.merge(&selected.sum);
        self.plan.records = Some(selected.records);
        self.plan.is_complete = Some(found == metadata.checksum);
        self.plan.missing_ids = selected.missing.list();
        self.plan.read_bytes = Some(meter.read_bytes());
        self.set_files(chain, &counter.amount())?;
        Ok(Some(check_selected(chain, what, &selected).await))
    }

    fn set_files(&mut self, chain: &Chain, amount: &Amount) -> Result<()> {
        self.plan.files = amount.files(self.options.format, chain.newest()?.metadata.dimensions);
        Ok(())
    }

    fn finish(self) -> ExportPlan {
        let Findings { checks, warnings, blockers, .. } = self.findings;
        ExportPlan { checks, warnings, blockers, ..self.plan }
    }
}

impl ExportPlan {
    fn new(id: String, format: ExportFormat) -> Self {
        Self {
            id,
            snapshot: None,
            directory: None,
            format,
            records: None,
            is_complete: None,
            missing_ids: Vec::new(),
            files: Vec::new(),
            read_bytes: None,
            free_bytes: None,
            checks: Vec::new(),
            warnings: Vec::new(),
            blockers: Vec::new(),
        }
    }
}
