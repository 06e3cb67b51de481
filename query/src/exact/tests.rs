//! Which aggregates plans hold, and that no plan holds one that could be wrong or a counter whose
//! steps were not planned.

use super::scaled_expr;
use crate::engine::{Engine, EngineOptions};
use crate::scan::TableView;
use crate::settings::SessionSettings;
use crate::statement::parse_one;
use arrow::datatypes::{DataType, Schema};
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::{empty::EmptyTable, provider_as_source};
use datafusion::logical_expr::{LogicalPlanBuilder, col};
use datafusion::object_store::memory::InMemory;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::window::{PlainAggregateWindowExpr, SlidingAggregateWindowExpr};
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{ExecutionPlan, WindowExpr};
use std::collections::BTreeMap;
use std::sync::Arc;
use warpline_storage::model::{Field, FieldType, TableSchema};
use warpline_storage::{Snapshot, TableSnapshot};

fn snapshot() -> Snapshot {
    let field = |name: &str, field_type| Field { name: name.into(), field_type };
    let schema = Arc::new(TableSchema {
        table: "gpu".into(),
        identity: vec!["node".into()],
        attributes: Vec::new(),
        fields: vec![
            field("util", FieldType::Int8),
            field("energy", FieldType::Int64),
            field("power", FieldType::decimal(9, 3).unwrap()),
            field("load", FieldType::Float64),
        ],
    });
    let store = Arc::new(InMemory::new());
    let table = TableSnapshot::of_files(schema, 0, Arc::new([]), store);
    Snapshot::new(BTreeMap::from([("gpu".into(), Arc::new(table))]))
}

/// Aggregates stay in DataFusion's plans, which these tests walk.
fn plans_of_its_own() -> EngineOptions {
    EngineOptions { downsample: false, ..EngineOptions::default() }
}

/// An aggregate as a plan holds it: its name and the type of its argument.
type Held = (String, Option<DataType>);

fn held(function: &AggregateFunctionExpr, input: &Schema) -> Held {
    let argument = function.expressions().into_iter().next();
    let argument = argument.and_then(|argument| argument.data_type(input).ok());
    (function.fun().name().to_owned(), argument)
}

fn held_by_window(expr: &Arc<dyn WindowExpr>, input: &Schema) -> Option<Held> {
    let plain = expr.as_any().downcast_ref::<PlainAggregateWindowExpr>();
    let sliding = expr.as_any().downcast_ref::<SlidingAggregateWindowExpr>();
    let function = plain
        .map(PlainAggregateWindowExpr::get_aggregate_expr)
        .or(sliding.map(SlidingAggregateWindowExpr::get_aggregate_expr))?;
    Some(held(function, input))
}

