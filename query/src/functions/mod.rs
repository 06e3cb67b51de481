//! Functions of our own in SQL.

mod label;
mod setting;

use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::functions::datetime::date_bin;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionContext;
use std::sync::Arc;

/// Adds `label`, `current_setting` and `time_bucket`, which is `date_bin` by another name.
pub(crate) fn register(context: &SessionContext) -> Result<()> {
    let state = context.state_ref();
    let mut state = state.write();
    let bucket = date_bin().as_ref().clone().with_aliases(["time_bucket"]);
    state.register_udf(Arc::new(bucket))?;
    state.register_udf(Arc::new(ScalarUDF::from(label::Label::new())))?;
    state.register_udf(Arc::new(ScalarUDF::from(setting::CurrentSetting::new())))?;
    Ok(())
}
