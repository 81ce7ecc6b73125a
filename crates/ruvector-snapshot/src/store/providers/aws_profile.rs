//! The files of the AWS tools, `~/.aws/credentials` and `~/.aws/config`: reads the keys, the region and the endpoint of a
//! profile.
//!
//! Options that are whole get only keys of them, unless an option names the profile or the file: what else is in the home
//! directory of a user moves no store to another server.
//!
//! A profile without keys, which signs in elsewhere (SSO, roles, processes), is rejected with the command that exports
//! its keys. The format is the shared configuration of the AWS SDKs: `[section]`, `key = value`, comments begin with
//! `#` or `;`, and indented lines belong to the line above.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::store::options::Settings;

/// Settings of profiles whose keys are not in the files.
const SIGN_IN_SETTINGS: [&str; 6] =
    ["sso_session", "sso_start_url", "role_arn", "credential_process", "credential_source", "login_session"];

/// Where a profile says that requests go: the option, and its key in the files.
const PLACES: [(&str, &str); 2] = [("endpoint", "endpoint_url"), ("region", "region")];

/// Sets options from a profile: the keys, if no credentials are set, and the region and the endpoint, if they are not
/// set.
///
/// # Errors
///
/// Also fails if the profile says where requests go, and must not.
pub(in crate::store) fn fill_in(settings: &mut Settings) -> Result<()> {
    let named = settings.get("profile").map(str::to_owned);
    // Credentials that are set have precedence over those of a profile, as in the AWS tools.
    let has_credentials = [
        "access_key_id",
        "secret_access_key",
        "session_token",
        "web_identity_token_file",
        "container_credentials_relative_uri",
        "container_credentials_full_uri",
        "skip_signature",
    ]
    .iter()
    .any(|name| settings.get(name).is_some());
    let profile = named.as_deref().unwrap_or("default");
    let found = read(settings, profile, named.is_some())?;
    let fill = |settings: &mut Settings, name: &'static str, key: &str| match found.get(key) {
        Some(Found { value, file, .. }) if !value.is_empty() => settings.set_default(name, value, file),
        _ => Ok(()),
    };
    for (name, key) in PLACES {
        // A server that is named has its own region.
        let is_needless = settings.is_whole() && settings.get("endpoint").is_some();
        match found.get(key) {
            Some(said) if settings.is_whole() && !said.is_named => {
                if !is_needless && !said.value.is_empty() && settings.get(name).is_none() {
                    return Err(says_where(name, key, profile, said));
                }
            }
            _ => fill(settings, name, key)?,
        }
    }
    if has_credentials {
        return Ok(());
    }
    if found.contains_key("aws_access_key_id") {
        fill(settings, "access_key_id", "aws_access_key_id")?;
        fill(settings, "secret_access_key", "aws_secret_access_key")?;
        fill(settings, "session_token", "aws_session_token")?;
    } else if SIGN_IN_SETTINGS.iter().any(|name| found.contains_key(*name)) {
        let message = format!(
            "the keys of the profile {profile:?} come from a sign-in, a role or a program, which is not supported; first run \
             eval \"$(aws configure export-credentials --profile {profile} --format env)\""
        );
        return Err(SnapshotError::new(ErrorKind::InvalidInput, message));
    }
    Ok(())
}

fn says_where(name: &str, key: &str, profile: &str, said: &Found) -> SnapshotError {
    let file = said.file.display();
    let message = format!(
        "{file} sets {key} in the profile {profile:?} of the AWS tools, but this store has no option {name}: of that file, only \
         credentials complete it; write {name} = \"...\" into its options, or profile = {profile:?}, with which all that this \
         profile says is meant"
    );
    SnapshotError::new(ErrorKind::InvalidInput, message)
}

/// A value of a profile.
struct Found {
    value: String,
    file: PathBuf,
    /// Whether an option names the profile or the file.
    is_named: bool,
}