fn aggregates(plan: &Arc<dyn ExecutionPlan>) -> Vec<Held> {
    let mut found = Vec::new();
    plan.apply(|node| {
        if let Some(node) = node.downcast_ref::<AggregateExec>() {
            let input = node.input_schema();
            found.extend(node.aggr_expr().iter().map(|function| held(function, &input)));
        }
        if let Some(node) = node.downcast_ref::<WindowAggExec>() {
            let input = node.input().schema();
            found.extend(node.window_expr().iter().filter_map(|e| held_by_window(e, &input)));
        }
        if let Some(node) = node.downcast_ref::<BoundedWindowAggExec>() {
            let input = node.input().schema();
            found.extend(node.window_expr().iter().filter_map(|e| held_by_window(e, &input)));
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .unwrap();
    found
}

/// A sum or mean of DataFusion's own over what it gets wrong.
fn is_unsafe((name, argument): &Held) -> bool {
    let narrow = |t: &DataType| matches!(t, DataType::Decimal32(..) | DataType::Decimal64(..));
    let wrong = |t: &DataType| t.is_integer() || narrow(t);
    matches!(name.as_str(), "sum" | "avg") && argument.as_ref().is_none_or(wrong)
}

async fn names(engine: &Engine, sql: &str) -> Vec<String> {
    let parsed = parse_one(engine.reader(), sql).unwrap();
    let plan = engine.statement(&SessionSettings::default()).plan(sql, || Ok(parsed)).await;
    let plan = plan.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let held = aggregates(&plan.physical);
    assert!(!held.is_empty(), "{sql} has no aggregate");
    assert!(!held.iter().any(is_unsafe), "{sql}: {held:?}");
    let is_counter = |name: &str| ["increase", "delta", "rate"].contains(&name);
    assert!(!held.iter().any(|(name, _)| is_counter(name)), "{sql}: {held:?}");
    held.into_iter().map(|(name, _)| name).collect()
}

#[tokio::test]
async fn sums_of_fields_are_exact_wherever_they_stand() {
    let snapshot = snapshot();
    let engine = Engine::over(move || snapshot.clone(), &plans_of_its_own()).unwrap();
    let exact = [
        "SELECT sum(power) FROM gpu",
        "SELECT avg(util), sum(energy), avg(power) FROM gpu",
        "SELECT node, sum(power) FROM gpu GROUP BY node HAVING avg(power) > 3",
        "SELECT sum(p) FROM (SELECT power AS p FROM gpu) t",
        "WITH w AS (SELECT power AS p FROM gpu), v AS (SELECT p AS q FROM w) SELECT sum(q) FROM v",
        "SELECT sum(a.power), avg(b.util) FROM gpu a JOIN gpu b ON a.time = b.time",
        "SELECT sum(a.power) FROM gpu a LEFT JOIN gpu b USING (node)",
        "SELECT sum(power) FROM gpu WHERE node IN (SELECT node FROM gpu GROUP BY node HAVING sum(util) > 1)",
        "SELECT (SELECT sum(power) FROM gpu)",
        "SELECT sum(power) OVER (PARTITION BY node ORDER BY time) FROM gpu",
        "SELECT avg(util) OVER (ORDER BY time ROWS BETWEEN 3 PRECEDING AND CURRENT ROW) FROM gpu",
        "SELECT sum(DISTINCT power), sum(power) FILTER (WHERE util > 3) FROM gpu",
        "SELECT sum(DISTINCT power) FROM gpu",
        "SELECT sum(p) FROM (SELECT power AS p FROM gpu UNION ALL SELECT power FROM gpu) t",
        "SELECT sum(p) FROM (SELECT DISTINCT power AS p FROM gpu) t",
        "SELECT sum(p) FROM (SELECT DISTINCT ON (node) power AS p FROM gpu ORDER BY node, time) t",
        "SELECT sum(power), avg(util) FROM latest.gpu",
        "SELECT sum(p) FROM (SELECT node, max(power) AS p FROM gpu GROUP BY node) t WHERE p > 1",
        "SELECT sum(power::double), sum(util + 1) FROM gpu",
        "SELECT node, time, sum(power) FROM gpu GROUP BY GROUPING SETS ((node), (time))",
        "SELECT sum(power) FROM (SELECT * FROM gpu ORDER BY time LIMIT 5) t",
        "SELECT sum(p) FROM (SELECT last(power, time) AS p FROM gpu GROUP BY node) t",
        "SELECT increase(energy), increase(power), delta(util), delta(power) FROM gpu",
        "SELECT node, increase(power), avg(power) FROM gpu GROUP BY node HAVING delta(util) > 1",
        "SELECT increase(p) FROM (SELECT power AS p, time, node FROM gpu WHERE util > 1) t",
        "SELECT delta(power, time, node) FILTER (WHERE util > 3) FROM gpu",
        "SELECT increase(a.power) FROM gpu a JOIN gpu b ON a.time = b.time",
        "SELECT sum(i) FROM (SELECT node, increase(util) AS i FROM gpu GROUP BY node) t",
        "SELECT node, time, increase(energy) FROM gpu GROUP BY GROUPING SETS ((node), (time))",
    ];
    for sql in exact {
        let names = Box::pin(names(&engine, sql)).await;
        assert!(!names.iter().any(|name| name == "sum" || name == "avg"), "{sql}: {names:?}");
        assert!(names.iter().any(|name| name.starts_with("exact_")), "{sql}: {names:?}");
    }
}

#[tokio::test]
async fn expressions_follow_float_rules_and_narrow_decimals_are_widened() {
    let snapshot = snapshot();
    let engine = Engine::over(move || snapshot.clone(), &plans_of_its_own()).unwrap();
    let own = [
        "SELECT sum(power * 2) FROM gpu",
        "SELECT sum(load), avg(load) FROM gpu",
        "SELECT sum(p) FROM (SELECT power / 3 AS p FROM gpu) t",
        "SELECT sum(p) FROM (SELECT power AS p FROM gpu UNION ALL SELECT load FROM gpu) t",
        "SELECT sum(p) FROM (SELECT DISTINCT ON (node) load AS p, power FROM gpu) t",
        "SELECT sum(arrow_cast(load, 'Decimal32(9, 3)')) FROM gpu",
        "SELECT avg(arrow_cast(load, 'Decimal64(15, 3)')) FROM gpu",
        "SELECT increase(load), delta(power * 2), rate(power), rate(util) FROM gpu",
        "SELECT prom_rate(power, '1 minute'), m4(util, time), first(load, time) FROM gpu",
    ];
    for sql in own {
        let names = Box::pin(names(&engine, sql)).await;
        assert!(!names.iter().any(|name| name.starts_with("exact_")), "{sql}: {names:?}");
    }
}

/// Other relations can carry a field's metadata over what was computed into them.
#[test]
fn only_scans_of_our_tables_are_believed() {
    let scan = |name: &str, table: Arc<dyn TableProvider>| {
        LogicalPlanBuilder::scan(name, provider_as_source(table), None).unwrap().build().unwrap()
    };
    let ours = TableView::new(Arc::clone(snapshot().table("gpu").unwrap()));
    let schema = ours.schema();
    let ours = scan("gpu", Arc::new(ours));
    let other = scan("other", Arc::new(EmptyTable::new(schema)));
    assert_eq!(scaled_expr(&ours, &col("gpu.power")), Some(3));
    assert_eq!(scaled_expr(&other, &col("other.power")), None);
}
