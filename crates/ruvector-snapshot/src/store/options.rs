//! Options of a bucket: `key=value` as a user gives them, and the environment variables of each provider's own tools.
//!
//! Pure. Unknown options are rejected by name, and secret values are never shown. What an option means is decided in
//! the file of the provider. The tables are in `known_options.rs`. What a value may be is in `value.rs`, and checked
//! before anything else sees it.

#![cfg_attr(not(feature = "http"), allow(dead_code, reason = "without a provider no option is read"))]

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::known_options::{KnownOption, options_of};
use super::location::{Location, Provider};
use super::sign_in::{self, is_left_out};
use super::value::ValueKind;
use crate::error::{ErrorKind, Result, SnapshotError};

/// Options of a store by name, such as `region` or `AWS_REGION`. `Debug` shows only the names.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::store::StoreOptions;
///
/// let mut options: StoreOptions = [("region", "eu-west-1")].into_iter().collect();
/// options.set("secret_access_key", "hidden");
/// assert_eq!(format!("{options:?}"), r#"{"region", "secret_access_key"}"#);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StoreOptions {
    set: BTreeMap<String, Given>,
    /// Each applies where neither `set` nor one before it has a value.
    defaults: Vec<BTreeMap<String, Given>>,
    /// Whether of what others have set on this machine only credentials complete these options.
    is_whole: bool,
}

/// A value, and where it was read if its user did not pass it.
#[derive(Clone, PartialEq, Eq)]
struct Given {
    value: String,
    /// An environment variable or a file.
    origin: Option<String>,
    /// What the option was called, if that is not its name.
    alias: Option<String>,
    /// Whether it may say who sends requests, but not where they go.
    is_only_credential: bool,
}

impl Given {
    fn new(value: String, origin: Option<String>) -> Self {
        Self { value, origin, alias: None, is_only_credential: false }
    }
}

impl StoreOptions {
    /// Reads the environment variables for stores of the kind of `location`, such as `AWS_REGION` for `s3://`. White
    /// space around a value, such as a line end, is removed. Empty variables count as unset.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::store::{Location, StoreOptions};
    ///
    /// let options = StoreOptions::from_env(&Location::Memory);
    /// assert!(options.is_empty());
    /// ```
    pub fn from_env(location: &Location) -> Self {
        Self::variables(location, |_| true)
    }

    /// As [`from_env`](Self::from_env), of credentials only: the options that say who sends requests, and nothing about
    /// where they go; and of the certificates that are trusted. None that is in `own`, and none of another way to sign in
    /// than the options `own` have begun.
    ///
    /// Options with these [over](Self::over) or under them are whole: the files of the AWS tools give them credentials,
    /// too, but no region and no endpoint, unless an option names the profile or the file.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::InvalidInput`] if an option of `own` is unknown.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::store::{Location, StoreOptions};
    ///
    /// assert!(StoreOptions::credentials_from_env(&Location::Memory, &StoreOptions::default())?.is_empty());
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    pub fn credentials_from_env(location: &Location, own: &Self) -> Result<Self> {
        let Location::Bucket { provider, .. } = location else { return Ok(Self::default()) };
        let chosen = passed(std::iter::once(&own.set), *provider)?;
        let mut found = Self::variables(location, |option| {
            let completes = option.name == sign_in::TRUST || sign_in::completes(*provider, option.name, &chosen);
            completes && !own.set.contains_key(option.name)
        });
        found.set.values_mut().for_each(|given| given.is_only_credential = true);
        Ok(Self { is_whole: true, ..found })
    }

    fn variables(location: &Location, is_wanted: impl Fn(&KnownOption) -> bool) -> Self {
        let Location::Bucket { provider, .. } = location else { return Self::default() };
        let mut found = Self::default();
        for option in options_of(*provider).filter(|option| is_wanted(option)) {
            // The first name in the table has precedence.
            if let Some((variable, value)) = option.environment.iter().find_map(|name| variable(name)) {
                found.set.insert(option.name.to_owned(), Given::new(value, Some(variable.to_owned())));
            }
        }
        found
    }

