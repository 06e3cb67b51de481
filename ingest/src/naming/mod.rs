//! What a sample's name and labels mean, whichever protocol brought it.
//!
//! ```text
//! the field dictionary knows the name, and there is a gpu label   -> table gpu
//!        identity cluster, node, gpu ("0", or "0/3" for MIG instance 3 of it)
//!        all samples of one GPU at one time are one row; other labels are attributes
//! every other sample                                              -> table metric
//!        identity cluster, node, name, labels (JSON with sorted keys); field value (a double);
//!        attributes kind and unit where the sender tells them
//! ```

mod family;
mod gpu;
mod metric;
mod names;
mod place;

pub(crate) use family::family_of;
pub(crate) use gpu::{Columns, GPU_IDENTITY, GPU_TABLE, GpuCell, GpuNames, carry};
pub(crate) use metric::{
    METRIC_ATTRIBUTES, METRIC_IDENTITY, METRIC_TABLE, is_dcgm, metric_column, number_of,
};
pub(crate) use names::{MORE_TAGS, built_in_identity, check_name, cleaned};
pub(crate) use place::{AboutGpu, AboutMetric, Attributes, Found, check_length, find};

use std::sync::Arc;

/// Whom samples are about where their labels do not say so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    pub cluster: Arc<str>,
    /// Where empty, the host in the label `instance`.
    pub node: Arc<str>,
    /// `host:port` of the exporter; `None` where its samples come with that label or from a file.
    /// Exporters of one node tell of themselves under the same names.
    pub instance: Option<Arc<str>>,
}
