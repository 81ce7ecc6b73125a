//! Limits of a process and of a machine that end an operation: which one an error of the operating system means, and
//! what can be done about it. The one place that says so.

use std::error::Error;
use std::io;

use super::{ErrorKind, Remedy};

/// A limit that has been reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// The size of a file.
    FileSize,
}

impl Limit {
    /// Returns the limit that an error, or one of its causes, reports.
    pub(crate) fn within(error: &(dyn Error + 'static)) -> Option<Self> {
        std::iter::successors(Some(error), |&cause| cause.source())
            .find_map(|cause| cause.downcast_ref::<io::Error>().and_then(Self::of))
    }

    fn of(error: &io::Error) -> Option<Self> {
        match error.kind() {
            io::ErrorKind::FileTooLarge => Some(Self::FileSize),
            // An error of another library inside.
            _ => error.get_ref().and_then(|inner| Self::within(inner)),
        }
    }

    pub(crate) fn kind(self) -> ErrorKind {
        match self {
            Self::FileSize => ErrorKind::StorageFull,
        }
    }

    /// Returns what has happened.
    pub(crate) fn problem(self) -> &'static str {
        match self {
            Self::FileSize => {
                "the file would be larger than this process may write (`ulimit -f`, RLIMIT_FSIZE) or than the file system allows"
            }
        }
    }

    /// Returns what can be done about it, as data and in words.
    pub(crate) fn remedy(self) -> (Remedy, &'static str) {
        match self {
            Self::FileSize => (
                Remedy::FileSizeLimit,
                "raise the limit, for example with `ulimit -f unlimited` or LimitFSIZE= of systemd; if there is none, use a file \
                 system that holds larger files",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_found_however_deep_it_is() {
        let too_large = || io::Error::from(io::ErrorKind::FileTooLarge);
        assert_eq!(Limit::within(&too_large()), Some(Limit::FileSize));
        assert_eq!(Limit::within(&io::Error::other(too_large())), Some(Limit::FileSize));
        let wrapped =
            crate::SnapshotError::new(ErrorKind::Unavailable, "outer").with_source(io::Error::other(too_large()));
        assert_eq!(Limit::within(&wrapped), Some(Limit::FileSize));
        assert_eq!(Limit::within(&io::Error::from(io::ErrorKind::StorageFull)), None);
        assert_eq!(Limit::within(&io::Error::other("file too large")), None);
    }
}
