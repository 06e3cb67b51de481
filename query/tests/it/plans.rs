//! What EXPLAIN shows of our own functions.

use crate::fixture::{ask, engine};

async fn plan(sql: &str) -> String {
    let rows = ask(&engine(&[]).await, &format!("EXPLAIN {sql}")).await.unwrap();
    rows.concat().join("\n")
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
    let plan = plan(sql).await;
    let (filter, steps) = (plan.find("Filter:").unwrap(), plan.find("WindowAggr:").unwrap());
    assert!(filter < steps, "{plan}");
}
