//! Which rows of sorted columns a statement's filters choose.
//!
//! Tags are decided run by run, everything else row by row over stored columns in SQL types.

use super::cuts::Cuts;
use super::field::FieldChunk;
use super::prune::{Wanted, wanted};
use super::runs::TagRuns;
use crate::types::sql_columns;
use arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray,
};
use arrow::buffer::{BooleanBuffer, ScalarBuffer};
use arrow::compute::{cast, prep_null_mask_filter};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Operator};
use datafusion::physical_expr::PhysicalExpr;
use std::ops::Range;
use std::sync::Arc;
use warpline_storage::model::TableSchema;

/// Functions that answer for every value.
const CALM_FUNCTIONS: [&str; 4] = ["label", "lower", "starts_with", "upper"];

/// The columns that are read, as numbers in the table's schema, and the filters over them.
#[derive(Debug)]
pub(crate) struct Choice {
    /// The identity first: where it changes, times begin anew.
    pub tags: Vec<usize>,
    pub fields: Vec<usize>,
    /// What row groups must hold.
    pub wanted: Vec<Wanted>,
    tag_filter: Option<Arc<dyn PhysicalExpr>>,
    tag_schema: SchemaRef,
    row_filter: Option<RowFilter>,
}

/// A filter over rows.
#[derive(Debug)]
struct RowFilter {
    expr: Arc<dyn PhysicalExpr>,
    /// In SQL types.
    schema: SchemaRef,
    columns: Vec<RowColumn>,
}

#[derive(Clone, Copy, Debug)]
enum RowColumn {
    Time,
    /// A place in `Choice::tags`.
    Tag(usize),
    /// A place in `Choice::fields`.
    Field(usize),
}

/// Whether a filter can be evaluated over more rows than it was written for: it is the same each
/// time, and fails on no value, as reading a number from a tag may.
pub(crate) fn is_calm(filter: &Expr, table: &TableSchema) -> bool {
    let mut calm = true;
    let walked = filter.apply(|part| {
        calm &= match part {
            Expr::BinaryExpr(binary) => is_calm_operator(binary.op),
            Expr::ScalarFunction(function) => CALM_FUNCTIONS.contains(&function.func.name()),
            Expr::Cast(cast) => {
                let target = cast.field.data_type();
                target.is_string()
                    || target.is_temporal() && is_time(&cast.expr)
                    || target.is_numeric() && is_field(&cast.expr, table)
            }
            Expr::Column(_)
            | Expr::Literal(..)
            | Expr::Not(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsTrue(_)
            | Expr::IsFalse(_)
            | Expr::Between(_)
            | Expr::InList(_)
            | Expr::Like(_) => true,
            _ => false,
        };
        Ok(TreeNodeRecursion::Continue)
    });
    walked.is_ok() && calm
}

fn is_calm_operator(op: Operator) -> bool {
    use Operator::{
        And, Eq, Gt, GtEq, ILikeMatch, IsDistinctFrom, IsNotDistinctFrom, LikeMatch, Lt, LtEq,
        NotEq, NotILikeMatch, NotLikeMatch, Or, RegexIMatch, RegexMatch, RegexNotIMatch,
        RegexNotMatch,
    };
    let compares =
        matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom);
    let matches_like = matches!(op, LikeMatch | ILikeMatch | NotLikeMatch | NotILikeMatch);
    let matches_regex = matches!(op, RegexMatch | RegexIMatch | RegexNotMatch | RegexNotIMatch);
    matches!(op, And | Or) || compares || matches_like || matches_regex
}

fn is_time(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(column) if column.name == "time")
}

fn is_field(expr: &Expr, table: &TableSchema) -> bool {
    let Expr::Column(column) = expr else { return false };
    table.fields.iter().any(|field| *field.name == *column.name)
}

impl Choice {
    /// `filters` must all hold and name columns without qualifiers; `columns` are read besides.
    pub(crate) fn of(
        table: &TableSchema,
        filters: &[Expr],
        columns: impl Iterator<Item = usize>,
        session: &dyn Session,
    ) -> Result<Self> {
        let over_tags = |filter: &&Expr| {
            let mut numbers = numbers(table, filter).into_iter();
            numbers.all(|number| (1..table.first_field()).contains(&number))
        };
        let (tag_filters, row_filters): (Vec<&Expr>, Vec<&Expr>) =
            filters.iter().partition(over_tags);
        let mut all: Vec<usize> = columns.collect();
        all.extend(filters.iter().flat_map(|filter| numbers(table, filter)));
        all.sort_unstable();
        let mut tags: Vec<usize> = (1..=table.identity.len()).collect();
        let mut fields = Vec::new();
        for column in all.into_iter().filter(|column| *column > 0) {
            let known = if column < table.first_field() { &mut tags } else { &mut fields };
            if !known.contains(&column) {
                known.push(column);
            }
        }
        let tag_schema = Arc::new(table.arrow().project(&tags)?);
        let tag_filter = conjunction(tag_filters.iter().copied().cloned());
        let tag_filter = tag_filter.map(|filter| physical(session, filter, &tag_schema));
        let wanted = wanted(tag_filters);
        let mut choice = Self {
            tags,
            fields,
            wanted,
            tag_filter: tag_filter.transpose()?,
            tag_schema,
            row_filter: None,
        };
        if let Some(filter) = conjunction(row_filters.into_iter().cloned()) {
            choice.row_filter = Some(choice.row_filter(table, filter, session)?);
        }
        Ok(choice)
    }

