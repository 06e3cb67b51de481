//! Walks over one line. Every stop is an ASCII byte, so slices fall between characters.

use std::borrow::Cow;

use super::Reason;

/// What may stand between words.
pub(super) const SPACE: [char; 2] = [' ', '\t'];

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(super) fn skip_space(&mut self) {
        self.take(|b| b == b' ' || b == b'\t');
    }

    /// Steps over `byte` if it is next.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    /// All up to the next space.
    pub(super) fn word(&mut self) -> &'a str {
        self.take(|b| b != b' ' && b != b'\t')
    }

    pub(super) fn rest(&mut self) -> &'a str {
        self.take(|_| true)
    }

    /// A name of letters, digits and '_' that does not begin with a digit, ':' where allowed;
    /// empty if there is none.
    pub(super) fn name(&mut self, colons: bool) -> &'a str {
        let letter = |b: u8| b.is_ascii_alphabetic() || b == b'_' || (colons && b == b':');
        if self.peek().is_some_and(letter) {
            self.take(|b| letter(b) || b.is_ascii_digit())
        } else {
            ""
        }
    }

    /// The inside of a quoted string, escapes as they stand. The quote is next.
    pub(super) fn quoted(&mut self) -> Result<&'a str, Reason> {
        let inside = &self.text.as_bytes()[self.at + 1..];
        let mut escaped = false;
        let end = inside.iter().position(|b| {
            let closes = *b == b'"' && !escaped;
            escaped = *b == b'\\' && !escaped;
            closes
        });
        let start = self.at + 1;
        let end = start + end.ok_or(Reason::OpenString)?;
        self.at = end + 1;
        Ok(&self.text[start..end])
    }

    fn take(&mut self, wanted: impl Fn(u8) -> bool) -> &'a str {
        let rest = &self.text.as_bytes()[self.at..];
        let len = rest.iter().position(|b| !wanted(*b)).unwrap_or(rest.len());
        let start = self.at;
        self.at += len;
        &self.text[start..self.at]
    }
}

/// The text that `\\`, `\"` and `\n` stand for. Another backslash stands for itself.
pub(super) fn unescape(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => text.push('\n'),
            Some(c @ ('\\' | '"')) => text.push(c),
            other => {
                text.push('\\');
                text.extend(other);
            }
        }
    }
    Cow::Owned(text)
}
