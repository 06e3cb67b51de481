//! Lines to statements: a `;` ends one where it stands outside quotes and comments, as PostgreSQL
//! reads them.

use crate::Failure;

/// A longer text is not gathered: no server takes it.
const MAX_BYTES: usize = 1 << 20;

/// What lines come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Ask(String),
    Format(String),
    Timing,
    Help,
    Leave,
    Unknown(String),
}

impl Said {
    /// What a line says that begins with a backslash.
    fn of(line: &str) -> Self {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match word {
            "\\q" => Self::Leave,
            "\\?" => Self::Help,
            "\\timing" => Self::Timing,
            "\\format" => Self::Format(rest.trim().to_owned()),
            other => Self::Unknown(other.to_owned()),
        }
    }
}

/// What the reader stands in.
#[derive(Debug, Default, PartialEq, Eq)]
enum Within {
    #[default]
    Words,
    /// A text or a name, and whether a backslash keeps what follows it in there.
    Quotes { end: char, escapes: bool },
    /// As deep as they are nested.
    Comment(usize),
    /// A text between two of the same marks, `$$` or `$name$`.
    Dollars(String),
}

/// A statement that has not ended.
#[derive(Debug, Default)]
pub(super) struct Pending {
    text: String,
    within: Within,
    /// Whether it has more than blanks and comments.
    has_words: bool,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// What has been said by the end of this line.
    pub(super) fn take(&mut self, line: &str) -> Result<Vec<Said>, Failure> {
        if self.is_empty() && line.trim_start().starts_with('\\') {
            return Ok(vec![Said::of(line.trim())]);
        }
        if self.text.len() + line.len() > MAX_BYTES {
            *self = Self::default();
            return Err(
                format!("a statement has at most {MAX_BYTES} bytes: is a quote open?").into()
            );
        }
        let mut said = Vec::new();
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            if self.within == Within::Words && first == ';' {
                said.extend(self.rest().map(Said::Ask));
                rest = &rest[1..];
                continue;
            }
            let taken = self.step(rest, first);
            self.text.push_str(&rest[..taken]);
            rest = &rest[taken..];
        }
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        Ok(said)
    }

    /// The statement as far as it has come; `None` where it says nothing.
    pub(super) fn rest(&mut self) -> Option<String> {
        let Self { text, has_words, .. } = std::mem::take(self);
        has_words.then(|| text.trim().to_owned())
    }

    /// How many bytes of the line, which begins with `first`, belong together.
    fn step(&mut self, line: &str, first: char) -> usize {
        let begins = |with: &str| line.starts_with(with);
        match &mut self.within {
            Within::Words => return self.word(line, first),
            Within::Quotes { escapes: true, .. } if first == '\\' => {
                return 1 + line[1..].chars().next().map_or(0, char::len_utf8);
            }
            Within::Quotes { end, .. } if first == *end => self.within = Within::Words,
            Within::Comment(depth) if begins("/*") => {
                *depth += 1;
                return 2;
            }
            Within::Comment(depth) if begins("*/") => {
                *depth -= 1;
                if *depth == 0 {
                    self.within = Within::Words;
                }
                return 2;
            }
            Within::Dollars(mark) if begins(mark) => {
                let length = mark.len();
                self.within = Within::Words;
                return length;
            }
            _ => {}
        }
        first.len_utf8()
    }

    fn word(&mut self, line: &str, first: char) -> usize {
        if line.starts_with("--") {
            return line.len();
        }
        if line.starts_with("/*") {
            self.within = Within::Comment(1);
            return 2;
        }
        self.has_words |= !first.is_whitespace();
        if ['\'', '"'].contains(&first) {
            let escapes = first == '\'' && self.ends_with_e();
            self.within = Within::Quotes { end: first, escapes };
        } else if let Some(mark) = dollars(line).filter(|_| !self.ends_within_a_name()) {
            self.within = Within::Dollars(mark.to_owned());
            return mark.len();
        }
        first.len_utf8()
    }

    /// Whether what follows is a text of the kind `E'...'`.
    fn ends_with_e(&self) -> bool {
        let mut back = self.text.chars().rev();
        back.next().is_some_and(|last| last.eq_ignore_ascii_case(&'e'))
            && !back.next().is_some_and(is_of_name)
    }

    fn ends_within_a_name(&self) -> bool {
        self.text.chars().next_back().is_some_and(is_of_name)
    }
}

