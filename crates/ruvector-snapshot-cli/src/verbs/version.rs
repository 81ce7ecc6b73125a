//! `version`: prints what this program is, and what it was built of.

use ruvector_snapshot::format::metadata::{FORMAT_VERSION, FORMAT_VERSION_WITHOUT_IRREGULAR};

use crate::documents::{FormatVersions, VersionDocument};
use crate::failure::{Exit, Failure};
use crate::session::Session;

pub(crate) const HELP: &str = "\
Prints the version, the commit if it was known at the build, the features, the versions of the stored format that are read and written, and the versions of \
Ruvector and redb that it was built with. Asks no store.

Examples:
  ruvector-snapshot version
  ruvector-snapshot version --json | jq -r .version

Exit codes: 0 printed.";

/// The features and whether they are built in.
const FEATURES: [(&str, bool); 4] = [
    ("aws", cfg!(feature = "aws")),
    ("gcp", cfg!(feature = "gcp")),
    ("azure", cfg!(feature = "azure")),
    ("parquet", cfg!(feature = "parquet")),
];

/// Held by a test to the versions in Cargo.lock.
const RUVECTOR_VERSION: &str = "2.4.0";
const REDB_VERSION: &str = "2.6.4";

pub(crate) fn version(session: &Session) -> Result<Exit, Failure> {
    let versions = [FORMAT_VERSION_WITHOUT_IRREGULAR, FORMAT_VERSION];
    let document = VersionDocument {
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("BUILD_COMMIT"),
        target: env!("BUILD_TARGET"),
        features: FEATURES.into_iter().filter(|(_, is_there)| *is_there).map(|(feature, _)| feature).collect(),
        format_versions: FormatVersions { read: versions, write: versions },
        ruvector_version: RUVECTOR_VERSION,
        redb_version: REDB_VERSION,
    };
    session.document(&document)?;
    let output = session.output;
    output.line(format_args!("ruvector-snapshot {}", document.version))?;
    output.field("commit", document.commit.unwrap_or("not known"))?;
    output.field("target", document.target)?;
    output.field("features", document.features.join(" "))?;
    output.field("format", "reads and writes versions 1 and 2; 2 is for snapshots with irregular rows")?;
    output.field("Ruvector", format_args!("{RUVECTOR_VERSION}, with redb {REDB_VERSION}"))?;
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_are_those_that_are_built_in() {
        let lock: toml::Table = include_str!("../../../../Cargo.lock").parse().unwrap();
        let versions = |name: &str| -> Vec<String> {
            let packages = lock["package"].as_array().unwrap().iter();
            let named = packages.filter(|package| package["name"].as_str() == Some(name));
            named.map(|package| package["version"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(versions("ruvector-core"), [RUVECTOR_VERSION]);
        assert!(versions("redb").contains(&REDB_VERSION.to_owned()), "{:?}", versions("redb"));
    }
}
