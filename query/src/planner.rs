//! From logical plans to operators: DataFusion's planner, and ours for the nodes we add.

use crate::downsample::DownsamplePlanner;
use crate::functions;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::error::Result;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use std::sync::Arc;

#[derive(Debug, Default)]
pub(crate) struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut planners = functions::extension_planners();
        planners.push(Arc::new(DownsamplePlanner));
        let planner = DefaultPhysicalPlanner::with_extension_planners(planners);
        planner.create_physical_plan(plan, session).await
    }
}
