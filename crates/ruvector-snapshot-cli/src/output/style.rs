//! Text with parts that have a meaning, and the colours of these on a terminal.

use std::fmt::Display;
use std::ops::Range;

use anstyle::{AnsiColor, Style};

use super::text::{plain, wrapped};

/// What a part of a text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing is wrong.
    Good,
    /// Something needs attention.
    Caution,
    /// Something is wrong.
    Bad,
    /// What a column holds.
    Heading,
    /// What matters less than the rest.
    Aside,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Good => AnsiColor::Green.on_default(),
            Self::Caution => AnsiColor::Yellow.on_default().bold(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Heading => Style::new().bold(),
            Self::Aside => Style::new().dimmed(),
        }
    }

    /// Returns the text in the colour of the tone.
    pub(super) fn paint(self, text: &str) -> String {
        let style = self.style();
        format!("{style}{text}{style:#}")
    }
}

/// A text, and which parts of it have a tone. Control characters of the text are escaped.
#[derive(Debug, Clone, Default)]
pub(crate) struct Text {
    pub(super) plain: String,
    tones: Vec<(Range<usize>, Tone)>,
}

impl Text {
    /// Adds text.
    #[must_use]
    pub(crate) fn add(mut self, text: impl Display) -> Self {
        self.plain += &plain(&text.to_string());
        self
    }

    /// Adds text with a tone.
    #[must_use]
    pub(crate) fn tone(self, tone: Tone, text: impl Display) -> Self {
        let start = self.plain.len();
        let mut text = self.add(text);
        text.tones.push((start..text.plain.len(), tone));
        text
    }

    /// Adds another text.
    #[must_use]
    pub(crate) fn append(mut self, other: &Self) -> Self {
        let start = self.plain.len();
        self.plain += &other.plain;
        self.tones.extend(other.tones.iter().map(|(range, tone)| (start + range.start..start + range.end, *tone)));
        self
    }

    /// Returns the lines of the text on a terminal of so many columns, or one line. All lines but the first are indented.
    pub(super) fn lines(&self, columns: Option<usize>, indent: usize, has_colours: bool) -> Vec<String> {
        let parts = match columns {
            Some(columns) => wrapped(&self.plain, columns, indent),
            None => std::iter::once(0..self.plain.len()).collect(),
        };
        let lines = parts.into_iter().enumerate();
        lines
            .map(|(at, part)| {
                let indent = if at == 0 { 0 } else { indent };
                " ".repeat(indent) + &self.painted(part, has_colours)
            })
            .collect()
    }

    /// Returns a part of the text in its colours.
    fn painted(&self, part: Range<usize>, has_colours: bool) -> String {
        let text = |range: Range<usize>| self.plain.get(range).unwrap_or_default();
        if !has_colours {
            return text(part).to_owned();
        }
        let (mut painted, mut end) = (String::new(), part.start);
        for (range, tone) in &self.tones {
            let toned = range.start.max(part.start)..range.end.min(part.end);
            if !toned.is_empty() {
                painted += text(end..toned.start);
                end = toned.end;
                painted += &tone.paint(text(toned));
            }
        }
        painted + text(end..part.end)
    }
}

impl<T: Display> From<T> for Text {
    fn from(text: T) -> Self {
        Self::default().add(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tones_are_kept_when_a_text_is_wrapped() {
        let text = Text::from("one ").tone(Tone::Bad, "two three").add(" four");
        assert_eq!(text.lines(None, 0, false), ["one two three four"]);
        let red = |word: &str| Tone::Bad.paint(word);
        assert_eq!(text.lines(None, 0, true), [format!("one {} four", red("two three"))]);
        assert_eq!(
            text.lines(Some(8), 2, true),
            [format!("one {}", red("two")), format!("  {}", red("three")), "  four".to_owned()]
        );
        assert!(red("x").starts_with("\u{1b}["));
    }

    #[test]
    fn what_is_not_ours_has_no_colours() {
        assert_eq!(Text::from("\u{1b}[31mred").lines(None, 0, true), ["\\u{1b}[31mred"]);
    }
}
