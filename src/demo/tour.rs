//! What a newcomer is shown: the addresses, and three queries with the answers of this moment.

use super::Home;
use crate::{Failure, sql};
use chrono::{DateTime, SecondsFormat};
use std::fmt::Write;
use std::time::Instant;

/// A question in words and in SQL.
struct Query {
    question: &'static str,
    sql: &'static str,
}

const QUERIES: [Query; 3] = [
    Query {
        question: "How much is there, and until when?",
        sql: "SELECT count(*) AS rows, count(DISTINCT node) AS nodes, min(time) AS first, \
              max(time) AS last FROM gpu",
    },
    Query {
        question: "Which jobs draw the most power, and are their tensor cores busy?",
        sql: "SELECT tenant, job, count(DISTINCT node) AS nodes, \
              round(avg(power_usage), 1) AS watts_per_gpu, \
              round(avg(pipe_tensor_active), 3) AS tensor_active \
              FROM gpu WHERE time > now() - INTERVAL '15 minutes' AND job IS NOT NULL \
              GROUP BY tenant, job ORDER BY sum(power_usage) DESC LIMIT 5",
    },
    Query {
        question: "Which GPUs ran hottest, and did that throttle them?",
        sql: "SELECT node, gpu, max(gpu_temp) AS hottest, round(avg(gpu_temp), 1) AS mean, \
              max(thermal_violation) - min(thermal_violation) AS throttled_ns \
              FROM gpu GROUP BY node, gpu ORDER BY hottest DESC, mean DESC LIMIT 5",
    },
];

/// Prints addresses, and each query with its answer.
pub(super) async fn show(home: &Home) -> Result<(), Failure> {
    println!("\nThree queries worth trying:");
    for query in &QUERIES {
        let started = Instant::now();
        let answer = sql::table(&home.url, query.sql).await?;
        let took = started.elapsed().as_millis();
        println!("\n-- {}\n{};\n{answer}\n({took} ms)", query.question, folded(query.sql));
    }
    println!("{}", addresses(home)?);
    Ok(())
}

fn addresses(home: &Home) -> Result<String, std::fmt::Error> {
    let (url, host, port) = (&home.url, home.postgres.ip(), home.postgres.port());
    let mut text = String::new();
    writeln!(text, "\nHTTP and gRPC  {url}   (POST /sql, GET /health, GET /metrics)")?;
    writeln!(text, "PostgreSQL     {}", home.postgres)?;
    writeln!(text, "Delta tables   {}", home.data.join("store").display())?;
    writeln!(text, "\nIn another terminal:")?;
    writeln!(text, "  psql -h {host} -p {port} -U warpline postgres")?;
    writeln!(text, "  curl {url}sql -d 'SELECT count(*) FROM gpu'")?;
    write!(text, "\nStreaming one tick per second. Ctrl-C ends it.")?;
    Ok(text)
}

/// A statement with its clauses on lines of their own.
fn folded(sql: &str) -> String {
    let clauses = ["FROM", "WHERE", "GROUP BY", "ORDER BY"];
    clauses.iter().fold(sql.to_owned(), |sql, clause| {
        sql.replacen(&format!(" {clause} "), &format!("\n{clause} "), 1)
    })
}

/// A tick's time for people.
pub(super) fn time(tick: u64) -> String {
    DateTime::from_timestamp(tick.cast_signed(), 0)
        .map_or_else(|| tick.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

#[cfg(test)]
mod tests {
    use super::{folded, time};

    #[test]
    fn statements_are_folded_at_their_clauses() {
        let sql = "SELECT a FROM t WHERE b GROUP BY a ORDER BY a";
        assert_eq!(folded(sql).lines().count(), 5);
    }

    #[test]
    fn ticks_are_seconds() {
        assert_eq!(time(1_717_243_200), "2024-06-01T12:00:00Z");
    }
}
