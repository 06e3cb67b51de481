//! Functions that look things up in the catalog by their names and numbers.
//!
//! ```text
//! 'gpu'::regclass   regclassin('gpu')     its number, or an error
//! oid::regclass     regclassout(oid)      its name as the search path needs it, where it is shown
//! to_regclass(t)                          its number, or NULL
//! ```
//! The same for types, schemas and roles; and what PostgreSQL tells of a relation by its number.

use super::by_row::{ByRow, Call, Returns, number, text};
use crate::catalog::SCHEMA;
use crate::pg_catalog::{
    Directory, Function, OWNER, PG_CATALOG, PgType, Relation, constraint_definition,
    index_definition, namespace, namespace_name, quoted,
};
use arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, plan_datafusion_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::sql::sqlparser::ast::ObjectNamePart;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use std::sync::Arc;

/// Bytes of the longest text that is read as a name.
const MAX_NAME: usize = 1_024;

/// A kind of object that has names and numbers.
struct Objects {
    /// From a name or number to a number, from a number to a name, and where there may be none.
    functions: [&'static str; 3],
    number: fn(&Call<'_>, &str) -> Option<i32>,
    name: fn(&Call<'_>, i32) -> Option<String>,
    unknown: fn(&str) -> DataFusionError,
}

const OBJECTS: [Objects; 4] = [
    Objects {
        functions: ["regclassin", "regclassout", "to_regclass"],
        number: |call, name| relation_named(call, name).map(|relation| relation.oid),
        name: |call, oid| relation(call, oid).map(|relation| shown(call, relation)),
        unknown: no_relation,
    },
    Objects {
        functions: ["regtypein", "regtypeout", "to_regtype"],
        number: |_, name| PgType::named(name).map(|of| of.oid),
        name: |_, oid| PgType::of_oid(oid).map(PgType::sql_name),
        unknown: |name| plan_datafusion_err!("type \"{name}\" does not exist"),
    },
    Objects {
        functions: ["regnamespacein", "regnamespaceout", "to_regnamespace"],
        number: |_, name| parts(name).pop().and_then(|name| namespace(&name)),
        name: |_, oid| namespace_name(oid).map(quoted),
        unknown: |name| plan_datafusion_err!("schema \"{name}\" does not exist"),
    },
    Objects {
        functions: ["regrolein", "regroleout", "to_regrole"],
        number: |call, name| {
            parts(name).pop().filter(|name| name == call.settings.user()).map(|_| OWNER)
        },
        name: |call, oid| (oid == OWNER).then(|| quoted(call.settings.user())),
        unknown: |name| plan_datafusion_err!("role \"{name}\" does not exist"),
    },
];

pub(super) fn all(directory: &Arc<Directory>) -> Vec<ByRow> {
    let mut all = Vec::new();
    for Objects { functions: [into, out, perhaps], number: by_name, name, unknown } in OBJECTS {
        let known = move |call: &Call<'_>, values: &[ScalarValue]| {
            let given = values.first().and_then(text)?;
            number(&ScalarValue::from(given)).map(|oid| oid as i32).or_else(|| by_name(call, given))
        };
        all.push(ByRow::new(
            into,
            Returns::Oid,
            move |call, values| match (known(call, values), values.first().and_then(text)) {
                (None, Some(name)) => Err(unknown(name)),
                (oid, _) => {
                    let given = values.first().and_then(number).map(|oid| oid as i32);
                    Ok(ScalarValue::Int32(oid.or(given)))
                }
            },
            directory,
        ));
        let perhaps_known = move |call: &Call<'_>, values: &[ScalarValue]| {
            Ok(ScalarValue::Int32(known(call, values)))
        };
        all.push(ByRow::new(perhaps, Returns::Oid, perhaps_known, directory));
        let told = move |call: &Call<'_>, values: &[ScalarValue]| {
            let oid = oid(values);
            Ok(ScalarValue::from(match oid {
                0 => "-".to_owned(),
                oid => name(call, oid).unwrap_or_else(|| oid.to_string()),
            }))
        };
        all.push(ByRow::new(out, Returns::Text, told, directory));
    }
    all.extend(of_relations(directory));
    all.extend(of_functions(directory));
    all.extend(of_session(directory));
    all
}

