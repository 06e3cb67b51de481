//! `PushDownFilter`, except that filters stay above aggregates with counters.
//!
//! A filter over grouping columns may sink below an aggregate whose answers depend on their
//! group's rows alone. Steps depend on earlier rows too: below, `HAVING bucket > ...` would take
//! from the first bucket left the sample that its first step starts from.

use super::function::holds_counter;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

#[derive(Debug, Default)]
pub(in crate::functions) struct FiltersAboveCounters {
    rule: PushDownFilter,
}

impl OptimizerRule for FiltersAboveCounters {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        if filters_counters(&plan) {
            Ok(Transformed::no(plan))
        } else {
            self.rule.rewrite(plan, config)
        }
    }
}

/// Whether the plan is a filter, or several, right above an aggregate with a counter.
fn filters_counters(plan: &LogicalPlan) -> bool {
    let LogicalPlan::Filter(filter) = plan else {
        return false;
    };
    holds_counter(&filter.input) || filters_counters(&filter.input)
}
