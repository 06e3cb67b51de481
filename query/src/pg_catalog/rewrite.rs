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

use super::{PG_CATALOG, has};
use crate::catalog::SCHEMA;
use crate::dialect::call;
use datafusion::functions_aggregate::all_default_aggregate_functions;
use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, ArrayElemTypeDef, BinaryOperator, CaseWhen, CastKind, DataType, Expr, Function,
    FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, JoinOperator,
    LambdaFunction, LambdaFunctionParameter, LambdaSyntax, LimitClause, ObjectName, ObjectNamePart,
    OneOrManyWithParens, Query, Select, SelectItem, SetExpr, Statement, Subscript, TableAlias,
    TableFactor, TableWithJoins, Value, Visit, VisitMut, Visitor, VisitorMut,
};
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::LazyLock;

/// Types of numbers that stand for names.
const NAMED: [&str; 4] = ["regclass", "regtype", "regnamespace", "regrole"];
/// Types whose values are names here.
const NAMES: [&str; 2] = ["regproc", "regprocedure"];
/// Vectors, whose first place is zero.
const VECTORS: [&str; 4] = ["indkey", "indcollation", "indclass", "indoption"];
/// Tables of the catalog that have never rows.
const EMPTY: [&str; 19] = [
    "pg_attrdef",
    "pg_enum",
    "pg_event_trigger",
    "pg_extension",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_foreign_table",
    "pg_inherits",
    "pg_partitioned_table",
    "pg_policy",
    "pg_publication",
    "pg_publication_namespace",
    "pg_publication_rel",
    "pg_sequence",
    "pg_statistic_ext",
    "pg_subscription",
    "pg_subscription_rel",
    "pg_trigger",
    "pg_user_mapping",
];

static AGGREGATES: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let all = all_default_aggregate_functions();
    let names = all.iter().flat_map(|aggregate| {
        aggregate.aliases().iter().cloned().chain([aggregate.name().to_owned()])
    });
    names.collect()
});

pub(crate) fn rewrite(statement: &mut Statement) {
    let _: ControlFlow<()> = statement.visit(&mut Asking);
    if let Statement::Query(query) = statement {
        show_names(&mut query.body, query.order_by.is_some());
    }
}

struct Asking;

