//! Decides by name and labels which table a series belongs to and what it is about there.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use warpline_storage::model::{Column, MAX_NAME_BYTES, MAX_TAG_BYTES};

use super::Origin;
use crate::dictionary::{Dictionary, Role};

/// Labels of things inside or beside a GPU: a GPU has several of them, so their samples cannot
/// share its row.
const PARTS: [&str; 4] = ["nvlink", "nvswitch", "cpu", "cpucore"];
/// Labels that name the machine; the last where there is a GPU alone: elsewhere it may be a node of
/// memory.
const HOST: [&str; 3] = ["Hostname", "hostname", "node"];
/// Labels that are part of the identity, and columns that table `gpu` has anyway.
const NAMING: [&str; 5] = ["cluster", "gpu", "GPU_I_ID", "Hostname", "hostname"];
const TAKEN: [&str; 5] = ["time", "date", "cluster", "node", "gpu"];

/// Where a series goes, by names.
pub(crate) enum Found {
    Gpu(AboutGpu),
    Metric(AboutMetric),
}

pub(crate) struct AboutGpu {
    /// cluster, node, gpu
    pub(crate) identity: [Arc<str>; 3],
    pub(crate) attributes: Attributes,
    pub(crate) column: Column,
}

pub(crate) struct AboutMetric {
    pub(crate) cluster: Arc<str>,
    pub(crate) node: Arc<str>,
    /// JSON with sorted keys.
    pub(crate) labels: Arc<str>,
}

/// Labels as attribute columns and their values.
pub(crate) type Attributes = Vec<(Arc<str>, Arc<str>)>;

type Labels<'a> = BTreeMap<Cow<'a, str>, Cow<'a, str>>;

/// Looks at a series: its metric's name and its other labels.
pub(crate) fn find<'a>(
    metric: &str,
    labels: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    dictionary: &Dictionary,
    origin: &Origin,
) -> Result<Found, String> {
    let mut labels = collect(labels)?;
    let cluster = label_or(&labels, &["cluster"], &origin.cluster);
    let host = if labels.contains_key("gpu") { &HOST[..] } else { &HOST[..2] };
    let node = label_or(&labels, host, &node_of(&labels, origin));
    let part = PARTS.iter().any(|part| labels.contains_key(*part));
    if let (Some(gpu), false) = (labels.get("gpu"), part)
        && let Some(field) = dictionary.lookup(metric)
        && let Role::Field(field_type) = field.role
    {
        let gpu: Arc<str> = match labels.get("GPU_I_ID") {
            Some(instance) => format!("{gpu}/{instance}").into(),
            None => (&**gpu).into(),
        };
        check_length("the gpu", &gpu)?;
        if !HOST[..2].iter().any(|name| labels.contains_key(*name)) {
            labels.remove("node");
        }
        let column = Column { name: field.column.clone(), field_type };
        let attributes = attributes(&labels, dictionary)?;
        return Ok(Found::Gpu(AboutGpu { identity: [cluster, node, gpu], attributes, column }));
    }
    if let Some(instance) = &origin.instance {
        labels.entry("instance".into()).or_insert(Cow::Borrowed(&**instance));
    }
    let labels: Arc<str> =
        serde_json::to_string(&labels).map_err(|error| error.to_string())?.into();
    check_length("the labels", &labels)?;
    check_length("the name", metric)?;
    Ok(Found::Metric(AboutMetric { cluster, node, labels }))
}

/// The labels that have a value: to Prometheus an empty label is an absent one.
fn collect<'a>(
    pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
) -> Result<Labels<'a>, String> {
    let mut labels = Labels::new();
    for (name, value) in pairs {
        check_length("a label", &value)?;
        if let Some(twice) = labels.insert(name.clone(), value) {
            return Err(format!("the label {name:?} is given twice, once as {twice:?}"));
        }
    }
    labels.retain(|_, value| !value.is_empty());
    Ok(labels)
}

fn label_or(labels: &Labels<'_>, names: &[&str], default: &Arc<str>) -> Arc<str> {
    let label = names.iter().find_map(|name| labels.get(*name));
    label.map_or_else(|| default.clone(), |value| (&**value).into())
}

/// The node of samples that do not name it.
fn node_of(labels: &Labels<'_>, origin: &Origin) -> Arc<str> {
    match labels.get("instance") {
        Some(instance) if origin.node.is_empty() => host_of(instance).into(),
        _ => origin.node.clone(),
    }
}

/// `gpu-7` of `gpu-7:9400`, `::1` of `[::1]:9400`.
fn host_of(instance: &str) -> &str {
    if let Some((host, _)) = instance.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return host;
    }
    match instance.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => {
            host
        }
        _ => instance,
    }
}

fn attributes(labels: &Labels<'_>, dictionary: &Dictionary) -> Result<Attributes, String> {
    let rest = labels.iter().filter(|(name, _)| !NAMING.contains(&&***name));
    rest.map(|(name, value)| Ok((attribute(name, dictionary)?, (&**value).into()))).collect()
}

/// The attribute column of a label: the dictionary's, or the label's name made a column's name.
fn attribute(label: &str, dictionary: &Dictionary) -> Result<Arc<str>, String> {
    if let Some(field) = dictionary.lookup(label)
        && field.role == Role::Tag
    {
        return Ok(field.column.clone());
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let name: String = label.chars().map(plain).collect();
    let field = dictionary.column(&name).is_some_and(|field| field.role != Role::Tag);
    let bad = field || TAKEN.contains(&&*name) || name.starts_with(|c: char| c.is_ascii_digit());
    let name = if bad { format!("label_{name}") } else { name };
    if name.len() > MAX_NAME_BYTES {
        return Err(format!(
            "a label's name has {} bytes; a column's may have {MAX_NAME_BYTES}",
            name.len()
        ));
    }
    Ok(name.into())
}

pub(crate) fn check_length(what: &str, text: &str) -> Result<(), String> {
    if text.len() <= MAX_TAG_BYTES {
        return Ok(());
    }
    Err(format!("{what} of {} bytes is longer than the limit of {MAX_TAG_BYTES}", text.len()))
}
