//! `pg_proc`: the functions that can be called, as they are registered.

use super::rows::Rows;
use super::{Facts, OWNER, PG_CATALOG, PgType, namespace};
use crate::catalog::SCHEMA;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Signature, Volatility};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Numbers of functions; PostgreSQL's own are below, and so are those of relations.
const FIRST: i32 = 100_000_000;
/// The language `internal`.
const INTERNAL: i32 = 12;
/// The type `any`.
const ANY: i32 = 2_276;
/// Of a function that takes more kinds of arguments, so many are listed.
const MAX_KINDS: usize = 16;

/// A row of `pg_proc`.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) oid: i32,
    pub(crate) name: String,
    /// Whether it is the server's own, and none that PostgreSQL or its kin have.
    own: bool,
    kind: Kind,
    volatility: Volatility,
    arguments: Vec<i32>,
    /// Whether it takes any more.
    variadic: bool,
    result: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Aggregate,
    Window,
    Table,
}

impl Function {
    /// As SQL writes them.
    pub(crate) fn arguments(&self) -> String {
        let names = self.arguments.iter().map(|oid| type_name(*oid));
        let any = self.variadic.then(|| "VARIADIC \"any\"".to_owned());
        names.chain(any).collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn result(&self) -> String {
        let set = if self.kind == Kind::Table { "SETOF " } else { "" };
        format!("{set}{}", type_name(self.result))
    }

    fn schema(&self) -> &'static str {
        if self.own { SCHEMA } else { PG_CATALOG }
    }
}

fn type_name(oid: i32) -> String {
    match oid {
        ANY => "\"any\"".to_owned(),
        oid => PgType::of_oid(oid).map(PgType::sql_name).unwrap_or_default(),
    }
}

/// The functions of a state, in the order of their names; `own` are the server's.
pub(crate) fn listed(state: &SessionState, own: &BTreeSet<String>) -> Vec<Function> {
    let mut all = Vec::new();
    for (name, of) in state.scalar_functions() {
        let result = |types: &[DataType]| of.return_type(types);
        all.extend(kinds(name, Kind::Plain, of.signature(), result));
    }
    for (name, of) in state.aggregate_functions() {
        let result = |types: &[DataType]| of.return_type(types);
        all.extend(kinds(name, Kind::Aggregate, of.signature(), result));
    }
    for (name, of) in state.window_functions() {
        let unknown = |_: &[DataType]| Ok(DataType::Null);
        all.extend(kinds(name, Kind::Window, of.signature(), unknown));
    }
    let any = Signature::variadic_any(Volatility::Volatile);
    for name in state.table_functions().keys() {
        all.extend(kinds(name, Kind::Table, &any, |_| Ok(DataType::Null)));
    }
    all.sort_by(|one, other| (&one.name, &one.arguments).cmp(&(&other.name, &other.arguments)));
    for (oid, function) in (FIRST..).zip(&mut all) {
        function.oid = oid;
        function.own = own.contains(&function.name);
    }
    all
}

/// A function as often as it takes other types.
fn kinds(
    name: &str,
    kind: Kind,
    signature: &Signature,
    result: impl Fn(&[DataType]) -> Result<DataType>,
) -> Vec<Function> {
    let function = |arguments: Vec<i32>, variadic: bool, result: i32| Function {
        oid: 0,
        name: name.to_owned(),
        own: false,
        kind,
        volatility: signature.volatility,
        arguments,
        variadic,
        result,
    };
    let mut kinds: Vec<Function> = Vec::new();
    for types in signature.type_signature.get_example_types() {
        let arguments: Vec<i32> = types.iter().map(oid).collect();
        let known = kinds.iter().any(|kind| kind.arguments == arguments);
        if !known && kinds.len() < MAX_KINDS {
            kinds.push(function(arguments, false, result(&types).map_or(ANY, |of| oid(&of))));
        }
    }
    if kinds.is_empty() {
        kinds.push(function(Vec::new(), true, ANY));
    }
    kinds
}

fn oid(data_type: &DataType) -> i32 {
    match data_type {
        DataType::Null => ANY,
        other => PgType::of(&Arc::new(Field::new("", other.clone(), true))).oid,
    }
}

pub(super) fn pg_proc(facts: &Facts<'_>) -> Result<RecordBatch> {
    let count = |function: &Function| ScalarValue::from(function.arguments.len() as i16);
    let texts = DataType::new_list(DataType::Utf8, true);
    let oids = DataType::new_list(DataType::Int32, true);
    Rows::of(facts.functions)
        .oid("oid", |function| function.oid)
        .text("proname", |function| &function.name)
        .oid("pronamespace", |function| namespace(function.schema()).unwrap_or_default())
        .same_oid("proowner", OWNER)
        .same_oid("prolang", INTERNAL)
        .same("procost", 1.0_f32)?
        .same("prorows", 0.0_f32)?
        .oid("provariadic", |function| if function.variadic { ANY } else { 0 })
        .same("prosupport", "-")?
        .text("prokind", |function| match function.kind {
            Kind::Plain | Kind::Table => "f",
            Kind::Aggregate => "a",
            Kind::Window => "w",
        })
        .same("prosecdef", false)?
        .same("proleakproof", false)?
        .same("proisstrict", false)?
        .flag("proretset", |function| function.kind == Kind::Table)
        .text("provolatile", |function| match function.volatility {
            Volatility::Immutable => "i",
            Volatility::Stable => "s",
            Volatility::Volatile => "v",
        })
        .same("proparallel", "s")?
        .value("pronargs", &ScalarValue::Int16(None), count)?
        .same("pronargdefaults", 0_i16)?
        .oid("prorettype", |function| function.result)
        .text("proargtypes", |function| vector(&function.arguments))
        .none("proallargtypes", &oids)?
        .none("proargmodes", &texts)?
        .none("proargnames", &texts)?
        .none("proargdefaults", &DataType::Utf8)?
        .none("protrftypes", &oids)?
        .text("prosrc", |function| &function.name)
        .none("probin", &DataType::Utf8)?
        .none("prosqlbody", &DataType::Utf8)?
        .no_list("proconfig")?
        .no_list("proacl")?
        .batch()
}

/// As PostgreSQL writes a vector, which is no array.
fn vector(oids: &[i32]) -> String {
    oids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
