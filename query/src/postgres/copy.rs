//! `COPY (SELECT ...) TO STDOUT`: rows as lines of text or CSV, or in PostgreSQL's binary form.

use super::respond::{in_types, refusal, row_fields, shown};
use crate::answer::Answer;
use crate::error::{QueryError, QueryErrorKind};
use crate::settings::SessionSettings;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::sql::sqlparser::ast::{
    CopyLegacyCsvOption, CopyLegacyOption, CopyOption, CopySource, CopyTarget, Ident, Query,
    Statement,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion_postgres::arrow_pg::encoder::encode_value;
use datafusion_postgres::pgwire::api::portal::Format;
use datafusion_postgres::pgwire::api::results::{
    CopyCsvOptions, CopyEncoder, CopyTextOptions, FieldFormat, FieldInfo, Response, Tag,
};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::PgWireBackendMessage;
use datafusion_postgres::pgwire::messages::copy::{CopyData, CopyDone, CopyOutResponse};
use futures::{Sink, SinkExt, StreamExt};
use std::sync::Arc;

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
    Text(CopyTextOptions),
    Csv { options: CopyCsvOptions, quoted: Vec<Ident> },
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
        let delimiter = self.delimiter.map(|one| one.to_string());
        match self.format.as_deref() {
            None | Some("text") => {
                let mut options = CopyTextOptions::default();
                options.delimiter = delimiter.map_or(options.delimiter, Into::into);
                options.null_string = self.null.map_or(options.null_string, Into::into);
                Ok(Form::Text(options))
            }
            Some("csv") => {
                let mut options = CopyCsvOptions::default();
                options.delimiter = delimiter.map_or(options.delimiter, Into::into);
                options.null_string = self.null.map_or(options.null_string, Into::into);
                Ok(Form::Csv { options, quoted: self.quoted })
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
    let schema = shown(answer.schema(), settings);
    let binary = copy.form == Form::Binary;
    let format = if binary { Format::UnifiedBinary } else { Format::UnifiedText };
    let fields = Arc::new(row_fields(&schema, &format, settings)?);
    let mut encoder = encoder(copy, &fields)?;
    let code = if binary { FieldFormat::Binary } else { FieldFormat::Text }.value();
    let codes = vec![code; fields.len()];
    let begin = CopyOutResponse::new(i8::from(binary), fields.len() as i16, codes);
    client.feed(PgWireBackendMessage::CopyOutResponse(begin)).await?;
    if copy.header {
        client.feed(PgWireBackendMessage::CopyData(header(copy, &fields))).await?;
    }
    let mut rows = 0;
    while let Some(batch) = answer.next().await {
        let batch = batch.and_then(|batch| Ok(in_types(&batch, &schema)?));
        let batch = batch.map_err(|error| refusal(&error))?;
        for row in 0..batch.num_rows() {
            let line = line(&mut encoder, &batch, row, &schema, &fields)?;
            client.feed(PgWireBackendMessage::CopyData(line)).await?;
        }
        rows += batch.num_rows();
    }
    if binary {
        if rows == 0 {
            let begin = CopyData::new(Bytes::from_static(&BINARY_BEGIN));
            client.feed(PgWireBackendMessage::CopyData(begin)).await?;
        }
        let end = CopyEncoder::finish_copy_binary();
        client.feed(PgWireBackendMessage::CopyData(end)).await?;
    }
    client.feed(PgWireBackendMessage::CopyDone(CopyDone::new())).await?;
    Ok(Response::Execution(Tag::new("COPY").with_rows(rows)))
}

fn encoder(copy: &Copy, fields: &Arc<Vec<FieldInfo>>) -> PgWireResult<CopyEncoder> {
    Ok(match &copy.form {
        Form::Text(options) => CopyEncoder::new_text(Arc::clone(fields), options.clone()),
        Form::Binary => CopyEncoder::new_binary(Arc::clone(fields)),
        Form::Csv { options, quoted } => {
            let place = |column: &Ident| {
                let found = fields.iter().position(|field| field.name() == column.value);
                found.ok_or_else(|| {
                    let text = format!("FORCE_QUOTE: there is no column {column}");
                    refusal(&QueryError::new(QueryErrorKind::UnknownColumn, text))
                })
            };
            let all = quoted.len() == 1 && quoted[0].value == "*";
            let force_quote = if all {
                (0..fields.len()).collect()
            } else {
                quoted.iter().map(place).collect::<PgWireResult<_>>()?
            };
            let options = CopyCsvOptions { force_quote, ..options.clone() };
            CopyEncoder::new_csv(Arc::clone(fields), options)
        }
    })
}

fn line(
    encoder: &mut CopyEncoder,
    batch: &RecordBatch,
    row: usize,
    schema: &SchemaRef,
    fields: &[FieldInfo],
) -> PgWireResult<CopyData> {
    let columns = batch.columns().iter().zip(schema.fields()).zip(fields);
    for ((column, arrow), field) in columns {
        encode_value(encoder, column, row, arrow, field)?;
    }
    Ok(encoder.take_copy())
}

/// The names of the columns as a line.
fn header(copy: &Copy, fields: &[FieldInfo]) -> CopyData {
    let names = fields.iter().map(FieldInfo::name);
    let line = match &copy.form {
        Form::Csv { options, .. } => {
            let quoted = |name: &str| {
                let special = |c: char| options.delimiter.contains(c) || "\"\r\n".contains(c);
                if name.contains(special) {
                    format!("\"{}\"", name.replace('"', "\"\""))
                } else {
                    name.to_owned()
                }
            };
            names.map(quoted).collect::<Vec<_>>().join(options.delimiter.as_str())
        }
        Form::Text(options) => names.collect::<Vec<_>>().join(options.delimiter.as_str()),
        Form::Binary => return CopyData::new(Bytes::new()),
    };
    CopyData::new(Bytes::from(line + "\n"))
}
