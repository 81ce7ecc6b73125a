//! How a run ends: exit codes, and failures in words. Prints nothing.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use ruvector_snapshot::{Blocker, ErrorKind, Remedy, SnapshotError};

use crate::documents::{ErrorDocument, FailureKind};

/// The exit code of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Success = 0,
    Failure = 1,
    Usage = 2,
    Corruption = 3,
    /// There is no such snapshot, or nothing to work on.
    NothingThere = 4,
    /// All is done, and there were warnings.
    Warnings = 5,
    // 128 and the number of the signal, as a shell reports a process that a signal has ended.
    Hangup = 129,
    Interrupted = 130,
    Terminated = 143,
}

/// What each exit code means. Tests compare it with the help and the documentation.
pub(crate) const EXIT_CODES: [(&str, &str); 7] = [
    ("0", "done"),
    ("1", "failed"),
    ("2", "wrong usage: an option, a value, or an ID that can mean several"),
    ("3", "a snapshot, a database or a file is corrupt"),
    ("4", "nothing there: no such snapshot, none that is selected, or an empty store; or stale (`status`)"),
    ("5", "done, with warnings; with --strict it is 1"),
    ("129, 130, 143", "interrupted by SIGHUP, SIGINT (Ctrl-C) or SIGTERM"),
];

