//! Ends of the parts of a point. Every stop is an ASCII byte, so slices fall between characters.

use std::borrow::Cow;

/// Where the first of the stops is that no backslash precedes; the text's length if there is none.
/// A line's end is not escaped.
pub(super) fn text_end(text: &[u8], stops: &[u8]) -> usize {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        if *byte == b'\\' && text.get(at + 1).is_some_and(|next| *next != b'\n') {
            at += 2;
        } else if stops.contains(byte) {
            return at;
        } else {
            at += 1;
        }
    }
    text.len()
}

pub(super) fn part_end(text: &str, stops: &[u8]) -> usize {
    text_end(text.as_bytes(), stops)
}

pub(super) fn key_end(text: &str) -> usize {
    part_end(text, b"=")
}

/// Where a point's fields end, spaces in front included: at a space or line's end outside of a
/// string. `None` where a string does not end.
pub(super) fn fields_end(text: &[u8]) -> Option<usize> {
    let mut at = text.iter().take_while(|b| **b == b' ').count();
    while let Some(byte) = text.get(at) {
        match byte {
            b' ' | b'\n' => return Some(at),
            b'\\' if text.get(at + 1).is_some_and(|next| *next != b'\n') => at += 2,
            b'"' if text[at - at.min(1)] == b'=' => at += 1 + string_len(&text[at + 1..])? + 1,
            _ => at += 1,
        }
    }
    Some(text.len())
}

/// Bytes in front of the quote that ends a string.
pub(super) fn string_len(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

/// The text that `\,`, `\=` and `\ ` stand for. Another backslash stands for itself.
pub(super) fn unescape(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars().peekable();
    while let Some(c) = chars.next() {
        match chars.peek() {
            Some(next @ (',' | '=' | ' ')) if c == '\\' => {
                text.push(*next);
                chars.next();
            }
            _ => text.push(c),
        }
    }
    Cow::Owned(text)
}
