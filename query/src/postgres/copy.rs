//! `COPY (SELECT ...) TO STDOUT`: rows as lines of text or CSV, or in PostgreSQL's binary form.

use super::respond::{Columns, refusal};
use crate::answer::Answer;
use crate::error::{QueryError, QueryErrorKind};
use crate::settings::SessionSettings;
use bytes::{BufMut, BytesMut};
use datafusion::sql::sqlparser::ast::{
    CopyLegacyCsvOption, CopyLegacyOption, CopyOption, CopySource, CopyTarget, Ident, Query,
    Statement,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion_postgres::pgwire::api::portal::Format;
use datafusion_postgres::pgwire::api::results::{FieldFormat, FieldInfo, Response, Tag};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::PgWireBackendMessage;
use datafusion_postgres::pgwire::messages::copy::{CopyData, CopyDone, CopyOutResponse};
use datafusion_postgres::pgwire::messages::data::DataRow;
use futures::{Sink, SinkExt, StreamExt};

/// What the binary form begins with: its name, no flags, no more of a header.
const BINARY_BEGIN: [u8; 19] = *b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What is copied, and how it is written.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    pub(super) query: Box<Query>,
    form: Form,
    header: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Text { delimiter: u8, null: String },
    Csv { delimiter: u8, null: String, quoted: Vec<Ident> },
    Binary,
}

/// What options say before it is known which form they are of.
#[derive(Debug, Default)]
struct Told {
    format: Option<String>,
    header: bool,
    delimiter: Option<char>,
    null: Option<String>,
    quote: Option<char>,
    escape: Option<char>,
    quoted: Vec<Ident>,
}

impl Copy {
    /// `None` where the statement is another.
    pub(super) fn of(statement: &Statement) -> Result<Option<Self>, QueryError> {
        let Statement::Copy { source, to, target, options, legacy_options, .. } = statement else {
            return Ok(None);
        };
        if !to {
            let text = "COPY FROM is refused: SQL here only reads; rows come in through ingest";
            return Err(QueryError::new(QueryErrorKind::ReadOnly, text));
        }
        if *target != CopyTarget::Stdout {
            let text = "COPY TO a file or program is refused: copy to STDOUT";
            return Err(QueryError::new(QueryErrorKind::ReadOnly, text));
        }
        let mut told = Told::default();
        options.iter().try_for_each(|option| told.take(option))?;
        legacy_options.iter().try_for_each(|option| told.take_legacy(option))?;
        let header = told.header;
        Ok(Some(Self { query: query_of(source)?, form: told.form()?, header }))
    }
}

fn query_of(source: &CopySource) -> Result<Box<Query>, QueryError> {
    let (table, columns) = match source {
        CopySource::Query(query) => return Ok(query.clone()),
        CopySource::Table { table_name, columns } => (table_name, columns),
    };
    let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
    let columns = if columns.is_empty() { "*".to_owned() } else { columns.join(", ") };
    let sql = format!("SELECT {columns} FROM {table}");
    let parsed = Parser::parse_sql(&PostgreSqlDialect {}, &sql).ok().and_then(|mut all| all.pop());
    match parsed {
        Some(Statement::Query(query)) => Ok(query),
        _ => Err(QueryError::new(QueryErrorKind::Syntax, format!("{table} is no table"))),
    }
}

impl Told {
    fn take(&mut self, option: &CopyOption) -> Result<(), QueryError> {
        match option {
            CopyOption::Format(name) => self.format = Some(name.value.to_ascii_lowercase()),
            CopyOption::Header(on) => self.header = *on,
            CopyOption::Delimiter(one) => self.delimiter = Some(*one),
            CopyOption::Null(text) => self.null = Some(text.clone()),
            CopyOption::Quote(one) => self.quote = Some(*one),
            CopyOption::Escape(one) => self.escape = Some(*one),
            CopyOption::ForceQuote(columns) => self.quoted.clone_from(columns),
            CopyOption::Encoding(name) if is_utf8(name) => {}
            CopyOption::Freeze(false) => {}
            other => return Err(unsupported(other)),
        }
        Ok(())
    }