    /// Sets an option. Replaces an earlier value of the same name.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut options = ruvector_snapshot::store::StoreOptions::default();
    /// options.set("region", "eu-west-1");
    /// assert!(!options.is_empty());
    /// ```
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.set.insert(name.into(), Given::new(value.into(), None));
    }

    /// As [`set`](Self::set), of a value that was read at `origin`, for example a line of a file. Errors name it.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut options = ruvector_snapshot::store::StoreOptions::default();
    /// options.set_from("region", "eu-west-1", "/etc/backup.toml:7");
    /// assert!(!options.is_empty());
    /// ```
    pub fn set_from(&mut self, name: impl Into<String>, value: impl Into<String>, origin: impl Into<String>) {
        self.set.insert(name.into(), Given::new(value.into(), Some(origin.into())));
    }

    /// Returns whether no option is set.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(ruvector_snapshot::store::StoreOptions::default().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.defaults.iter().all(BTreeMap::is_empty)
    }

    /// Returns these options with those of `defaults` for options that are not set here. Two names of one option, such
    /// as `region` and `AWS_REGION`, count as the same option. If credentials are set here, other credentials of `defaults`
    /// are left out: keys that are set here are not sent with an `AWS_SESSION_TOKEN`. `defaults` can have defaults of its
    /// own, to which the same applies.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::store::{Location, StoreOptions};
    ///
    /// let location: Location = "s3://bucket".parse()?;
    /// let typed: StoreOptions = [("region", "eu-west-1")].into_iter().collect();
    /// let options = typed.over(&StoreOptions::from_env(&location));
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    #[must_use]
    pub fn over(&self, defaults: &Self) -> Self {
        let mut all = self.clone();
        all.defaults.push(defaults.set.clone());
        all.defaults.extend(defaults.defaults.iter().cloned());
        all.is_whole |= defaults.is_whole;
        all
    }

    /// Returns the options that apply to a store at `location`, with where each was read. Of options with several values,
    /// only the one that applies. None for a store that is no bucket. Values are not checked.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::InvalidInput`] for an option that is unknown, and for two values of one.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::store::StoreOptions;
    ///
    /// let options: StoreOptions = [("region", "eu-west-1"), ("secret_access_key", "hidden")].into_iter().collect();
    /// let effective = options.effective(&"s3://bucket".parse()?)?;
    /// let shown: Vec<&str> = effective.iter().map(|option| option.shown()).collect();
    /// assert_eq!(shown, ["eu-west-1", "***"]);
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    pub fn effective(&self, location: &Location) -> Result<Vec<EffectiveOption>> {
        let Location::Bucket { provider, .. } = location else { return Ok(Vec::new()) };
        let settings = self.merged(*provider)?;
        let is_secret = |name| options_of(*provider).any(|option| option.name == name && option.is_secret);
        let described = settings.values.into_iter().map(|(name, Given { value, origin, .. })| EffectiveOption {
            name,
            origin,
            is_secret: is_secret(name),
            value,
        });
        Ok(described.collect())
    }

    /// Returns the options under the names of the provider's table, with values that can be sent.
    pub(super) fn read(&self, provider: Provider) -> Result<Settings> {
        let settings = self.merged(provider)?;
        options_of(provider).try_for_each(|option| settings.check(option))?;
        Ok(settings)
    }

    fn merged(&self, provider: Provider) -> Result<Settings> {
        let mut settings = Settings { provider, values: BTreeMap::new(), hidden: Vec::new(), is_whole: self.is_whole };
        let layers: Vec<&BTreeMap<String, Given>> = std::iter::once(&self.set).chain(&self.defaults).collect();
        for (at, options) in layers.iter().enumerate().rev() {
            let passed = passed(layers.iter().take(at).copied(), provider)?;
            let mut named = BTreeMap::new();
            for (name, given) in *options {
                let option = find(provider, name)?;
                if is_left_out(provider, option.name, &passed) {
                    continue;
                }
                if let Some(other) = named.insert(option.name, name)
                    && settings.get(option.name) != Some(given.value.as_str())
                {
                    return Err(invalid(format!(
                        "the options {other} and {name} are names of the same option, but have two values"
                    )));
                }
                let alias = (name != option.name).then(|| name.clone());
                settings.values.insert(option.name, Given { alias, ..given.clone() });
            }
        }
        Ok(settings)
    }
}

