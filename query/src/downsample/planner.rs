//! Makes the operator of a downsample node.

use super::aggregates::Input;
use super::bucket::Bucket;
use super::exec::{DownsampleExec, Work};
use super::node::DownsampleNode;
use super::partial::{InputPlan, Needs};
use super::piece::Reading;
use super::question::Question;
use super::rule::{over_time, time_of};
use crate::scan::{Choice, Sources};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::error::Result;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
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
    let reading = reading(question, session)?;
    let stored = table.schema.arrow();
    let Choice { tags, fields, .. } = &reading.choice;
    let columns = [0].iter().chain(tags).chain(fields).copied().collect();
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
        stored: Arc::clone(&stored),
        reading,
        inputs,
        schema,
    };
    Ok(DownsampleExec::new(work, pieces.plans))
}

fn inputs(question: &Question, reading: &Reading) -> Arc<[InputPlan]> {
    let first = question.table.schema.first_field();
    let plans = question.inputs().into_iter().map(|input| {
        let needs = Needs::of(input, &question.asks);
        let (field_type, place) = match input {
            Input::Time => (FieldType::Int64, None),
            Input::Field(number) => (
                question.table.schema.fields[number - first].field_type,
                reading.choice.fields.iter().position(|field| *field == number),
            ),
        };
        InputPlan { input, needs, field_type, place }
    });
    plans.collect()
}

fn reading(question: &Question, session: &dyn Session) -> Result<Reading> {
    let inputs = question.inputs().into_iter().filter_map(|input| match input {
        Input::Time => None,
        Input::Field(number) => Some(number),
    });
    let schema = &question.table.schema;
    let columns = question.group_tags().chain(inputs);
    let choice = Choice::of(schema, &question.filters, columns, session)?;
    let place = |tag: usize| choice.tags.iter().position(|known| *known == tag);
    Ok(Reading {
        identity: schema.identity.len(),
        group: question.group_tags().filter_map(place).collect(),
        by_series: question.by_series(),
        choice,
    })
}