fn no_relation(name: &str) -> DataFusionError {
    plan_datafusion_err!("relation \"{name}\" does not exist")
}

/// The relation of a number, where there is one, or of a name.
fn relation_given<'a>(call: &'a Call<'_>, values: &[ScalarValue]) -> Result<Option<&'a Relation>> {
    match values.first().and_then(text) {
        Some(name) if name.parse::<i32>().is_err() => {
            relation_named(call, name).map(Some).ok_or_else(|| no_relation(name))
        }
        _ => Ok(relation(call, oid(values))),
    }
}

/// What is told of a relation by its number or name; NULL where none has the number.
fn of_relations(directory: &Arc<Directory>) -> impl Iterator<Item = ByRow> {
    type Tell = fn(&Call<'_>, &Relation, &[ScalarValue]) -> ScalarValue;
    let all: [(&str, Returns, Tell); 7] = [
        ("pg_table_is_visible", Returns::Flag, |call, relation, _| {
            is_visible(call, relation).into()
        }),
        ("pg_table_size", Returns::Number, |_, relation, _| bytes(relation)),
        ("pg_relation_size", Returns::Number, |_, relation, _| bytes(relation)),
        ("pg_total_relation_size", Returns::Number, |_, relation, _| bytes(relation)),
        ("pg_indexes_size", Returns::Number, |_, _, _| 0_i64.into()),
        ("pg_get_indexdef", Returns::Text, |call, index, values| {
            index_definition(call.relations(), index, values.get(1).and_then(number)).into()
        }),
        ("pg_get_constraintdef", Returns::Text, |call, key, _| {
            constraint_definition(call.relations(), key).into()
        }),
    ];
    all.into_iter().map(|(name, returns, tell)| {
        let answer =
            move |call: &Call<'_>, values: &[ScalarValue]| match relation_given(call, values)? {
                Some(relation) => Ok(tell(call, relation, values)),
                None => ScalarValue::try_from(returns.data_type()),
            };
        ByRow::new(name, returns, answer, directory)
    })
}

/// What is told of a function by its number, and what a name of one is.
fn of_functions(directory: &Arc<Directory>) -> [ByRow; 6] {
    fn told(
        tell: fn(&Function) -> String,
    ) -> impl Fn(&Call<'_>, &[ScalarValue]) -> Result<ScalarValue> + Send + Sync {
        move |call, values| {
            let oid = oid(values);
            let mut all = call.functions().iter();
            Ok(ScalarValue::Utf8(all.find(|function| function.oid == oid).map(tell)))
        }
    }
    let named = |_: &Call<'_>, values: &[ScalarValue]| {
        Ok(ScalarValue::Utf8(values.first().and_then(text).and_then(|name| parts(name).pop())))
    };
    let number = |call: &Call<'_>, values: &[ScalarValue]| {
        let name = values.first().and_then(text).unwrap_or_default();
        let known = call.functions().iter().find(|function| function.name == name);
        let oid = known.map(|function| ScalarValue::from(function.oid));
        oid.ok_or_else(|| plan_datafusion_err!("function \"{name}\" does not exist"))
    };
    let built_in = |_: &Call<'_>, _: &[ScalarValue]| {
        plan_err!("functions are built in and have no definition: docs/sql.md describes them")
    };
    let new = |name, answer| ByRow::new(name, Returns::Text, answer, directory);
    [
        new("pg_get_function_arguments", told(Function::arguments)),
        new("pg_get_function_identity_arguments", told(Function::arguments)),
        new("pg_get_function_result", told(Function::result)),
        ByRow::new("pg_get_functiondef", Returns::Text, built_in, directory),
        ByRow::new("regprocin", Returns::Text, named, directory),
        ByRow::new("regprocoid", Returns::Oid, number, directory),
    ]
}