    fn take_legacy(&mut self, option: &CopyLegacyOption) -> Result<(), QueryError> {
        match option {
            CopyLegacyOption::Binary => self.format = Some("binary".to_owned()),
            CopyLegacyOption::Delimiter(one) => self.delimiter = Some(*one),
            CopyLegacyOption::Null(text) => self.null = Some(text.clone()),
            CopyLegacyOption::Csv(options) => {
                self.format = Some("csv".to_owned());
                for option in options {
                    match option {
                        CopyLegacyCsvOption::Header => self.header = true,
                        CopyLegacyCsvOption::Quote(one) => self.quote = Some(*one),
                        CopyLegacyCsvOption::Escape(one) => self.escape = Some(*one),
                        CopyLegacyCsvOption::ForceQuote(columns) => {
                            self.quoted.clone_from(columns);
                        }
                        CopyLegacyCsvOption::ForceNotNull(_) => {
                            return Err(unsupported(option));
                        }
                    }
                }
            }
            other => return Err(unsupported(other)),
        }
        Ok(())
    }

    fn form(self) -> Result<Form, QueryError> {
        let quotes = [self.quote, self.escape].into_iter().flatten();
        if quotes.clone().any(|one| one != '"') {
            return Err(unsupported(&"a QUOTE or ESCAPE other than '\"'"));
        }
        let is_csv = self.format.as_deref() == Some("csv");
        if (quotes.count() > 0 || !self.quoted.is_empty()) && !is_csv {
            return Err(unsupported(&"QUOTE, ESCAPE or FORCE_QUOTE without FORMAT csv"));
        }
        if self.delimiter.is_some_and(|one| !one.is_ascii() || "\r\n\"\\".contains(one)) {
            return Err(unsupported(&"a DELIMITER that is not one plain character"));
        }
        let delimiter = self.delimiter.map(|one| one as u8);
        match self.format.as_deref() {
            None | Some("text") => {
                let null = self.null.unwrap_or_else(|| "\\N".to_owned());
                Ok(Form::Text { delimiter: delimiter.unwrap_or(b'\t'), null })
            }
            Some("csv") => {
                let (delimiter, null) = (delimiter.unwrap_or(b','), self.null.unwrap_or_default());
                Ok(Form::Csv { delimiter, null, quoted: self.quoted })
            }
            Some("binary") if self.header || delimiter.is_some() || self.null.is_some() => {
                Err(unsupported(&"HEADER, DELIMITER or NULL with FORMAT binary"))
            }
            Some("binary") => Ok(Form::Binary),
            Some(other) => Err(unsupported(&format!("FORMAT {other}"))),
        }
    }
}

fn is_utf8(name: &str) -> bool {
    ["utf8", "utf-8"].contains(&name.to_ascii_lowercase().as_str())
}

fn unsupported(what: &impl std::fmt::Display) -> QueryError {
    let text = format!("COPY: {what} is not supported");
    QueryError::new(QueryErrorKind::Invalid, text)
}

/// Sends all rows as they come, and answers how many they were.
pub(super) async fn copy_out<C>(
    client: &mut C,
    mut answer: Answer,
    copy: &Copy,
    settings: &SessionSettings,
) -> PgWireResult<Response>
where
    C: Sink<PgWireBackendMessage> + Unpin + Send,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let binary = copy.form == Form::Binary;
    let format = if binary { Format::UnifiedBinary } else { Format::UnifiedText };
    let columns = Columns::of(answer.schema(), &format, settings)?;
    let lines = Lines::of(copy, &columns.fields)?;
    let code = if binary { FieldFormat::Binary } else { FieldFormat::Text }.value();
    let count = columns.fields.len();
    let begin = CopyOutResponse::new(i8::from(binary), count as i16, vec![code; count]);
    client.feed(PgWireBackendMessage::CopyOutResponse(begin)).await?;
    let mut next = lines.head(copy.header, &columns.fields);
    let mut rows = 0;
    while let Some(batch) = answer.next().await {
        let batch = batch.map_err(|error| refusal(&error))?;
        rows += batch.num_rows();
        for row in columns.rows(&batch)? {
            lines.add(&row?, &mut next);
            let line = CopyData::new(next.split().freeze());
            client.feed(PgWireBackendMessage::CopyData(line)).await?;
        }
    }
    if binary {
        next.put_i16(-1);
    }
    if !next.is_empty() {
        client.feed(PgWireBackendMessage::CopyData(CopyData::new(next.freeze()))).await?;
    }
    client.feed(PgWireBackendMessage::CopyDone(CopyDone::new())).await?;
    Ok(Response::Execution(Tag::new("COPY").with_rows(rows)))
}

