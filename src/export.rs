//! `warpline export`: the answer of a statement, or a table's rows of a range of time, as a file.
//!
//! Promises: rows are written as they come, whatever their number; a file has its name only once it
//! is whole, and takes no other's place unless asked to.

use crate::remote::RemoteOptions;
use crate::{Failure, progress, sql};
use arrow::buffer::Buffer;
use arrow::csv::WriterBuilder;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::FileWriter;
use arrow::record_batch::RecordBatch;
use chrono::{DateTime, SecondsFormat, Utc};
use clap::ValueEnum;
use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use warpline_storage::ParquetExport;

const EXAMPLES: &str = "\
Examples:
  warpline export --table gpu --from 2026-11-26T00:00:00Z --to 2026-11-26T01:00:00Z hour.parquet
  warpline export --table gpu_1h --format csv year.csv
  warpline export --sql \"SELECT node, avg(power_usage) FROM gpu GROUP BY node\" power.arrow

Fields are as SQL has them: integers as 64 bits, scaled ones as doubles. The files of the tables
themselves are Parquet already: docs/offline.md.";

/// Write rows to a Parquet, CSV or Arrow file.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ExportOptions {
    #[command(flatten)]
    remote: RemoteOptions,

    /// A statement whose rows are written
    #[arg(long, value_name = "SQL", required_unless_present = "table", conflicts_with = "table")]
    sql: Option<String>,

    /// A table whose rows are written, by time
    #[arg(long, value_name = "NAME")]
    table: Option<String>,

    /// The first time of the table's rows
    #[arg(long, value_name = "TIME", requires = "table")]
    from: Option<DateTime<Utc>>,

    /// The time before which they are
    #[arg(long, value_name = "TIME", requires = "table")]
    to: Option<DateTime<Utc>>,

    /// What is written [default: by the file's ending]
    #[arg(long, value_enum)]
    format: Option<FileFormat>,

    /// Write over a file that is there
    #[arg(long)]
    replace: bool,

    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FileFormat {
    Parquet,
    Csv,
    Arrow,
}

/// Asks, and writes what is answered.
pub async fn run(options: ExportOptions) -> Result<(), Failure> {
    let format = options.format()?;
    if options.file.exists() && !options.replace {
        let shown = options.file.display();
        return Err(format!("{shown} is there: choose another name, or give --replace").into());
    }
    let client = sql::Client::of(options.remote.remote()?)?;
    let unwritable =
        |error: &dyn std::fmt::Display| format!("cannot write {}: {error}", options.file.display());
    let unfinished = unfinished(&options.file).map_err(|error| unwritable(&error))?;
    let total = options.rows(&client).await?;
    let file = unfinished.reopen()?;
    let rows = write(&client, &options.statement(), total, format, file).await?;
    let named = if options.replace {
        unfinished.persist(&options.file)
    } else {
        unfinished.persist_noclobber(&options.file)
    };
    named.map_err(|error| unwritable(&error))?;
    let bytes = std::fs::metadata(&options.file)?.len();
    println!("{rows} rows, {bytes} bytes in {}", options.file.display());
    Ok(())
}

impl ExportOptions {
    fn format(&self) -> Result<FileFormat, Failure> {
        let ending = self.file.extension().and_then(OsStr::to_str).unwrap_or_default();
        let known = || FileFormat::from_str(ending, true).ok();
        self.format.or_else(known).ok_or_else(|| {
            format!("{ending:?} is no format: end the file in .parquet, .csv or .arrow, or give --format").into()
        })
    }

    fn statement(&self) -> String {
        match (&self.sql, self.of_table()) {
            (Some(sql), _) => sql.clone(),
            (None, of_table) => format!("SELECT * {of_table} ORDER BY time"),
        }
    }

    /// The part of a statement that says which rows.
    fn of_table(&self) -> String {
        let table = self.table.as_deref().unwrap_or_default().replace('"', "\"\"");
        let bound = |operator, time: &Option<DateTime<Utc>>| {
            let time = time.as_ref()?.to_rfc3339_opts(SecondsFormat::Micros, true);
            Some(format!("time {operator} '{time}'"))
        };
        let bounds = [bound(">=", &self.from), bound("<", &self.to)];
        let bounds: Vec<String> = bounds.into_iter().flatten().collect();
        let filter = if bounds.is_empty() { String::new() } else { " WHERE ".to_owned() };
        format!("FROM \"{table}\"{filter}{}", bounds.join(" AND "))
    }