    fn row_filter(
        &self,
        table: &TableSchema,
        filter: Expr,
        session: &dyn Session,
    ) -> Result<RowFilter> {
        let numbers = numbers(table, &filter);
        let place = |list: &[usize], number: usize| list.iter().position(|one| *one == number);
        let columns = numbers.iter().map(|number| match place(&self.tags, *number) {
            _ if *number == 0 => RowColumn::Time,
            Some(tag) => RowColumn::Tag(tag),
            None => {
                RowColumn::Field(place(&self.fields, *number).expect("filters' columns are read"))
            }
        });
        let columns = columns.collect();
        let schema = sql_columns(table, &numbers);
        Ok(RowFilter { expr: physical(session, filter, &schema)?, schema, columns })
    }

    /// Which cuts pass the filter over tags.
    pub(crate) fn passing(&self, tags: &[Arc<TagRuns>], cuts: &Cuts) -> Result<Vec<usize>> {
        let Some(predicate) = &self.tag_filter else {
            return Ok((0..cuts.len()).collect());
        };
        let columns = tags
            .iter()
            .enumerate()
            .map(|(place, tag)| tag.column((0..cuts.len()).map(|cut| cuts.codes(cut)[place])));
        let options = RecordBatchOptions::new().with_row_count(Some(cuts.len()));
        let schema = Arc::clone(&self.tag_schema);
        let batch = RecordBatch::try_new_with_options(schema, columns.collect(), &options)?;
        let mask = mask(predicate, &batch)?;
        Ok(mask.set_indices().collect())
    }

    /// Which rows of `span` pass the filter over rows; `None` where there is no such filter.
    pub(crate) fn mask(
        &self,
        tags: &[Arc<TagRuns>],
        times: &ScalarBuffer<i64>,
        fields: &[FieldChunk],
        span: Range<u32>,
    ) -> Result<Option<BooleanBuffer>> {
        let Some(filter) = &self.row_filter else { return Ok(None) };
        let (start, rows) = (span.start as usize, span.len());
        let columns = filter.columns.iter().zip(filter.schema.fields()).map(|(column, field)| {
            let stored: ArrayRef = match column {
                RowColumn::Time => {
                    let times = TimestampMicrosecondArray::new(times.slice(start, rows), None);
                    Arc::new(times.with_timezone("UTC"))
                }
                RowColumn::Tag(place) => tags[*place].rows(span.clone()),
                RowColumn::Field(place) => fields[*place].rows(span.clone())?,
            };
            Ok(cast(&stored, field.data_type())?)
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let batch = RecordBatch::try_new(Arc::clone(&filter.schema), columns)?;
        mask(&filter.expr, &batch).map(Some)
    }

    /// Every filter there is.
    pub(crate) fn filters(&self) -> impl Iterator<Item = &Arc<dyn PhysicalExpr>> {
        self.tag_filter.iter().chain(self.row_filter.iter().map(|filter| &filter.expr))
    }
}

/// The numbers of the columns that a filter names, each once, ascending.
fn numbers(table: &TableSchema, filter: &Expr) -> Vec<usize> {
    let named = filter.column_refs();
    let of = |name: &str| table.column_names().position(|known| known == name);
    let mut numbers: Vec<usize> = named.iter().filter_map(|column| of(&column.name)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// The rows where a predicate is true.
fn mask(predicate: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<BooleanBuffer> {
    let mask = predicate.evaluate(batch)?.into_array(batch.num_rows())?;
    let mask = mask.as_boolean();
    let mask = if mask.null_count() == 0 { mask.clone() } else { prep_null_mask_filter(mask) };
    Ok(mask.values().clone())
}

fn physical(
    session: &dyn Session,
    filter: Expr,
    schema: &SchemaRef,
) -> Result<Arc<dyn PhysicalExpr>> {
    let schema = DFSchema::try_from(Arc::clone(schema))?;
    session.create_physical_expr(filter, &schema)
}
