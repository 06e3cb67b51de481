//! Which row groups and buffered series can hold rows that count: by what footers say, and by
//! name.

use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::parquet::file::metadata::RowGroupMetaData;
use datafusion::parquet::file::statistics::Statistics;
use std::sync::Arc;
use warpline_storage::{TagValues, TimeRange};

/// A tag that must have one of some values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    column: String,
    values: Vec<Arc<str>>,
}

/// What filters demand of single tags; other filters demand nothing here.
pub(super) fn wanted(filters: Vec<&Expr>) -> Vec<Wanted> {
    filters.into_iter().filter_map(wanted_by).collect()
}

fn wanted_by(filter: &Expr) -> Option<Wanted> {
    let (column, values) = match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let (column, value) = match column(left) {
                Some(column) => (column, right),
                None => (column(right)?, left),
            };
            (column, vec![text(value)?])
        }
        Expr::InList(InList { expr, list, negated: false }) => {
            (column(expr)?, list.iter().map(text).collect::<Option<_>>()?)
        }
        _ => return None,
    };
    Some(Wanted { column, values })
}

/// A tag, possibly made a plain text for a comparison; by way of a number it is another text.
fn column(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Column(column) => Some(column.name.clone()),
        Expr::Cast(cast) if cast.field.data_type().is_string() => column(&cast.expr),
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<Arc<str>> {
    let Expr::Literal(value, _) = expr else { return None };
    value.try_as_str()?.map(Arc::from)
}

/// What filters demand of the identity, whose tags are these.
pub(crate) fn tags_of(identity: &[Arc<str>], filters: &[Expr]) -> Vec<TagValues> {
    let of = |Wanted { column, values }| {
        let place = identity.iter().position(|tag| **tag == *column)?;
        Some(TagValues::new(place, values))
    };
    wanted(filters.iter().collect()).into_iter().filter_map(of).collect()
}

/// Whether a row group can hold a row in one of `ranges` with the `wanted` tags.
pub(crate) fn can_hold(
    row_group: &RowGroupMetaData,
    ranges: &[TimeRange],
    wanted: &[Wanted],
) -> bool {
    let within = times(row_group).is_none_or(|own| ranges.iter().any(|range| range.meets(own)));
    within && wanted.iter().all(|wanted| can_have(row_group, wanted))
}

fn statistics<'a>(row_group: &'a RowGroupMetaData, column: &str) -> Option<&'a Statistics> {
    let chunks = row_group.columns().iter();
    chunks.clone().find(|chunk| chunk.column_descr().name() == column)?.statistics()
}

fn times(row_group: &RowGroupMetaData) -> Option<TimeRange> {
    let Statistics::Int64(times) = statistics(row_group, "time")? else { return None };
    Some(TimeRange { first: *times.min_opt()?, last: *times.max_opt()? })
}

fn can_have(row_group: &RowGroupMetaData, wanted: &Wanted) -> bool {
    let Some(statistics) = statistics(row_group, &wanted.column) else { return true };
    match (statistics.min_bytes_opt(), statistics.max_bytes_opt()) {
        (Some(least), Some(greatest)) => {
            wanted.values.iter().any(|v| least <= v.as_bytes() && v.as_bytes() <= greatest)
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::DataType;
    use datafusion::logical_expr::cast;
    use datafusion::prelude::{col, lit};

    #[test]
    fn single_tags_are_known() {
        let filters = [
            col("node").eq(lit("n1")),
            lit("3").eq(col("gpu")),
            col("rack").in_list(vec![lit("a"), lit("b")], false),
            col("rack").in_list(vec![lit("a")], true),
            col("node").not_eq(lit("n2")),
            col("node").eq(col("gpu")),
            cast(cast(col("gpu"), DataType::Float64), DataType::Utf8).eq(lit("3.0")),
        ];
        let wanted = wanted(filters.iter().collect());
        let named: Vec<_> = wanted.iter().map(|w| (w.column.as_str(), w.values.len())).collect();
        assert_eq!(named, [("node", 1), ("gpu", 1), ("rack", 2)]);
        let series = tags_of(&["node".into(), "gpu".into()], &filters);
        let one = |place, value: &str| TagValues::new(place, vec![value.into()]);
        assert_eq!(series, [one(0, "n1"), one(1, "3")]);
    }
}
