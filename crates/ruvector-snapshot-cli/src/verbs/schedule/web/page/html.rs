//! HTML as text, and times in it. The only way in for a text that is not written in this program escapes it.

use std::fmt::Display;

use chrono::{DateTime, Utc};

use crate::output::Zone;

/// What the page is made with: the moment that ages count from, and the zone of its times.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: DateTime<Utc>,
    pub(super) zone: Zone,
}

/// A document, or a part of one.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Adds markup.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Adds text, escaped: between tags, and between the quotes of an attribute.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        self.0.extend(text.to_string().chars().flat_map(Escaped::of));
        self
    }

    /// Adds an element with a text.
    pub(super) fn element(&mut self, open: &'static str, text: impl Display, close: &'static str) -> &mut Self {
        self.raw(open).text(text).raw(close)
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

/// Adds a time in words, with the exact one for a pointer and for programs.
pub(super) fn time<'h>(html: &'h mut Html, time: DateTime<Utc>, words: &str, moment: Moment) -> &'h mut Html {
    html.raw("<time datetime=\"").text(time.format("%Y-%m-%dT%H:%M:%SZ")).raw("\" title=\"");
    html.text(moment.zone.time(time)).raw("\">").text(words).raw("</time>")
}

/// A character, as it is written.
enum Escaped {
    Same(std::iter::Once<char>),
    Entity(std::str::Chars<'static>),
}

impl Escaped {
    fn of(c: char) -> Self {
        let entity = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '"' => "&quot;",
            '\'' => "&#39;",
            '\n' | '\r' | '\t' => " ",
            // They change the order of the text around them, or are not allowed.
            c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => "\u{fffd}",
            c => return Self::Same(std::iter::once(c)),
        };
        Self::Entity(entity.chars())
    }
}

impl Iterator for Escaped {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        match self {
            Self::Same(same) => same.next(),
            Self::Entity(entity) => entity.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        let mut html = Html::default();
        html.raw("<p title=\"").text("\"><script>alert('1')</script>&").raw("\">").text("a\u{202e}b\u{0}c\nd é");
        let expected =
            "<p title=\"&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;\">a\u{fffd}b\u{fffd}c d é";
        assert_eq!(html.into_text(), expected);
    }
}
