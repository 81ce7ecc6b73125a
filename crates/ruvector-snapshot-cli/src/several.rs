//! What commands with several snapshots share: one that fails does not hide the others.

use crate::documents::{ItemError, OutcomeDocument};
use crate::failure::{Exit, Failure};
use crate::session::Session;

/// What became of each snapshot, in the order in which they were given.
#[derive(Debug)]
pub(crate) struct Outcomes<T> {
    are_several: bool,
    exit: Exit,
    outcomes: Vec<Outcome<T>>,
}

#[derive(Debug)]
enum Outcome<T> {
    Done(T),
    Failed { id: String, error: ItemError },
}

impl<T> Outcomes<T> {
    /// Creates it for so many snapshots.
    pub(crate) fn of(snapshots: usize) -> Self {
        Self { are_several: snapshots > 1, exit: Exit::Success, outcomes: Vec::new() }
    }

    /// Adds one, or prints and adds how it failed. The failure of the only one is that of the run, and so is one that
    /// concerns all of them: a signal, or an output that cannot be written.
    pub(crate) fn add(
        &mut self,
        session: &Session,
        id: &str,
        answer: Result<(T, Exit), Failure>,
    ) -> Result<(), Failure> {
        match answer {
            Ok((done, exit)) => {
                self.exit = self.exit.worse(exit);
                self.outcomes.push(Outcome::Done(done));
            }
            Err(failure) if !self.are_several || failure.is_of_run() => return Err(failure),
            Err(failure) => {
                failure.lines().iter().for_each(|line| session.output.message(line));
                self.exit = self.exit.worse(failure.exit());
                let error = ItemError { kind: failure.kind(), message: failure.message().to_owned() };
                self.outcomes.push(Outcome::Failed { id: id.to_owned(), error });
            }
        }
        Ok(())
    }

    /// Returns what was done.
    pub(crate) fn done(&self) -> impl Iterator<Item = &T> {
        self.outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Done(done) => Some(done),
            Outcome::Failed { .. } => None,
        })
    }

    /// Returns the last one, if it was done.
    pub(crate) fn last_done(&self) -> Option<&T> {
        match self.outcomes.last()? {
            Outcome::Done(done) => Some(done),
            Outcome::Failed { .. } => None,
        }
    }

    /// Returns the exit code, the worst of all.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// Returns what became of each, for the JSON document.
    pub(crate) fn documents<'a, D: From<&'a T>>(&'a self) -> Vec<OutcomeDocument<D>> {
        let document = |outcome: &'a Outcome<T>| match outcome {
            Outcome::Done(done) => OutcomeDocument::Done(done.into()),
            Outcome::Failed { id, error } => OutcomeDocument::Failed { id: id.clone(), error: error.clone() },
        };
        self.outcomes.iter().map(document).collect()
    }
}