    /// How many there are, where that is quickly known.
    async fn rows(&self, client: &sql::Client) -> Result<Option<u64>, Failure> {
        if self.table.is_none() {
            return Ok(None);
        }
        let counted = format!("SELECT count(*) AS rows {}", self.of_table());
        let answer = client.ask(&counted, sql::Format::Json).await?.text().await?;
        let answer: serde_json::Value = serde_json::from_str(&answer)?;
        Ok(answer["rows"][0][0].as_u64())
    }
}

/// A file without its name, removed unless it gets it.
fn unfinished(file: &Path) -> std::io::Result<NamedTempFile> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".warpline-export-").permissions(Permissions::from_mode(0o666));
    builder.tempfile_in(folder)
}

async fn write(
    client: &sql::Client,
    statement: &str,
    total: Option<u64>,
    format: FileFormat,
    file: File,
) -> Result<u64, Failure> {
    let mut response = client.ask(statement, sql::Format::Table).await?;
    let bar = match total {
        Some(total) => progress::count("exporting", total),
        None => progress::some("exporting"),
    };
    let mut decoder = StreamDecoder::new();
    let (mut file, mut writer) = (Some(file), None);
    while let Some(chunk) = response.chunk().await? {
        let mut chunk = Buffer::from(chunk);
        while !chunk.is_empty() {
            let batch = decoder.decode(&mut chunk)?;
            if let Some(schema) = decoder.schema()
                && let Some(file) = file.take()
            {
                writer = Some(Writer::new(format, file, &schema)?);
            }
            if let (Some(batch), Some(writer)) = (batch, &mut writer) {
                writer.write(&batch)?;
                bar.inc(batch.num_rows() as u64);
            }
        }
    }
    decoder.finish().map_err(|_| "the answer broke off: the server's log says why")?;
    let writer = writer.ok_or("the server answered without columns")?;
    writer.finish()?;
    let rows = bar.position();
    bar.finish_and_clear();
    Ok(rows)
}

enum Writer {
    Parquet(ParquetExport),
    Csv(arrow::csv::Writer<File>),
    Arrow(FileWriter<File>),
}

impl Writer {
    fn new(format: FileFormat, file: File, schema: &SchemaRef) -> Result<Self, Failure> {
        Ok(match format {
            FileFormat::Parquet => Self::Parquet(ParquetExport::create(file, schema.clone())?),
            FileFormat::Csv => {
                let mut writer = WriterBuilder::new().with_header(true).build(file);
                writer.write(&RecordBatch::new_empty(schema.clone()))?;
                Self::Csv(writer)
            }
            FileFormat::Arrow => Self::Arrow(FileWriter::try_new(file, schema)?),
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        match self {
            Self::Parquet(writer) => writer.write(batch)?,
            Self::Csv(writer) => writer.write(batch)?,
            Self::Arrow(writer) => writer.write(batch)?,
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Parquet(writer) => writer.finish()?,
            Self::Csv(writer) => writer.into_inner().sync_all()?,
            Self::Arrow(mut writer) => {
                writer.finish()?;
                writer.into_inner()?.sync_all()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: ExportOptions,
    }

    fn options(arguments: &[&str]) -> Result<ExportOptions, String> {
        let line = Line::try_parse_from([&["export"], arguments].concat());
        line.map(|line| line.options).map_err(|error| error.to_string())
    }

    #[test]
    fn a_table_and_its_range_become_a_statement() {
        let all = options(&["--table", "a\"b", "x.csv"]).unwrap();
        assert_eq!(all.statement(), "SELECT * FROM \"a\"\"b\" ORDER BY time");
        let range = ["--from", "2026-11-26T00:00:00Z", "--to", "2026-11-26T01:00:00+01:00"];
        let hour = options(&[&["--table", "gpu", "x.arrow"], &range[..]].concat()).unwrap();
        let want = "SELECT * FROM \"gpu\" WHERE time >= '2026-11-26T00:00:00.000000Z' AND time < \
                    '2026-11-26T00:00:00.000000Z' ORDER BY time";
        assert_eq!(hour.statement(), want);
        assert!(options(&["x.csv"]).is_err(), "neither statement nor table");
        assert!(options(&["--sql", "SELECT 1", "--table", "gpu", "x.csv"]).is_err());
    }

    #[test]
    fn the_format_is_the_ending_unless_it_is_given() {
        let format = |file: &str| options(&["--sql", "SELECT 1", file]).unwrap().format();
        assert_eq!(format("a.parquet").unwrap(), FileFormat::Parquet);
        assert_eq!(format("a.b.CSV").unwrap(), FileFormat::Csv);
        assert!(format("a").unwrap_err().to_string().contains("--format"));
        let given = options(&["--sql", "SELECT 1", "--format", "arrow", "a.csv"]).unwrap();
        assert_eq!(given.format().unwrap(), FileFormat::Arrow);
    }
}
