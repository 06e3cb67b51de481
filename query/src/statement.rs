//! One statement over one snapshot: read, checked, planned.

use crate::budget::share;
use crate::catalog::{CATALOG, SCHEMA};
use crate::dialect;
use crate::error::{QueryError, QueryErrorKind};
use crate::functions::check_integers;
use crate::named::Named;
use crate::pg_catalog;
use crate::plans::Plans;
use crate::reader::Reader;
use arrow::datatypes::SchemaRef;
use datafusion::common::ParamValues;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::context::SQLOptions;
use datafusion::execution::{SessionState, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::{self, Visit, Visitor};
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use warpline_storage::Snapshot;

/// A longer statement is refused.
pub(crate) const MAX_BYTES: usize = 1 << 20;
/// And one of more words and signs, literals and commas not counted.
const MAX_WORDS: usize = 4_000;
/// And one of more signs of arithmetic: a column is named by all of its expression, at each of them.
const MAX_SIGNS: usize = 1_000;
const SIGNS: [Token; 6] =
    [Token::Plus, Token::Minus, Token::Mul, Token::Div, Token::Mod, Token::StringConcat];
/// The greatest number of a parameter, as PostgreSQL's protocol has it.
const MAX_PARAMETERS: usize = 65_535;
/// And one that reads more relations.
const MAX_RELATIONS: u64 = 500;

/// Reads a text that must hold exactly one statement.
pub(crate) fn parse_one(reader: &Reader, sql: &str) -> Result<ast::Statement, QueryError> {
    let mut statements = parse(reader, sql)?;
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
pub(crate) fn parse(reader: &Reader, sql: &str) -> Result<Vec<ast::Statement>, QueryError> {
    if sql.len() > MAX_BYTES {
        return Err(too_large(format!("a statement has at most {MAX_BYTES} bytes")));
    }
    let words = Reader::words(sql).map_err(|error| syntax(&error))?;
    check_words(&words)?;
    let mut statements = reader.read(words).map_err(|error| {
        if changes_something(sql) {
            read_only(sql.split_whitespace().next().unwrap_or_default())
        } else {
            syntax(&error)
        }
    })?;
    statements.iter_mut().try_for_each(dialect::rewrite)?;
    statements.iter_mut().for_each(pg_catalog::rewrite);
    statements.iter().try_for_each(check_relations)?;
    Ok(statements)
}

fn syntax(error: &ParserError) -> QueryError {
    QueryError::new(QueryErrorKind::Syntax, error.to_string())
}

/// What a text is refused for before it is read: operators and brackets in a row become a tree as
/// deep as they are many, which is walked by recursion. Literals and commas do not.
fn check_words(words: &[TokenWithSpan]) -> Result<(), QueryError> {
    let counts = |word: &&TokenWithSpan| {
        !matches!(
            word.token,
            Token::Whitespace(_) | Token::Comma | Token::Number(..) | Token::SingleQuotedString(_)
        )
    };
    if let Some(far) = words.iter().find(|word| is_far_parameter(&word.token)) {
        let text = format!("{}: parameters have numbers up to {MAX_PARAMETERS}", far.token);
        return Err(too_large(text));
    }
    let many = words.iter().filter(counts).count();
    let signs = words.iter().filter(|word| SIGNS.contains(&word.token)).count();
    if signs > MAX_SIGNS {
        let text =
            format!("a statement has at most {MAX_SIGNS} signs of arithmetic, this one {signs}");
        return Err(too_large(text));
    }
    if many <= MAX_WORDS {
        return Ok(());
    }
    Err(too_large(format!(
        "a statement has at most {MAX_WORDS} words and signs besides literals and commas, and this \
         one has {many}: write IN (...), or join a list of VALUES"
    )))
}

/// Whether it is a parameter that no client can send: each below its number would be typed.
fn is_far_parameter(token: &Token) -> bool {
    let Token::Placeholder(name) = token else { return false };
    let number = name.trim_start_matches('$');
    let is_number = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    is_number && number.parse().ok().is_none_or(|number: usize| number > MAX_PARAMETERS)
}

/// What would be planned of a statement: each relation as often as it is read, those of a WITH
/// query wherever it is named.
fn check_relations(statement: &ast::Statement) -> Result<(), QueryError> {
    let mut counted = Relations::default();
    let _: ControlFlow<()> = statement.visit(&mut counted);
    if counted.most <= MAX_RELATIONS {
        return Ok(());
    }
    Err(too_large(format!(
        "a statement reads at most {MAX_RELATIONS} relations, those of WITH wherever it is named"
    )))
}

fn too_large(text: String) -> QueryError {
    QueryError::new(QueryErrorKind::TooLarge, text)
}

#[derive(Default)]
struct Relations {
    /// Of the queries that are being visited, outer ones first.
    open: Vec<u64>,
    /// WITH queries that are to be visited, by where they are, and what is known of those that were.
    named: HashMap<*const ast::Query, String>,
    known: HashMap<String, u64>,
    most: u64,
}

impl Visitor for Relations {
    type Break = ();

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        for with in query.with.iter().flat_map(|with| &with.cte_tables) {
            let name = with.alias.name.value.to_ascii_lowercase();
            self.named.insert(std::ptr::from_ref(&*with.query), name);
        }
        self.open.push(0);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        let own = self.open.pop().unwrap_or_default().max(1);
        self.most = self.most.max(own);
        match (self.named.remove(&std::ptr::from_ref(query)), self.open.last_mut()) {
            (Some(name), _) => {
                self.known.entry(name).and_modify(|known| *known = own.max(*known)).or_insert(own);
            }
            (None, Some(outer)) => *outer = outer.saturating_add(own),
            (None, None) => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ast::ObjectName) -> ControlFlow<()> {
        let name = relation.to_string().trim_matches('"').to_ascii_lowercase();
        let reads = self.known.get(&name).copied().unwrap_or(1);
        if let Some(open) = self.open.last_mut() {
            *open = open.saturating_add(reads);
        }
        ControlFlow::Continue(())
    }
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

/// The columns of a plan's answer.
pub(crate) fn columns(plan: &LogicalPlan) -> SchemaRef {
    dialect::shown(Arc::new(plan.schema().as_arrow().clone()))
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
        let written = Box::pin(self.logical(parse()?)).await?;
        let optimized = self.optimize(&written)?;
        if let Some(plans) = &self.plans {
            plans.keep(sql, &written, &optimized);
        }
        self.run_by(&optimized).await
    }

    /// The plan as written, checked to only read.
    pub(crate) async fn logical(&self, parsed: ast::Statement) -> Result<LogicalPlan, QueryError> {
        check_reads(&parsed)?;
        self.named.read(&parsed);
        let mut plan = self.planned(&parsed).await;
        if plan.as_ref().is_err_and(dialect::is_twice) {
            let mut apart = parsed.clone();
            if dialect::tell_apart(&mut apart) {
                plan = self.planned(&apart).await;
            }
        }
        if plan.is_err() && self.named.widen() {
            plan = self.planned(&parsed).await;
        }
        let plan = plan.map_err(|error| self.explained(error))?;
        let reads = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        reads.verify_plan(&plan).map_err(|_| read_only("a statement inside the query"))?;
        Ok(plan)
    }

    async fn planned(&self, parsed: &ast::Statement) -> DataFusionResult<LogicalPlan> {
        let statement = DataFusionStatement::Statement(Box::new(parsed.clone()));
        Box::pin(self.state.statement_to_plan(statement)).await
    }

    pub(crate) async fn physical(&self, plan: LogicalPlan) -> Result<Plan, QueryError> {
        let plan = self.optimize(&plan)?;
        self.run_by(&plan).await
    }

    fn optimize(&self, plan: &LogicalPlan) -> Result<LogicalPlan, QueryError> {
        let optimized = self.state.optimize(plan).and_then(check_integers);
        optimized.map_err(|error| self.explained(error))
    }

    async fn run_by(&self, optimized: &LogicalPlan) -> Result<Plan, QueryError> {
        let planner = self.state.query_planner();
        let physical = planner.create_physical_plan(optimized, &self.state).await;
        let physical = physical.map_err(|error| self.explained(error))?;
        let schema = dialect::shown(physical.schema());
        Ok(Plan { schema, physical, context: Arc::new(self.task()) })
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
        let text = error.to_string();
        let named = text.strip_prefix("table '").and_then(|text| text.strip_suffix("' not found"));
        let (QueryErrorKind::UnknownTable, Some(quoted)) = (error.kind(), named) else {
            return error;
        };
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
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    #[test]
    fn words_are_counted_and_literals_are_not() {
        let kind =
            |sql: &str| check_words(&Reader::words(sql).unwrap()).map_err(|error| error.kind());
        let chain = |operator: &str, many: usize| vec!["1"; many + 1].join(operator);
        for operator in ["+", " or ", " IN ", "-", "::a"] {
            assert_eq!(kind(&chain(operator, MAX_SIGNS)), Ok(()));
            let quoted = format!("SELECT 1 AS \"'\" /* ' */, {}", chain(operator, MAX_WORDS + 1));
            assert_eq!(kind(&quoted), Err(QueryErrorKind::TooLarge), "{operator}");
        }
        assert_eq!(kind(&format!("SELECT '{}'", "-".repeat(MAX_WORDS + 1))), Ok(()));
        assert_eq!(kind(&chain(", ", 10 * MAX_WORDS)), Ok(()));
        let long = parse(&Reader::new(), &"x".repeat(MAX_BYTES + 1));
        assert_eq!(long.unwrap_err().kind(), QueryErrorKind::TooLarge);
    }

    #[test]
    fn relations_are_counted_as_often_as_they_are_read() {
        let most = |sql: &str| {
            let statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
            let mut counted = Relations::default();
            let _: ControlFlow<()> = statement.visit(&mut counted);
            counted.most
        };
        assert_eq!(most("SELECT 1"), 1);
        assert_eq!(most("SELECT * FROM a, b JOIN c ON true WHERE x IN (SELECT y FROM d)"), 4);
        let twice =
            "WITH a AS (SELECT 1 FROM t, u), b AS (SELECT 1 FROM a x, a y) SELECT 1 FROM b, A";
        assert_eq!(most(twice), 6);
        let inner =
            "SELECT * FROM (WITH a AS (SELECT 1), b AS (SELECT 1 FROM a, a) SELECT * FROM b, b) c";
        assert_eq!(most(inner), 4);
    }

    #[test]
    fn near_names_are_found() {
        assert_eq!(near("gpus", &["gpu", "node", "metric"]), Some("gpu"));
        assert_eq!(near("metrics", &["gpu", "node", "metric"]), Some("metric"));
        assert_eq!(near("allocation", &["gpu", "node"]), None);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
