//! Makes the operator of a downsample node.

use super::aggregates::Input;
use super::bucket::Bucket;
use super::exec::{DownsampleExec, TierWork, Work};
use super::node::DownsampleNode;
use super::partial::{InputPlan, Needs};
use super::piece::Reading;
use super::question::Question;
use super::rolled::RolledPlan;
use super::route::{Route, UseRollups, common};
use super::rule::{over_time, time_of};
use crate::scan::{Choice, FilePiece, Sources};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use std::sync::Arc;
use warpline_storage::TimeRange;
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
    let wanted = session.config().get_extension::<UseRollups>().is_none_or(|wanted| wanted.0);
    let route = Route::of(question, wanted);
    let mut sources = Sources::new(table, &stored, session, columns, &filters)?;
    if !route.tiers.is_empty() {
        sources.keep_within(&route.raw);
    }
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
        tiers: tiers(question, &route, session)?,
        raw: route.raw,
        stretches: pieces.stretches,
        stored: Arc::clone(&stored),
        reading,
        inputs,
        schema,
    };
    Ok(DownsampleExec::new(work, pieces.plans))
}

fn tiers(question: &Question, route: &Route, session: &dyn Session) -> Result<Vec<TierWork>> {
    let work = route.tiers.iter().map(|(place, ranges)| {
        let tier = &question.table.tiers[*place];
        let schema = &tier.table.schema;
        let Some(plan) = RolledPlan::of(question, tier) else {
            return internal_err!("a route leads to a tier that cannot answer");
        };
        let raw = question.table.schema.column_names().collect::<Vec<_>>();
        let named = |tag: usize| schema.column_names().position(|own| own == raw[tag]);
        let Some(group) = question.group_tags().map(named).collect::<Option<Vec<_>>>() else {
            return internal_err!("a route leads to a tier without a tag");
        };
        let columns = group.iter().copied().chain(plan.columns());
        let choice = Choice::of(schema, &question.filters, columns, session)?;
        let stored = schema.arrow();
        let sources = Sources::new(&tier.table, &stored, session, vec![0], &[])?;
        let pieces = sources.pieces()?.files.into_iter();
        let place = |tag: &usize| choice.tags.iter().position(|known| known == tag);
        let reading = Reading {
            identity: question.table.schema.identity.len(),
            group: group.iter().filter_map(place).collect(),
            by_series: question.by_series(),
            choice,
        };
        Ok(TierWork {
            tier: tier.tier,
            opener: sources.reader().opener(),
            files: within(pieces, ranges),
            ranges: ranges.clone(),
            plan: plan.placed(&reading.choice.fields),
            stored: Arc::clone(&stored),
            reading,
        })
    });
    work.collect()
}

/// The files with times in `ranges`, and which of their times these are.
fn within(files: impl Iterator<Item = FilePiece>, ranges: &[TimeRange]) -> Vec<FilePiece> {
    let own = files.map(|piece| {
        let times = common(&piece.ranges, ranges);
        let ranges = common(&[piece.file.times], &times);
        FilePiece { ranges, ..piece }
    });
    own.filter(|piece| !piece.ranges.is_empty()).collect()
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
