//! How clients ask the catalog, put into words that DataFusion reads.
//!
//! ```text
//! FROM pg_class                        FROM pg_catalog.pg_class
//! 'gpu'::regclass, c.oid::regclass     regclassin('gpu'), and regclassout(...) where it is shown
//! (SELECT a FROM pg_class c WHERE ..)  (SELECT first_value(a) ..): DataFusion wants to see that a
//!                                      correlated query has one row
//! SELECT f(a) FROM pg_trigger          SELECT NULL FROM pg_trigger, which has never rows: what would
//!                                      be computed of them need not be understood
//! generate_subscripts(a, 1)            unnest(range(1, ...))
//! _pg_expandarray(a)                   unnest(_pg_expandarray(a))
//! a LIKE b ESCAPE '/'                  a LIKE like_escape(b, '/')
//! ```
//! Promises: a statement without any of these is as it was.

mod empty;
mod one_row;

use super::{PG_CATALOG, has};
use crate::catalog::SCHEMA;
use crate::dialect::{call, cast, is_column, usual_name};
use datafusion::functions_aggregate::all_default_aggregate_functions;
use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, CaseWhen, CopySource, DataType, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, LambdaFunction,
    LambdaFunctionParameter, LambdaSyntax, ObjectName, ObjectNamePart, OneOrManyWithParens, Query,
    Select, SelectItem, SetExpr, Statement, Subscript, TableAlias, TableFactor, Value, Visit,
    VisitMut, Visitor, VisitorMut,
};
use empty::{compute_nothing, has_no_rows, without_rows};
use one_row::one_row;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::LazyLock;

/// Types of numbers that stand for names.
const NAMED: [&str; 4] = ["regclass", "regtype", "regnamespace", "regrole"];
/// Types whose values are names here.
const NAMES: [&str; 2] = ["regproc", "regprocedure"];
/// Vectors, whose first place is zero.
const VECTORS: [&str; 4] = ["indkey", "indcollation", "indclass", "indoption"];
static AGGREGATES: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let all = all_default_aggregate_functions();
    let names = all.iter().flat_map(|aggregate| {
        aggregate.aliases().iter().cloned().chain([aggregate.name().to_owned()])
    });
    names.collect()
});

pub(crate) fn rewrite(statement: &mut Statement) {
    let _: ControlFlow<()> = statement.visit(&mut Asking::default());
    if let Some(query) = answered(statement) {
        show_names(&mut query.body, query.order_by.is_some());
    }
}

/// The query whose rows are told.
fn answered(statement: &mut Statement) -> Option<&mut Query> {
    match statement {
        Statement::Query(query) | Statement::Copy { source: CopySource::Query(query), .. } => {
            Some(query)
        }
        Statement::Prepare { statement, .. } => answered(statement),
        Statement::Declare { stmts } => stmts.first_mut()?.for_query.as_deref_mut(),
        _ => None,
    }
}

#[derive(Default)]
struct Asking {
    /// What queries around are called by WITH.
    named: Vec<String>,
}

