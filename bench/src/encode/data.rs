//! The rows that are encoded: generated fleets and recorded traces, as a table would hold them.

use crate::Failure;
use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::{SortColumn, cast, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Decimal32Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::ipc::reader::FileReader;
use chrono::NaiveDateTime;
use flate2::read::GzDecoder;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use warpline_storage::Level;
use warpline_storage::model::{Field, FieldType, TableSchema};

const IDENTITY: [&str; 3] = ["cluster", "node", "gpu"];
const ATTRIBUTES: [&str; 5] = ["rack", "uuid", "model", "tenant", "job"];
const MICROS: i64 = 1_000_000;

/// Rows in the files of one level.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    pub(super) name: String,
    pub(super) schema: TableSchema,
    pub(super) files: Vec<RecordBatch>,
    pub(super) level: Level,
}

/// A generated fleet's rows as one merged file, typed as `warpline import` would.
pub(super) fn peers(blocks: &Path) -> Result<Rows, Failure> {
    let mut batches = Vec::new();
    for path in files(blocks, "arrow")? {
        for batch in FileReader::try_new(BufReader::new(File::open(path)?), None)? {
            batches.push(batch?);
        }
    }
    let first = batches.first().ok_or("the harness has no data")?.schema();
    let is_tag = |name: &str| IDENTITY.contains(&name) || ATTRIBUTES.contains(&name);
    let fields = first
        .fields()
        .iter()
        .filter(|field| !is_tag(field.name()) && field.name() != "ts" && field.name() != "gpu_id");
    let schema = TableSchema {
        table: "dcgm".into(),
        identity: IDENTITY.map(Arc::from).to_vec(),
        attributes: ATTRIBUTES.map(Arc::from).to_vec(),
        fields: fields
            .map(|field| {
                Ok(Field {
                    name: field.name().as_str().into(),
                    field_type: field_type(field.name(), field.data_type())?,
                })
            })
            .collect::<Result<_, Failure>>()?,
    };
    let typed = batches.iter().map(|batch| typed(&schema, batch)).collect::<Result<Vec<_>, _>>()?;
    let files = vec![sorted(&schema, &concat_batches(&schema.arrow(), &typed)?)?];
    Ok(Rows { name: "merged".to_owned(), schema, files, level: Level::Hour })
}

/// As the harness's conversion for the import has it.
fn field_type(name: &str, data_type: &DataType) -> Result<FieldType, Failure> {
    Ok(match data_type {
        DataType::UInt8 => FieldType::Int16,
        DataType::UInt16 | DataType::Int32 => FieldType::Int32,
        DataType::Int64 => FieldType::Int64,
        DataType::Float64 if name.starts_with("power") => {
            FieldType::Decimal { digits: 9, decimals: 3 }
        }
        DataType::Float64 if name == "fp32_active" || name == "fp16_active" => {
            FieldType::Decimal { digits: 5, decimals: 4 }
        }
        DataType::Float64 if name == "gr_engine_active" => {
            FieldType::Decimal { digits: 4, decimals: 3 }
        }
        DataType::Float64 => FieldType::Decimal { digits: 7, decimals: 6 },
        other => return Err(format!("a field of type {other}").into()),
    })
}

fn typed(schema: &TableSchema, block: &RecordBatch) -> Result<RecordBatch, Failure> {
    let column = |name: &str| {
        block.column_by_name(name).ok_or_else(|| Failure::from(format!("no column {name}")))
    };
    let arrow = schema.arrow();
    let mut columns = Vec::new();
    for field in arrow.fields() {
        columns.push(match field.data_type() {
            DataType::Timestamp(..) => {
                let times = column("ts")?.as_primitive::<Int64Type>();
                let times = times.unary::<_, TimestampMicrosecondType>(|time| time * 1_000);
                Arc::new(times.with_timezone("UTC"))
            }
            DataType::Dictionary(..) => {
                cast(&cast(column(field.name())?, &DataType::Utf8)?, field.data_type())?
            }
            DataType::Decimal32(_, scale) => {
                let doubles = cast(column(field.name())?, &DataType::Float64)?;
                scaled(doubles.as_primitive(), 10_f64.powi(i32::from(*scale)), field.data_type())
            }
            other => cast(column(field.name())?, other)?,
        });
    }
    Ok(RecordBatch::try_new(arrow, columns)?)
}

