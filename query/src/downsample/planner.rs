//! Makes the operator of a downsample node.

use super::aggregates::{Input, Names};
use super::bucket::Bucket;
use super::exec::{DownsampleExec, Work};
use super::node::DownsampleNode;
use super::partial::{InputPlan, Needs};
use super::piece::{Reading, RowColumn, RowFilter};
use super::prune::wanted;
use super::question::Question;
use super::rule::{over_time, time_of};
use crate::scan::Sources;
use crate::types::sql_schema;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use std::sync::Arc;
use warpline_storage::model::FieldType;

#[derive(Debug, Default)]
pub(crate) struct DownsamplePlanner;

#[async_trait]
impl ExtensionPlanner for DownsamplePlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        _physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        _context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<DownsampleNode>() else {
            return Ok(None);
        };
        let schema = Arc::clone(node.schema.inner());
        Ok(Some(Arc::new(plan(&node.question, schema, session)?)))
    }
}

fn plan(
    question: &Arc<Question>,
    schema: SchemaRef,
    session: &dyn Session,
) -> Result<DownsampleExec> {
    let table = &question.table;
    let (tag_filters, row_filters) = question.filters_apart();
    let reading = Layout::of(question, &tag_filters, &row_filters).reading(session)?;
    let stored = table.schema.arrow();
    let columns = [0].iter().chain(&reading.tags).chain(&reading.fields).copied().collect();
    let times = question.time_filters();
    let filters: Vec<Expr> = question.filters.iter().chain(&times).cloned().collect();
    let sources = Sources::new(table, &stored, session, columns, &filters)?;
    let pieces = sources.pieces()?;
    let bucket = match question.bucket() {
        None => None,
        Some((expr, grid)) => {
            Some(Bucket { grid, expr: over_time(expr, table)?, schema: time_of(table) })
        }
    };
    let inputs = inputs(question, &reading);
    let work = Work {
        question: Arc::clone(question),
        bucket,
        opener: sources.reader().opener(),
        files: pieces.files,
        wanted: wanted(&tag_filters),
        stored: Arc::clone(&stored),
        reading,
        inputs,
        schema,
    };
    Ok(DownsampleExec::new(work, pieces.plans))
}

fn inputs(question: &Question, reading: &Reading) -> Arc<[InputPlan]> {
    let first = Names(&question.table.schema).first_field();
    let plans = question.inputs().into_iter().map(|input| {
        let needs = Needs::of(input, &question.asks);
        let (field_type, place) = match input {
            Input::Time => (FieldType::Int64, None),
            Input::Field(number) => (
                question.table.schema.fields[number - first].field_type,
                reading.fields.iter().position(|field| *field == number),
            ),
        };
        InputPlan { input, needs, field_type, place }
    });
    plans.collect()
}

/// Which columns are read, and where.
struct Layout<'a> {
    question: &'a Question,
    tags: Vec<usize>,
    fields: Vec<usize>,
    tag_filters: &'a [Expr],
    row_filters: &'a [Expr],
}

impl<'a> Layout<'a> {
    fn of(question: &'a Question, tag_filters: &'a [Expr], row_filters: &'a [Expr]) -> Self {
        let schema = &question.table.schema;
        let mut layout = Self {
            question,
            tags: (1..=schema.identity.len()).collect(),
            fields: Vec::new(),
            tag_filters,
            row_filters,
        };
        let inputs = question.inputs().into_iter().filter_map(|input| match input {
            Input::Time => None,
            Input::Field(number) => Some(number),
        });
        let mut columns: Vec<usize> = question.group_tags().chain(inputs).collect();
        for filter in tag_filters.iter().chain(row_filters) {
            columns.extend(filter.column_refs().iter().filter_map(|c| Names(schema).number(c)));
        }
        columns.sort_unstable();
        let first = Names(schema).first_field();
        for column in columns.into_iter().filter(|column| *column > 0) {
            let known = if column < first { &mut layout.tags } else { &mut layout.fields };
            if !known.contains(&column) {
                known.push(column);
            }
        }
        layout
    }

    fn reading(self, session: &dyn Session) -> Result<Reading> {
        let stored = self.question.table.schema.arrow();
        let place = |tag: usize| self.tags.iter().position(|known| *known == tag);
        let tag_schema = Arc::new(stored.project(&self.tags)?);
        let tag_filter = conjunction(self.tag_filters.iter().cloned());
        let tag_filter = tag_filter.map(|filter| physical(session, filter, &tag_schema));
        Ok(Reading {
            identity: self.question.table.schema.identity.len(),
            group: self.question.group_tags().filter_map(place).collect(),
            tag_filter: tag_filter.transpose()?,
            tag_schema,
            row_filter: self.row_filter(session)?,
            by_series: self.question.by_series(),
            tags: self.tags,
            fields: self.fields,
        })
    }

    fn row_filter(&self, session: &dyn Session) -> Result<Option<RowFilter>> {
        let Some(filter) = conjunction(self.row_filters.iter().cloned()) else {
            return Ok(None);
        };
        let table = &self.question.table.schema;
        let mut numbers: Vec<usize> =
            filter.column_refs().iter().filter_map(|column| Names(table).number(column)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let place = |list: &[usize], number: usize| list.iter().position(|one| *one == number);
        let columns = numbers.iter().map(|number| match place(&self.tags, *number) {
            _ if *number == 0 => RowColumn::Time,
            Some(tag) => RowColumn::Tag(tag),
            None => RowColumn::Field(place(&self.fields, *number).expect("it was laid out")),
        });
        let columns = columns.collect();
        let schema = Arc::new(sql_schema(table).project(&numbers)?);
        Ok(Some(RowFilter { expr: physical(session, filter, &schema)?, schema, columns }))
    }
}

fn physical(
    session: &dyn Session,
    filter: Expr,
    schema: &SchemaRef,
) -> Result<Arc<dyn datafusion::physical_expr::PhysicalExpr>> {
    let schema = DFSchema::try_from(Arc::clone(schema))?;
    session.create_physical_expr(filter, &schema)
}