impl VisitorMut for Asking {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        if let [ObjectNamePart::Identifier(only)] = &relation.0[..]
            && only.value.starts_with("pg_")
            && has(&only.value)
        {
            relation.0.insert(0, ObjectNamePart::Identifier(Ident::new(PG_CATALOG)));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        each_select(&mut query.body);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Cast { expr: of, data_type, .. } => {
                if let Some(other) = cast(of, data_type) {
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

/// The selects of a query, each for itself.
fn each_select(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            if has_no_rows(select) {
                let mut names = HashSet::new();
                select.projection.iter_mut().for_each(|item| compute_nothing(item, &mut names));
            }
            for item in &mut select.projection {
                let _: ControlFlow<()> = item.visit(&mut Counted);
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
struct Counted;

impl VisitorMut for Counted {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Exists { subquery, negated } = expr
            && let SetExpr::Select(select) = &mut *subquery.body
            && is_plain(select)
            && subquery.limit_clause.is_none()
            && !select.projection.iter().any(has_aggregate)
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

/// The cast to a type of numbers that stand for names, or of such a one to text.
fn cast(of: &Expr, data_type: &DataType) -> Option<Expr> {
    let name = type_name(data_type);
    if NAMED.contains(&name.as_str()) {
        let of = match of {
            Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => {
                as_type(of.clone(), DataType::Text)
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
        Expr::Identifier(name) => name.value.clone(),
        Expr::CompoundIdentifier(names) => {
            names.last().map_or_else(String::new, |n| n.value.clone())
        }
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => column_name(inner),
        Expr::Function(call) => {
            let name = last(&call.name).unwrap_or_default();
            if shown(expr).is_some() { name.trim_end_matches("in").to_owned() } else { name }
        }
        Expr::Case { .. } => "case".to_owned(),
        _ => "?column?".to_owned(),
    }
}

fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
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
            let length = as_type(call("coalesce", [length, number(0)]), DataType::BigInt(None));
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

/// Whether a select reads a table that has never rows, in a way that leaves it none.
fn has_no_rows(select: &Select) -> bool {
    is_plain(select)
        && (select.from.iter().any(is_empty) || is_of_foreign_keys(select))
        && !select.projection.iter().any(aggregates)
}

fn is_empty(from: &TableWithJoins) -> bool {
    let mut empty = is_empty_table(&from.relation);
    for join in &from.joins {
        empty = match &join.join_operator {
            JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_) => {
                empty || is_empty_table(&join.relation)
            }
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => empty,
            _ => return false,
        };
    }
    empty
}

fn is_empty_table(table: &TableFactor) -> bool {
    catalog_table(table).is_some_and(|name| EMPTY.contains(&name.as_str()))
}

/// The name of a table of the catalog.
fn catalog_table(table: &TableFactor) -> Option<String> {
    let TableFactor::Table { name, args: None, .. } = table else { return None };
    let [.., ObjectNamePart::Identifier(schema), ObjectNamePart::Identifier(table)] = &name.0[..]
    else {
        return None;
    };
    (schema.value == PG_CATALOG).then(|| table.value.clone())
}

/// Whether it asks for foreign keys, of which there are none.
fn is_of_foreign_keys(select: &Select) -> bool {
    select.selection.as_ref().is_some_and(is_foreign_key)
        && tables(select).any(|table| catalog_table(table).as_deref() == Some("pg_constraint"))
}

fn is_foreign_key(filter: &Expr) -> bool {
    match filter {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            is_foreign_key(left) || is_foreign_key(right)
        }
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            is_column(left) && column_name(left) == "contype" && **right == text("f")
        }
        Expr::Nested(inner) => is_foreign_key(inner),
        _ => false,
    }
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

/// NULL in place of what would be computed of no rows, under names that differ.
fn compute_nothing(item: &mut SelectItem, names: &mut HashSet<String>) {
    let (expr, mut name) = match item {
        SelectItem::UnnamedExpr(expr) if !is_column(expr) => (&*expr, column_name(expr)),
        SelectItem::ExprWithAlias { expr, alias } if !is_column(expr) => {
            (&*expr, alias.value.clone())
        }
        _ => return,
    };
    if let Some(nothing) = nothing(expr) {
        while !names.insert(name.clone()) {
            name.push('_');
        }
        *item = SelectItem::ExprWithAlias { expr: nothing, alias: Ident::with_quote('"', name) };
    }
}

/// What stands for a query of a table that has never rows.
fn without_rows(query: &Query) -> Option<Expr> {
    let SetExpr::Select(select) = &*query.body else { return None };
    let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] =
        &select.projection[..]
    else {
        return None;
    };
    if is_call(item, "array_agg") && is_plain(select) && select.from.iter().any(is_empty) {
        let element = ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), None);
        return Some(as_type(nothing(query)?, DataType::Array(element)));
    }
    if has_no_rows(select) { nothing(query) } else { None }
}

/// NULL that has the parameters of what it stands for, with their types.
fn nothing(of: &impl Visit) -> Option<Expr> {
    let mut parameters = Parameters::default();
    if of.visit(&mut parameters).is_break() {
        return None;
    }
    let null = Expr::value(Value::Null);
    if parameters.typed.is_empty() {
        return Some(null);
    }
    let never = Expr::value(Value::Boolean(false));
    Some(case(never, call("concat", parameters.typed), Some(null)))
}

/// Parameters with their casts; it stops at one without.
#[derive(Default)]
struct Parameters {
    typed: Vec<Expr>,
    in_cast: bool,
}

impl Visitor for Parameters {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let is_parameter = |expr: &Expr| matches!(expr, Expr::Value(value) if matches!(value.value, Value::Placeholder(_)));
        match expr {
            Expr::Cast { expr: of, .. } if is_parameter(of) => {
                self.typed.push(expr.clone());
                self.in_cast = true;
            }
            parameter if is_parameter(parameter) && !self.in_cast => return ControlFlow::Break(()),
            _ => self.in_cast = false,
        }
        ControlFlow::Continue(())
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

/// A query over tables of the catalog that stands for a value says that it has one row.
fn one_row(query: &mut Query) {
    let SetExpr::Select(select) = &mut *query.body else { return };
    let all_of_catalog =
        !select.from.is_empty() && tables(select).all(|table| catalog_table(table).is_some());
    let offset = match &query.limit_clause {
        Some(LimitClause::LimitOffset { offset, .. }) => offset.is_some(),
        Some(_) => true,
        None => false,
    };
    if !all_of_catalog || !is_plain(select) || query.order_by.is_some() || offset {
        return;
    }
    inner_only(select);
    let [item] = &mut select.projection[..] else { return };
    if aggregates(item) {
        return;
    }
    if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
        *expr = call("first_value", [expr.clone()]);
        query.limit_clause = None;
    }
}

fn tables(select: &Select) -> impl Iterator<Item = &TableFactor> {
    select.from.iter().flat_map(|from| {
        [&from.relation].into_iter().chain(from.joins.iter().map(|join| &join.relation))
    })
}

/// Where a filter says that a column of the query around equals one of its own, the other parts say
/// the same of its own: DataFusion follows equalities alone.
fn inner_only(select: &mut Select) {
    let own: Vec<String> = tables(select).filter_map(table_alias).collect();
    let is_own = |expr: &Expr| match expr {
        Expr::CompoundIdentifier(names) => own.contains(&names[0].value),
        _ => false,
    };
    let Some(filter) = &mut select.selection else { return };
    let mut equal = Vec::new();
    equalities(filter, &mut |left, right| match (is_own(left), is_own(right)) {
        (true, false) if is_column(right) => equal.push((right.clone(), left.clone())),
        (false, true) if is_column(left) => equal.push((left.clone(), right.clone())),
        _ => {}
    });
    let _: ControlFlow<()> = filter.visit(&mut Inner { equal });
}

fn table_alias(table: &TableFactor) -> Option<String> {
    let TableFactor::Table { name, alias, .. } = table else { return None };
    match alias {
        Some(alias) => Some(alias.name.value.clone()),
        None => Some(name.0.last()?.as_ident()?.value.clone()),
    }
}

fn equalities(filter: &Expr, found: &mut impl FnMut(&Expr, &Expr)) {
    match filter {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            equalities(left, found);
            equalities(right, found);
        }
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => found(left, right),
        _ => {}
    }
}

/// Puts columns of the query itself in place of those that equal them.
struct Inner {
    equal: Vec<(Expr, Expr)>,
}

impl VisitorMut for Inner {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::BinaryOp { left, op: BinaryOperator::NotEq, right } = expr {
            for side in [left, right] {
                let other = self.equal.iter().find(|(outer, _)| *outer == **side);
                if let Some((_, inner)) = other {
                    **side = inner.clone();
                }
            }
        }
        ControlFlow::Continue(())
    }
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

fn as_type(expr: Expr, data_type: DataType) -> Expr {
    let (kind, expr) = (CastKind::Cast, Box::new(expr));
    Expr::Cast { kind, expr, data_type, array: false, format: None }
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
            "SELECT f(a) FROM t LEFT JOIN pg_catalog.pg_trigger ON true",
            "SELECT f($1) FROM pg_catalog.pg_enum",
            "SELECT a FROM pg_catalog.pg_enum GROUP BY a",
        ] {
            assert_eq!(rewritten(sql), sql);
        }
    }
}
