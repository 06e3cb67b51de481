//! Finds aggregates that the operator answers as their plan would.
//!
//! Runs after every other rule, when filters lie next to the scan and constants are folded. An
//! aggregate is taken where its input is one of our tables under nothing but filters, projections
//! and aliases; each key is a tag or the one bucket of time; and each aggregate is over a bare
//! column. Anything else keeps DataFusion's plan.

use super::aggregates::Names;
use super::bucket::{Bucket, suggested};
use super::node::DownsampleNode;
use super::question::{Key, Question};
use crate::scan::{TableView, is_calm, times_apart, unqualified};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Aggregate, Expr, Extension, LogicalPlan, TableScan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use std::sync::Arc;
use warpline_storage::{TableSnapshot, TimeRange};

#[derive(Debug, Default)]
pub(crate) struct DownsampleRule;

impl OptimizerRule for DownsampleRule {
    fn name(&self) -> &'static str {
        "downsample"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Aggregate(aggregate) = &plan else {
            return Ok(Transformed::no(plan));
        };
        let Some(question) = question(aggregate)? else {
            return Ok(Transformed::no(plan));
        };
        let schema = Arc::clone(&aggregate.schema);
        let node = DownsampleNode { question: Arc::new(question), schema };
        Ok(Transformed::yes(LogicalPlan::Extension(Extension { node: Arc::new(node) })))
    }
}

/// Expressions of an aggregate, brought down through what lies between it and the scan.
struct Descent {
    keys: Vec<Expr>,
    aggregates: Vec<Expr>,
    filters: Vec<Expr>,
}

impl Descent {
    fn down(mut self, plan: &LogicalPlan) -> Result<Option<(Self, Arc<TableSnapshot>)>> {
        match plan {
            LogicalPlan::Filter(filter) => {
                self.filters.push(filter.predicate.clone());
                self.down(&filter.input)
            }
            LogicalPlan::Projection(node) => {
                self.replace(&node.schema, |at| node.expr[at].clone().unalias())?;
                self.down(&node.input)
            }
            LogicalPlan::SubqueryAlias(node) => {
                let below = node.input.schema();
                self.replace(&node.schema, |at| Expr::Column(below.columns()[at].clone()))?;
                self.down(&node.input)
            }
            LogicalPlan::TableScan(scan) => Ok(self.at(scan)?),
            _ => Ok(None),
        }
    }

    /// Puts what a column is below in place of the column.
    fn replace(&mut self, schema: &DFSchema, below: impl Fn(usize) -> Expr) -> Result<()> {
        let all = [&mut self.keys, &mut self.aggregates, &mut self.filters];
        for expr in all.into_iter().flatten() {
            let replaced = expr.clone().transform_up(|part| match &part {
                Expr::Column(column) => {
                    Ok(Transformed::yes(below(schema.index_of_column(column)?)))
                }
                _ => Ok(Transformed::no(part)),
            })?;
            *expr = replaced.data;
        }
        Ok(())
    }

    fn at(mut self, scan: &TableScan) -> Result<Option<(Self, Arc<TableSnapshot>)>> {
        let Some(view) = TableView::of(scan).filter(|_| scan.fetch.is_none()) else {
            return Ok(None);
        };
        self.filters.extend(scan.filters.iter().cloned());
        for list in [&mut self.keys, &mut self.aggregates, &mut self.filters] {
            *list = std::mem::take(list).into_iter().map(unqualified).collect::<Result<_>>()?;
        }
        let parts = self.filters.iter().flat_map(split_conjunction);
        self.filters = parts.fold(Vec::new(), |mut once, part| {
            once.extend((!once.contains(part)).then(|| part.clone()));
            once
        });
        let schema = &view.table().schema;
        let calm = self.filters.iter().all(|filter| is_calm(filter, schema));
        Ok(calm.then(|| (self, Arc::clone(view.table()))))
    }
}

fn question(aggregate: &Aggregate) -> Result<Option<Question>> {
    if aggregate.group_expr.iter().any(|key| matches!(key, Expr::GroupingSet(_))) {
        return Ok(None);
    }
    let descent = Descent {
        keys: aggregate.group_expr.clone(),
        aggregates: aggregate.aggr_expr.clone(),
        filters: Vec::new(),
    };
    let Some((found, table)) = descent.down(&aggregate.input)? else {
        return Ok(None);
    };
    let names = Names(&table.schema);
    let asks: Option<Vec<_>> = found.aggregates.iter().map(|expr| names.ask(expr)).collect();
    let Some(asks) = asks else { return Ok(None) };
    let (asked, filters) = times_apart(&found.filters);
    let mut keys = Vec::new();
    for expr in &found.keys {
        let Some(key) = key(expr, &table, asked) else { return Ok(None) };
        keys.push(key);
    }
    if keys.iter().filter(|key| matches!(key, Key::Bucket { .. })).count() > 1 {
        return Ok(None);
    }
    Ok(Some(Question { table, keys, asks, asked, filters }))
}

fn key(expr: &Expr, table: &TableSnapshot, asked: TimeRange) -> Option<Key> {
    let expr = expr.clone().unalias();
    if let Some(number) = Names(&table.schema).tag(&expr) {
        return Some(Key::Tag(number));
    }
    let found = suggested(&expr).filter(|_| !expr.is_volatile())?;
    let key = Key::Bucket { expr, grid: found.grid, certain: found.certain };
    holds(&key, table, asked).then_some(key)
}

/// Whether a bucket's expression follows its grid for all times that the table can answer with;
/// one that fails at an edge does not.
pub(super) fn holds(key: &Key, table: &TableSnapshot, asked: TimeRange) -> bool {
    let Key::Bucket { expr, grid, certain } = key else { return true };
    let Ok(expr) = over_time(expr, table) else { return false };
    let bucket = Bucket { grid: *grid, expr, schema: time_of(table) };
    span(table, asked).is_none_or(|span| bucket.holds(span, *certain).unwrap_or(false))
}

/// The times that rows within `asked` can have, which rollups may stand for alone; `None` where
/// there are none.
fn span(table: &TableSnapshot, asked: TimeRange) -> Option<TimeRange> {
    let files = table.files.iter().map(|file| file.times);
    let rolled = table.tiers.iter().flat_map(|tier| {
        let end = |start: i64| start.saturating_add(tier.tier.width - 1);
        let starts = tier.table.files.iter().map(|file| file.times);
        starts.map(move |starts| TimeRange { last: end(starts.last), ..starts })
    });
    let all = files.chain(rolled).chain(table.buffer.times()).filter(|times| times.meets(asked));
    let span = all.reduce(TimeRange::span)?;
    let both = TimeRange { first: span.first.max(asked.first), last: span.last.min(asked.last) };
    (both.first <= both.last).then_some(both)
}

/// The schema of a table's time column alone.
pub(super) fn time_of(table: &TableSnapshot) -> SchemaRef {
    Arc::new(Schema::new(vec![table.schema.arrow().field(0).clone()]))
}

pub(super) fn over_time(expr: &Expr, table: &TableSnapshot) -> Result<Arc<dyn PhysicalExpr>> {
    let schema = DFSchema::try_from(time_of(table))?;
    create_physical_expr(expr, &schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())
}
