//! The twelve questions of the harness in Warpline's SQL.
//!
//! Promises: a statement yields the harness's keys, then its values, in the harness's order;
//! where it numbers buckets, ours is the instant at which the bucket starts.

use super::dataset::Dataset;

/// One way to ask one of the questions.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Statement {
    /// The question, `Q7`, with what is special about the way after a dash: `Q7-increase`.
    pub(super) form: String,
    pub(super) sql: String,
}

impl Statement {
    fn new(form: &str, sql: impl Into<String>) -> Self {
        Self { form: form.to_owned(), sql: sql.into() }
    }

    /// The question without the way of asking it.
    pub(super) fn query(&self) -> &str {
        question(&self.form)
    }
}

/// The question that a form asks.
pub(super) fn question(form: &str) -> &str {
    form.split('-').next().unwrap_or(form)
}

/// Every statement, a question's plain form first.
pub(super) fn all(data: &Dataset) -> Vec<Statement> {
    let mut statements = points(data);
    statements.extend(groups(data));
    statements.extend(rates());
    statements.extend(scans(data));
    statements.sort_by_key(|statement| number(statement.query()));
    statements
}

fn number(query: &str) -> u32 {
    query.trim_start_matches('Q').parse().unwrap_or(u32::MAX)
}

fn averages(data: &Dataset) -> String {
    let averages: Vec<String> = data.ten.iter().map(|m| format!("avg({m}) a_{m}")).collect();
    averages.join(", ")
}

/// Questions about the newest row and about one node.
fn points(data: &Dataset) -> Vec<Statement> {
    let Dataset { node, gpu, .. } = data;
    let averages = averages(data);
    vec![
        Statement::new(
            "Q1",
            "SELECT node, gpu, last_value(gpu_util ORDER BY time) v FROM dcgm GROUP BY node, gpu",
        ),
        Statement::new("Q1-latest", "SELECT node, gpu, gpu_util FROM latest.dcgm"),
        Statement::new(
            "Q2",
            format!(
                "SELECT time_bucket('1 minute', time) b, avg(power) a, min(power) i, max(power) x \
                 FROM dcgm WHERE node = '{node}' AND gpu = '{gpu}' GROUP BY 1"
            ),
        ),
        Statement::new(
            "Q3",
            format!(
                "SELECT gpu, time_bucket('1 minute', time) b, {averages} \
                 FROM dcgm WHERE node = '{node}' GROUP BY 1, 2"
            ),
        ),
    ]
}

/// Questions about the whole fleet, answered in groups.
fn groups(data: &Dataset) -> Vec<Statement> {
    let tick = data.tick_seconds;
    vec![
        Statement::new(
            "Q4",
            "SELECT time_bucket('1 minute', time) b, avg(gpu_util) a, max(gpu_util) x \
             FROM dcgm GROUP BY 1",
        ),
        Statement::new(
            "Q5",
            format!(
                "SELECT tenant, rack, time_bucket('5 minutes', time) b, avg(power) a, \
                 sum(power) * {tick} / 3600.0 wh FROM dcgm GROUP BY 1, 2, 3"
            ),
        ),
        Statement::new(
            "Q6",
            "SELECT max(gpu_temp) x, node, gpu FROM dcgm GROUP BY node, gpu \
             ORDER BY x DESC, node, gpu LIMIT 10",
        ),
        Statement::new(
            "Q8",
            "SELECT rack, time_bucket('5 minutes', time) b, \
             percentile_cont(0.99) WITHIN GROUP (ORDER BY power) q FROM dcgm GROUP BY 1, 2",
        ),
        Statement::new(
            "Q10",
            format!(
                "SELECT tenant, time_bucket('10 minutes', time) b, count(*) * {tick} s \
                 FROM dcgm WHERE gpu_util < 5 GROUP BY 1, 2"
            ),
        ),
    ]
}

/// The rate of a counter that may start again: as the peers are asked, and by our function.
fn rates() -> Vec<Statement> {
    vec![
        Statement::new(
            "Q7",
            "SELECT node, time_bucket('1 minute', time) b, \
             sum(CASE WHEN p IS NULL THEN 0 WHEN v >= p THEN v - p ELSE v END) / 60.0 r \
             FROM (SELECT node, time, nvlink_rx_bytes v, \
             lag(nvlink_rx_bytes) OVER (PARTITION BY node, gpu ORDER BY time) p FROM dcgm) s \
             GROUP BY 1, 2",
        ),
        Statement::new(
            "Q7-increase",
            "SELECT node, time_bucket('1 minute', time) b, increase(nvlink_rx_bytes) / 60.0 r \
             FROM dcgm GROUP BY 1, 2",
        ),
    ]
}

/// Questions that read much and say much.
fn scans(data: &Dataset) -> Vec<Statement> {
    let rollups: Vec<String> = data
        .metrics
        .iter()
        .map(|m| format!("min({m}) {m}_min, max({m}) {m}_max, avg({m}) {m}_avg"))
        .collect();
    let averages = averages(data);
    vec![
        Statement::new(
            "Q9",
            "SELECT node, gpu, time, gpu_temp, gpu_util FROM dcgm \
             WHERE gpu_temp > 85 AND gpu_util > 90",
        ),
        Statement::new("Q11", format!("SELECT node, gpu, {averages} FROM dcgm GROUP BY node, gpu")),
        Statement::new(
            "Q12",
            format!(
                "SELECT node, gpu, time_bucket('1 minute', time) b, {} FROM dcgm GROUP BY 1, 2, 3",
                rollups.join(", ")
            ),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::{Statement, all, question};
    use crate::queries::dataset::Dataset;
    use std::collections::BTreeSet;

    #[test]
    fn every_question_is_asked_and_every_form_once() {
        let statements = all(&Dataset::example());
        let questions: BTreeSet<&str> = statements.iter().map(Statement::query).collect();
        let wanted: Vec<String> = (1..=12).map(|n| format!("Q{n}")).collect();
        assert_eq!(questions, wanted.iter().map(String::as_str).collect());
        let forms: BTreeSet<&str> = statements.iter().map(|s| s.form.as_str()).collect();
        assert_eq!(forms.len(), statements.len());
        assert_eq!(statements[0].form, "Q1");
        assert_eq!(statements.last().expect("a statement").form, "Q12");
        assert_eq!(question("Q12-parquet"), "Q12");
    }

    #[test]
    fn statements_are_well_formed() {
        for statement in all(&Dataset::example()) {
            let sql = &statement.sql;
            let count = |c: char| sql.matches(c).count();
            assert!(sql.starts_with("SELECT ") && sql.contains("dcgm"), "{sql}");
            assert!(!sql.contains("  ") && !sql.contains(['{', '}', '\n']), "{sql}");
            assert_eq!(count('('), count(')'), "{sql}");
            assert_eq!(count('\'') % 2, 0, "{sql}");
        }
    }

    #[test]
    fn the_rollup_takes_every_metric() {
        let statements = all(&Dataset::example());
        let rollup = &statements.last().expect("a statement").sql;
        for metric in &Dataset::example().metrics {
            assert!(rollup.contains(&format!("avg({metric}) {metric}_avg")), "{rollup}");
        }
    }
}
