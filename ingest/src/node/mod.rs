//! A machine's own metrics: what Linux tells under `/proc` becomes one row of table `node`.
//!
//! Promises: any text is read without a panic; what is absent or not understood is NULL, and the
//! rest of the row is kept. docs/agent.md lists the columns.

mod memory;
mod processor;
#[cfg(test)]
mod tests;
mod totals;

use bytes::Bytes;
use std::sync::Arc;
use warpline_storage::model::{BlockBuilder, Column, FieldType, Layout, Series, Timestamp};

pub(crate) const NODE_TABLE: &str = "node";
pub(crate) const NODE_IDENTITY: [&str; 2] = ["cluster", "node"];
const SECONDS: FieldType = FieldType::Decimal { digits: 15, decimals: 2 };
const MILLIS: FieldType = FieldType::Decimal { digits: 15, decimals: 3 };
const LOAD: FieldType = FieldType::Decimal { digits: 9, decimals: 2 };

/// Every column and its type, in the order of the table.
const COLUMNS: [(&str, FieldType); 53] = [
    ("cpus", FieldType::Int32),
    ("cpu_user", SECONDS),
    ("cpu_nice", SECONDS),
    ("cpu_system", SECONDS),
    ("cpu_idle", SECONDS),
    ("cpu_iowait", SECONDS),
    ("cpu_irq", SECONDS),
    ("cpu_softirq", SECONDS),
    ("cpu_steal", SECONDS),
    ("cpu_guest", SECONDS),
    ("cpu_guest_nice", SECONDS),
    ("interrupts", FieldType::Int64),
    ("context_switches", FieldType::Int64),
    ("boot_time", FieldType::Int64),
    ("processes_created", FieldType::Int64),
    ("processes_running", FieldType::Int32),
    ("processes_blocked", FieldType::Int32),
    ("load1", LOAD),
    ("load5", LOAD),
    ("load15", LOAD),
    ("memory_total", FieldType::Int64),
    ("memory_free", FieldType::Int64),
    ("memory_available", FieldType::Int64),
    ("memory_buffers", FieldType::Int64),
    ("memory_cached", FieldType::Int64),
    ("memory_anonymous", FieldType::Int64),
    ("memory_mapped", FieldType::Int64),
    ("memory_shared", FieldType::Int64),
    ("memory_slab", FieldType::Int64),
    ("memory_dirty", FieldType::Int64),
    ("memory_writeback", FieldType::Int64),
    ("memory_committed", FieldType::Int64),
    ("memory_locked", FieldType::Int64),
    ("swap_total", FieldType::Int64),
    ("swap_free", FieldType::Int64),
    ("huge_pages_total", FieldType::Int64),
    ("huge_pages_free", FieldType::Int64),
    ("disk_reads", FieldType::Int64),
    ("disk_read_bytes", FieldType::Int64),
    ("disk_read_seconds", MILLIS),
    ("disk_writes", FieldType::Int64),
    ("disk_written_bytes", FieldType::Int64),
    ("disk_write_seconds", MILLIS),
    ("disk_requests_under_way", FieldType::Int32),
    ("disk_busy_seconds", MILLIS),
    ("network_received_bytes", FieldType::Int64),
    ("network_received_packets", FieldType::Int64),
    ("network_receive_errors", FieldType::Int64),
    ("network_receive_drops", FieldType::Int64),
    ("network_sent_bytes", FieldType::Int64),
    ("network_sent_packets", FieldType::Int64),
    ("network_send_errors", FieldType::Int64),
    ("network_send_drops", FieldType::Int64),
];

/// The type of a column of the table.
pub(crate) fn column_type(name: &str) -> Option<FieldType> {
    COLUMNS.iter().find(|(known, _)| *known == name).map(|(_, field_type)| *field_type)
}

/// The files' texts; an empty one is a file that could not be read.
#[derive(Clone, Debug, Default)]
pub struct ProcTexts {
    /// `/proc/stat`, `/proc/loadavg`, `/proc/meminfo`, `/proc/diskstats`, `/proc/net/dev`
    pub stat: String,
    pub loadavg: String,
    pub meminfo: String,
    pub diskstats: String,
    pub net_dev: String,
}

/// A column's name and its stored integer: 1.5 with 2 decimals is 150.
type Values = Vec<(&'static str, i64)>;

/// The rows of one machine.
#[derive(Debug)]
pub struct NodeTable {
    builder: BlockBuilder,
}

impl NodeTable {
    pub fn new(cluster: &str, node: &str) -> Self {
        let column =
            |(name, field_type): (&str, FieldType)| Column { name: name.into(), field_type };
        let series = Series { identity: vec![cluster.into(), node.into()], attributes: vec![] };
        let layout = Layout::new(
            NODE_TABLE,
            NODE_IDENTITY.map(Into::into).to_vec(),
            vec![],
            COLUMNS.map(column).to_vec(),
            vec![series],
        );
        Self { builder: BlockBuilder::new(Arc::new(layout.expect("a layout of fixed names"))) }
    }

    /// One row; `None` where the texts tell nothing.
    pub fn read(&mut self, texts: &ProcTexts, time: Timestamp) -> Option<(Arc<Layout>, Bytes)> {
        let values = values(texts);
        if values.is_empty() {
            return None;
        }
        self.builder.row(0, time);
        for (name, raw) in values {
            let column = COLUMNS.iter().position(|(known, _)| *known == name);
            if let Some(column) = column.filter(|column| COLUMNS[*column].1.holds(raw)) {
                self.builder.set_stored(column, raw);
            }
        }
        Some((self.builder.layout().clone(), self.builder.finish()))
    }
}

fn values(texts: &ProcTexts) -> Values {
    let mut values = processor::read_stat(&texts.stat);
    values.extend(processor::read_loadavg(&texts.loadavg));
    values.extend(memory::read(&texts.meminfo));
    values.extend(totals::read_disks(&texts.diskstats));
    values.extend(totals::read_network(&texts.net_dev));
    values
}
