//! Sources in a table: what distinguishes them is kept if they are cut.

use std::collections::{BTreeMap, BTreeSet};

/// Returns each source as it is printed in a table that may cut its start: without the end that it has in common with others of the
/// same file name.
pub(crate) fn distinguished<'a>(sources: impl IntoIterator<Item = &'a str>) -> BTreeMap<&'a str, String> {
    let mut of_file_name: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for source in sources {
        let file_name = source.rsplit_once('/').map_or(source, |(_, file_name)| file_name);
        of_file_name.entry(file_name).or_default().insert(source);
    }
    let groups = of_file_name.into_values();
    groups
        .flat_map(|group| group.iter().map(|source| (*source, without_common_end(source, &group))).collect::<Vec<_>>())
        .collect()
}

fn without_common_end(source: &str, group: &BTreeSet<&str>) -> String {
    let is_common = |end: &&str| group.iter().all(|other| other.ends_with(end));
    let ends = source.match_indices('/').map(|(at, _)| source.split_at(at).1);
    // The ends become shorter.
    match ends.into_iter().find(|end| group.len() > 1 && is_common(end)) {
        Some(end) => format!("{}/…", source.strip_suffix(end).unwrap_or(source)),
        None => source.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_differ_where_they_are_not_cut() {
        let sources = ["vm:/srv/a/data/v.db", "vm:/srv/b/data/v.db", "vm:/other.db", "articles"];
        let expected = ["vm:/srv/a/…", "vm:/srv/b/…", "vm:/other.db", "articles"];
        let printed = distinguished(sources);
        assert_eq!(sources.map(|source| printed[source].as_str()), expected);
        assert_eq!(distinguished(["h:/a/v.db", "i:/a/v.db"])["h:/a/v.db"], "h:/…");
    }
}