/// How rows become lines.
struct Lines<'a> {
    form: &'a Form,
    /// By column: whether it is always quoted.
    quoted: Vec<bool>,
}

impl<'a> Lines<'a> {
    fn of(copy: &'a Copy, fields: &[FieldInfo]) -> PgWireResult<Self> {
        let mut all = vec![false; fields.len()];
        if let Form::Csv { quoted, .. } = &copy.form {
            for column in quoted {
                if column.value == "*" {
                    all.fill(true);
                    continue;
                }
                let place = fields.iter().position(|field| field.name() == column.value);
                let place = place.ok_or_else(|| {
                    let text = format!("FORCE_QUOTE: there is no column {column}");
                    refusal(&QueryError::new(QueryErrorKind::UnknownColumn, text))
                })?;
                all[place] = true;
            }
        }
        Ok(Self { form: &copy.form, quoted: all })
    }

    /// What comes before the first row, and goes out with it.
    fn head(&self, names: bool, fields: &[FieldInfo]) -> BytesMut {
        let mut head = BytesMut::new();
        match self.form {
            Form::Binary => head.extend_from_slice(&BINARY_BEGIN),
            _ if names => {
                let names = fields.iter().map(|field| Some(field.name().as_bytes()));
                self.line(names, false, &mut head);
            }
            _ => {}
        }
        head
    }

    fn add(&self, row: &DataRow, to: &mut BytesMut) {
        if *self.form == Form::Binary {
            to.put_i16(row.field_count);
            to.extend_from_slice(&row.data);
        } else {
            self.line(values(row), true, to);
        }
    }

    fn line<'v>(
        &self,
        values: impl Iterator<Item = Option<&'v [u8]>>,
        forced: bool,
        to: &mut BytesMut,
    ) {
        for (column, value) in values.enumerate() {
            let (Form::Text { delimiter, null } | Form::Csv { delimiter, null, .. }) = self.form
            else {
                return;
            };
            if column > 0 {
                to.put_u8(*delimiter);
            }
            match value {
                None => to.extend_from_slice(null.as_bytes()),
                Some(value) if matches!(self.form, Form::Text { .. }) => {
                    escape(value, *delimiter, to);
                }
                Some(value) => {
                    let special = |byte: &u8| *byte == *delimiter || b"\"\r\n".contains(byte);
                    let forced = forced && self.quoted[column];
                    let quoted = forced || value == null.as_bytes() || value.iter().any(special);
                    if quoted { quote(value, to) } else { to.extend_from_slice(value) }
                }
            }
        }
        to.put_u8(b'\n');
    }
}

/// The values of a row, each behind its length; NULL is of length -1.
fn values(row: &DataRow) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = &row.data[..];
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk()?;
        let length = usize::try_from(i32::from_be_bytes(*length));
        let Ok(length) = length else {
            rest = after;
            return Some(None);
        };
        let (value, after) = after.split_at_checked(length)?;
        rest = after;
        Some(Some(value))
    })
}

fn escape(value: &[u8], delimiter: u8, to: &mut BytesMut) {
    for byte in value {
        match byte {
            b'\n' => to.extend_from_slice(b"\\n"),
            b'\r' => to.extend_from_slice(b"\\r"),
            b'\t' => to.extend_from_slice(b"\\t"),
            b'\\' => to.extend_from_slice(b"\\\\"),
            byte if *byte == delimiter => to.extend_from_slice(&[b'\\', *byte]),
            byte => to.put_u8(*byte),
        }
    }
}

fn quote(value: &[u8], to: &mut BytesMut) {
    to.put_u8(b'"');
    for byte in value {
        if *byte == b'"' {
            to.put_u8(b'"');
        }
        to.put_u8(*byte);
    }
    to.put_u8(b'"');
}