/// Returns the names of the options that are set, without those that say no.
fn passed<'a>(
    layers: impl Iterator<Item = &'a BTreeMap<String, Given>>,
    provider: Provider,
) -> Result<Vec<&'static str>> {
    let mut passed = Vec::new();
    for (name, given) in layers.flatten() {
        let option = find(provider, name)?;
        if !matches!(option.kind, ValueKind::Flag) || flag_of(&given.value) != Some(false) {
            passed.push(option.name);
        }
    }
    Ok(passed)
}

/// An option that applies to a store. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EffectiveOption {
    /// The name of the option, whatever it was called where it was set.
    pub name: &'static str,
    /// The environment variable or the file in which it was read. `None` if it was passed.
    pub origin: Option<String>,
    /// Whether the value is secret.
    pub is_secret: bool,
    value: String,
}

impl EffectiveOption {
    /// Returns the value, or `***` if it is secret, or a URL with a password, which is refused when it is used.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ruvector_snapshot::store::StoreOptions;
    /// let options: StoreOptions = [("region", "eu-west-1")].into_iter().collect();
    /// assert_eq!(options.effective(&"s3://bucket".parse()?)?[0].shown(), "eu-west-1");
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    pub fn shown(&self) -> &str {
        let has_password = self.value.contains("://") && self.value.contains('@');
        if self.is_secret || has_password { "***" } else { &self.value }
    }
}

impl fmt::Debug for EffectiveOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("EffectiveOption");
        shown.field("name", &self.name).field("origin", &self.origin).field("value", &self.shown()).finish()
    }
}

/// Returns the name and the value of an environment variable, without white space around it; `None` if nothing is left.
/// A value that is not UTF-8 is not skipped: it gets a character that no option accepts.
fn variable(name: &str) -> Option<(&str, String)> {
    let value = std::env::var_os(name)?;
    let value = value.to_string_lossy().trim().to_owned();
    (!value.is_empty()).then_some((name, value))
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.set.keys().chain(self.defaults.iter().flat_map(BTreeMap::keys))).finish()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for StoreOptions {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(options: I) -> Self {
        let given = |value: V| Given::new(value.into(), None);
        let set = options.into_iter().map(|(name, value)| (name.into(), given(value))).collect();
        Self { set, defaults: Vec::new(), is_whole: false }
    }
}

/// Options of one provider, under the names of its table. Every value is of the kind of its option.
#[derive(Clone)]
pub(super) struct Settings {
    provider: Provider,
    values: BTreeMap<&'static str, Given>,
    /// Secrets in files that options name.
    hidden: Vec<String>,
    is_whole: bool,
}