fn is_of_name(one: char) -> bool {
    one.is_alphanumeric() || one == '_'
}

/// The mark that a line begins with.
fn dollars(line: &str) -> Option<&str> {
    let name = line.strip_prefix('$')?;
    let end = name.find(|one| !is_of_name(one))?;
    let is_mark = name[end..].starts_with('$') && !name.starts_with(|one: char| one.is_numeric());
    is_mark.then(|| &line[..end + 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What lines say, and what is left.
    fn said(lines: &[&str]) -> (Vec<Said>, Option<String>) {
        let mut pending = Pending::default();
        let all = lines.iter().flat_map(|line| pending.take(line).unwrap()).collect();
        (all, pending.rest())
    }

    fn asked(texts: &[&str]) -> Vec<Said> {
        texts.iter().map(|text| Said::Ask((*text).to_owned())).collect()
    }

    #[test]
    fn a_semicolon_ends_a_statement_outside_quotes_and_comments() {
        for (lines, want, rest) in [
            (
                vec!["SELECT 1; SELECT", "2;", ";", "SELECT 3"],
                vec!["SELECT 1", "SELECT\n2"],
                "SELECT 3",
            ),
            (vec!["SELECT ';", "', \"a;", "\";"], vec!["SELECT ';\n', \"a;\n\""], ""),
            (
                vec!["-- a node's power;", "SELECT 1 -- one;", "FROM t;"],
                vec!["-- a node's power;\nSELECT 1 -- one;\nFROM t"],
                "",
            ),
            (
                vec!["/* a; /* ' */ ; */ SELECT 1;", "-- done"],
                vec!["/* a; /* ' */ ; */ SELECT 1"],
                "",
            ),
            (
                vec![r"SELECT E'\';', e'\\'; SELECT '\';"],
                vec![r"SELECT E'\';', e'\\'", r"SELECT '\'"],
                "",
            ),
            (vec!["SELECT $$;'$$, $a$;$$;$a$, $1; x"], vec!["SELECT $$;'$$, $a$;$$;$a$, $1"], "x"),
            (vec!["SELECT name'it''s;';"], vec!["SELECT name'it''s;'"], ""),
        ] {
            let rest = (!rest.is_empty()).then(|| rest.to_owned());
            assert_eq!(said(&lines), (asked(&want), rest), "{lines:?}");
        }
    }

    #[test]
    fn a_backslash_speaks_to_the_shell() {
        let lines = ["\\timing", " \\format  csv ", "\\?", "\\d gpu", "\\q"];
        let format = Said::Format("csv".to_owned());
        let unknown = Said::Unknown("\\d".to_owned());
        let all = vec![Said::Timing, format, Said::Help, unknown, Said::Leave];
        assert_eq!(said(&lines), (all, None));
        assert_eq!(said(&["SELECT", "\\q;"]), (asked(&["SELECT\n\\q"]), None));
    }

    #[test]
    fn an_open_quote_ends_somewhere() {
        let mut pending = Pending::default();
        let line = "a".repeat(MAX_BYTES / 2);
        assert_eq!(pending.take(&format!("'{line}")).unwrap(), []);
        let error = pending.take(&line).unwrap_err();
        assert!(error.to_string().contains("quote"), "{error}");
        assert_eq!(pending.take("SELECT 1;").unwrap(), asked(&["SELECT 1"]));
    }
}
