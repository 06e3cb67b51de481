//! The text of a specification: its records, and how their answers are compared and written.

/// A block of lines up to a blank one, that is not prose:
///
/// ```text
/// head      query TIR
/// body      SELECT ...
///           ----
/// answer    n1  3  0.5
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Record {
    /// The head's line, from 1.
    pub line: usize,
    pub head: String,
    pub body: Vec<String>,
    pub answer: Vec<String>,
    /// How many lines it takes.
    pub lines: usize,
}

impl Record {
    pub(super) fn words(&self) -> Vec<&str> {
        self.head.split_whitespace().collect()
    }

    /// Whether the record states this head and answer; runs of blanks count as one. Of an error
    /// it is enough to state a part of the message.
    pub(super) fn holds(&self, head: &str, answer: &[String]) -> bool {
        let (stated, given) = (squeezed(&self.answer), squeezed(answer));
        let same_answer = if self.head.starts_with("error") {
            let stated = stated.join(" ");
            !stated.is_empty() && given.join(" ").contains(&stated)
        } else {
            stated == given
        };
        self.head == head && same_answer
    }
}

fn squeezed(lines: &[String]) -> Vec<String> {
    lines.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

pub(super) fn records(text: &str) -> Vec<Record> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let mut record = Record { line: index + 1, head: line.to_owned(), ..Record::default() };
        record.lines = 1;
        let mut answers = false;
        while let Some((_, line)) = lines.next_if(|(_, line)| !line.trim().is_empty()) {
            record.lines += 1;
            match line {
                "----" => answers = true,
                _ if answers => record.answer.push(line.to_owned()),
                _ => record.body.push(line.to_owned()),
            }
        }
        found.push(record);
    }
    found
}

/// Rows as lines whose columns are aligned; an empty text is `(empty)`.
pub(super) fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let cell = |text: &String| if text.is_empty() { "(empty)".to_owned() } else { text.clone() };
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let line = |row: &Vec<String>| {
        let padded = row.iter().zip(&widths).map(|(text, width)| format!("{text:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// The text with the heads and answers of a run; records that hold stay as they are written.
pub(super) fn with_answers(text: &str, answers: &[(Record, String, Vec<String>)]) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let (mut kept, mut next) = (Vec::new(), 0);
    for (record, head, answer) in answers {
        if record.holds(head, answer) {
            continue;
        }
        kept.extend_from_slice(&lines[next..record.line - 1]);
        kept.push(head);
        kept.extend(record.body.iter().map(String::as_str));
        kept.push("----");
        kept.extend(answer.iter().map(String::as_str));
        next = record.line - 1 + record.lines;
    }
    kept.extend_from_slice(&lines[next..]);
    kept.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "# prose\n\nquery TI\nSELECT 1\nFROM t\n----\na  1\n\nerror 42000\nSELECT x\n----\nno x\n";

    #[test]
    fn a_text_is_read_into_records() {
        let found = records(TEXT);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].line, found[0].lines, found[1].line), (3, 5, 9));
        assert_eq!(found[0].body, ["SELECT 1", "FROM t"]);
        assert!(found[0].holds("query TI", &["a 1".to_owned()]));
        assert!(!found[0].holds("query TI", &["a 2".to_owned()]));
        assert!(!found[0].holds("query TR", &["a 1".to_owned()]));
        assert!(found[1].holds("error 42000", &["there is no x here".to_owned()]));
        assert!(!found[1].holds("error 42000", &["there is no y here".to_owned()]));
    }

    #[test]
    fn wrong_answers_are_replaced_and_nothing_else() {
        let found = records(TEXT);
        let given = |index: usize, head: &str, answer: &str| {
            (found[index].clone(), head.to_owned(), vec![answer.to_owned()])
        };
        let same = [given(0, "query TI", "a 1"), given(1, "error 42000", "has no x")];
        assert_eq!(with_answers(TEXT, &same), TEXT);
        let other = [given(0, "query TR", "a  1.5"), given(1, "error 42000", "has no x")];
        let replaced = TEXT.replace("query TI", "query TR").replace("a  1", "a  1.5");
        assert_eq!(with_answers(TEXT, &other), replaced);
    }
}
