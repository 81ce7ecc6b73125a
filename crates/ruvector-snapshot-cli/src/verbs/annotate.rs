//! `annotate`: changes the labels and the note of snapshots that exist.

use clap::Args;
use ruvector_snapshot::store::check_access;
use ruvector_snapshot::{AnnotateOptions, AnnotatePlan, ErrorKind, SnapshotError, check_note};

use super::create::labels;
use crate::documents::AnnotateDocument;
use crate::failure::{Exit, Failure, kind_name};
use crate::output::{print_note, quoted};
use crate::session::{Session, Several};
use crate::values::label;

pub(crate) const HELP: &str = "\
Sets and removes labels and the note of snapshots that exist. `list`, `show` and the rules of `prune` see them as they are then. Nothing that is stored is \
rewritten: each change is a small object annotation-... beside the snapshot, and the files of the snapshot stay as they are. What is so already is not \
written again. Checks all IDs and options before the first snapshot is annotated.

Two commands at the same time change different labels without a loss. Of the same label one of the two values counts. `copy` takes annotations along, also \
later ones when it is repeated; `compact` stores the labels and the note as they are then.

Examples:
  ruvector-snapshot annotate latest --label keep=yearly
  ruvector-snapshot annotate monday tuesday --note 'before the upgrade'
  ruvector-snapshot annotate latest --remove keep --remove-note

Exit codes: 0 annotated, or everything was so already; 1 failure; 2 wrong usage, or an ID is ambiguous; 3 metadata.json of a snapshot is corrupt; 4 there is no such \
snapshot; 5 annotated, with warnings.";

#[derive(Debug, Args)]
pub(crate) struct Annotate {
    /// Ids, prefixes of ids, names, or latest
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Label to set. Can be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub(crate) labels: Vec<(String, String)>,
    /// Key of a label to remove. Can be repeated
    #[arg(long = "remove", value_name = "KEY")]
    pub(crate) remove: Vec<String>,
    /// Note to set, in the place of the one that is there
    #[arg(long, value_name = "TEXT", conflicts_with = "remove_note")]
    pub(crate) note: Option<String>,
    /// Remove the note
    #[arg(long)]
    pub(crate) remove_note: bool,
    /// Print what would be changed, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Columns of the terminal for a name.
const NAME_COLUMNS: usize = 40;

pub(crate) async fn annotate(session: &Session, args: Annotate) -> Result<Exit, Failure> {
    let options = options(&args)?;
    let manager = session.open()?;
    let resolved = session.resolve_to_change(&manager, &args.ids, Several::NewestNamed, "nothing was changed").await;
    let ids = resolved.map_err(|failure| match forgotten_label(&args) {
        Some(hint) if failure.kind() == kind_name(ErrorKind::NotFound) => failure.with_hint(hint),
        _ => failure,
    })?;
    let mut plans = Vec::new();
    for id in &ids {
        let plan = async { Ok(manager.plan_annotate(id, &options).await) };
        plans.push(session.read(&manager, plan).await?.map_err(Failure::usage)?);
    }
    if args.dry_run && plans.iter().any(|plan| plan.changes) {
        check_access(&session.location()?)?;
    }
    let listing = session.read(&manager, manager.list()).await?;
    let mut done: Vec<AnnotatePlan> = Vec::new();
    if !args.dry_run {
        for plan in &plans {
            let after_interrupt = || "some of them may be annotated; `show` prints the labels and the note".to_owned();
            let applied = session.run(&manager, manager.apply_annotate(plan), after_interrupt).await;
            done.push(applied.map_err(|failure| after(failure, &done))?);
        }
    }
    for snapshot in listing.snapshots.iter().filter(|snapshot| ids.contains(&snapshot.id)) {
        for problem in &snapshot.unreadable_annotations {
            session.warnings.add(&format!(
                "labels and note of snapshot {} that were set by an annotation which cannot be read are given up; set them again: {problem}",
                snapshot.id
            ));
        }
    }
    for problem in ids.iter().filter_map(|id| listing.problem_of(id)) {
        session.warnings.add(&format!("{problem}; the annotation does not change that"));
    }
    for AnnotatePlan { id, missing_labels, .. } in &plans {
        for key in missing_labels {
            session.warnings.add(&format!("snapshot {id} has no label {key:?}, so it could not be removed"));
        }
    }
    let shown = if args.dry_run { &plans } else { &done };
    print(session, args.dry_run, shown).map_err(|failure| after(failure, &done))?;
    Ok(Exit::Success)
}

fn options(args: &Annotate) -> Result<AnnotateOptions, Failure> {
    let usage = |message: &str| Failure::usage(SnapshotError::new(ErrorKind::InvalidInput, message));
    let mut options = AnnotateOptions::default().remove_note(args.remove_note);
    options.labels = labels(args.labels.clone())?;
    options.remove_labels = args.remove.iter().cloned().collect();
    options.note = args.note.clone();
    if let Some(note) = args.note.as_ref().filter(|note| note.trim().is_empty()) {
        let hint = |error| Failure::usage(error).with_hint("--remove-note removes the note that is there");
        check_note(note).map_err(hint)?;
    }
    if let Some(key) = args.remove.iter().find(|key| key.contains('=') || key.is_empty()) {
        let advice = "--remove takes the key alone, for example --remove host";
        return Err(usage(&format!("{key:?} is not the key of a label")).with_hint(advice));
    }
    match options == AnnotateOptions::default() {
        true => Err(usage("there is nothing to annotate").with_hint(forgotten_label(args).unwrap_or_else(|| {
            "set a label or a note with --label KEY=VALUE or --note TEXT, or remove them with --remove KEY or --remove-note"
                .to_owned()
        }))),
        false => Ok(options),
    }
}

/// Returns what to do if one of the ids seems to be a label.
fn forgotten_label(args: &Annotate) -> Option<String> {
    let label = args.ids.iter().skip(1).find(|id| id.contains('='))?;
    let label = quoted(label);
    Some(format!(
        "if {label} is a label, put --label before it: `annotate {} --label {label}`",
        quoted(args.ids.first()?)
    ))
}

/// Names the snapshots that were annotated before the failure.
fn after(failure: Failure, done: &[AnnotatePlan]) -> Failure {
    match done {
        [] => failure,
        done => {
            let ids: Vec<&str> = done.iter().map(|done| done.id.as_str()).collect();
            failure.with_hint(format!("annotated before that: {}", ids.join(" ")))
        }
    }
}

fn print(session: &Session, dry_run: bool, snapshots: &[AnnotatePlan]) -> Result<(), Failure> {
    let output = session.output;
    let document = AnnotateDocument { dry_run, snapshots: snapshots.iter().map(Into::into).collect() };
    session.document(&document)?;
    for AnnotatePlan { id, name, labels, note, changes, .. } in snapshots {
        let did = match (changes, dry_run) {
            (false, _) => "unchanged",
            (true, true) => "would annotate",
            (true, false) => "annotated",
        };
        output.line(format_args!("{did} {}  {}", session.short(id), output.fitted(name, NAME_COLUMNS)))?;
        for (at, (key, value)) in labels.iter().enumerate() {
            output.field(if at == 0 { "labels" } else { "" }, format_args!("{key}={value}"))?;
        }
        note.iter().try_for_each(|note| print_note(&output, note))?;
    }
    if dry_run { output.line("nothing was changed (--dry-run)") } else { Ok(()) }
}
