//! Bash: its script, and the answer to it. The line is taken apart here, because the words of bash are no words of the
//! command: they end at `:`, `=` and `@`.

use std::ffi::OsString;

use clap::Command;
use clap_complete::engine;

use super::line::Line;
use super::{VARIABLE, values};
use crate::output::quoted;

/// The line up to the cursor.
const LINE_VARIABLE: &str = "RUVECTOR_SNAPSHOT_LINE";
/// What of it is replaced.
const WORD_VARIABLE: &str = "RUVECTOR_SNAPSHOT_WORD";

/// What is printed if bash completes names of files itself, with `~` and all its quotes.
const FILES: &str = "//files";

/// The script. `3.2` has no `compopt`, and versions before 4.4 have no `nosort`.
const SCRIPT: &str = r#"_ruvector_snapshot() {
    local answer line
    COMPREPLY=()
    answer="$(VARIABLE=bash LINE="${COMP_LINE:0:$COMP_POINT}" WORD="$2" PROGRAM -- "${COMP_WORDS[@]}" 2> /dev/null)"
    if [[ $answer == FILES ]]; then
        compopt -o default 2> /dev/null
        return
    fi
    while IFS= read -r line; do
        [[ -z $line ]] || COMPREPLY+=("$line")
    done <<< "$answer"
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=/:] ]]; then
        compopt -o nospace 2> /dev/null
    fi
}
complete -o nosort -F _ruvector_snapshot ruvector-snapshot 2> /dev/null ||
    complete -F _ruvector_snapshot ruvector-snapshot
"#;

pub(super) fn script(program: &str) -> String {
    SCRIPT
        .replace("VARIABLE", VARIABLE)
        .replace("LINE=", &format!("{LINE_VARIABLE}="))
        .replace("WORD=", &format!("{WORD_VARIABLE}="))
        .replace("FILES", FILES)
        .replace("PROGRAM", &quoted(program))
}

/// Returns what is inserted, one on each line.
pub(super) fn complete(program: Command, words: Vec<OsString>) -> Vec<u8> {
    let text = |name: &str| std::env::var_os(name).map(|text| text.to_string_lossy().into_owned());
    let typed = text(LINE_VARIABLE)
        .unwrap_or_else(|| words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" "));
    let replaced = text(WORD_VARIABLE).unwrap_or_default();
    let line = Line::parse(&typed);
    let mut program = values::with_completers(program, line.words.clone(), true);
    let words: Vec<OsString> = line.words.iter().map(OsString::from).collect();
    let Some(last) = words.len().checked_sub(1).filter(|last| *last > 0) else { return Vec::new() };
    let directory = std::env::current_dir().ok();
    let Ok(candidates) = engine::complete(&mut program, words, last, directory.as_deref()) else { return Vec::new() };
    let values: Vec<String> =
        candidates.iter().map(|candidate| candidate.get_value().to_string_lossy().into_owned()).collect();
    if values.iter().any(|value| value.ends_with(values::FILES)) {
        return FILES.as_bytes().to_vec();
    }
    let inserted: Vec<String> = values.iter().filter_map(|value| line.insertion(value, &replaced)).collect();
    inserted.join("\n").into_bytes()
}
