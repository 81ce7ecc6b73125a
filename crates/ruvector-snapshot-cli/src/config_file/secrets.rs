//! Values of options, and where they are: in the file, in the environment, or in a file of their own.
//!
//! A secret is never in the configuration file itself, so that it can be shown, copied and checked in.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// No secret is larger.
const BYTES_MAX: u64 = 64 << 10;

/// The value of an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OptionValue {
    /// The value itself. It is no secret.
    Text(String),
    /// `env:NAME`: the value of an environment variable.
    Environment(String),
    /// `file:PATH`: the contents of a file.
    File(PathBuf),
}

/// Why a value cannot be read. Begins with what is concerned, and never has the value.
#[derive(Debug)]
pub(crate) struct SecretError(pub(crate) String);

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The value as it may be shown.
impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Environment(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl OptionValue {
    /// Parses what the file says. `path` makes a path of the text after `file:`.
    pub(super) fn parse(text: &str, path: impl FnOnce(&str) -> Result<PathBuf, String>) -> Result<Self, String> {
        match (text.strip_prefix("env:"), text.strip_prefix("file:")) {
            (Some(name), _) if is_variable(name) => Ok(Self::Environment(name.to_owned())),
            (Some(_), _) => Err("after env: comes the name of an environment variable".to_owned()),
            // A URL, and no reference.
            (_, Some(rest)) if rest.starts_with("//") => Ok(Self::Text(text.to_owned())),
            (_, Some("")) => Err("after file: comes the path of a file".to_owned()),
            (_, Some(rest)) => path(rest).map(Self::File),
            _ => Ok(Self::Text(text.to_owned())),
        }
    }

    /// Returns the value, without white space around it, such as the end of the line of a file.
    pub(crate) fn read(&self) -> Result<String, SecretError> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::Environment(name) => match std::env::var(name) {
                Ok(value) if !value.trim().is_empty() => Ok(value.trim().to_owned()),
                Ok(_) => Err(SecretError(format!("the environment variable {name} is empty"))),
                Err(std::env::VarError::NotPresent) => {
                    Err(SecretError(format!("the environment variable {name} is not set")))
                }
                Err(_) => Err(SecretError(format!("the environment variable {name} is not UTF-8 text"))),
            },
            Self::File(path) => read_file(path),
        }
    }

    /// Returns what the user should know of a file that others can read or replace.
    pub(crate) fn warning(&self) -> Option<String> {
        let Self::File(path) = self else { return None };
        let mode = path.metadata().ok()?.permissions().mode();
        (mode & 0o006 != 0).then(|| {
            format!(
                "every user of this machine can {} {}, which has a secret; use `chmod 600`",
                if mode & 0o002 != 0 { "change" } else { "read" },
                path.display()
            )
        })
    }
}

fn read_file(path: &Path) -> Result<String, SecretError> {
    let failed = |why: String| SecretError(format!("cannot read {}: {why}", path.display()));
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(failed("it is a directory".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(failed("it is larger than 64 KiB, so it is no secret".to_owned()));
    }
    let text = String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8 text".to_owned()))?;
    match text.trim() {
        "" => Err(failed("it is empty".to_owned())),
        secret => Ok(secret.to_owned()),
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
