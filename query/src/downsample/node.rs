//! The aggregate in a logical plan: a leaf that knows its table.

use super::question::{Key, Question};
use super::rule::holds;
use datafusion::common::{DFSchemaRef, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use warpline_storage::TableSnapshot;

/// What a statement asks, and the schema of the answer. Its expressions are its own affair: no
/// rule may rewrite what was checked to be exact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DownsampleNode {
    pub(super) question: Arc<Question>,
    pub(super) schema: DFSchemaRef,
}

impl DownsampleNode {
    pub(crate) fn table(&self) -> &TableSnapshot {
        &self.question.table
    }

    /// The same question to the table in another snapshot; `None` where its buckets do not hold
    /// for the times there.
    pub(crate) fn over(&self, table: &Arc<TableSnapshot>) -> Option<Self> {
        let question = Question { table: Arc::clone(table), ..Question::clone(&self.question) };
        let holds = match question.keys.iter().find(|key| matches!(key, Key::Bucket { .. })) {
            Some(key) => holds(key, table, question.asked),
            None => true,
        };
        let schema = Arc::clone(&self.schema);
        holds.then(|| Self { question: Arc::new(question), schema })
    }
}

impl Hash for DownsampleNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.question.hash(state);
        self.schema.hash(state);
    }
}

impl PartialOrd for DownsampleNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for DownsampleNode {
    fn name(&self) -> &'static str {
        "Downsample"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        Vec::new()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Downsample: {}", self.question)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        if exprs.is_empty() && inputs.is_empty() {
            Ok(self.clone())
        } else {
            internal_err!("a downsample is a leaf without expressions")
        }
    }
}
