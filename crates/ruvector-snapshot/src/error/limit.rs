//! Limits of a process and of a machine that end an operation: which one an error of the operating system means, and
//! what can be done about it. The one place that says so.

use std::error::Error;
use std::io;

use rustix::io::Errno;

use super::{ErrorKind, Remedy};

/// A limit that has been reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// The size of a file.
    FileSize,
    /// The number of files that a process has open.
    OpenFiles,
    /// The number of files that all processes have open.
    OpenFilesOfMachine,
    /// The number of threads. No error of the operating system means only that, so it is never found in one.
    Threads,
}

impl Limit {
    /// Returns the limit that an error, or one of its causes, reports.
    pub(crate) fn within(error: &(dyn Error + 'static)) -> Option<Self> {
        std::iter::successors(Some(error), |&cause| cause.source())
            .find_map(|cause| cause.downcast_ref::<io::Error>().and_then(Self::of))
    }

    fn of(error: &io::Error) -> Option<Self> {
        match Errno::from_io_error(error) {
            Some(Errno::MFILE) => Some(Self::OpenFiles),
            Some(Errno::NFILE) => Some(Self::OpenFilesOfMachine),
            _ if error.kind() == io::ErrorKind::FileTooLarge => Some(Self::FileSize),
            // An error of another library inside.
            _ => error.get_ref().and_then(|inner| Self::within(inner)),
        }
    }

    /// Returns a copy of the error of the operating system by which an error, or one of its causes, reports a limit.
    #[cfg(feature = "http")]
    pub(crate) fn cause(error: &(dyn Error + 'static)) -> Option<io::Error> {
        let causes = std::iter::successors(Some(error), |&cause| cause.source());
        let own =
            causes.filter_map(|cause| cause.downcast_ref::<io::Error>()).find(|error| Self::of(error).is_some())?;
        match own.get_ref() {
            Some(inner) => Self::cause(inner),
            None => Some(own.raw_os_error().map_or_else(|| own.kind().into(), io::Error::from_raw_os_error)),
        }
    }

    pub(crate) fn kind(self) -> ErrorKind {
        match self {
            Self::FileSize => ErrorKind::StorageFull,
            Self::OpenFiles | Self::OpenFilesOfMachine | Self::Threads => ErrorKind::Unavailable,
        }
    }

    /// Returns what has happened.
    pub(crate) fn problem(self) -> &'static str {
        match self {
            Self::FileSize => {
                "the file would be larger than this process may write (`ulimit -f`, RLIMIT_FSIZE) or than the file system allows"
            }
            Self::OpenFiles => "this process may not open more files and connections (`ulimit -n`, RLIMIT_NOFILE)",
            Self::OpenFilesOfMachine => "the processes of this machine may not open more files (fs.file-max)",
            Self::Threads => {
                "this user, or this container or service, may not start more threads and processes (`ulimit -u`, RLIMIT_NPROC, pids.max)"
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
            Self::OpenFiles => (
                Remedy::OpenFilesLimit,
                "raise the limit, for example with `ulimit -n 1024` or LimitNOFILE= of systemd, or allow fewer connections at the \
                 same time",
            ),
            Self::OpenFilesOfMachine => {
                (Remedy::OpenFilesOfMachine, "find the process that has so many open, or raise the limit fs.file-max")
            }
            Self::Threads => (
                Remedy::ThreadsLimit,
                "raise the limit, for example with `ulimit -u` or TasksMax= of systemd, or end other processes of this user",
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
        for (number, limit) in [(Errno::MFILE, Limit::OpenFiles), (Errno::NFILE, Limit::OpenFilesOfMachine)] {
            let error = || io::Error::from(number);
            assert_eq!(Limit::within(&io::Error::other(error())), Some(limit));
            #[cfg(feature = "http")]
            assert_eq!(
                Limit::cause(&io::Error::other(error())).and_then(|error| error.raw_os_error()),
                error().raw_os_error()
            );
        }
        assert_eq!(Limit::within(&io::Error::other("file too large")), None);
    }
}
