//! Functions of our own in SQL, and the planner rules that some of them need.

mod any_equal;
mod at_zone;
mod by_row;
mod by_series;
mod checked;
mod counter;
mod first_last;
mod gapfill;
mod interval;
mod label;
mod lookup;
mod m4;
mod pg_typeof;
mod postgres;
mod prom;
mod pure;
mod quote;
mod rounding;
mod setting;
mod similar_to;
mod state;
mod to_char;
mod width;

pub(crate) use any_equal::ANY_EQUAL;
pub(crate) use checked::{CheckedConstants, check_integers};
pub(crate) use rounding::ROUND_TO_EVEN;

use crate::pg_catalog::{Directory, listed};
use counter::{Counter, Kind};
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::functions::datetime::date_bin;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};
use datafusion::optimizer::{AnalyzerRule, Optimizer, OptimizerRule};
use datafusion::physical_planner::ExtensionPlanner;
use datafusion::prelude::SessionContext;
use first_last::{End, ValueAt};
pub(crate) use pure::like_escape;
use std::collections::BTreeSet;
use std::sync::Arc;

const TIME_BUCKET: &str = "time_bucket";

/// Adds the functions; `time_bucket` is `date_bin` by another name.
pub(crate) fn register(context: &SessionContext, directory: &Arc<Directory>) -> Result<()> {
    let state = context.state_ref();
    let mut state = state.write();
    let bucket = date_bin().as_ref().clone().with_aliases([TIME_BUCKET]);
    state.register_udf(Arc::new(bucket))?;
    let scalars = [
        ScalarUDF::from(any_equal::AnyEqual::new()),
        ScalarUDF::from(at_zone::AtZone::new()),
        ScalarUDF::from(gapfill::Bucket::new()),
        ScalarUDF::from(gapfill::Filled::locf()),
        ScalarUDF::from(gapfill::Filled::interpolate()),
        ScalarUDF::from(label::Label::new()),
    ];
    let catalog = [
        ScalarUDF::from(setting::CurrentSetting::new()),
        ScalarUDF::from(pg_typeof::PgTypeof::new()),
        ScalarUDF::from(quote::Quote::literal()),
        ScalarUDF::from(quote::Quote::nullable()),
        ScalarUDF::from(setting::SessionUser::new()),
        ScalarUDF::from(setting::SetConfig::new()),
        ScalarUDF::from(similar_to::SimilarToEscape::new()),
        ScalarUDF::from(to_char::ToChar::new()),
        ScalarUDF::from(pure::ExpandArray::new()),
    ];
    datafusion_pg_functions::datetime::register(&mut *state);
    let constants = postgres::Constant::all().map(ScalarUDF::from);
    let by_row = lookup::all(directory).into_iter().chain(pure::all(directory));
    let by_row = by_row.map(ScalarUDF::from);
    let mut own = BTreeSet::from([TIME_BUCKET.to_owned()]);
    own.extend(scalars.iter().map(|scalar| scalar.name().to_owned()));
    for scalar in scalars.into_iter().chain(catalog).chain(constants).chain(by_row) {
        state.register_udf(Arc::new(scalar))?;
    }
    let aggregates = [
        AggregateUDF::from(ValueAt::new(End::First)),
        AggregateUDF::from(ValueAt::new(End::Last)),
        AggregateUDF::from(Counter::new(Kind::Increase, None)),
        AggregateUDF::from(Counter::new(Kind::Delta, None)),
        AggregateUDF::from(Counter::new(Kind::Rate, None)),
        AggregateUDF::from(prom::Extrapolated::new(prom::Kind::Increase)),
        AggregateUDF::from(prom::Extrapolated::new(prom::Kind::Rate)),
        AggregateUDF::from(prom::Extrapolated::new(prom::Kind::Delta)),
        AggregateUDF::from(m4::M4::new()),
    ];
    own.extend(aggregates.iter().map(|aggregate| aggregate.name().to_owned()));
    for aggregate in aggregates {
        state.register_udaf(Arc::new(aggregate))?;
    }
    directory.tell(listed(&state, &own));
    Ok(())
}

/// The analyzer rules our functions need, to run before types are coerced.
pub(crate) fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    vec![
        Arc::new(gapfill::PlanGapFill),
        Arc::new(counter::SeriesArguments),
        Arc::new(any_equal::KnownArrays),
        Arc::new(rounding::RoundingCasts),
        Arc::new(interval::IntervalsByLength),
    ]
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

/// What plans the operators of our own nodes.
pub(crate) fn extension_planners() -> Vec<Arc<dyn ExtensionPlanner + Send + Sync>> {
    vec![Arc::new(gapfill::GapFillPlanner)]
}
