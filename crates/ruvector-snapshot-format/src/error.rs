//! The error of this crate: a kind, a message, the file of the snapshot that it is about, and the cause.
//!
//! A message is lower case, without a full stop. It says what failed, why, and what to do if that is not obvious.

use std::error::Error as StdError;
use std::{fmt, io};

/// A result whose error is a [`FormatError`].
pub type Result<T, E = FormatError> = std::result::Result<T, E>;

/// What an error means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FormatErrorKind {
    /// The input cannot be stored, or does not have the required form: a name, an id, a record that is too large.
    InvalidInput,
    /// The stored bytes are not the bytes that were written. Restore them from another copy.
    Corrupt,
    /// A newer version of the format. Use a newer version of this crate.
    Unsupported,
    /// The stored bytes could not be read. Only implementations of [`ReadAt`](crate::reader::ReadAt) return it.
    Io,
    /// A bug in this crate.
    Internal,
}

impl fmt::Display for FormatErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidInput => "invalid input",
            Self::Corrupt => "corrupt",
            Self::Unsupported => "unsupported",
            Self::Io => "I/O error",
            Self::Internal => "internal error",
        })
    }
}

/// An error of the stored format. [`kind`](Self::kind) says what to do about it.
pub struct FormatError {
    kind: FormatErrorKind,
    message: String,
    file: Option<&'static str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl FormatError {
    /// Creates an error. `message` is lower case, without a full stop. It is cut off after 4 KiB, because it can quote what
    /// was stored.
    pub fn new(kind: FormatErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: shortened(message.into()), file: None, source: None }
    }

    /// Creates an error of the kind [`FormatErrorKind::InvalidInput`].
    pub fn invalid_input(message: impl Into<String>) -> Self {
        Self::new(FormatErrorKind::InvalidInput, message)
    }

    /// Creates an error of the kind [`FormatErrorKind::Corrupt`].
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(FormatErrorKind::Corrupt, message)
    }

    /// Creates an error of the kind [`FormatErrorKind::Unsupported`].
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(FormatErrorKind::Unsupported, message)
    }

    /// Creates an error of the kind [`FormatErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(FormatErrorKind::Internal, message)
    }

    /// Sets the file of the snapshot that the error is about, if none is set yet.
    #[must_use]
    pub fn with_file(mut self, file: &'static str) -> Self {
        self.file.get_or_insert(file);
        self
    }

    /// Prefixes the message: `context: message`.
    #[must_use]
    pub fn with_context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns what the error means for the caller.
    pub fn kind(&self) -> FormatErrorKind {
        self.kind
    }

    /// Returns the message, without the file.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the name of the file that the error is about, for example `vectors.bin.gz`.
    pub fn file(&self) -> Option<&'static str> {
        self.file
    }

    /// Returns the message and the cause.
    pub fn into_parts(self) -> (String, Option<Box<dyn StdError + Send + Sync>>) {
        (self.message, self.source)
    }
}

/// Size of the longest message, in bytes.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

fn shortened(message: String) -> String {
    if message.len() <= MESSAGE_BYTES_MAX {
        return message;
    }
    // Not truncated: that would keep the memory.
    let mut text = message.get(..message.floor_char_boundary(MESSAGE_BYTES_MAX)).unwrap_or_default().to_owned();
    text.push('…');
    text
}

impl From<io::Error> for FormatError {
    /// Lets an implementation of [`ReadAt`](crate::reader::ReadAt) use `?` on I/O errors.
    fn from(error: io::Error) -> Self {
        Self::new(FormatErrorKind::Io, format!("cannot read the snapshot: {error}")).with_source(error)
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.file {
            Some(file) => write!(f, "{file}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl fmt::Debug for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.kind)?;
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl StdError for FormatError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|error| error as &(dyn StdError + 'static))
    }
}