/// What depends on whoever asks, and on the search path.
fn of_session(directory: &Arc<Directory>) -> impl Iterator<Item = ByRow> {
    type Tell = fn(&Call<'_>, &[ScalarValue]) -> ScalarValue;
    let privilege: Tell = |_, values| is_allowed(values).into();
    let all: [(&str, Returns, Tell); 11] = [
        ("pg_type_is_visible", Returns::Flag, |_, values| {
            let of = PgType::of_oid(oid(values));
            of.is_some_and(|of| namespace_name(of.namespace) == Some(PG_CATALOG)).into()
        }),
        ("pg_get_userbyid", Returns::Text, |call, values| match oid(values) {
            OWNER => call.settings.user().into(),
            other => format!("unknown (OID={other})").into(),
        }),
        ("current_schema", Returns::Text, |call, _| schema(call).into()),
        ("current_schemas", Returns::Texts, |call, values| {
            let implicit = matches!(values, [ScalarValue::Boolean(Some(true))]);
            let path = implicit.then_some(PG_CATALOG).into_iter().chain([schema(call)]);
            let path: Vec<ScalarValue> = path.map(ScalarValue::from).collect();
            ScalarValue::List(ScalarValue::new_list_nullable(&path, &DataType::Utf8))
        }),
        ("pg_database_size", Returns::Number, |call, _| {
            let files = call.relations().iter().map(|relation| relation.bytes).sum::<u64>();
            files.cast_signed().into()
        }),
        ("has_any_column_privilege", Returns::Flag, privilege),
        ("has_column_privilege", Returns::Flag, privilege),
        ("has_database_privilege", Returns::Flag, privilege),
        ("has_function_privilege", Returns::Flag, privilege),
        ("has_schema_privilege", Returns::Flag, privilege),
        ("has_table_privilege", Returns::Flag, privilege),
    ];
    let answer = |tell: Tell| move |call: &Call<'_>, values: &[ScalarValue]| Ok(tell(call, values));
    all.into_iter()
        .map(move |(name, returns, tell)| ByRow::new(name, returns, answer(tell), directory))
}

/// Whoever is connected may read all and change nothing.
fn is_allowed(values: &[ScalarValue]) -> bool {
    let asked = values.last().and_then(text).unwrap_or_default().to_ascii_uppercase();
    let held = ["CONNECT", "EXECUTE", "SELECT", "USAGE"];
    asked.split(',').any(|privilege| held.contains(&privilege.trim()))
}

fn oid(values: &[ScalarValue]) -> i32 {
    values.first().and_then(number).unwrap_or_default() as i32
}

fn bytes(relation: &Relation) -> ScalarValue {
    relation.bytes.cast_signed().into()
}

/// The schema of names without one; those of the catalog go before.
fn schema(call: &Call<'_>) -> &'static str {
    call.settings.schema().unwrap_or(SCHEMA)
}

fn relation<'a>(call: &'a Call<'_>, oid: i32) -> Option<&'a Relation> {
    call.relations().iter().find(|relation| relation.oid == oid).map(|found| &**found)
}

/// The relation that a text names, as SQL would.
fn relation_named<'a>(call: &'a Call<'_>, name: &str) -> Option<&'a Relation> {
    match &parts(name)[..] {
        [name] => reached(call, name),
        [.., schema, name] => in_schema(call, schema, name),
        [] => None,
    }
}

/// The relation that a name without a schema means.
fn reached<'a>(call: &'a Call<'_>, name: &str) -> Option<&'a Relation> {
    in_schema(call, PG_CATALOG, name).or_else(|| in_schema(call, schema(call), name))
}

fn in_schema<'a>(call: &'a Call<'_>, schema: &str, name: &str) -> Option<&'a Relation> {
    call.relations().iter().find(|relation| relation.is(schema, name)).map(|found| &**found)
}

/// The parts of a name, in lower case where they are not quoted.
fn parts(name: &str) -> Vec<String> {
    let read = |name| {
        let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(name).ok()?;
        let parts = parser.parse_object_name(false).ok()?.0;
        (parser.peek_token().token == Token::EOF).then_some(parts)
    };
    let parts = if name.len() > MAX_NAME { None } else { read(name) }.unwrap_or_default();
    let parts = parts.iter().filter_map(ObjectNamePart::as_ident);
    let folded = parts.map(|part| match part.quote_style {
        Some(_) => part.value.clone(),
        None => part.value.to_lowercase(),
    });
    folded.collect()
}

/// Whether it is what its name means without a schema.
fn is_visible(call: &Call<'_>, relation: &Relation) -> bool {
    reached(call, &relation.name).is_some_and(|found| found.oid == relation.oid)
}

fn shown(call: &Call<'_>, relation: &Relation) -> String {
    let name = quoted(&relation.name);
    if is_visible(call, relation) { name } else { format!("{}.{name}", quoted(relation.schema)) }
}