impl Exit {
    /// Returns the worse one of two: what is corrupt is worse than what failed.
    pub(crate) fn worse(self, other: Self) -> Self {
        let rank = |exit| match exit {
            Self::Success => 0,
            Self::Warnings => 1,
            Self::NothingThere => 2,
            Self::Usage => 3,
            Self::Failure => 4,
            Self::Corruption => 5,
            Self::Hangup | Self::Interrupted | Self::Terminated => 6,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Reports what an interrupted command has left. Called at the very end, when no other work is running.
pub(crate) type InterruptReport = Box<dyn FnOnce() -> String + Send>;

/// What a failure is about.
#[derive(Default)]
struct Subject {
    /// The key of an object, or the path of a file.
    key: Option<String>,
    /// The id of a snapshot.
    id: Option<String>,
}

/// A run that failed.
pub(crate) struct Failure {
    exit: Exit,
    kind: FailureKind,
    subject: Box<Subject>,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
    remedy: Option<Remedy>,
    interrupt_report: Option<InterruptReport>,
    /// Whether the document of the run has it already.
    is_in_document: bool,
}

impl Failure {
    /// Creates a failure of this kind.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        SnapshotError::new(kind, message).into()
    }

    /// Creates the failure of arguments that cannot be parsed, from what the parser says: the problem, advice, and how the
    /// command is used.
    pub(crate) fn arguments(answer: &str) -> Self {
        let mut parts = answer.split("\n\n").map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
        let problem = parts.next().unwrap_or_default();
        let problem = problem.strip_prefix("error: ").unwrap_or(&problem);
        let hint: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
        Self::of_run(Exit::Usage, FailureKind::Usage, problem).with_hint(hint.join("; "))
    }

    /// Creates the failure of a check of the demo.
    pub(crate) fn check(message: impl Into<String>) -> Self {
        Self::of_run(Exit::Failure, FailureKind::CheckFailed, message).with_hint(BUG)
    }

    /// Creates the failure of a restore or an export that has this in its way.
    pub(crate) fn blocker(blocker: &Blocker) -> Self {
        let message = with_key(blocker.key.as_deref(), &blocker.message);
        let advice = || blocker.advice.clone().or_else(|| newer_version(blocker.kind).map(str::to_owned));
        Self {
            causes: distinct_causes(&blocker.causes, &message),
            hint: blocker.remedy.and_then(remedy_hint).map(str::to_owned).or_else(advice),
            remedy: blocker.remedy,
            subject: Box::new(Subject { key: blocker.key.clone(), id: None }),
            ..Self::of_run(Exit::Failure, FailureKind::of(blocker.kind, blocker.remedy), message)
        }
    }

    /// Creates the failure of a run that is done, because its warnings are failures with --strict.
    pub(crate) fn strict(warnings: usize) -> Self {
        let (there, one) = if warnings == 1 { ("is 1 warning", "it") } else { ("are warnings", "them") };
        let message = format!("all is done, but there {there}, and --strict makes {one} a failure");
        // The document of the run is printed by now.
        Self::of_run(Exit::Failure, FailureKind::CheckFailed, message).in_document()
    }

    /// Creates the failure of a run that found nothing where something should be.
    pub(crate) fn nothing_there(message: impl Into<String>) -> Self {
        Self::of_run(Exit::NothingThere, FailureKind::NothingThere, message)
    }

    /// Creates the failure of a run that a signal has interrupted, and that ends with this code.
    pub(crate) fn interrupted(exit: Exit, report: impl FnOnce() -> String + Send + 'static) -> Self {
        Self { interrupt_report: Some(Box::new(report)), ..Self::of_run(exit, FailureKind::Interrupted, "interrupted") }
    }

    /// Creates the failure of a run whose results cannot be printed. A full disk there is no full store.
    pub(crate) fn output(error: &io::Error) -> Self {
        let failure = Self::of_run(Exit::Failure, FailureKind::Output, "standard output could not be written");
        Self { causes: vec![error.to_string()], ..failure }
            .with_hint("check the file or the device that the output goes to")
    }

    /// Creates a failure that no error of the library has caused.
    fn of_run(exit: Exit, kind: FailureKind, message: impl Into<String>) -> Self {
        let (causes, hint, remedy) = (Vec::new(), None, None);
        Self {
            exit,
            kind,
            subject: Box::default(),
            message: message.into(),
            causes,
            hint,
            remedy,
            interrupt_report: None,
            is_in_document: false,
        }
    }

    /// Creates the failure of a search for snapshots, with exit code 4 if there are none. A store that is not there, for
    /// example a bucket, is another failure.
    pub(crate) fn of_search(error: SnapshotError) -> Self {
        let is_absent = error.kind() == ErrorKind::NotFound && error.source().is_none();
        let failure = Self::from(error);
        if is_absent { Self { exit: Exit::NothingThere, ..failure } } else { failure }
    }

    /// Creates the failure of wrong usage, with exit code 2, if the error is `InvalidInput`. Other errors stay as they
    /// are.
    pub(crate) fn usage(error: SnapshotError) -> Self {
        let is_usage = error.kind() == ErrorKind::InvalidInput;
        let failure = Self::from(error);
        match failure.kind {
            FailureKind::Ambiguous => Self { exit: Exit::Usage, ..failure },
            _ if is_usage => Self { exit: Exit::Usage, kind: FailureKind::Usage, ..failure },
            _ => failure,
        }
    }

    /// Ends the run with exit code 1: what is corrupt is no snapshot.
    pub(crate) fn not_of_snapshot(self) -> Self {
        Self { exit: Exit::Failure, ..self }
    }

    /// Replaces the causes.
    pub(crate) fn with_causes(self, causes: Vec<String>) -> Self {
        Self { causes, ..self }
    }

    /// Replaces the hint that the kind of error suggests.
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Names the snapshot that was created before the failure, which was only in the output.
    pub(crate) fn after_create(self, id: &str) -> Self {
        self.with_hint(format!("the snapshot {id} was created before that, and it is complete"))
    }

    /// Adds what was done until the failure before the hint that says what can be done about it.
    pub(crate) fn with_outcome(self, done: &str) -> Self {
        let hint = match &self.hint {
            Some(hint) => format!("{done}; {hint}"),
            None => done.to_owned(),
        };
        self.with_hint(hint)
    }

    /// Names the snapshot that it is about, unless that is known.
    pub(crate) fn about(mut self, id: Option<String>) -> Self {
        self.subject.id = self.subject.id.take().or(id);
        self
    }

    /// Marks a failure that the document of the run has already.
    pub(crate) fn in_document(self) -> Self {
        Self { is_in_document: true, ..self }
    }

    pub(crate) fn is_in_document(&self) -> bool {
        self.is_in_document
    }

    /// Returns whether it is that this path, or the directory that it is in, does not exist.
    pub(crate) fn is_about_missing(&self, path: &Path) -> bool {
        let key = path.display().to_string();
        self.kind == FailureKind::of(ErrorKind::NotFound, None) && self.subject.key == Some(key)
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// Returns the message, without causes and hint.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Returns the message and its causes in one line, for a list of what is wrong with several things.
    pub(crate) fn sentence(&self) -> String {
        std::iter::once(&self.message).chain(&self.causes).map(String::as_str).collect::<Vec<_>>().join(": ")
    }

    /// Returns whether it ends the run, whatever is left to do: a signal, or an output that cannot be written.
    pub(crate) fn is_of_run(&self) -> bool {
        self.interrupt_report.is_some() || self.kind == FailureKind::Output
    }

    pub(crate) fn kind(&self) -> FailureKind {
        self.kind
    }

    /// Returns what can be done about it, as the library says it.
    pub(crate) fn remedy(&self) -> Option<Remedy> {
        self.remedy
    }

    /// Adds what the interrupted command has left to the message. Call it after everything has ended.
    pub(crate) fn with_interrupt_report(mut self) -> Self {
        if let Some(report) = self.interrupt_report.take() {
            self.message = format!("interrupted: {}", report());
        }
        self
    }

    /// Returns the lines for a person.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("error: {}", self.message)];
        lines.extend(self.causes.iter().map(|cause| format!("  caused by: {cause}")));
        lines.extend(self.hint.iter().map(|hint| format!("  hint: {hint}")));
        lines
    }

    /// Returns the failure for a program.
    pub(crate) fn document(&self) -> ErrorDocument {
        ErrorDocument {
            kind: self.kind,
            message: self.message.clone(),
            causes: self.causes.clone(),
            hint: self.hint.clone(),
            exit_code: self.exit as u8,
            id: self.subject.id.clone(),
            key: self.subject.key.clone(),
        }
    }
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Self {
        let remedy_hint = error.remedy().and_then(remedy_hint);
        let general_hint = hint(&error);
        // The library says it in the words of its options, and a hint would say it twice.
        let message = match (remedy_hint, general_hint) {
            (None, None) => error.to_string(),
            (None, Some(_)) => without_advice(&error.to_string()),
            (Some(_), _) => with_key(error.key(), error.problem()),
        };
        let causes = std::iter::successors(error.source(), |&cause| cause.source()).map(ToString::to_string);
        let exit = match (error.kind(), error.remedy()) {
            (ErrorKind::Corrupt, _) => Exit::Corruption,
            (_, Some(Remedy::NewStore)) => Exit::NothingThere,
            _ => Exit::Failure,
        };
        Self {
            exit,
            kind: FailureKind::of(error.kind(), error.remedy()),
            subject: Box::new(Subject { key: error.key().map(str::to_owned), id: error.snapshot_id() }),
            causes: distinct_causes(&causes.collect::<Vec<_>>(), &message),
            message,
            hint: remedy_hint.or(general_hint).map(str::to_owned),
            remedy: error.remedy(),
            interrupt_report: None,
            is_in_document: false,
        }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

/// Returns the kind of an error of the library as documents have it.
pub(crate) fn kind_name(kind: ErrorKind) -> FailureKind {
    kind.into()
}

const BUG: &str = "this is a bug in this program; please report it";

/// Returns what can be done about an error, in the words of the command line.
fn remedy_hint(remedy: Remedy) -> Option<&'static str> {
    Some(match remedy {
        Remedy::Cascade => {
            "nothing was deleted; delete the dependents first, or use --cascade, which deletes them too (--dry-run shows them)"
        }
        Remedy::DeleteUnreadable => {
            "nothing was deleted; repair the corrupt snapshot, or give its ID as well, with --cascade, which deletes all that \
             depends on it too (--dry-run shows it)"
        }
        Remedy::BaseFromElsewhere => {
            "take a full snapshot: repeat this command without --base; or, if it is the same database, add --base-from-elsewhere"
        }
        Remedy::FullSnapshot => "take a full snapshot: repeat this command without --base",
        Remedy::LongerChain => {
            "take a full snapshot: repeat this command without --base; or `compact` the base and use the result as the base; \
             --max-chain allows a longer chain, which makes restores slower"
        }
        Remedy::NotStrict => {
            "--strict refuses that; keep these in another way, and repeat this command without --strict"
        }
        Remedy::Exclusive => {
            "make room in the store; or, if no other command is at work at this store, repeat this command with --exclusive, \
             which writes nothing to it"
        }
        Remedy::Overwrite => "choose another path, or use --force to replace the file",
        Remedy::MergePart => {
            "--merge puts the records into this database; to replace the whole file by the selected records, \
             remove it first; or choose another path"
        }
        Remedy::NewFile => "to restore to a new file, leave out --merge",
        Remedy::FindRecord => "`find RECORD_ID` shows which snapshots have a record",
        Remedy::OnConflict => {
            "--on-conflict keep leaves these records of the database as they are, and --on-conflict replace replaces them"
        }
        Remedy::Unverified => {
            "put the sidecar beside the file, named as the file with .metadata.json in the place of .snapshot.gz; or add --unverified, if you know by other means that the file is intact"
        }
        Remedy::FileSizeLimit => {
            "raise the limit, for example with `ulimit -f unlimited` or LimitFSIZE= of systemd; if there is none, use a file \
             system that holds larger files"
        }
        Remedy::OpenFilesLimit => {
            "raise the limit, for example with `ulimit -n 1024` or LimitNOFILE= of systemd, or use fewer --connections"
        }
        Remedy::OpenFilesOfMachine => "find the process that has so many open, or raise the limit fs.file-max",
        Remedy::ThreadsLimit => {
            "raise the limit, for example with `ulimit -u` or TasksMax= of systemd, or end other processes of this user"
        }
        Remedy::NewStore => {
            "check --store, and that the disk is mounted; without --require-store, create starts a new store"
        }
        Remedy::AddRule => {
            "check the labels of the rules; add a rule such as --keep-last 1, or delete these snapshots by their IDs first"
        }
        Remedy::AllowUnprotected => {
            "group snapshots by source (the default), add a rule such as --keep-last 1, or add --allow-unprotected if the database is \
             not needed any more"
        }
        Remedy::OtherEmbedding => {
            "vectors of different models cannot be compared with each other; if these are of the same model, or you want to \
             replace one by the other, add --other-embedding"
        }
        Remedy::OtherDatabase => "check ID and --to; if it is what you want, add --other-database",
        Remedy::OtherRuvector => {
            "the snapshot is intact; see whether the version of Ruvector that wrote the database opens a copy of it"
        }
        Remedy::BringFromArchive => {
            "bring the objects of the snapshot back first (`aws s3api restore-object`, `az storage blob set-tier`), wait until \
             that is done, and try again; then change the lifecycle rule that archives them"
        }
        _ => return None,
    })
}

/// Returns what can be done about a kind of error. `None` if the messages of that kind say it.
fn hint(error: &SnapshotError) -> Option<&'static str> {
    match error.kind() {
        // Neither the disk nor the network is the reason, and the message says what is.
        ErrorKind::Unavailable if error.key().is_none() && error.source().is_none() => None,
        kind => match io_error(error) {
            Some(cause) => hint_about_files(kind, cause),
            None => hint_about_servers(kind),
        },
    }
}

fn hint_about_files(kind: ErrorKind, cause: &io::Error) -> Option<&'static str> {
    match (kind, cause.kind()) {
        (ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem) => {
            Some("the file system is mounted read-only; mount it for writing, or choose another place")
        }
        (ErrorKind::PermissionDenied, _) => {
            Some("check the owner and the permissions of this path, and which user runs this program")
        }
        (ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded) => {
            Some("the disk quota of this user is used up; remove files of this user, or have the quota raised")
        }
        (ErrorKind::StorageFull, _) => {
            Some("free space on the disk of this path; `df` and `df -i` show what is used up")
        }
        (ErrorKind::Unavailable, _) => {
            Some("try again; if the error persists, check the disk of this path, and the log of the system")
        }
        (kind, _) => hint_about_servers(kind),
    }
}

fn hint_about_servers(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::PermissionDenied => Some(
            "check the owner and the permissions of the files, or the credentials of a bucket and what they allow; `store options` \
                 lists where these are read from",
        ),
        ErrorKind::Unavailable => {
            Some("try again; if the error persists, check the disk, or the network and the server")
        }
        ErrorKind::Unsupported => newer_version(kind),
        ErrorKind::Internal => Some(BUG),
        _ => None,
    }
}

