//! What a plan finds: checks of the destination, warnings, and what is in the way. A command that runs makes the same
//! checks, and stops at the first that fails; a plan goes on, to find all of them. Decides nothing itself.

use std::error::Error as _;

use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, Remedy, Result, SnapshotError};
use crate::progress::{Progress, warn};
use crate::repo::reads::WrongSize;
use crate::source::destination_checks::{Check, Checks, Finding, Purpose};

/// What was found so far.
#[derive(Debug)]
pub(crate) struct Findings<'a> {
    purpose: Purpose,
    progress: Option<&'a dyn Progress>,
    pub(crate) checks: Vec<DestinationCheck>,
    pub(crate) warnings: Vec<String>,
    pub(crate) blockers: Vec<Blocker>,
}

impl<'a> Findings<'a> {
    pub(crate) fn new(purpose: Purpose, progress: Option<&'a dyn Progress>) -> Self {
        Self { purpose, progress, checks: Vec::new(), warnings: Vec::new(), blockers: Vec::new() }
    }

    pub(crate) fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Adds a warning. A command that runs reports it at once.
    pub(crate) fn warn(&mut self, warning: String) {
        if self.purpose == Purpose::Apply {
            warn(self.progress, &warning);
        }
        self.warnings.push(warning);
    }

    /// Adds checks of the destination.
    ///
    /// # Errors
    ///
    /// Returns the error of the first check that has failed, unless this is only planned.
    pub(crate) fn add_checks(&mut self, checks: Checks) -> Result<()> {
        checks.into_vec().into_iter().try_for_each(|check| self.add_check(check))
    }

    /// As [`add_checks`](Self::add_checks), of one check.
    pub(crate) fn add_check(&mut self, Check { name, verdict }: Check) -> Result<()> {
        let (outcome, detail, advice) = match verdict {
            Ok(Finding::Passed) => (CheckOutcome::Ok, None, None),
            Ok(Finding::NotMade(why)) => (CheckOutcome::NotChecked, Some(why.to_owned()), None),
            Ok(Finding::Doubtful(warning)) => {
                self.warn(warning.clone());
                (CheckOutcome::Warning, Some(warning), None)
            }
            Err(error) if self.purpose == Purpose::Apply => return Err(error),
            Err(error) => {
                let blocker = Blocker::of_destination(&error);
                let (message, advice) = (blocker.message.clone(), blocker.advice.clone());
                self.blockers.push(blocker);
                (CheckOutcome::Blocker, Some(message), advice)
            }
        };
        self.checks.push(DestinationCheck { name: name.to_owned(), outcome, detail, advice });
        Ok(())
    }

    /// Says of a check that has passed that it has not, because of what was read after it. The error itself is added apart.
    pub(crate) fn revoke_check(&mut self, name: &str, error: &SnapshotError) {
        for check in self.checks.iter_mut().filter(|check| check.name == name) {
            (check.outcome, check.detail) = (CheckOutcome::Blocker, Some(error.problem().to_owned()));
        }
    }

    /// Returns the result of reading the snapshot. If it cannot be used, that is a blocker, and there is no result.
    ///
    /// Whether another error, such as one of the connection, is in the way is not known: it is returned.
    pub(crate) fn unless_blocked<T>(&mut self, read: Result<T>) -> Result<Option<T>> {
        self.unless(read, &[ErrorKind::Corrupt, ErrorKind::Unsupported])
    }

    /// As [`unless_blocked`](Self::unless_blocked), of selected records, which may not be there or not be wanted.
    pub(crate) fn unless_refused<T>(&mut self, selected: Result<T>) -> Result<Option<T>> {
        let refusals = [ErrorKind::Corrupt, ErrorKind::Unsupported, ErrorKind::NotFound, ErrorKind::AlreadyExists];
        self.unless(selected, &refusals)
    }

    /// Adds data files with wrong sizes of which something is needed. Of the others there is a warning already, as of a command
    /// that runs.
    pub(crate) fn add_wrong_sizes(&mut self, wrong: Vec<WrongSize>) -> Result<()> {
        for WrongSize { error, is_needed } in wrong {
            let is_known = self.blockers.iter().any(|blocker| blocker.key.as_deref() == error.key());
            if is_needed && !is_known {
                self.unless_blocked(Err::<(), _>(error))?;
            }
        }
        Ok(())
    }

    fn unless<T>(&mut self, result: Result<T>, refusals: &[ErrorKind]) -> Result<Option<T>> {
        match result {
            Ok(result) => Ok(Some(result)),
            Err(error) if self.purpose == Purpose::Plan && refusals.contains(&error.kind()) => {
                self.blockers.push(Blocker::new(&error));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// A check of the destination, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DestinationCheck {
    /// What is checked, in a few words.
    pub name: String,
    /// How it ended.
    pub outcome: CheckOutcome,
    /// What was found. `None` if there is nothing to say.
    pub detail: Option<String>,
    /// What to do about it, if `detail` does not say it.
    pub advice: Option<String>,
}

/// How a check of the destination ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CheckOutcome {
    /// Nothing is in the way.
    Ok,
    /// It may fail, or something is lost that the user may need.
    Warning,
    /// It would fail.
    Blocker,
    /// The check could not be made.
    NotChecked,
}

/// Something that is in the way of a restore or an export: the error that it would return, as data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Blocker {
    /// What the error means.
    pub kind: ErrorKind,
    /// The key of the object, or the path of the file, that it is about.
    pub key: Option<String>,
    /// What is in the way.
    pub message: String,
    /// The causes, the innermost last.
    pub causes: Vec<String>,
    /// What to do about it, where that is an option of the caller.
    pub remedy: Option<Remedy>,
    /// What to do about it, in words, if `message` does not say it.
    pub advice: Option<String>,
}

impl Blocker {
    /// Creates the blocker of an error about a snapshot.
    fn new(error: &SnapshotError) -> Self {
        let causes = std::iter::successors(error.source(), |&cause| cause.source()).map(ToString::to_string);
        Self {
            kind: error.kind(),
            key: error.key().map(str::to_owned),
            message: error.problem().to_owned(),
            causes: causes.collect(),
            remedy: error.remedy(),
            advice: error.advice().map(str::to_owned),
        }
    }

    /// Creates the blocker of an error about the destination.
    fn of_destination(error: &SnapshotError) -> Self {
        let blocker = Self::new(error);
        let advice = blocker.advice.clone().or_else(|| advice(error));
        Self { advice, ..blocker }
    }
}

/// Returns what can be done about an error of the system, which no message of this library says.
fn advice(error: &SnapshotError) -> Option<String> {
    use std::io::ErrorKind as Io;
    let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
    let cause: &std::io::Error = causes.find_map(|cause| cause.downcast_ref())?;
    let advice = match cause.kind() {
        Io::NotFound => "create the directory first, or choose another path",
        Io::PermissionDenied => "check the owner and the permissions of the path, and which user runs this program",
        Io::ReadOnlyFilesystem => "mount the file system for writing, or choose another path",
        Io::StorageFull => "free space, or choose another path",
        Io::QuotaExceeded => "remove files of this user, or have the quota raised",
        _ => return None,
    };
    Some(advice.to_owned())
}
