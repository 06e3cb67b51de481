//! Rows of the table `gpu` as a specification declares them: a line of column names, then a line
//! for each row.

use crate::fixture::Row;

/// The first line names columns; `-` is an absent value, `''` an empty text. Times are times of
/// the day 1970-01-01.
pub(super) fn read(lines: &[String]) -> Result<Vec<Row>, String> {
    let mut lines = lines.iter().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let names = lines.next().ok_or("rows begin with a line of column names")?;
    lines.map(|cells| row(&names, &cells)).collect()
}

fn row(names: &[&str], cells: &[&str]) -> Result<Row, String> {
    if names.len() != cells.len() {
        return Err(format!("{} columns, but {cells:?}", names.len()));
    }
    let mut row = Row::default();
    for (name, cell) in names.iter().zip(cells).filter(|(_, cell)| **cell != "-") {
        set(&mut row, name, cell).ok_or_else(|| format!("{name} cannot be {cell:?}"))?;
    }
    Ok(row)
}

fn set(row: &mut Row, name: &str, cell: &str) -> Option<()> {
    let text = || cell.trim_matches('\'').to_owned();
    match name {
        "time" => row.time = seconds(cell)?,
        "node" => row.node = text(),
        "gpu" => row.gpu = text(),
        "model" => row.model = Some(text()),
        "util" => row.util = Some(cell.parse().ok()?),
        "energy" => row.energy = Some(cell.parse().ok()?),
        "power" => row.power = Some(i32::try_from(scaled(cell, 3)?).ok()?),
        "active" => row.active = Some(scaled(cell, 6)?),
        "temp" => row.temp = Some(cell.parse().ok()?),
        _ => return None,
    }
    Some(())
}

fn seconds(cell: &str) -> Option<i64> {
    cell.split(':').try_fold(0, |sum, part| Some(sum * 60 + part.parse::<i64>().ok()?))
}

/// The stored integer of a decimal text.
fn scaled(cell: &str, decimals: usize) -> Option<i64> {
    let (whole, part) = cell.split_once('.').unwrap_or((cell, ""));
    (part.len() <= decimals).then_some(())?;
    format!("{whole}{part:0<decimals$}").parse().ok()
}

#[test]
fn cells_are_read_as_stored_values() {
    let lines = ["time node gpu power active temp util", "00:01:05 n1 '' -1.5 0.000001 NaN -"];
    let rows = read(&lines.map(str::to_owned)).unwrap();
    let row = &rows[0];
    assert_eq!((row.time, &*row.node, &*row.gpu), (65, "n1", ""));
    assert_eq!((row.power, row.active, row.util), (Some(-1500), Some(1), None));
    assert!(row.temp.is_some_and(f64::is_nan));
    assert!(read(&["power".to_owned(), "1.2345".to_owned()]).is_err());
    assert!(read(&["power".to_owned(), "1 2".to_owned()]).is_err());
}