fn newer_version(kind: ErrorKind) -> Option<&'static str> {
    (kind == ErrorKind::Unsupported).then_some("a newer version wrote this; use that version or a newer one")
}

/// Returns the error of the operating system that is the cause of an error. Errors of requests to servers have none.
fn io_error(error: &SnapshotError) -> Option<&io::Error> {
    std::iter::successors(error.source(), |&cause| cause.source()).find_map(|cause| cause.downcast_ref())
}

fn with_key(key: Option<&str>, message: &str) -> String {
    key.map_or_else(|| message.to_owned(), |key| format!("{key}: {message}"))
}

/// Returns a message without the general advice at its end.
fn without_advice(message: &str) -> String {
    let is_advice = |end: &str| {
        ["check the owner", "check the credentials", "make room", "try again"]
            .iter()
            .any(|start| end.starts_with(start))
    };
    match message.rsplit_once("; ") {
        Some((problem, end)) if is_advice(end) => problem.to_owned(),
        _ => message.to_owned(),
    }
}

/// Returns the text of an error of the operating system without its number, in lower case.
fn without_number(part: &str) -> String {
    part.split(" (os error ").next().unwrap_or_default().to_lowercase()
}

/// Returns the causes that add something to the lines above them.
fn distinct_causes(texts: &[String], message: &str) -> Vec<String> {
    // The innermost cause often is the text of the message, and the causes between only wrap it.
    let repeats = |text: &str| texts.iter().any(|deeper| message.ends_with(deeper) && text.contains(deeper));
    let mut causes: Vec<String> = Vec::new();
    for text in texts {
        let is_in = |said: &str, part: &str| said.contains(part) || said.to_lowercase().contains(&without_number(part));
        let is_said = |part: &str| is_in(message, part) || causes.iter().any(|said| is_in(said, part));
        let is_wrapper = text.starts_with("Generic LocalFs error: at ");
        // The parts of a cause are often printed already, around a key or a block number.
        if !text.is_empty() && !is_wrapper && !repeats(text) && !text.split(": ").all(is_said) {
            causes.push(text.clone());
        }
    }
    causes
}
