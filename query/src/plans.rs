//! Optimized plans of statements that come again, as a dashboard's do.
//!
//! Reading and optimizing a statement costs more than running most of them. What comes out depends
//! on its text and on the tables' schemas, not on their rows; so a plan is kept by its text, over
//! empty tables, and bound to the newest snapshot's when it comes again. (Whether buckets written
//! with doubles go to the operator depends on the times there are: a plan for it is checked again,
//! one that was not for it stays so.) Plans with functions of the moment
//! (`now()`) or over tables that are not ours are made anew each time.

use crate::downsample::DownsampleNode;
use crate::latest::LatestView;
use crate::scan::TableView;
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{exec_datafusion_err, exec_err};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, TableScan, Volatility};
use quick_cache::sync::Cache;
use std::fmt;
use std::sync::Arc;
use warpline_storage::{Snapshot, TableSnapshot};

/// Longer texts are not kept.
const MAX_TEXT_BYTES: usize = 16 << 10;

/// The plans of an engine.
pub(crate) struct Plans {
    kept: Option<Cache<String, Arc<LogicalPlan>>>,
}

impl fmt::Debug for Plans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plans = self.kept.as_ref().map(Cache::len);
        f.debug_struct("Plans").field("kept", &plans).finish()
    }
}

impl Plans {
    /// At most so many; none keeps nothing.
    pub(crate) fn new(most: usize) -> Self {
        Self { kept: (most > 0).then(|| Cache::new(most)) }
    }

    /// The optimized plan of a text over a snapshot, if it is kept and still fits.
    pub(crate) fn get(&self, sql: &str, snapshot: &Snapshot) -> Option<LogicalPlan> {
        let plan = self.kept.as_ref()?.get(sql)?;
        bound(LogicalPlan::clone(&plan), &|table| same(table, snapshot)).ok()
    }

    /// Keeps what `written` was optimized to, where that can be used again.
    pub(crate) fn keep(&self, sql: &str, written: &LogicalPlan, optimized: &LogicalPlan) {
        if let Some(kept) = &self.kept
            && sql.len() <= MAX_TEXT_BYTES
            && lasts(written)
            && let Ok(hollow) = bound(optimized.clone(), &|table| Ok(hollow(table)))
        {
            kept.insert(sql.to_owned(), Arc::new(hollow));
        }
    }
}

/// Whether a plan as written means the same at another time: all its functions are immutable and
/// all its tables ours.
fn lasts(plan: &LogicalPlan) -> bool {
    let mut lasts = true;
    let walked = plan.apply_with_subqueries(|node| {
        lasts &= match node {
            LogicalPlan::TableScan(scan) => {
                TableView::of(scan).is_some() || LatestView::of(scan).is_some()
            }
            LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Statement(_)
            | LogicalPlan::Extension(_)
            | LogicalPlan::RecursiveQuery(_) => false,
            _ => true,
        };
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                lasts &= is_settled(part);
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    walked.is_ok() && lasts
}

fn is_settled(expr: &Expr) -> bool {
    let settled = |volatility| volatility == Volatility::Immutable;
    match expr {
        Expr::ScalarFunction(call) => settled(call.func.signature().volatility),
        Expr::AggregateFunction(call) => settled(call.func.signature().volatility),
        Expr::Placeholder(_) | Expr::ScalarVariable(..) => false,
        _ => true,
    }
}

/// What stands for a table in place of the one that a plan reads.
type Stand<'a> = &'a dyn Fn(&TableSnapshot) -> Result<Arc<TableSnapshot>>;

/// The plan over other tables; an error where it does not fit them.
fn bound(plan: LogicalPlan, stand: Stand<'_>) -> Result<LogicalPlan> {
    let bound = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::TableScan(scan) => {
            let provider = provider(&scan, stand)?;
            let source = provider_as_source(provider);
            Ok(Transformed::yes(LogicalPlan::TableScan(TableScan { source, ..scan })))
        }
        LogicalPlan::Extension(Extension { node }) => {
            let Some(downsample) = node.as_any().downcast_ref::<DownsampleNode>() else {
                return Ok(Transformed::no(LogicalPlan::Extension(Extension { node })));
            };
            let table = stand(downsample.table())?;
            let Some(node) = downsample.over(&table) else {
                return exec_err!("the buckets do not hold for the table's new times");
            };
            Ok(Transformed::yes(LogicalPlan::Extension(Extension { node: Arc::new(node) })))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(bound.data)
}

fn provider(scan: &TableScan, stand: Stand<'_>) -> Result<Arc<dyn TableProvider>> {
    if let Some(view) = TableView::of(scan) {
        return Ok(Arc::new(view.over(stand(view.table())?)));
    }
    let Some(view) = LatestView::of(scan) else {
        return exec_err!("{} is not one of our tables", scan.table_name);
    };
    Ok(Arc::new(LatestView::new(stand(view.table())?)))
}

/// A table without rows: a kept plan must hold neither buffered rows nor lists of files.
fn hollow(table: &TableSnapshot) -> Arc<TableSnapshot> {
    let (schema, store) = (Arc::clone(&table.schema), Arc::clone(&table.store));
    Arc::new(TableSnapshot::of_files(schema, 0, Arc::new([]), store))
}

/// The table of this name in a snapshot, if its schema is the same.
fn same(table: &TableSnapshot, snapshot: &Snapshot) -> Result<Arc<TableSnapshot>> {
    let name = &table.schema.table;
    let new = snapshot.table(name).filter(|new| new.schema == table.schema);
    new.cloned().ok_or_else(|| exec_datafusion_err!("table {name} has changed"))
}
