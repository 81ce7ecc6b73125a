//! How a run ends: exit statuses, and failures in the words that the user gets. Prints nothing.

use std::error::Error;
use std::fmt;
use std::io;
use std::process::ExitCode;

use ruvector_snapshot::{ErrorKind, SnapshotError};
use serde_json::{Value, json};

/// The exit status of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Damage = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Says what an interrupted verb left. Asked for at the very end, when nothing is at work any more.
pub(crate) type Aftermath = Box<dyn FnOnce() -> String + Send>;

/// A run that did not do what was asked.
pub(crate) struct Failure {
    exit: Exit,
    kind: &'static str,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
    aftermath: Option<Aftermath>,
}

impl Failure {
    /// Something failed.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        SnapshotError::new(kind, message).into()
    }

    /// A check of the program's own did not hold.
    pub(crate) fn check(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Failed,
            kind: "check_failed",
            message: message.into(),
            causes: Vec::new(),
            hint: Some(BUG.to_owned()),
            aftermath: None,
        }
    }

    /// The user, or the system, wanted it to stop.
    pub(crate) fn interrupted(aftermath: impl FnOnce() -> String + Send + 'static) -> Self {
        Self {
            exit: Exit::Failed,
            kind: "interrupted",
            message: "interrupted".to_owned(),
            causes: Vec::new(),
            hint: None,
            aftermath: Some(Box::new(aftermath)),
        }
    }

    /// The same, as the fault of what was typed: exit status 2. Only for what is `Invalid`; anything else stays as it is.
    pub(crate) fn typed(error: SnapshotError) -> Self {
        let is_typed = error.kind() == ErrorKind::Invalid;
        let failure = Self::from(error);
        if is_typed { Self { exit: Exit::Usage, ..failure } } else { failure }
    }

    /// Says what the user can do, instead of what the kind of error suggests.
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// The kind of error, as it stands in JSON.
    pub(crate) fn kind(&self) -> &'static str {
        self.kind
    }

    /// Finds out what an interrupt left. To be called once everything has ended.
    pub(crate) fn settled(mut self) -> Self {
        if let Some(aftermath) = self.aftermath.take() {
            self.message = format!("interrupted; {}", aftermath());
        }
        self
    }

    /// The lines for a person.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("error: {}", self.message)];
        lines.extend(self.causes.iter().map(|cause| format!("  caused by: {cause}")));
        lines.extend(self.hint.iter().map(|hint| format!("  hint: {hint}")));
        lines
    }

    /// The document for a program.
    pub(crate) fn document(&self) -> Value {
        json!({ "error": {
            "kind": self.kind, "message": self.message, "causes": self.causes, "hint": self.hint,
            "exit_status": self.exit as u8,
        }})
    }
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Self {
        let message = error.to_string();
        let exit = if error.kind() == ErrorKind::Damaged { Exit::Damage } else { Exit::Failed };
        Self {
            exit,
            kind: kind_name(error.kind()),
            causes: distinct_causes(&error, &message),
            message,
            hint: hint(error.kind()).map(str::to_owned),
            aftermath: None,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        SnapshotError::new(ErrorKind::from(error.kind()), "cannot write to standard output").because(error).into()
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

/// The kind of an error as it stands in JSON.
pub(crate) fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "not_found",
        ErrorKind::AlreadyExists => "already_exists",
        ErrorKind::Invalid => "invalid",
        ErrorKind::Damaged => "damaged",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Denied => "denied",
        ErrorKind::NoSpace => "no_space",
        ErrorKind::Busy => "busy",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Internal => "internal",
        _ => "other",
    }
}

const BUG: &str = "this should not happen, and is a bug in this program";

/// What can be done about a kind of error. Nothing where the messages of that kind say it themselves.
fn hint(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::Denied => Some(
            "look at the permissions there, and as which user or with which keys this runs; for a bucket, `store options` lists where keys can come from",
        ),
        ErrorKind::NoSpace => {
            Some("make room where it is missing: in the store, beside the restored file, or in --scratch-dir")
        }
        ErrorKind::Unavailable => Some("try again; if it stays so, look at the disk, or at the network and the server"),
        ErrorKind::Unsupported => Some("a newer version wrote this; use that version"),
        ErrorKind::Internal => Some(BUG),
        _ => None,
    }
}

/// The causes that say something which has not been said above them.
fn distinct_causes(error: &SnapshotError, message: &str) -> Vec<String> {
    let texts: Vec<String> =
        std::iter::successors(error.source(), |&cause| cause.source()).map(ToString::to_string).collect();
    // What lies deepest is often the very words of the message; what stands between only wraps them.
    let repeats = |text: &str| texts.iter().any(|deeper| message.ends_with(deeper) && text.contains(deeper));
    let mut causes: Vec<String> = Vec::new();
    for text in &texts {
        let is_said = |part: &str| message.contains(part) || causes.iter().any(|said| said.contains(part));
        // The parts of a cause often stand above it, around a key or a block number.
        if !text.is_empty() && !repeats(text) && !text.split(": ").all(is_said) {
            causes.push(text.clone());
        }
    }
    causes
}