/// Returns what both files say of a profile. The credentials file applies before the other.
fn read(settings: &Settings, profile: &str, is_named: bool) -> Result<BTreeMap<String, Found>> {
    let credentials = section(settings, "shared_credentials_file", "credentials", profile)?;
    let in_config = if profile == "default" { profile.to_owned() } else { format!("profile {profile}") };
    let config = section(settings, "config_file", "config", &in_config)?;
    if is_named && credentials.is_none() && config.is_none() {
        let message = format!("there is no profile {profile:?} in the files of the AWS tools; check AWS_PROFILE");
        return Err(SnapshotError::new(ErrorKind::InvalidInput, message));
    }
    let mut found = BTreeMap::new();
    for (option, section) in [("config_file", config), ("shared_credentials_file", credentials)] {
        let is_named = is_named || settings.get(option).is_some();
        let Some(Section { file, values }) = section else { continue };
        let values = values.into_iter().map(|(name, value)| (name, Found { value, file: file.clone(), is_named }));
        found.extend(values);
    }
    // What a profile says of S3 in a section of its services applies before its endpoint for all services.
    if let Some(Found { value: services, is_named, .. }) = found.get("services") {
        let (is_named, services) = (*is_named, format!("services {services}"));
        let section = section(settings, "config_file", "config", &services)?;
        if let Some(Section { file, mut values }) = section
            && let Some(value) = values.remove("s3.endpoint_url")
        {
            found.insert("endpoint_url".to_owned(), Found { value, file, is_named });
        }
    }
    Ok(found)
}

/// The values of a profile in one file.
struct Section {
    file: PathBuf,
    values: BTreeMap<String, String>,
}

/// Returns a section of one of the files. A file that an option names must exist; the default file need not.
fn section(settings: &Settings, option: &str, file: &str, name: &str) -> Result<Option<Section>> {
    let named = settings.get(option).map(PathBuf::from);
    let default = || Some(std::env::home_dir()?.join(".aws").join(file));
    let Some(path) = named.clone().or_else(default) else { return Ok(None) };
    match fs::read_to_string(&path) {
        Ok(text) => Ok(find_section(&text, name).map(|values| Section { file: path, values })),
        Err(error) if named.is_none() && is_absent(&error) => Ok(None),
        Err(error) => Err(unreadable(&path, option, error)),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied)
}

fn unreadable(path: &Path, option: &str, error: io::Error) -> SnapshotError {
    SnapshotError::io(path, &format!("read the file of the option {option}"), error)
}

/// Returns the values of a section. An indented line belongs to the line above: its key is `above.key`.
fn find_section(text: &str, name: &str) -> Option<BTreeMap<String, String>> {
    let mut found: Option<BTreeMap<String, String>> = None;
    let (mut inside, mut above) = (false, String::new());
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = trimmed.strip_prefix('[') {
            let title = section.split(']').next().unwrap_or_default();
            inside = title.split_whitespace().eq(name.split_whitespace());
            if inside {
                found.get_or_insert_default();
            }
        } else if inside && let Some((key, value)) = trimmed.split_once('=') {
            let (key, value) = (key.trim().to_ascii_lowercase(), value.split(" #").next().unwrap_or_default().trim());
            let is_nested = line.starts_with([' ', '\t']);
            let name = if is_nested { format!("{above}.{key}") } else { key.clone() };
            found.get_or_insert_default().insert(name, value.to_owned());
            above = if is_nested { above } else { key };
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_found_among_others() {
        let text = "# keys\n[default]\naws_access_key_id = A\n[profile  two]\nregion=eu-west-1 # near\ns3 =\n  max = 9\n; x = y\n\
                    [default]\nAWS_SECRET_ACCESS_KEY=b=c\n[half";
        let default = find_section(text, "default").unwrap();
        assert_eq!(default["aws_access_key_id"], "A");
        assert_eq!(default["aws_secret_access_key"], "b=c");
        let two = find_section(text, "profile two").unwrap();
        assert_eq!((two["region"].as_str(), two.get("max"), two.get("x")), ("eu-west-1", None, None));
        assert_eq!(two["s3.max"], "9");
        assert_eq!(find_section(text, "three"), None);
        assert_eq!(find_section(text, "half"), Some(BTreeMap::new()));
    }
}