fn scaled(doubles: &Float64Array, scale: f64, data_type: &DataType) -> ArrayRef {
    let whole = doubles.unary::<_, Decimal32Type>(|value| (value * scale).round() as i32);
    Arc::new(whole.with_data_type(data_type.clone()))
}

/// Rows by identity, then time; of rows with the same key one.
fn sorted(schema: &TableSchema, rows: &RecordBatch) -> Result<RecordBatch, Failure> {
    let keys = (1..=schema.identity.len()).chain([0]);
    let plain = keys.map(|at| match rows.column(at).data_type() {
        DataType::Dictionary(..) => cast(rows.column(at), &DataType::Utf8),
        _ => Ok(rows.column(at).clone()),
    });
    let plain = plain.collect::<Result<Vec<_>, _>>()?;
    let columns = plain.iter().map(|values| SortColumn { values: values.clone(), options: None });
    let order = lexsort_to_indices(&columns.collect::<Vec<_>>(), None)?;
    let keys: Vec<_> = plain
        .iter()
        .map(|key| arrow::compute::take(key, &order, None))
        .collect::<Result<_, _>>()?;
    let mut first = vec![true; rows.num_rows()];
    let same = keys.iter().map(same_as_before);
    let same: Vec<Vec<bool>> = same.collect();
    for (row, first) in first.iter_mut().enumerate() {
        *first = !same.iter().all(|same| same[row]);
    }
    let kept = order.values().iter().zip(first).filter_map(|(row, first)| first.then_some(*row));
    Ok(take_record_batch(rows, &UInt32Array::from_iter_values(kept))?)
}

fn same_as_before(key: &ArrayRef) -> Vec<bool> {
    let same = |row: usize| {
        if let Some(words) = key.as_string_opt::<i32>() {
            return words.value(row) == words.value(row - 1);
        }
        let times = key.as_primitive::<TimestampMicrosecondType>();
        times.value(row) == times.value(row - 1)
    };
    (0..key.len()).map(|row| row > 0 && same(row)).collect()
}

/// Sorted rows by the part that `which` puts them in, given how many rows of its series came
/// before and how many seconds have passed since the first of all.
pub(super) fn parts(
    schema: &TableSchema,
    rows: &RecordBatch,
    which: impl Fn(usize, usize) -> usize,
) -> Result<Vec<RecordBatch>, Failure> {
    let times = rows.column(0).as_primitive::<TimestampMicrosecondType>();
    let tags: Vec<&Int32Array> = rows.columns()[1..=schema.identity.len()]
        .iter()
        .map(|tag| tag.as_dictionary::<Int32Type>().keys())
        .collect();
    let begun = times.values().iter().min().copied().unwrap_or_default();
    let mut parts: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    let mut before = 0;
    for row in 0..rows.num_rows() {
        let goes_on = row > 0 && tags.iter().all(|tag| tag.value(row) == tag.value(row - 1));
        before = if goes_on { before + 1 } else { 0 };
        let seconds = ((times.value(row) - begun) / MICROS) as usize;
        parts.entry(which(before, seconds)).or_default().push(row as u32);
    }
    let rows_of = |part| Ok(take_record_batch(rows, &UInt32Array::from(part))?);
    parts.into_values().map(rows_of).collect()
}

/// One file of all parts, as of as many clusters.
pub(super) fn as_clusters(parts: &[RecordBatch]) -> Result<RecordBatch, Failure> {
    let first = parts.first().ok_or("no rows")?;
    let renamed = parts.iter().enumerate().map(|(index, part)| {
        let cluster = format!("cluster-{index:05}");
        let mut columns = part.columns().to_vec();
        let names = std::iter::repeat_n(cluster.as_str(), part.num_rows());
        columns[1] = Arc::new(names.collect::<DictionaryArray<Int32Type>>());
        RecordBatch::try_new(part.schema(), columns)
    });
    Ok(concat_batches(&first.schema(), &renamed.collect::<Result<Vec<_>, _>>()?)?)
}

fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, Failure> {
    let entries = folder.read_dir().map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, Failure>>()?;
    paths.retain(|path| path.extension().is_some_and(|it| it == extension));
    paths.sort();
    Ok(paths)
}

/// Each trace with times, its numbers once as decimals (or integers), once as doubles if need be.
pub(super) fn traces(folder: &Path) -> Result<Vec<Rows>, Failure> {
    let mut all = Vec::new();
    for path in files(folder, "gz")? {
        let mut text = String::new();
        GzDecoder::new(File::open(&path)?).read_to_string(&mut text)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.trim_end_matches(".csv.gz").to_owned();
        for doubles in [false, true] {
            if let Some(rows) = trace(&name, &text, doubles)? {
                all.push(rows);
            }
        }
    }
    Ok(all)
}

