//! Functions of our own in SQL, and the planner rules that some of them need.

mod counter;
mod first_last;
mod label;
mod setting;
mod state;

use counter::{Counter, Kind};
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::functions::datetime::date_bin;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};
use datafusion::optimizer::{AnalyzerRule, Optimizer, OptimizerRule};
use datafusion::prelude::SessionContext;
use first_last::{End, ValueAt};
use std::sync::Arc;

/// Adds the functions; `time_bucket` is `date_bin` by another name.
pub(crate) fn register(context: &SessionContext) -> Result<()> {
    let state = context.state_ref();
    let mut state = state.write();
    let bucket = date_bin().as_ref().clone().with_aliases(["time_bucket"]);
    state.register_udf(Arc::new(bucket))?;
    state.register_udf(Arc::new(ScalarUDF::from(label::Label::new())))?;
    state.register_udf(Arc::new(ScalarUDF::from(setting::CurrentSetting::new())))?;
    let aggregates = [
        AggregateUDF::from(ValueAt::new(End::First)),
        AggregateUDF::from(ValueAt::new(End::Last)),
        AggregateUDF::from(Counter::new(Kind::Increase, None)),
        AggregateUDF::from(Counter::new(Kind::Delta, None)),
        AggregateUDF::from(Counter::new(Kind::Rate, None)),
    ];
    for aggregate in aggregates {
        state.register_udaf(Arc::new(aggregate))?;
    }
    Ok(())
}

/// The analyzer rules our functions need, to run before types are coerced.
pub(crate) fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    vec![Arc::new(counter::SeriesArguments)]
}

/// DataFusion's optimizer rules with ours among them: `taking`, which may take whole aggregates,
/// come before the last, which plan what is left of our own functions.
pub(crate) fn optimizer_rules(
    taking: Vec<Arc<dyn OptimizerRule + Send + Sync>>,
) -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Optimizer::new().rules;
    let filters: Arc<dyn OptimizerRule + Send + Sync> =
        Arc::new(counter::FiltersAboveCounters::default());
    let place = rules.iter_mut().find(|rule| rule.name() == filters.name());
    *place.expect("DataFusion pushes filters down") = filters;
    rules.extend(taking);
    rules.push(Arc::new(counter::LowerCounters));
    rules
}
