//! What EXPLAIN shows of our own functions.

use crate::fixture::{ask, engine, options, snapshot};
use warpline_query::{Engine, EngineOptions};

async fn plan(sql: &str) -> String {
    plan_of(&engine(&[]).await, sql).await
}

async fn plan_of(engine: &Engine, sql: &str) -> String {
    ask(engine, &format!("EXPLAIN {sql}")).await.unwrap().concat().join("\n")
}

#[tokio::test]
async fn plans_show_gaps_that_are_filled() {
    let sql = "SELECT gapfill('1 minute', time) AS b, locf(avg(power)) FROM gpu \
               WHERE time >= '2026-01-01' AND time < '2026-01-02' GROUP BY b";
    let plan = plan(sql).await;
    assert!(plan.contains("GapFill: bucket="), "{plan}");
    assert!(plan.contains("GapFillExec: buckets=1440"), "{plan}");
}

/// A filter over the groups stays above the steps; one over the series may go below.
#[tokio::test]
async fn filters_on_groups_stay_above_the_steps_of_counters() {
    let sql = "SELECT * FROM (SELECT node, time_bucket('1 minute', time) AS b, increase(energy) \
               FROM gpu GROUP BY node, b) AS minutes WHERE b > '2026-01-01'";
    let snapshot = snapshot(&[]).await;
    let options = EngineOptions { downsample: false, ..options() };
    let lowered = Engine::over(move || snapshot.clone(), &options).unwrap();
    for (plan, steps) in
        [(plan_of(&lowered, sql).await, "WindowAggr:"), (plan(sql).await, "Downsample:")]
    {
        let (filter, steps) = (plan.find("Filter:").unwrap(), plan.find(steps).unwrap());
        assert!(filter < steps, "{plan}");
    }
}
