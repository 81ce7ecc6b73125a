//! The documents of `config`.

use schemars::JsonSchema;
use serde::Serialize;

/// The settings that apply, and where each came from.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ConfigShow")]
pub(crate) struct ConfigShowDocument<'a> {
    /// The configuration file. Null if there is none.
    pub(crate) file: Option<ConfigFileDocument>,
    /// Those that apply to the store, and then all values of the file.
    pub(crate) values: &'a [SettingDocument],
}

/// A setting that applies.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SettingDocument {
    /// For example `options.region`, or `stores.offsite.location`.
    pub(crate) key: String,
    /// The value as text. A secret is `env:NAME`, `file:PATH` or `***`. Null if it is not set.
    pub(crate) value: Option<String>,
    /// Where it came from: `flag`, `environment`, `file` or `default`.
    pub(crate) origin: &'static str,
    /// The option, the environment variable, or the file and the line. Null for a default.
    pub(crate) place: Option<String>,
}

/// A configuration file, and how it was found.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ConfigFileDocument {
    /// The path.
    pub(crate) path: String,
    /// What named it: `flag`, `environment`, or `directory` if it was looked for.
    pub(crate) found_by: &'static str,
}

/// What is wrong with a configuration file.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ConfigCheck")]
pub(crate) struct ConfigCheckDocument {
    /// The path of the file.
    pub(crate) file: String,
    /// Whether there are no problems.
    pub(crate) valid: bool,
    /// In the order of their lines.
    pub(crate) problems: Vec<ConfigProblemDocument>,
}

/// Something in a configuration file that is wrong.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ConfigProblemDocument {
    /// The line, from 1.
    pub(crate) line: usize,
    /// The character of the line, from 1.
    pub(crate) column: usize,
    /// What is wrong.
    pub(crate) message: String,
    /// What may have been meant, or what to do.
    pub(crate) advice: Option<String>,
}

/// Which configuration file is read.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ConfigPath")]
pub(crate) struct ConfigPathDocument {
    /// The file.
    pub(crate) file: ConfigFileDocument,
}
