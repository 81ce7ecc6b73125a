//! The files of the AWS tools, `~/.aws/credentials` and `~/.aws/config`: reads the keys and the region of a profile.
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

/// Sets options from a profile: the keys, if no credentials are set, and the region and the endpoint, if they are not
/// set.
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
    let credentials = section(settings, "shared_credentials_file", "credentials", profile)?;
    let in_config = if profile == "default" { profile.to_owned() } else { format!("profile {profile}") };
    let config = section(settings, "config_file", "config", &in_config)?;
    if named.is_some() && credentials.is_none() && config.is_none() {
        let message = format!("there is no profile {profile:?} in the files of the AWS tools; check AWS_PROFILE");
        return Err(SnapshotError::new(ErrorKind::InvalidInput, message));
    }
    let found = [config, credentials].into_iter().flatten().flat_map(Section::into_values);
    let found: BTreeMap<String, (String, PathBuf)> = found.collect();
    let fill = |settings: &mut Settings, name: &'static str, key: &str| match found.get(key) {
        Some((value, file)) if !value.is_empty() => settings.set_default(name, value, file),
        _ => Ok(()),
    };
    fill(settings, "region", "region")?;
    fill(settings, "endpoint", "endpoint_url")?;
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

/// The values of a profile in one file.
struct Section {
    file: PathBuf,
    values: BTreeMap<String, String>,
}

impl Section {
    /// Returns the names, each with its value and the file.
    fn into_values(self) -> impl Iterator<Item = (String, (String, PathBuf))> {
        let Self { file, values } = self;
        values.into_iter().map(move |(name, value)| (name, (value, file.clone())))
    }
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

fn find_section(text: &str, name: &str) -> Option<BTreeMap<String, String>> {
    let mut found: Option<BTreeMap<String, String>> = None;
    let mut inside = false;
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
        } else if inside
            && !line.starts_with([' ', '\t'])
            && let Some((key, value)) = trimmed.split_once('=')
        {
            let value = value.split(" #").next().unwrap_or_default().trim();
            found.get_or_insert_default().insert(key.trim().to_ascii_lowercase(), value.to_owned());
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
        assert_eq!(find_section(text, "three"), None);
        assert_eq!(find_section(text, "half"), Some(BTreeMap::new()));
    }
}
