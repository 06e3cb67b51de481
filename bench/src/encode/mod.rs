//! What rows take in a table's files, and what it costs to write them, beside files that have one
//! encoding throughout.

mod data;
mod read;
mod single;

use crate::Failure;
use crate::harness::Harness;
use crate::process::cpu_seconds;
use crate::report::{Machine, Report, Table, number};
use arrow::array::RecordBatch;
use bytes::Bytes;
use data::Rows;
use parquet::file::reader::{FileReader, SerializedFileReader};
use read::{Read, read};
use serde::Serialize;
use serde_json::json;
use single::Single;
use std::collections::BTreeMap;
use std::path::PathBuf;
use warpline_storage::{Level, encoded};

/// Encoded again until so much CPU time has gone into it.
const CPU_SECONDS: f64 = 1.0;
/// Rows of one series that a question reads.
const SERIES_ROWS: usize = 360;

/// Measure bytes per value and CPU time of a table's files
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct EncodeOptions {
    /// Folder of the harness that measures other stores, whose data is encoded
    #[arg(long, value_name = "DIR", required_unless_present = "traces")]
    peers: Option<PathBuf>,

    /// Sizes of its data
    #[arg(long, value_name = "SIZES", value_delimiter = ',', default_value = "S,M")]
    sizes: Vec<String>,

    /// Folder of recorded traces (gzipped CSV)
    #[arg(long, value_name = "DIR")]
    traces: Option<PathBuf>,

    /// Folder in which Warpline's files are left, to be read with other programs
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// One way to write one set of rows.
#[derive(Clone, Debug, Serialize)]
struct Figure {
    rows: String,
    writer: &'static str,
    values: u64,
    bytes_per_value: f64,
    cpu_per_million: f64,
    read: Read,
    /// Bytes per value and the encodings by column, without the footer.
    columns: BTreeMap<String, (f64, String)>,
}

pub(crate) fn run(options: &EncodeOptions) -> Result<Report, Failure> {
    let machine = Machine::here();
    let mut figures = Vec::new();
    let mut tables = Vec::new();
    if let Some(folder) = &options.peers {
        let harness = Harness::at(folder)?;
        for size in &options.sizes {
            harness.generate(size)?;
            let merged = data::peers(&harness.blocks(size))?;
            for rows in [merged.flush(15)?, merged.flushes(10)?, merged] {
                let all = measure(options, &rows.named(size))?;
                tables.push(by_column(&all));
                figures.extend(all);
            }
        }
    }
    if let Some(folder) = &options.traces {
        for rows in data::traces(folder)? {
            figures.extend(measure(options, &rows)?);
        }
    }
    let title = format!("Bytes per value, CPU seconds per million values ({machine})");
    let written = |one: &Figure| [one.bytes_per_value, one.cpu_per_million];
    let read = |one: &Figure| [one.read.cpu_per_million, one.read.some_micros];
    tables.insert(0, summary(title, "CPU", &figures, written));
    let title = format!(
        "Read back: CPU seconds per million values, and CPU \u{b5}s a column for {SERIES_ROWS} rows"
    );
    tables.insert(1, summary(title, "some", &figures, read));
    Ok(Report { tables, figures: json!({ "machine": machine, "encode": figures }) })
}

fn measure(options: &EncodeOptions, rows: &Rows) -> Result<Vec<Figure>, Failure> {
    eprintln!("encoding {}", rows.name);
    let ours = |batch: &RecordBatch| -> Result<Bytes, Failure> {
        let file = encoded(&rows.schema, std::iter::once(batch.clone()), rows.level)?;
        file.ok_or_else(|| "no rows".into())
    };
    if let Some(folder) = &options.keep {
        std::fs::create_dir_all(folder)?;
        for (index, file) in rows.files.iter().enumerate() {
            let name = format!("{} {index}.parquet", rows.name.replace(", ", " "));
            std::fs::write(folder.join(name), ours(file)?)?;
        }
    }
    let mut figures = vec![figure(rows, "warpline", ours)?];
    for single in Single::ALL {
        figures.push(figure(rows, single.name(), |batch| single.encode(&rows.schema, batch))?);
    }
    Ok(figures)
}

fn figure(
    rows: &Rows,
    writer: &'static str,
    encode: impl Fn(&RecordBatch) -> Result<Bytes, Failure>,
) -> Result<Figure, Failure> {
    let fields = rows.schema.fields.len();
    let values: usize = rows.files.iter().map(|file| file.num_rows() * fields).sum();
    let files = rows.files.iter().map(&encode).collect::<Result<Vec<_>, _>>()?;
    let begun = cpu_seconds(std::process::id())?;
    let mut spent = 0.0;
    let mut rounds = 0;
    while spent < CPU_SECONDS {
        rows.files.iter().try_for_each(|file| encode(file).map(drop))?;
        rounds += 1;
        spent = cpu_seconds(std::process::id())? - begun;
    }
    let per_value = |bytes: usize| bytes as f64 / values as f64;
    let mut columns: BTreeMap<String, (f64, String)> = BTreeMap::new();
    for bytes in &files {
        for group in SerializedFileReader::new(bytes.clone())?.metadata().row_groups() {
            for chunk in group.columns() {
                let encodings: Vec<_> = chunk.encodings().map(|e| e.to_string()).collect();
                let column = columns.entry(chunk.column_path().string()).or_default();
                // Per value of this column.
                column.0 += per_value(chunk.compressed_size() as usize) * fields as f64;
                column.1 = encodings.join(" ");
            }
        }
    }
    Ok(Figure {
        rows: rows.name.clone(),
        writer,
        values: values as u64,
        bytes_per_value: per_value(files.iter().map(Bytes::len).sum()),
        cpu_per_million: spent / f64::from(rounds) / values as f64 * 1e6,
        read: read(&rows.schema, &files[0], SERIES_ROWS.min(rows.files[0].num_rows()))?,
        columns,
    })
}

/// A row for each set of rows, two numbers for each writer.
fn summary(
    title: String,
    second: &str,
    figures: &[Figure],
    numbers: impl Fn(&Figure) -> [f64; 2],
) -> Table {
    let writers = std::iter::once("warpline").chain(Single::ALL.map(Single::name));
    let columns = writers.flat_map(|name| [name.to_owned(), format!("{name} {second}")]);
    let header: Vec<String> = std::iter::once("rows".to_owned()).chain(columns).collect();
    let mut table = Table::new(title, &header.iter().map(String::as_str).collect::<Vec<_>>());
    for all in figures.chunk_by(|a, b| a.rows == b.rows) {
        let cells = all.iter().flat_map(&numbers).map(number);
        table.row(std::iter::once(all[0].rows.clone()).chain(cells).collect());
    }
    table
}

/// Columns that take anything to speak of.
fn by_column(figures: &[Figure]) -> Table {
    let title = format!("Bytes per value by column, {}", figures[0].rows);
    let mut header = vec!["column", "encodings"];
    header.extend(figures.iter().map(|figure| figure.writer));
    let mut table = Table::new(title, &header);
    for (column, (_, encodings)) in &figures[0].columns {
        let bytes: Vec<f64> = figures.iter().map(|figure| figure.columns[column].0).collect();
        if bytes.iter().any(|bytes| *bytes > 0.02) {
            let mut cells = vec![column.clone(), encodings.clone()];
            cells.extend(bytes.into_iter().map(number));
            table.row(cells);
        }
    }
    table
}

impl Rows {
    fn named(&self, size: &str) -> Self {
        Self { name: format!("{size}, {}", self.name), ..self.clone() }
    }

    /// The rows as a flush of a large fleet has them: `rows` of each of very many series.
    fn flush(&self, rows: usize) -> Result<Self, Failure> {
        let name = format!("flush, {rows} rows a series");
        let cut = self.cut(name, |before, _| before / rows)?;
        let files = vec![data::as_clusters(&cut.files)?];
        Ok(Self { files, ..cut })
    }

    /// The rows as flushes every so often have them.
    fn flushes(&self, minutes: usize) -> Result<Self, Failure> {
        let name = format!("flushes of {minutes} minutes");
        self.cut(name, |_, seconds| seconds / (60 * minutes))
    }

    /// Rows by the file that `which` puts them in, given how many rows of its series came before
    /// and how many seconds have passed since the first of all.
    fn cut(&self, name: String, which: impl Fn(usize, usize) -> usize) -> Result<Self, Failure> {
        let files = data::parts(&self.schema, &self.files[0], which)?;
        Ok(Self { name, schema: self.schema.clone(), files, level: Level::Flush })
    }
}
