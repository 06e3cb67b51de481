//! `warpline fields`: the field dictionary as a table, CSV or JSON.

use crate::Failure;
use crate::sql::Format;
use std::io::Write;
use std::path::PathBuf;
use warpline_ingest::dictionary::{Dictionary, DictionaryField, Role};

const EXAMPLES: &str = "\
Examples:
  warpline fields                     every field
  warpline fields power               those with \"power\" in a name, column, unit, kind or type
  warpline fields --format csv xid    in the form that --dictionary reads";

/// Print what is known of each GPU field: its names, column, unit, kind and type.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct FieldsOptions {
    /// Only fields that contain this, in any letter case
    #[arg(value_name = "TEXT")]
    pub filter: Option<String>,

    /// How the fields are written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,

    /// A CSV file of further fields: id,names,column,unit,kind,type
    #[arg(long, value_name = "FILE", env = "WARPLINE_DICTIONARY")]
    pub dictionary: Option<PathBuf>,
}

/// Writes the fields to standard output.
pub fn run(options: &FieldsOptions) -> Result<(), Failure> {
    let dictionary = Dictionary::with(options.dictionary.as_deref())?;
    let filter = options.filter.as_deref().unwrap_or_default().to_lowercase();
    let fields: Vec<&DictionaryField> =
        dictionary.iter().filter(|field| matches(field, &filter)).collect();
    let mut out = std::io::stdout().lock();
    match options.format {
        Format::Table => write_table(&fields, &mut out),
        Format::Csv => write_csv(&fields, &mut out),
        Format::Json => write_json(&fields, &mut out),
    }
}

fn matches(field: &DictionaryField, filter: &str) -> bool {
    let cells = cells(field);
    filter.is_empty() || cells.iter().any(|cell| cell.to_lowercase().contains(filter))
}

/// A field as a dictionary file writes it: id, names, column, unit, kind, type.
fn cells(field: &DictionaryField) -> [String; 6] {
    [
        field.id.map_or_else(String::new, |id| id.to_string()),
        field.names.join(" "),
        column(field).unwrap_or_default().to_owned(),
        field.unit.to_string(),
        field.kind.as_str().to_owned(),
        field.type_name(),
    ]
}

fn column(field: &DictionaryField) -> Option<&str> {
    (field.role != Role::Metric).then_some(&*field.column)
}

/// Column first, as that is what queries name; the names last, as they are long.
fn write_table(fields: &[&DictionaryField], out: &mut impl Write) -> Result<(), Failure> {
    let order = |[id, names, column, unit, kind, field_type]: [String; 6]| {
        [column, unit, kind, field_type, id, names]
    };
    let head = ["column", "unit", "kind", "type", "id", "names"].map(str::to_owned);
    let rows: Vec<[String; 6]> =
        std::iter::once(head).chain(fields.iter().map(|field| order(cells(field)))).collect();
    let widths: [usize; 5] = std::array::from_fn(|cell| {
        rows.iter().map(|row| row[cell].chars().count()).max().unwrap_or(0)
    });
    for row in rows {
        for (cell, width) in row.iter().zip(widths) {
            write!(out, "{cell:width$}  ")?;
        }
        writeln!(out, "{}", row[5])?;
    }
    Ok(writeln!(out, "({} fields)", fields.len())?)
}

fn write_csv(fields: &[&DictionaryField], out: &mut impl Write) -> Result<(), Failure> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(["id", "names", "column", "unit", "kind", "type"])?;
    for field in fields {
        writer.write_record(cells(field))?;
    }
    Ok(writer.flush()?)
}

fn write_json(fields: &[&DictionaryField], out: &mut impl Write) -> Result<(), Failure> {
    let object = |field: &&DictionaryField| {
        serde_json::json!({
            "id": field.id,
            "names": field.names.iter().map(|name| &**name).collect::<Vec<_>>(),
            "column": column(field),
            "unit": &*field.unit,
            "kind": field.kind.as_str(),
            "type": field.type_name(),
        })
    };
    let all: Vec<serde_json::Value> = fields.iter().map(object).collect();
    serde_json::to_writer_pretty(&mut *out, &all)?;
    Ok(writeln!(out)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: fn(&[&DictionaryField], &mut Vec<u8>) -> Result<(), Failure>) -> String {
        let dictionary = Dictionary::builtin();
        let fields: Vec<&DictionaryField> =
            dictionary.iter().filter(|field| matches(field, "xid")).collect();
        let mut out = Vec::new();
        write(&fields, &mut out).expect("memory takes everything");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_table_shows_the_column_first() {
        let want = "\
column            unit    kind     type    id   names
xid_errors                enum     int32   230  DCGM_FI_DEV_XID_ERROR DCGM_FI_DEV_XID_ERRORS
xid_errors_total  errors  counter  int64        WARPLINE_XID_ERRORS_TOTAL
                          gauge    metric       DCGM_EXP_XID_ERRORS_COUNT
(3 fields)
";
        assert_eq!(written(write_table), want);
    }

    #[test]
    fn csv_is_what_a_dictionary_file_is() {
        let dictionary = Dictionary::builtin();
        let all: Vec<&DictionaryField> = dictionary.iter().collect();
        let mut out = Vec::new();
        write_csv(&all, &mut out).expect("memory takes everything");
        let text = String::from_utf8(out).expect("text");
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text.replace("DCGM_", "MY_")).expect("written");
        let error =
            Dictionary::with(Some(file.path())).expect_err("the columns are taken").to_string();
        assert!(error.contains("line 2: two fields have the column"), "{error}");
        let one = text.lines().find(|line| line.contains("power_usage,")).expect("there");
        assert!(one.ends_with(r#"power_usage,W,gauge,"decimal(9,3)""#), "{one}");
    }

    #[test]
    fn json_has_a_null_where_there_is_no_column() {
        let all: serde_json::Value = serde_json::from_str(&written(write_json)).expect("JSON");
        assert_eq!(all[0]["column"], "xid_errors");
        assert_eq!(all[0]["names"][1], "DCGM_FI_DEV_XID_ERRORS");
        assert_eq!(all[1]["column"], "xid_errors_total");
        assert_eq!(all[2]["column"], serde_json::Value::Null);
    }

    #[test]
    fn the_simulated_fleet_speaks_the_dictionarys_language() {
        let dictionary = Dictionary::builtin();
        let spec = crate::fleet::FleetSpec::new(1, 8, 1_000_000);
        let layout = crate::fleet::Fleet::new(spec).node(0).layout(1_700_000_000_000_000);
        for column in layout.columns() {
            let field = dictionary.column(&column.name).map(|field| field.role);
            assert_eq!(field, Some(Role::Field(column.field_type)), "{}", column.name);
        }
    }
}