impl VisitorMut for Asking {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.named.extend(with_names(query));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        if let [ObjectNamePart::Identifier(only)] = &relation.0[..] {
            let name = folded(only);
            if name.starts_with("pg_") && has(&name) && !self.named.contains(&name) {
                relation.0.insert(0, ObjectNamePart::Identifier(Ident::new(PG_CATALOG)));
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let around = self.named.len() - with_names(query).count();
        self.named.truncate(around);
        each_select(&mut query.body);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Cast { expr: of, data_type, .. } => {
                if let Some(other) = of_names(of, data_type) {
                    *expr = other;
                }
            }
            Expr::Function(call) => {
                if let Some(other) = set_of_rows(call) {
                    *expr = other;
                }
            }
            Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
                if let Some(escape) = escape_char.take_if(|escape| escape.value != backslash()) {
                    let escaped = [(**pattern).clone(), Expr::Value(escape)];
                    **pattern = call("like_escape", escaped);
                }
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                match (&**root, &mut access_chain[..]) {
                    (of, [AccessExpr::Subscript(Subscript::Index { index })]) if is_vector(of) => {
                        *index = plus_one(index.clone());
                    }
                    (
                        _,
                        [
                            ..,
                            AccessExpr::Dot(Expr::Identifier(name)),
                            AccessExpr::Subscript(Subscript::Index { index }),
                        ],
                    ) if VECTORS.contains(&name.value.as_str()) => {
                        *index = plus_one(index.clone());
                    }
                    (Expr::Nested(of), [AccessExpr::Dot(Expr::Identifier(field))]) => {
                        *expr = call("get_field", [(**of).clone(), text(&field.value)]);
                    }
                    _ => {}
                }
            }
            Expr::Subquery(query) => match without_rows(query).or_else(|| of_list(query)) {
                Some(other) => *expr = other,
                None => one_row(query),
            },
            Expr::InSubquery { expr: of, subquery, negated } if is_search_path(subquery) => {
                let list = vec![text(SCHEMA)];
                *expr = Expr::InList { expr: of.clone(), list, negated: *negated };
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn with_names(query: &Query) -> impl Iterator<Item = String> {
    let tables = query.with.iter().flat_map(|with| &with.cte_tables);
    tables.map(|table| folded(&table.alias.name))
}

/// A name as it is found: in lower case unless it is quoted.
fn folded(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}

/// The selects of a query, each for itself.
fn each_select(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            if has_no_rows(select) {
                let mut names = HashSet::new();
                select.projection.iter_mut().for_each(|item| compute_nothing(item, &mut names));
            }
            for item in &mut select.projection {
                let _: ControlFlow<()> = item.visit(&mut Counted::default());
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            each_select(left);
            each_select(right);
        }
        _ => {}
    }
}

/// `EXISTS` among the columns asks whether the query's rows are more than none.
#[derive(Default)]
struct Counted {
    /// How many queries are around: what they ask in their filters DataFusion answers.
    depth: usize,
}

impl VisitorMut for Counted {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth == 0
            && let Expr::Exists { subquery, negated } = expr
            && let SetExpr::Select(select) = &mut *subquery.body
            && is_plain(select)
            && subquery.limit_clause.is_none()
            && select.projection.iter().all(is_read)
        {
            let op = if *negated { BinaryOperator::Eq } else { BinaryOperator::Gt };
            let (left, right) = (call("count", [number(1)]), Box::new(number(0)));
            let any = Expr::BinaryOp { left: Box::new(left), op, right };
            select.projection = vec![SelectItem::UnnamedExpr(any)];
            subquery.order_by = None;
            *expr = Expr::Subquery(subquery.clone());
        }
        ControlFlow::Continue(())
    }
}

/// Whether an item is one for each row that is read: no function makes one row, or many, of them.
fn is_read(item: &SelectItem) -> bool {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            is_column(expr) || matches!(expr, Expr::Value(_))
        }
        _ => true,
    }
}

/// The cast to a type of numbers that stand for names, or of such a one to text.
fn of_names(of: &Expr, data_type: &DataType) -> Option<Expr> {
    let name = type_name(data_type);
    if NAMED.contains(&name.as_str()) {
        let of = match of {
            Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => {
                cast(of.clone(), &DataType::Text)
            }
            other => other.clone(),
        };
        return Some(call(&format!("{name}in"), [of]));
    }
    if NAMES.contains(&name.as_str()) {
        return Some(call("regprocin", [of.clone()]));
    }
    if name == "oid" && is_call(of, "regprocin") {
        return Some(call("regprocoid", [of.clone()]));
    }
    let is_text = matches!(data_type, DataType::Text | DataType::Varchar(_)) || name == "text";
    if is_text { shown(of) } else { None }
}

/// Without the schema, in lower case.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Regclass => "regclass".to_owned(),
        DataType::Custom(name, _) => last(name).unwrap_or_default(),
        _ => String::new(),
    }
}

/// The name that a number stands for, where an expression is such a number.
fn shown(expr: &Expr) -> Option<Expr> {
    let Expr::Function(number) = expr else { return None };
    let name = last(&number.name)?;
    let of = NAMED.into_iter().find(|of| name.strip_suffix("in") == Some(of))?;
    Some(call(&format!("{of}out"), [expr.clone()]))
}

