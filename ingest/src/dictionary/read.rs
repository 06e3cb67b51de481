//! Reads dictionary files: CSV with a header line; lines that start with `#` are remarks.

use std::sync::Arc;

use csv::{ReaderBuilder, StringRecord, Trim};

use super::{DictionaryField, Kind, Role};

const HEADER: [&str; 6] = ["id", "names", "column", "unit", "kind", "type"];
/// What table `gpu` already has: no field may take these columns.
const TAKEN: [&str; 5] = ["time", "date", "cluster", "node", "gpu"];

/// Why a dictionary file was not taken. Fix the file.
#[derive(Debug, thiserror::Error)]
pub enum DictionaryError {
    #[error("cannot read the dictionary {origin}: {error}")]
    Unreadable { origin: String, error: std::io::Error },
    #[error("{origin} line {line}: {reason}")]
    Line { origin: String, line: u64, reason: String },
}

impl DictionaryError {
    pub(super) fn line(origin: &str, line: u64, reason: impl Into<String>) -> Self {
        Self::Line { origin: origin.to_owned(), line, reason: reason.into() }
    }
}

/// The entries of a file, each with its line number.
pub(super) fn entries<'a>(
    text: &'a str,
    origin: &'a str,
) -> impl Iterator<Item = Result<(u64, DictionaryField), DictionaryError>> + 'a {
    let reader = ReaderBuilder::new()
        .has_headers(false)
        .comment(Some(b'#'))
        .trim(Trim::All)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut header_seen = false;
    reader.into_records().filter_map(move |record| {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                return Some(Err(DictionaryError::line(origin, line, error.to_string())));
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        let refuse = |reason| DictionaryError::line(origin, line, reason);
        if header_seen {
            return Some(field(&record).map(|field| (line, field)).map_err(refuse));
        }
        header_seen = true;
        check_header(&record).err().map(|reason| Err(refuse(reason)))
    })
}

fn check_header(record: &StringRecord) -> Result<(), String> {
    if record.iter().eq(HEADER) {
        return Ok(());
    }
    Err(format!("the first line must be the header {}", HEADER.join(",")))
}

fn field(record: &StringRecord) -> Result<DictionaryField, String> {
    if record.len() != HEADER.len() {
        return Err(format!(
            "{} values where the header has {}: quote a value that contains a comma",
            record.len(),
            HEADER.len()
        ));
    }
    let names: Vec<Arc<str>> = record[1].split_whitespace().map(Into::into).collect();
    let first = names.first().ok_or("the field has no name")?.clone();
    let role = role(&record[5])?;
    let kind = kind(&record[4])?;
    if (kind == Kind::Label) != (role == Role::Tag) {
        return Err("kind label and type tag go together".to_owned());
    }
    let column = if role == Role::Metric { first } else { column(&record[2])? };
    Ok(DictionaryField { id: id(&record[0])?, names, column, unit: record[3].into(), kind, role })
}

fn id(text: &str) -> Result<Option<u16>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let bad =
        |_| format!("the id {text:?} is not a number from 0 to 65535; leave it empty if unknown");
    text.parse().map(Some).map_err(bad)
}

fn column(text: &str) -> Result<Arc<str>, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if text.is_empty() || text.starts_with(|c: char| c.is_ascii_digit()) || !text.chars().all(plain)
    {
        return Err(format!("the column {text:?} must be lower-case letters, digits and '_'"));
    }
    if TAKEN.contains(&text) {
        return Err(format!("the column {text:?} is taken by table gpu: use another"));
    }
    Ok(text.into())
}

fn kind(text: &str) -> Result<Kind, String> {
    let all = [Kind::Gauge, Kind::Counter, Kind::Flag, Kind::Enum, Kind::Label];
    all.into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| format!("unknown kind {text:?}: use gauge, counter, flag, enum or label"))
}

fn role(text: &str) -> Result<Role, String> {
    match text {
        "tag" => Ok(Role::Tag),
        "metric" => Ok(Role::Metric),
        _ => text.parse().map(Role::Field),
    }
}
