//! Text in columns of a terminal: what is cut, divided into lines, quoted and escaped. Prints nothing.

use std::ops::Range;
use std::path::Path;

use unicode_width::UnicodeWidthChar;

/// Cuts text to a number of terminal columns, with an ellipsis.
pub(crate) fn fitted(text: &str, columns_max: usize) -> String {
    let text = plain(text);
    if width(&text) <= columns_max {
        return text;
    }
    let mut cut = String::new();
    let mut columns = 1;
    for c in text.chars() {
        columns += c.width().unwrap_or(0);
        if columns > columns_max {
            break;
        }
        cut.push(c);
    }
    cut.push('…');
    cut
}

/// As [`fitted`], but keeps the end, in which paths usually differ.
pub(crate) fn fitted_end(text: &str, columns_max: usize) -> String {
    let turned = |text: &str| text.chars().rev().collect::<String>();
    turned(&fitted(&turned(&plain(text)), columns_max))
}

/// Number of names that are enumerated.
const NAMES_SHOWN: usize = 10;

/// Enumerates names, and says how many more there are.
pub(crate) fn enumerated<'a>(names: impl IntoIterator<Item = &'a String, IntoIter: ExactSizeIterator>) -> String {
    let names = names.into_iter();
    let more = names.len().saturating_sub(NAMES_SHOWN);
    let shown = names.take(NAMES_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown}, and {more} more") }
}

/// Quotes a word for a shell.
pub(crate) fn quoted(word: &str) -> String {
    let is_safe = |c: char| c.is_alphanumeric() || "-_./:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_safe) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Quotes a path for a shell.
pub(crate) fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// Escapes characters that control a terminal or change the direction of the text.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
                shown.extend(c.escape_unicode());
            }
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

/// Returns the number of terminal columns of a text.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// Divides text into lines of so many terminal columns, at spaces: returns the part of the text that each line has. All
/// lines but the first are to be indented by `indent` columns. A word that is longer than a line is not divided.
pub(super) fn wrapped(text: &str, columns_max: usize, indent: usize) -> Vec<Range<usize>> {
    let text = text.trim_end();
    let mut lines = Vec::new();
    let mut start = 0;
    loop {
        let room = if lines.is_empty() { columns_max } else { columns_max.saturating_sub(indent) };
        let rest = text.get(start..).unwrap_or_default();
        let Some(cut) = cut(rest, room) else {
            lines.push(start..text.len());
            return lines;
        };
        lines.push(start..start + cut);
        let after = rest.get(cut..).unwrap_or_default();
        start += cut + after.len() - after.trim_start().len();
    }
}

/// Returns where the first line of a text ends: after the last word that is in the room, or after the first word. `None`
/// if the text is one line.
fn cut(text: &str, room: usize) -> Option<usize> {
    let mut columns = 0;
    // The first byte that is not in the room. No more is measured: the text can be very long.
    let end = text.char_indices().find_map(|(at, c)| {
        columns += c.width().unwrap_or(0);
        (columns > room).then_some(at)
    })?;
    let first_word = text.len() - text.trim_start().len();
    let word_ends = |(at, c): &(usize, char)| *c == ' ' && *at > first_word;
    let spaces = || text.char_indices().filter(word_ends).map(|(at, _)| at);
    let space = spaces().take_while(|at| *at <= end).last().or_else(|| spaces().next())?;
    Some(text.get(..space).unwrap_or_default().trim_end().len())
}

/// Divides a command line into lines that a shell reads as one.
pub(super) fn continued(command: &str, columns_max: usize) -> Vec<String> {
    if width(command) <= columns_max {
        return vec![command.to_owned()];
    }
    let mut lines = vec![String::new()];
    for word in words(command) {
        let Some(line) = lines.last_mut() else { break };
        // With ` \\` at its end.
        if !line.trim().is_empty() && width(line) + 1 + width(word) + 2 > columns_max {
            line.push_str(" \\");
            lines.push(format!("    {word}"));
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines
}

/// Returns the words of a command line. Spaces in single quotes are part of a word.
fn words(command: &str) -> Vec<&str> {
    let mut is_quoted = false;
    let spaces = command.split(move |c: char| {
        is_quoted ^= c == '\'';
        c == ' ' && !is_quoted
    });
    spaces.filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, columns_max: usize, indent: usize) -> Vec<String> {
        let parts = wrapped(text, columns_max, indent).into_iter().enumerate();
        parts.map(|(at, part)| " ".repeat(if at == 0 { 0 } else { indent }) + &text[part]).collect()
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(plain("a\u{1b}[2Jb\nc\u{202e}d\u{7f}"), "a\\u{1b}[2Jb\\nc\\u{202e}d\\u{7f}");
        assert_eq!(plain("日本語 ünï 👩‍🚀 שלום"), "日本語 ünï 👩‍🚀 שלום");
    }

    #[test]
    fn text_is_cut_by_columns_not_by_characters() {
        assert_eq!(fitted("short", 5), "short");
        assert_eq!(fitted("longer", 5), "long…");
        assert_eq!(fitted("日本語日本語", 7), "日本語…");
        assert_eq!(fitted_end("short", 5), "short");
        assert_eq!(fitted_end("longer", 5), "…nger");
    }

    #[test]
    fn text_is_wrapped_between_words_with_a_hanging_indent() {
        let message = "error: one two three four five six seven";
        assert_eq!(lines(message, 40, 7), [message]);
        assert_eq!(lines(message, 39, 7), ["error: one two three four five six", "       seven"]);
        assert_eq!(lines(message, 20, 7), ["error: one two three", "       four five six", "       seven"]);
        assert_eq!(lines("  hint: use `x` or `yy` now", 20, 8), ["  hint: use `x` or", "        `yy` now"]);
        let path = "error: /a/very/long/path/that/is/no/more/than/a/word failed";
        let divided = ["error:", "       /a/very/long/path/that/is/no/more/than/a/word", "       failed"];
        assert_eq!(lines(path, 30, 7), divided);
        assert_eq!(lines("日本語 日本語", 8, 0), ["日本語", "日本語"]);
        assert_eq!(lines("a  b  ", 1, 0), ["a", "b"]);
        assert_eq!(lines("", 10, 2), [""]);
        for columns in 14..50 {
            let lines = lines(message, columns, 7);
            assert!(lines.iter().all(|line| width(line) <= columns), "{columns}: {lines:?}");
            assert_eq!(lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" "), message);
        }
    }

    #[test]
    fn a_command_is_continued_so_that_a_shell_reads_it_as_one() {
        let command = "program --store 'my store' verify 20260131T080000";
        assert_eq!(continued(command, 60), [command]);
        let lines = ["program --store 'my store' \\", "    verify 20260131T080000"];
        assert_eq!(continued(command, 30), lines);
        assert_eq!(continued(command, 5).len(), 5);
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("/srv/a-b_1.db"), "/srv/a-b_1.db");
        assert_eq!(quoted("my file's"), r"'my file'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
