//! The schema `system`: what the server knows of itself, as tables.
//!
//! ```text
//! metrics   what /metrics tells, a row a sample
//! tables    what there is to ask, and how much of it
//! files     the data files that make up the tables
//! ```
//! Promises: a table is read when its scan begins and not before, so that a plan that is kept shows
//! what is true when it runs.

use crate::catalog::Source;
use crate::metrics::{QueryCounts, QueryMetrics};
use arrow::array::{
    ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use std::fmt;
use std::sync::Arc;
use warpline_storage::{DataFile, FileKind, Level, Snapshot};

/// The schema's name.
pub const SYSTEM: &str = "system";

/// One number that the server tells of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    pub name: String,
    /// JSON with sorted keys, as in the table `metric`; empty where there is none.
    pub labels: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    pub help: &'static str,
    pub value: f64,
}

/// What a server tells of itself, given what its engine counted.
pub type MetricSource = Arc<dyn Fn(&QueryCounts) -> Vec<Metric> + Send + Sync>;

/// The schema over a store and a server.
#[derive(Clone)]
pub(crate) struct SystemSchema {
    pub snapshots: Source,
    pub counted: Arc<QueryMetrics>,
    pub metrics: MetricSource,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Metrics,
    Tables,
    Files,
}

const CONTENTS: [(&str, Content); 3] =
    [("metrics", Content::Metrics), ("tables", Content::Tables), ("files", Content::Files)];

impl fmt::Debug for SystemSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemSchema")
    }
}

#[async_trait]
impl SchemaProvider for SystemSchema {
    fn table_names(&self) -> Vec<String> {
        CONTENTS.map(|(name, _)| name.to_owned()).to_vec()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let found = CONTENTS.iter().find(|(own, _)| *own == name);
        Ok(found.map(|(_, content)| {
            let (content, schema) = (*content, content.schema());
            Arc::new(SystemTable { of: self.clone(), content, schema }) as _
        }))
    }

    fn table_exist(&self, name: &str) -> bool {
        CONTENTS.iter().any(|(own, _)| *own == name)
    }
}

#[derive(Clone, Debug)]
struct SystemTable {
    of: SystemSchema,
    content: Content,
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for SystemTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows: Arc<dyn PartitionStream> = Arc::new(self.clone());
        let schema = Arc::clone(&self.schema);
        let plan = StreamingTableExec::try_new(schema, vec![rows], projection, None, false, limit)?;
        Ok(Arc::new(plan))
    }
}

impl PartitionStream for SystemTable {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let columns = match self.content {
            Content::Metrics => metrics(&(self.of.metrics)(&self.of.counted.counts())),
            Content::Tables => tables(&(self.of.snapshots)()),
            Content::Files => files(&(self.of.snapshots)()),
        };
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns);
        let rows = futures::stream::iter([batch.map_err(Into::into)]);
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}

impl Content {
    fn schema(self) -> SchemaRef {
        let (text, whole) = (DataType::Utf8, DataType::Int64);
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let columns = match self {
            Self::Metrics => vec![
                ("name", text.clone()),
                ("labels", text.clone()),
                ("kind", text.clone()),
                ("value", DataType::Float64),
                ("help", text),
            ],
            Self::Tables => vec![
                ("table", text.clone()),
                ("version", whole.clone()),
                ("identity", text.clone()),
                ("attributes", text),
                ("fields", whole.clone()),
                ("files", whole.clone()),
                ("rows", whole.clone()),
                ("bytes", whole),
                ("first_time", time.clone()),
                ("last_time", time),
            ],
            Self::Files => vec![
                ("table", text.clone()),
                ("path", text.clone()),
                ("date", DataType::Date32),
                ("level", text.clone()),
                ("kind", text),
                ("version", whole.clone()),
                ("rows", whole.clone()),
                ("bytes", whole),
                ("first_time", time.clone()),
                ("last_time", time),
            ],
        };
        let field = |(name, kind): (&str, DataType)| Field::new(name, kind, true);
        Arc::new(Schema::new(columns.into_iter().map(field).collect::<Vec<_>>()))
    }
}

fn metrics(metrics: &[Metric]) -> Vec<ArrayRef> {
    vec![
        text(metrics.iter().map(|metric| &*metric.name)),
        text(metrics.iter().map(|metric| &*metric.labels)),
        text(metrics.iter().map(|metric| metric.kind)),
        Arc::new(metrics.iter().map(|metric| metric.value).collect::<Float64Array>()),
        text(metrics.iter().map(|metric| metric.help)),
    ]
}

/// Rows, bytes and times are those of files: what is buffered comes on top.
fn tables(snapshot: &Snapshot) -> Vec<ArrayRef> {
    let tables: Vec<_> = snapshot.tables().collect();
    let of_files = |sum: fn(&DataFile) -> u64| {
        whole(tables.iter().map(|table| table.files.iter().map(|file| sum(file)).sum()))
    };
    let first = |files: &[Arc<DataFile>]| files.iter().map(|file| file.times.first).min();
    let last = |files: &[Arc<DataFile>]| files.iter().map(|file| file.times.last).max();
    vec![
        text(tables.iter().map(|table| &*table.schema.table)),
        whole(tables.iter().map(|table| table.version)),
        text(tables.iter().map(|table| table.schema.identity.join(","))),
        text(tables.iter().map(|table| table.schema.attributes.join(","))),
        whole(tables.iter().map(|table| table.schema.fields.len() as u64)),
        whole(tables.iter().map(|table| table.files.len() as u64)),
        of_files(|file| file.rows),
        of_files(|file| file.bytes),
        times(tables.iter().map(|table| first(&table.files))),
        times(tables.iter().map(|table| last(&table.files))),
    ]
}

fn files(snapshot: &Snapshot) -> Vec<ArrayRef> {
    let all =
        || snapshot.tables().flat_map(|table| table.files.iter().map(|file| (&table.schema, file)));
    let level = |file: &DataFile| match file.level {
        Level::Flush => "flush",
        Level::Hour => "hour",
        Level::Day => "day",
    };
    let kind = |file: &DataFile| match file.kind {
        FileKind::Monotone => "monotone",
        FileKind::Late => "late",
    };
    let epoch = chrono::NaiveDate::default();
    let days = all().map(|(_, file)| (file.date - epoch).num_days() as i32);
    vec![
        text(all().map(|(schema, _)| &*schema.table)),
        text(all().map(|(_, file)| file.path.as_ref())),
        Arc::new(days.map(Some).collect::<Date32Array>()),
        text(all().map(|(_, file)| level(file))),
        text(all().map(|(_, file)| kind(file))),
        whole(all().map(|(_, file)| file.order.version)),
        whole(all().map(|(_, file)| file.rows)),
        whole(all().map(|(_, file)| file.bytes)),
        times(all().map(|(_, file)| Some(file.times.first))),
        times(all().map(|(_, file)| Some(file.times.last))),
    ]
}

fn text<T: AsRef<str>>(values: impl Iterator<Item = T>) -> ArrayRef {
    Arc::new(values.map(Some).collect::<StringArray>())
}

fn whole(values: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(values.map(|value| Some(value.cast_signed())).collect::<Int64Array>())
}

fn times(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}
