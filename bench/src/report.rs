//! Tables in Markdown, and the figures behind them.

use serde::Serialize;
use std::fmt;

pub(crate) const MIB: f64 = 1_048_576.0;

/// What a command found: tables for people, figures for machines.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) tables: Vec<Table>,
    pub(crate) figures: serde_json::Value,
}

/// A Markdown table with a title; the first column is words, the others are numbers. Notes stand
/// below it.
#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    pub(crate) fn new(title: impl Into<String>, header: &[&str]) -> Self {
        let header = header.iter().map(|name| (*name).to_owned()).collect();
        Self { title: title.into(), header, rows: Vec::new(), notes: Vec::new() }
    }

    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Adds a row; it has as many cells as the header.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.header.len(), "a row fills its table");
        self.rows.push(cells);
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[column].chars().count());
        cells.chain([self.header[column].chars().count(), 3]).max().unwrap_or(3)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<usize> = (0..self.header.len()).map(|column| self.width(column)).collect();
        writeln!(f, "{}\n", self.title)?;
        write_row(f, &self.header, &widths)?;
        for (column, width) in widths.iter().enumerate() {
            let dashes = "-".repeat(*width + 1);
            write!(
                f,
                "{}",
                if column == 0 { format!("|{dashes}-") } else { format!("|{dashes}:") }
            )?;
        }
        writeln!(f, "|")?;
        self.rows.iter().try_for_each(|row| write_row(f, row, &widths))?;
        let mut notes = self.notes.iter().enumerate();
        notes.try_for_each(|(at, note)| writeln!(f, "{}- {note}", if at == 0 { "\n" } else { "" }))
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, cells: &[String], widths: &[usize]) -> fmt::Result {
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        if column == 0 {
            write!(f, "| {cell:<width$} ")?;
        } else {
            write!(f, "| {cell:>width$} ")?;
        }
    }
    writeln!(f, "|")
}

/// A number with three digits that count, and no more than four decimals.
pub(crate) fn number(value: f64) -> String {
    let magnitude = if value == 0.0 { 0.0 } else { value.abs().log10().floor() };
    let decimals = (2.0 - magnitude).clamp(0.0, 4.0) as usize;
    format!("{value:.decimals$}")
}

/// A number that may not be known.
pub(crate) fn known(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), number)
}

/// The machine a report was made on.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    memory_gib: f64,
    /// Processes that wanted a core over the last minute: above 0 something else was running.
    load: f64,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let field = |file: &str, name: &str| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        let leading = |text: &str| -> f64 {
            text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
        };
        Self {
            cpu: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: leading(&field("/proc/meminfo", "MemTotal")) / f64::from(1 << 20),
            load: leading(&std::fs::read_to_string("/proc/loadavg").unwrap_or_default()),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, cores, memory_gib, load } = self;
        write!(f, "{cpu}, {cores} cores, {memory_gib:.0} GiB, load {load:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::{Table, number};

    #[test]
    fn a_table_is_aligned_markdown() {
        let mut table = Table::new("Title", &["what", "M/s"]);
        table.row(vec!["one".into(), "1.00".into()]);
        table.row(vec!["another".into(), "12.5".into()]);
        let expected = "Title\n\n\
                        | what    |  M/s |\n\
                        |---------|-----:|\n\
                        | one     | 1.00 |\n\
                        | another | 12.5 |\n";
        assert_eq!(table.to_string(), expected);
        table.note("a note");
        assert_eq!(table.to_string(), format!("{expected}\n- a note\n"));
    }

    #[test]
    fn numbers_show_three_digits_that_count() {
        assert_eq!(number(1234.5), "1234");
        assert_eq!(number(12.345), "12.3");
        assert_eq!(number(1.234), "1.23");
        assert_eq!(number(0.267), "0.267");
        assert_eq!(number(0.00912), "0.0091");
        assert_eq!(number(0.0), "0.00");
    }
}