/// `None` where no column is a time, or doubles are asked for and there are none.
fn trace(name: &str, text: &str, doubles: bool) -> Result<Option<Rows>, Failure> {
    let mut lines = text.lines().map(|line| line.split(',').map(str::trim).collect::<Vec<_>>());
    let header = lines.next().unwrap_or_default();
    let rows: Vec<_> = lines.filter(|line| line.len() == header.len()).collect();
    let Some(sample) = rows.first() else { return Ok(None) };
    let Some(time) = sample.iter().position(|word| micros(word).is_some()) else {
        return Ok(None);
    };
    let times = rows.iter().map(|row| micros(row[time]).unwrap_or_default());
    let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
    let mut schema = TableSchema {
        table: "trace".into(),
        identity: Vec::new(),
        attributes: Vec::new(),
        fields: Vec::new(),
    };
    let mut columns: Vec<ArrayRef> = vec![Arc::new(times)];
    let mut fields: Vec<ArrayRef> = Vec::new();
    for at in (0..header.len()).filter(|at| *at != time) {
        let words: Vec<&str> = rows.iter().map(|row| number(row[at])).collect();
        let is_name = ["run", "node", "index"].contains(&header[at]);
        let name: Arc<str> = format!("c{at}").into();
        if let Some((field_type, values)) = numbers(&words, doubles).filter(|_| !is_name) {
            schema.fields.push(Field { name, field_type });
            fields.push(values);
        } else {
            schema.identity.push(name);
            columns.push(Arc::new(words.into_iter().collect::<DictionaryArray<Int32Type>>()));
        }
    }
    if doubles && !schema.fields.iter().any(|field| field.field_type == FieldType::Float64) {
        return Ok(None);
    }
    columns.extend(fields);
    let batch = RecordBatch::try_new(schema.arrow(), columns)?;
    let files = vec![sorted(&schema, &batch)?];
    let name = format!("{name}{}", if doubles { ", doubles" } else { "" });
    Ok(Some(Rows { name, schema, files, level: Level::Hour }))
}

/// Without its unit.
fn number(word: &str) -> &str {
    ["%", "MiB", "W"].iter().fold(word, |word, unit| word.trim_end_matches(unit)).trim()
}

/// The values with as many decimals as are printed.
fn numbers(words: &[&str], doubles: bool) -> Option<(FieldType, ArrayRef)> {
    let values = words.iter().map(|word| word.parse::<f64>().ok());
    let values: Vec<f64> = values.collect::<Option<_>>()?;
    let decimals = |word: &&str| word.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let decimals = words.iter().map(decimals).max()? as u8;
    if decimals > 0 && doubles {
        return Some((FieldType::Float64, Arc::new(Float64Array::from(values))));
    }
    let scale = 10_f64.powi(i32::from(decimals));
    let whole: Vec<i64> = values.iter().map(|value| (value * scale).round() as i64).collect();
    let most = whole.iter().map(|value| value.unsigned_abs()).max()?;
    if decimals > 0 {
        let field_type = FieldType::decimal(9, decimals).filter(|_| most < 1_000_000_000)?;
        let whole = Int32Array::from_iter_values(whole.iter().map(|value| *value as i32));
        let whole = whole.reinterpret_cast::<Decimal32Type>().with_data_type(field_type.arrow());
        return Some((field_type, Arc::new(whole)));
    }
    let field_type = match most {
        0..=127 => FieldType::Int8,
        128..=32_767 => FieldType::Int16,
        32_768..=2_147_483_647 => FieldType::Int32,
        _ => FieldType::Int64,
    };
    let whole: ArrayRef = Arc::new(Int64Array::from(whole));
    Some((field_type, cast(&whole, &field_type.arrow()).ok()?))
}

/// A time as the traces print it.
fn micros(word: &str) -> Option<i64> {
    if word.len() == 13 && word.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(word.parse::<i64>().ok()? * 1_000);
    }
    let formats = ["%Y/%m/%d %H:%M:%S%.f", "%m-%d-%Y %H:%M:%S%.f"];
    let parsed = formats.iter().find_map(|f| NaiveDateTime::parse_from_str(word, f).ok())?;
    Some(parsed.and_utc().timestamp_micros())
}
