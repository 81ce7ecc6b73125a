//! A line of a shell taken apart: its words, and the word that is completed. Pure.

/// How the last word is quoted where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quote {
    None,
    Single,
    Double,
}

/// The words of a line up to the cursor.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Without quotes. The last one is completed; it may be empty.
    pub(super) words: Vec<String>,
    /// The last word as it was typed.
    pub(super) raw: String,
    pub(super) quote: Quote,
}

impl Line {
    pub(super) fn parse(text: &str) -> Self {
        let mut words = Vec::new();
        let (mut word, mut raw, mut quote) = (String::new(), String::new(), Quote::None);
        let mut characters = text.chars().peekable();
        while let Some(c) = characters.next() {
            if quote == Quote::None && c.is_whitespace() {
                if !raw.is_empty() {
                    words.push(std::mem::take(&mut word));
                    raw.clear();
                }
                continue;
            }
            raw.push(c);
            match (quote, c) {
                (Quote::None, '\'') => quote = Quote::Single,
                (Quote::None, '"') => quote = Quote::Double,
                (Quote::Single, '\'') | (Quote::Double, '"') => quote = Quote::None,
                (Quote::None, '\\') => {
                    if let Some(escaped) = characters.next() {
                        raw.push(escaped);
                        word.push(escaped);
                    }
                }
                (Quote::Double, '\\') if characters.peek().is_some_and(|c| IN_DOUBLE.contains(*c)) => {
                    if let Some(escaped) = characters.next() {
                        raw.push(escaped);
                        word.push(escaped);
                    }
                }
                _ => word.push(c),
            }
        }
        words.push(word);
        Self { words, raw, quote }
    }

    /// Returns what bash inserts for a value in place of `replaced`, the end of the last word that it replaces. `None` if the
    /// value does not begin as the word does.
    pub(super) fn insertion(&self, value: &str, replaced: &str) -> Option<String> {
        let kept = self.raw.strip_suffix(replaced)?;
        let kept = Self::parse(kept).words.pop().unwrap_or_default();
        let rest = value.strip_prefix(&kept)?;
        let mut inserted = String::with_capacity(rest.len());
        for c in rest.chars() {
            let is_escaped = match self.quote {
                Quote::None => !(c.is_alphanumeric() || "-_./:,+@%=^".contains(c)),
                Quote::Double => IN_DOUBLE.contains(c),
                Quote::Single => false,
            };
            if is_escaped {
                inserted.push('\\');
            }
            inserted.push(c);
        }
        // A quoted text cannot hold its own quote.
        (self.quote != Quote::Single || !rest.contains('\'')).then_some(inserted)
    }
}

/// What a backslash escapes in double quotes.
const IN_DOUBLE: &str = "\\\"$`";

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> (Vec<String>, Quote) {
        let line = Line::parse(text);
        (line.words, line.quote)
    }

    #[test]
    fn a_line_is_taken_apart_as_a_shell_does() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(line("a  show "), (words(&["a", "show", ""]), Quote::None));
        assert_eq!(line("a show --store=@o"), (words(&["a", "show", "--store=@o"]), Quote::None));
        assert_eq!(line(r"a my\ b 'c d' x"), (words(&["a", "my b", "c d", "x"]), Quote::None));
        assert_eq!(line("a 'my b"), (words(&["a", "my b"]), Quote::Single));
        assert_eq!(line(r#"a "my \"b\n"#), (words(&["a", r#"my "b\n"#]), Quote::Double));
        assert_eq!(line(""), (words(&[""]), Quote::None));
        assert_eq!(line(r"a \"), (words(&["a", ""]), Quote::None));
        assert_eq!(line("a ''"), (words(&["a", ""]), Quote::None));
    }

    #[test]
    fn only_what_bash_replaces_is_inserted_quoted_as_the_word_is() {
        let insertion = |text: &str, value: &str, replaced: &str| Line::parse(text).insertion(value, replaced);
        assert_eq!(insertion("a --store=@o", "--store=@off", "o").as_deref(), Some("off"));
        assert_eq!(insertion("a --store=", "--store=@off", "").as_deref(), Some("@off"));
        assert_eq!(insertion("a x:y", "x:yz w", "y").as_deref(), Some(r"yz\ w"));
        assert_eq!(insertion(r"a my\ b", "my backup", r"my\ b").as_deref(), Some(r"my\ backup"));
        assert_eq!(insertion("a 'my b", "my backup", "my b").as_deref(), Some("my backup"));
        assert_eq!(insertion("a \"my b", "my b$x", "my b").as_deref(), Some(r"my b\$x"));
        assert_eq!(insertion("a 'x", "x'y", "x"), None);
        assert_eq!(insertion("a ", "~root", "").as_deref(), Some(r"\~root"));
        assert_eq!(insertion("a x", "other", "z"), None);
    }
}
