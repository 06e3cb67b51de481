//! Tables about whoever asks: its role, its settings and its cursors. Others are not told of.

use super::Facts;
use super::rows::Rows;
use crate::settings::Shown;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::error::Result;

/// The number of whoever asks, who owns all.
pub(crate) const OWNER: i32 = 10;

fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

pub(super) fn pg_roles(facts: &Facts<'_>) -> Result<RecordBatch> {
    Rows::of(&[facts.settings.user()])
        .text("rolname", |name| *name)
        .same("rolsuper", false)?
        .same("rolinherit", true)?
        .same("rolcreaterole", false)?
        .same("rolcreatedb", false)?
        .same("rolcanlogin", true)?
        .same("rolreplication", false)?
        .same("rolconnlimit", -1)?
        .none("rolpassword", &DataType::Utf8)?
        .none("rolvaliduntil", &time())?
        .same("rolbypassrls", false)?
        .no_list("rolconfig")?
        .same_oid("oid", OWNER)
        .batch()
}

pub(super) fn pg_user(facts: &Facts<'_>) -> Result<RecordBatch> {
    Rows::of(&[facts.settings.user()])
        .text("usename", |name| *name)
        .same_oid("usesysid", OWNER)
        .same("usecreatedb", false)?
        .same("usesuper", false)?
        .same("userepl", false)?
        .same("usebypassrls", false)?
        .none("passwd", &DataType::Utf8)?
        .none("valuntil", &time())?
        .no_list("useconfig")?
        .batch()
}

pub(super) fn pg_cursors(facts: &Facts<'_>) -> Result<RecordBatch> {
    Rows::of(facts.settings.cursors())
        .text("name", |cursor| cursor)
        .none("statement", &DataType::Utf8)?
        .same("is_holdable", false)?
        .same("is_binary", false)?
        .same("is_scrollable", false)?
        .none("creation_time", &time())?
        .batch()
}

pub(super) fn pg_settings(facts: &Facts<'_>) -> Result<RecordBatch> {
    let settings: Vec<Shown> = facts.settings.all();
    Rows::of(&settings)
        .text("name", |shown| &shown.name)
        .text("setting", |shown| &shown.value)
        .none("unit", &DataType::Utf8)?
        .none("category", &DataType::Utf8)?
        .none("short_desc", &DataType::Utf8)?
        .none("extra_desc", &DataType::Utf8)?
        .same("context", "user")?
        .same("vartype", "string")?
        .same("source", "session")?
        .none("min_val", &DataType::Utf8)?
        .none("max_val", &DataType::Utf8)?
        .no_list("enumvals")?
        .none("boot_val", &DataType::Utf8)?
        .text("reset_val", |shown| &shown.value)
        .none("sourcefile", &DataType::Utf8)?
        .none("sourceline", &DataType::Int32)?
        .same("pending_restart", false)?
        .batch()
}