/// Numbers that stand for names are shown as these. Where rows are sorted, perhaps by such a number,
/// the name has none that would hide it.
fn show_names(body: &mut SetExpr, sorted: bool) {
    match body {
        SetExpr::Select(select) => select.projection.iter_mut().for_each(|item| match item {
            SelectItem::UnnamedExpr(expr) => {
                if let Some(name) = shown(expr) {
                    let of = number_of(expr).filter(|of| !sorted && is_column(of)).unwrap_or(expr);
                    let alias = Ident::with_quote('"', column_name(of));
                    *item = SelectItem::ExprWithAlias { expr: name, alias };
                }
            }
            SelectItem::ExprWithAlias { expr, .. } => {
                if let Some(name) = shown(expr) {
                    *expr = name;
                }
            }
            _ => {}
        }),
        SetExpr::Query(query) => show_names(&mut query.body, sorted),
        SetExpr::SetOperation { left, right, .. } => {
            show_names(left, sorted);
            show_names(right, sorted);
        }
        _ => {}
    }
}

/// What a function of one argument is given.
fn number_of(expr: &Expr) -> Option<&Expr> {
    let Expr::Function(function) = expr else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(of))] = arguments(function) else {
        return None;
    };
    Some(of)
}

/// What PostgreSQL calls a column without a name.
fn column_name(expr: &Expr) -> String {
    match expr {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => column_name(inner),
        expr if shown(expr).is_some() => usual_name(expr).trim_end_matches("in").to_owned(),
        expr => usual_name(expr),
    }
}

/// A function whose answer is rows.
fn set_of_rows(function: &Function) -> Option<Expr> {
    match (last(&function.name)?.as_str(), arguments(function)) {
        ("_pg_expandarray", _) => Some(call("unnest", [Expr::Function(function.clone())])),
        (
            "generate_subscripts",
            [
                FunctionArg::Unnamed(FunctionArgExpr::Expr(of)),
                FunctionArg::Unnamed(FunctionArgExpr::Expr(dimension)),
            ],
        ) => {
            let length = call("array_length", [of.clone(), dimension.clone()]);
            let length = cast(call("coalesce", [length, number(0)]), &DataType::BigInt(None));
            let places = if is_vector(of) {
                call("range", [number(0), length])
            } else {
                call("range", [number(1), plus_one(length)])
            };
            Some(call("unnest", [places]))
        }
        _ => None,
    }
}

fn is_vector(expr: &Expr) -> bool {
    is_column(expr) && VECTORS.contains(&column_name(expr).as_str())
}

/// Whether a select has as many rows as pass its filter, or one if it aggregates.
fn is_plain(select: &Select) -> bool {
    select.distinct.is_none()
        && select.having.is_none()
        && matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty())
}

/// The name of a table of the catalog.
fn catalog_table(table: &TableFactor) -> Option<String> {
    let TableFactor::Table { name, args: None, .. } = table else { return None };
    let [.., ObjectNamePart::Identifier(schema), ObjectNamePart::Identifier(table)] = &name.0[..]
    else {
        return None;
    };
    (folded(schema) == PG_CATALOG).then(|| folded(table))
}

/// Whether an item has an aggregate at its own level.
fn has_aggregate(item: &SelectItem) -> bool {
    item.visit(&mut Aggregates::default()).is_break()
}

/// Whether it has, or is all columns.
fn aggregates(item: &SelectItem) -> bool {
    let all = matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    all || has_aggregate(item)
}

#[derive(Default)]
struct Aggregates {
    /// How many queries around what is visited are not the one that is asked about.
    depth: usize,
}