impl Settings {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|given| given.value.as_str())
    }

    /// Sets an option that is not set yet to a value of a file.
    #[cfg(feature = "aws")]
    pub(super) fn set_default(&mut self, name: &str, value: &str, file: &std::path::Path) -> Result<()> {
        let option = find(self.provider, name)?;
        let given = || Given::new(value.to_owned(), Some(file.display().to_string()));
        self.values.entry(option.name).or_insert_with(given);
        self.check(option)
    }

    /// Returns how errors name an option: with where its value was read, or what it was called.
    pub(super) fn describe(&self, name: &str) -> String {
        match self.values.get(name).and_then(|given| given.origin.as_ref().or(given.alias.as_ref())) {
            Some(origin) => format!("the option {name} ({origin})"),
            None => format!("the option {name}"),
        }
    }

    /// Returns whether an option may say who sends requests, but not where they go.
    #[cfg(feature = "gcp")]
    pub(super) fn is_only_credential(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|given| given.is_only_credential)
    }

    /// Returns whether of what others have set on this machine only credentials complete these options.
    #[cfg(any(feature = "aws", feature = "azure"))]
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Returns the error for a value that is not valid. `problem` follows the name of the option.
    pub(super) fn refused(&self, name: &str, problem: &str) -> SnapshotError {
        invalid(format!("{} {problem}", self.describe(name)))
    }

    fn check(&self, option: &KnownOption) -> Result<()> {
        match self.get(option.name).and_then(|value| option.kind.problem(value)) {
            Some(problem) => Err(self.refused(option.name, &problem)),
            None => Ok(()),
        }
    }

    /// Returns the options that the provider's client understands, without those that this crate implements.
    pub(super) fn for_client(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.values
            .iter()
            .filter(|(name, _)| !IMPLEMENTED_HERE.contains(name))
            .map(|(name, given)| (*name, given.value.as_str()))
    }

    /// Returns the values that no text may show.
    pub(super) fn secrets(&self) -> Vec<String> {
        let is_secret = |name: &str| options_of(self.provider).any(|option| option.name == name && option.is_secret);
        let secret = self.values.iter().filter(|(name, _)| is_secret(name)).map(|(_, given)| &given.value);
        secret.chain(&self.hidden).cloned().collect()
    }

    /// Adds secrets that no text may show.
    #[cfg(feature = "gcp")]
    pub(super) fn hide(&mut self, secrets: Vec<String>) {
        self.hidden.extend(secrets);
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool> {
        self.flag_or(name, false)
    }

    pub(super) fn flag_or(&self, name: &str, default: bool) -> Result<bool> {
        let Some(value) = self.get(name) else { return Ok(default) };
        flag_of(value).ok_or_else(|| self.refused(name, "must be true or false"))
    }

    /// Returns a duration, such as `90`, `90s`, `2m`, `1h` or `500ms`.
    pub(super) fn duration(&self, name: &str) -> Result<Option<Duration>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let duration = number.parse::<u64>().ok().and_then(|number| match unit {
            "ms" => Some(Duration::from_millis(number)),
            "" | "s" => Some(Duration::from_secs(number)),
            "m" => number.checked_mul(60).map(Duration::from_secs),
            "h" => number.checked_mul(3600).map(Duration::from_secs),
            "d" => number.checked_mul(24 * 3600).map(Duration::from_secs),
            _ => None,
        });
        match duration {
            Some(duration) if !duration.is_zero() && duration <= DURATION_MAX => Ok(Some(duration)),
            _ => Err(self.refused(name, "must be a duration of at most a day, such as 90s, 2m or 500ms")),
        }
    }

    /// Checks that the URL of a server is encrypted, or that this is not required.
    pub(super) fn check_encrypted(&self, name: &str) -> Result<()> {
        if self.get(name).is_some_and(|url| url.starts_with("http://")) && !self.flag("allow_http")? {
            return Err(self.refused(
                name,
                "is an http:// URL, which sends everything unencrypted; set allow_http=true to allow it",
            ));
        }
        Ok(())
    }
}

fn flag_of(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "false" | "0" | "no" | "n" | "off" => Some(false),
        "true" | "1" | "yes" | "y" | "on" => Some(true),
        _ => None,
    }
}

const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Options that the client of a provider does not have, or has under another name.
const IMPLEMENTED_HERE: [&str; 14] = [
    "profile",
    "shared_credentials_file",
    "config_file",
    "checksum_algorithm",
    "ca_certificate",
    "proxy_url",
    "proxy_excludes",
    "connect_timeout",
    "stall_timeout",
    "retry_timeout",
    "allow_http",
    "account_name",
    "conditional_create",
    "storage_class",
];

/// Returns the option with a name, or with an environment variable of that name. Upper and lower case are equal.
fn find(provider: Provider, name: &str) -> Result<&'static KnownOption> {
    options_of(provider).find(|option| option.is_called(name)).ok_or_else(|| {
        let names: Vec<&str> = options_of(provider).map(|option| option.name).collect();
        let shown: String = name.chars().take(60).flat_map(char::escape_debug).collect();
        let scheme = provider.scheme();
        invalid(format!("{scheme}:// has no option {shown:?}; its options are {}", names.join(", ")))
    })
}

fn invalid(message: impl Into<String>) -> SnapshotError {
    SnapshotError::new(ErrorKind::InvalidInput, message)
}
