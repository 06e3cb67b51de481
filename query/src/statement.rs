//! One statement over one snapshot: read, checked, planned.

use crate::budget::share;
use crate::catalog::{CATALOG, SCHEMA};
use crate::dialect;
use crate::error::{QueryError, QueryErrorKind};
use crate::named::Named;
use crate::plans::Plans;
use arrow::datatypes::SchemaRef;
use datafusion::common::ParamValues;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::{SessionState, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast;
use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use std::collections::HashMap;
use std::sync::Arc;
use warpline_storage::Snapshot;

/// Operators that are signs, and those that are words.
const SIGNS: &[u8] = b"+-*/%|&#<>=~^:[";
const OPERATORS: [&str; 8] = ["and", "or", "not", "union", "intersect", "except", "join", "is"];
/// A statement with more of them is refused.
const MAX_OPERATORS: usize = 4_000;

/// Reads a text that must hold exactly one statement.
pub(crate) fn parse_one(
    parser: &PostgresCompatibilityParser,
    sql: &str,
) -> Result<ast::Statement, QueryError> {
    let mut statements = parse(parser, sql)?;
    match (statements.pop(), statements.len()) {
        (Some(statement), 0) => Ok(statement),
        (None, _) => Err(QueryError::new(QueryErrorKind::Syntax, "the statement is empty")),
        (Some(_), more) => Err(QueryError::new(
            QueryErrorKind::Invalid,
            format!("one statement at a time, please: this text holds {}", more + 1),
        )),
    }
}

/// Reads a text of any number of statements.
pub(crate) fn parse(
    parser: &PostgresCompatibilityParser,
    sql: &str,
) -> Result<Vec<ast::Statement>, QueryError> {
    check_length(sql)?;
    let mut statements = parser.parse(sql).map_err(|error| {
        if changes_something(sql) {
            read_only(sql.split_whitespace().next().unwrap_or_default())
        } else {
            QueryError::new(QueryErrorKind::Syntax, error.to_string())
        }
    })?;
    statements.iter_mut().for_each(dialect::rewrite);
    Ok(statements)
}

/// Operators in a row become a tree as deep as they are many, which is walked by recursion. What
/// stands between quotes is none.
fn check_length(sql: &str) -> Result<(), QueryError> {
    let is_word = |word: &&str| OPERATORS.iter().any(|own| word.eq_ignore_ascii_case(own));
    let many: usize = sql
        .split('\'')
        .step_by(2)
        .map(|text| {
            let signs = text.bytes().filter(|byte| SIGNS.contains(byte)).count();
            signs + text.split(|c: char| !c.is_ascii_alphabetic()).filter(is_word).count()
        })
        .sum();
    if many <= MAX_OPERATORS {
        return Ok(());
    }
    let text = format!(
        "a statement has at most {MAX_OPERATORS} operators, and this one has {many}: join a list of \
         VALUES, or write IN (...)"
    );
    Err(QueryError::new(QueryErrorKind::TooLarge, text))
}

/// Whether the text begins like a statement that would change something. Used where it cannot be
/// read as one, to name the better reason.
fn changes_something(sql: &str) -> bool {
    let first = sql.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    let words =
        ["ALTER", "COPY", "CREATE", "DELETE", "DROP", "INSERT", "MERGE", "TRUNCATE", "UPDATE"];
    words.contains(&first.as_str())
}

fn read_only(what: &str) -> QueryError {
    let text = format!(
        "{} is refused: SQL here only reads; rows come in through ingest",
        what.to_ascii_uppercase()
    );
    QueryError::new(QueryErrorKind::ReadOnly, text)
}

/// Kinds of statement that only read. The plan is checked once more: a query can hide others.
fn check_reads(statement: &ast::Statement) -> Result<(), QueryError> {
    match statement {
        ast::Statement::Query(_)
        | ast::Statement::Explain { .. }
        | ast::Statement::ExplainTable { .. }
        | ast::Statement::ShowTables { .. }
        | ast::Statement::ShowColumns { .. }
        | ast::Statement::ShowFunctions { .. }
        | ast::Statement::ShowVariable { .. } => Ok(()),
        other => {
            let text = other.to_string();
            Err(read_only(text.split_whitespace().next().unwrap_or_default()))
        }
    }
}

/// A statement's context: everything it can name comes from one snapshot.
pub(crate) struct Statement {
    snapshot: Snapshot,
    named: Arc<Named>,
    /// The most memory that it may have.
    memory: usize,
    /// `None` where plans are not those of other connections.
    plans: Option<Arc<Plans>>,
    state: SessionState,
}

/// A statement ready to run.
pub(crate) struct Plan {
    pub schema: SchemaRef,
    pub physical: Arc<dyn ExecutionPlan>,
    pub context: Arc<TaskContext>,
}

impl Statement {
    /// `named` says which columns the state's catalog shows.
    pub(crate) fn new(
        snapshot: Snapshot,
        named: Arc<Named>,
        memory: usize,
        plans: Option<Arc<Plans>>,
        state: SessionState,
    ) -> Self {
        Self { snapshot, named, memory, plans, state }
    }

    /// The plan of a text, which `parse` reads where no plan of it is kept.
    pub(crate) async fn plan(
        &self,
        sql: &str,
        parse: impl FnOnce() -> Result<ast::Statement, QueryError>,
    ) -> Result<Plan, QueryError> {
        if let Some(plan) = self.plans.as_ref().and_then(|plans| plans.get(sql, &self.snapshot)) {
            return self.run_by(&plan).await;
        }
        let written = self.logical(parse()?).await?;
        let optimized = self.state.optimize(&written).map_err(|error| self.explained(error))?;
        if let Some(plans) = &self.plans {
            plans.keep(sql, &written, &optimized);
        }
        self.run_by(&optimized).await
    }

    /// The plan as written, checked to only read.
    pub(crate) async fn logical(&self, parsed: ast::Statement) -> Result<LogicalPlan, QueryError> {
        check_reads(&parsed)?;
        self.named.read(&parsed);
        let statement = DataFusionStatement::Statement(Box::new(parsed));
        let state = &self.state;
        let mut plan = state.statement_to_plan(statement.clone()).await;
        if plan.is_err() && self.named.widen() {
            plan = state.statement_to_plan(statement).await;
        }
        let plan = plan.map_err(|error| self.explained(error))?;
        let reads = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        reads.verify_plan(&plan).map_err(|_| read_only("a statement inside the query"))?;
        Ok(plan)
    }

    pub(crate) async fn physical(&self, plan: LogicalPlan) -> Result<Plan, QueryError> {
        let plan = self.state.optimize(&plan).map_err(|error| self.explained(error))?;
        self.run_by(&plan).await
    }

    async fn run_by(&self, optimized: &LogicalPlan) -> Result<Plan, QueryError> {
        let planner = self.state.query_planner();
        let physical = planner.create_physical_plan(optimized, &self.state).await;
        let physical = physical.map_err(|error| self.explained(error))?;
        Ok(Plan { schema: physical.schema(), physical, context: Arc::new(self.task()) })
    }

    /// What a plan runs in. Its functions are in the plan; only one that is read from elsewhere
    /// would look them up by name.
    fn task(&self) -> TaskContext {
        TaskContext::new(
            None,
            self.state.session_id().to_owned(),
            self.state.config().clone(),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            share(self.state.runtime_env(), self.memory),
        )
    }

    pub(crate) async fn physical_with(
        &self,
        plan: LogicalPlan,
        parameters: &ParamValues,
    ) -> Result<Plan, QueryError> {
        let plan = plan.replace_params_with_values(parameters);
        self.physical(plan.map_err(|error| self.explained(error))?).await
    }

    /// The error in our words: an unknown table comes with the names near it.
    fn explained(&self, error: DataFusionError) -> QueryError {
        let error = QueryError::from(error);
        if error.kind() != QueryErrorKind::UnknownTable {
            return error;
        }
        let text = error.to_string();
        let quoted = text.trim_start_matches("table '").trim_end_matches("' not found");
        let name = quoted.strip_prefix(&format!("{CATALOG}.{SCHEMA}.")).unwrap_or(quoted);
        let known: Vec<&str> = self.snapshot.tables().map(|t| &*t.schema.table).collect();
        let hint = match near(name, &known) {
            Some(near) => format!(": did you mean {near:?}?"),
            None if known.is_empty() => ": there are no tables yet".to_owned(),
            None => String::new(),
        };
        QueryError::new(error.kind(), format!("table {name:?} does not exist{hint}"))
    }
}

/// The known name that differs least, if it differs little.
fn near<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let distances = known.iter().map(|other| (edits(name, other), *other));
    let (distance, nearest) = distances.min()?;
    (distance <= name.chars().count().max(2) / 2).then_some(nearest)
}

/// Letters to insert, remove or replace to make one word of the other.
fn edits(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, candidate) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *candidate);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_counted_outside_of_quotes() {
        let chain = |operator: &str, many: usize| vec!["1"; many + 1].join(operator);
        for operator in ["+", " or ", " AND ", "-"] {
            assert!(check_length(&chain(operator, MAX_OPERATORS)).is_ok());
            let error = check_length(&chain(operator, MAX_OPERATORS + 1)).unwrap_err();
            assert_eq!(error.kind(), QueryErrorKind::TooLarge);
        }
        assert!(check_length(&format!("SELECT '{}'", "-".repeat(MAX_OPERATORS + 1))).is_ok());
        assert!(check_length(&chain(", ", MAX_OPERATORS + 1)).is_ok());
    }

    #[test]
    fn near_names_are_found() {
        assert_eq!(near("gpus", &["gpu", "node", "metric"]), Some("gpu"));
        assert_eq!(near("metrics", &["gpu", "node", "metric"]), Some("metric"));
        assert_eq!(near("allocation", &["gpu", "node"]), None);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
