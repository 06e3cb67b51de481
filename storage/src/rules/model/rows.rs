//! Rows and their times: few of each, so that they meet.

use std::collections::BTreeMap;

pub(super) const DAY: i64 = 86_400_000_000;
/// Rows lie on eight instants a day.
pub(super) const SLOT: i64 = DAY / 8;

/// Series and time.
pub(super) type Key = (u8, i64);
/// An attribute, then two fields; `None` writes nothing.
pub(super) type Values = [Option<i64>; 3];
pub(super) type Rows = BTreeMap<Key, Values>;

#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) key: Key,
    pub(super) values: Values,
}

pub(super) fn day(time: i64) -> i64 {
    time.div_euclid(DAY)
}

/// The last write of each field wins.
pub(super) fn write(rows: &mut Rows, row: Row) {
    let values = rows.entry(row.key).or_default();
    for (value, over) in values.iter_mut().zip(row.values) {
        *value = over.or(*value);
    }
}

pub(super) fn write_all(rows: &mut Rows, over: impl IntoIterator<Item = Row>) {
    over.into_iter().for_each(|row| write(rows, row));
}

pub(super) fn rows_of(rows: &Rows) -> impl Iterator<Item = Row> {
    rows.iter().map(|(key, values)| Row { key: *key, values: *values })
}