impl Visitor for Aggregates {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(call)
                if self.depth == 0
                    && last(&call.name).is_some_and(|name| AGGREGATES.contains(&name)) =>
            {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// `(SELECT array_agg(e) FROM unnest(t.a) AS x)`: each element of a list of the query around put
/// through an expression; NULL where it has none.
fn of_list(query: &Query) -> Option<Expr> {
    let SetExpr::Select(select) = &*query.body else { return None };
    let [SelectItem::UnnamedExpr(Expr::Function(aggregate))] = &select.projection[..] else {
        return None;
    };
    let FunctionArguments::List(of) = &aggregate.args else { return None };
    let ([FunctionArg::Unnamed(FunctionArgExpr::Expr(element))], [from]) =
        (&of.args[..], &select.from[..])
    else {
        return None;
    };
    let plain = last(&aggregate.name)? == "array_agg"
        && of.clauses.is_empty()
        && of.duplicate_treatment.is_none()
        && aggregate.filter.is_none()
        && is_plain(select)
        && select.selection.is_none()
        && from.joins.is_empty();
    let (list, alias) = unnested(&from.relation)?;
    if !plain || !is_column(list) || !alias.columns.is_empty() {
        return None;
    }
    let each = Expr::Lambda(LambdaFunction {
        params: OneOrManyWithParens::One(LambdaFunctionParameter {
            name: alias.name.clone(),
            data_type: None,
        }),
        body: Box::new(element.clone()),
        syntax: LambdaSyntax::Arrow,
    });
    let some = Expr::BinaryOp {
        left: Box::new(call("cardinality", [list.clone()])),
        op: BinaryOperator::Gt,
        right: Box::new(number(0)),
    };
    Some(case(some, call("array_transform", [list.clone(), each]), None))
}

/// The list whose elements are read as a table, and what that is called.
fn unnested(table: &TableFactor) -> Option<(&Expr, &TableAlias)> {
    match table {
        TableFactor::UNNEST { array_exprs, alias, .. } => match &array_exprs[..] {
            [list] => Some((list, alias.as_ref()?)),
            _ => None,
        },
        TableFactor::Table { name, args: Some(args), alias, .. } if last(name)? == "unnest" => {
            match &args.args[..] {
                [FunctionArg::Unnamed(FunctionArgExpr::Expr(list))] => {
                    Some((list, alias.as_ref()?))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn tables(select: &Select) -> impl Iterator<Item = &TableFactor> {
    select.from.iter().flat_map(|from| {
        [&from.relation].into_iter().chain(from.joins.iter().map(|join| &join.relation))
    })
}

/// Grafana's way to ask for the schemas of the search path.
fn is_search_path(query: &Query) -> bool {
    query.to_string().contains("string_to_array(current_setting('search_path')")
}

fn last(name: &ObjectName) -> Option<String> {
    Some(name.0.last()?.as_ident()?.value.to_ascii_lowercase())
}

fn is_call(expr: &Expr, name: &str) -> bool {
    matches!(expr, Expr::Function(call) if last(&call.name).as_deref() == Some(name))
}

fn arguments(function: &Function) -> &[FunctionArg] {
    match &function.args {
        FunctionArguments::List(list) => &list.args,
        _ => &[],
    }
}

fn case(condition: Expr, result: Expr, otherwise: Option<Expr>) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result }],
        else_result: otherwise.map(Box::new),
    }
}

fn backslash() -> Value {
    Value::SingleQuotedString("\\".to_owned())
}

fn text(value: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(value.to_owned()))
}

fn number(value: i32) -> Expr {
    Expr::value(Value::Number(value.to_string(), false))
}

fn plus_one(expr: Expr) -> Expr {
    let one = Box::new(number(1));
    Expr::BinaryOp {
        left: Box::new(Expr::Nested(Box::new(expr))),
        op: BinaryOperator::Plus,
        right: one,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    fn rewritten(sql: &str) -> String {
        let mut statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
        rewrite(&mut statement);
        statement.to_string()
    }

    #[test]
    fn questions_of_the_catalog_are_rewritten() {
        for (sql, want) in [
            ("SELECT 1 FROM pg_class", "SELECT 1 FROM pg_catalog.pg_class"),
            (
                "SELECT c.oid::regclass FROM c",
                "SELECT regclassout(regclassin(c.oid)) AS \"oid\" FROM c",
            ),
            (
                "SELECT c.oid::regclass FROM c ORDER BY c.oid",
                "SELECT regclassout(regclassin(c.oid)) AS \"regclass\" FROM c ORDER BY c.oid",
            ),
            ("SELECT 1 WHERE a = 'b'::regtype", "SELECT 1 WHERE a = regtypein('b')"),
            (
                "SELECT 1 WHERE CAST(a AS REGCLASS)::text = 'b'",
                "SELECT 1 WHERE regclassout(regclassin(a)) = 'b'",
            ),
            (
                "SELECT $1::regclass",
                "SELECT regclassout(regclassin(CAST($1 AS TEXT))) AS \"regclass\"",
            ),
            (
                "SELECT 1 WHERE a = 'pg_catalog.f'::regproc",
                "SELECT 1 WHERE a = regprocin('pg_catalog.f')",
            ),
            ("SELECT (f(a)).b", "SELECT get_field(f(a), 'b')"),
            ("SELECT i.indkey[0], i.other[0]", "SELECT i.indkey[(0) + 1], i.other[0]"),
            (r"SELECT a LIKE b || '%' ESCAPE '/'", "SELECT a LIKE like_escape(b || '%', '/')"),
            (r"SELECT a LIKE b ESCAPE '\'", r"SELECT a LIKE b ESCAPE '\'"),
            (
                "SELECT (SELECT c.a FROM pg_class c WHERE c.oid = t.o AND t.o <> c.b) FROM t",
                "SELECT (SELECT first_value(c.a) FROM pg_catalog.pg_class c WHERE c.oid = t.o AND c.oid <> c.b) FROM t",
            ),
            (
                "SELECT EXISTS (SELECT 1 FROM a WHERE a.b = t.b) FROM t",
                "SELECT (SELECT count(1) > 0 FROM a WHERE a.b = t.b) FROM t",
            ),
            (
                "SELECT a.tgname, f(a), f(a), g($1::INT) FROM pg_trigger a",
                "SELECT a.tgname, NULL AS \"f\", NULL AS \"f_\", CASE WHEN false THEN concat($1::INT) ELSE NULL END AS \"g\" FROM pg_catalog.pg_trigger a",
            ),
            (
                "SELECT unnest(a) FROM pg_constraint k WHERE k.contype = 'f' AND b = c",
                "SELECT NULL AS \"unnest\" FROM pg_catalog.pg_constraint k WHERE k.contype = 'f' AND b = c",
            ),
            ("SELECT (SELECT a + 1 FROM pg_sequence WHERE b = c) FROM t", "SELECT NULL FROM t"),
            ("SELECT 1 FROM PG_CLASS", "SELECT 1 FROM pg_catalog.PG_CLASS"),
            (
                "COPY (SELECT oid::regclass FROM c) TO STDOUT",
                "COPY (SELECT regclassout(regclassin(oid)) AS \"oid\" FROM c) TO STDOUT",
            ),
            (
                "WITH pg_class AS (SELECT 1 FROM pg_am) SELECT 1 FROM pg_class, pg_type",
                "WITH pg_class AS (SELECT 1 FROM pg_catalog.pg_am) SELECT 1 FROM pg_class, pg_catalog.pg_type",
            ),
            (
                "SELECT 1 WHERE quote_ident(table_schema) IN (SELECT trim(s[i]) FROM \
                 generate_series(1, 2) AS i, string_to_array(current_setting('search_path'), ',') s)",
                "SELECT 1 WHERE quote_ident(table_schema) IN ('public')",
            ),
        ] {
            assert_eq!(rewritten(sql), want);
        }
    }

    #[test]
    fn all_else_is_as_it_was() {
        for sql in [
            "SELECT f(t.oid), (SELECT a FROM t WHERE t.b = u.b) FROM t WHERE a LIKE 'b'",
            "SELECT count(*) FROM pg_catalog.pg_trigger",
            "SELECT 1 WHERE a = (SELECT oid FROM pg_catalog.pg_class WHERE relname = 'gpu')",
            "SELECT EXISTS (SELECT unnest(a) FROM t), EXISTS (SELECT last(a, b) FROM t)",
            "SELECT (SELECT max(a) FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.a = t.a)) FROM v",
            "SELECT f(a) FROM t LEFT JOIN pg_catalog.pg_trigger ON true",
            "SELECT f($1) FROM pg_catalog.pg_enum",
            "SELECT a FROM pg_catalog.pg_enum GROUP BY a",
        ] {
            assert_eq!(rewritten(sql), sql);
        }
    }
}
