//! Labels that a node gives to all its rows, and the jobs that its GPUs run.
//!
//! Blocks do not hold attributes, layouts do; so a layout is dressed and its blocks are as they
//! were. What an exporter said itself stays: only absent attributes are filled in. As in all
//! tables, names differ by more than case.

use crate::exposition::MAX_LABELS;
use hashbrown::HashMap;
use std::sync::Arc;
use warpline_storage::model::{Layout, LayoutError, MAX_TAG_BYTES, Series};

/// The attribute that dcgm-exporter gives to a GPU's job.
const JOB: &str = "hpc_job";
/// Names that tables have for something else.
const TAKEN: [&str; 10] =
    ["time", "date", "cluster", "node", "gpu", "name", "labels", "value", "kind", "unit"];

/// Why a file of labels cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    #[error("line {line}: write name=value")]
    NoValue { line: usize },
    #[error("line {line}: {name:?} cannot be a label: use a letter, then letters, digits and '_'")]
    Name { line: usize, name: String },
    #[error("line {line}: {name:?} is a column of every table: use another name")]
    Taken { line: usize, name: String },
    #[error("line {line}: {name:?} is given twice")]
    Twice { line: usize, name: String },
    #[error("line {line}: more than {MAX_LABELS} labels")]
    Many { line: usize },
    #[error("line {line}: a value of {bytes} bytes is longer than the limit of {MAX_TAG_BYTES}")]
    Long { line: usize, bytes: usize },
}

/// A tag's name and its value.
pub type Label = (Arc<str>, Arc<str>);

/// What rows are labelled with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    all: Vec<Label>,
    /// By index of the GPU.
    jobs: HashMap<String, Arc<str>>,
}

impl Labels {
    /// Reads lines of `name=value`; empty ones and those with `#` in front are passed over.
    pub fn parse(text: &str) -> Result<Vec<Label>, LabelError> {
        let mut all: Vec<Label> = Vec::new();
        for (line, text) in text.lines().enumerate().map(|(at, text)| (at + 1, text.trim())) {
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let (name, value) = text.split_once('=').ok_or(LabelError::NoValue { line })?;
            let (name, value) = (name.trim(), value.trim());
            check(line, name, value)?;
            if all.len() == MAX_LABELS {
                return Err(LabelError::Many { line });
            }
            if all.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                return Err(LabelError::Twice { line, name: name.to_owned() });
            }
            all.push((name.into(), value.into()));
        }
        Ok(all)
    }

    pub fn new(all: Vec<Label>) -> Self {
        Self { all, jobs: HashMap::new() }
    }

    /// Notes what a file of the job-mapping folder says: its name is a GPU's index, each line a job.
    /// Several jobs of a GPU become one label, with commas between. Other names are passed over.
    pub fn add_jobs(&mut self, file: &str, text: &str) {
        if file.is_empty() || !file.bytes().all(|byte| byte.is_ascii_digit()) {
            return;
        }
        let mut jobs = String::new();
        for job in text.lines().map(str::trim).filter(|job| !job.is_empty()) {
            if jobs.len() + job.len() < MAX_TAG_BYTES {
                jobs.extend(if jobs.is_empty() { ["", job] } else { [",", job] });
            }
        }
        if !jobs.is_empty() {
            self.jobs.insert(file.to_owned(), jobs.into());
        }
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.jobs.is_empty()
    }

    /// The layout with these labels among its attributes. Labels that name something else in this
    /// table are left out.
    pub fn dress(&self, layout: &Layout) -> Result<Layout, LayoutError> {
        let gpu = layout.identity_tags().iter().position(|tag| &**tag == "gpu");
        let mut tags = layout.attribute_tags().to_vec();
        let free = |name: &str| {
            let columns = layout.columns().iter().map(|column| &column.name);
            columns.chain(layout.identity_tags()).all(|taken| !taken.eq_ignore_ascii_case(name))
        };
        let job = (!self.jobs.is_empty() && gpu.is_some()).then(|| Arc::from(JOB));
        let names = self.all.iter().map(|(name, _)| name.clone()).chain(job);
        for name in names.filter(|name| free(name)) {
            if !tags.iter().any(|tag| tag.eq_ignore_ascii_case(&name)) {
                tags.push(name);
            }
        }
        let dressed = |series: &Series| {
            let mut attributes = series.attributes.clone();
            attributes.resize(tags.len(), "".into());
            let empty = attributes.iter_mut().zip(&tags).filter(|(value, _)| value.is_empty());
            for (value, name) in empty {
                let index = gpu.map(|gpu| &series.identity[gpu]);
                *value = self.value(name, index.map(|index| &**index));
            }
            Series { identity: series.identity.clone(), attributes }
        };
        let series = layout.series().iter().map(dressed).collect();
        let (identity, columns) = (layout.identity_tags().to_vec(), layout.columns().to_vec());
        Layout::new(layout.table().clone(), identity, tags.clone(), columns, series)
    }

    fn value(&self, name: &str, gpu: Option<&str>) -> Arc<str> {
        // A MIG instance, 0/3, has the job of GPU 0.
        let index = gpu.map(|gpu| gpu.split_once('/').map_or(gpu, |(index, _)| index));
        let is_job = name.eq_ignore_ascii_case(JOB);
        let job = index.filter(|_| is_job).and_then(|index| self.jobs.get(index));
        let label = || self.all.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        job.or_else(|| label().map(|(_, value)| value)).cloned().unwrap_or_else(|| "".into())
    }
}

fn check(line: usize, name: &str, value: &str) -> Result<(), LabelError> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic());
    if !first || !name.chars().all(word) || name.len() > 64 {
        return Err(LabelError::Name { line, name: name.chars().take(80).collect() });
    }
    if TAKEN.iter().any(|taken| taken.eq_ignore_ascii_case(name)) {
        return Err(LabelError::Taken { line, name: name.to_owned() });
    }
    if value.len() > MAX_TAG_BYTES {
        return Err(LabelError::Long { line, bytes: value.len() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use warpline_storage::model::{Column, FieldType};

    fn layout(table: &str) -> Layout {
        let series = |gpu: &str, rack: &str| Series {
            identity: vec!["n1".into(), gpu.into()],
            attributes: vec![rack.into()],
        };
        let series = vec![series("0", ""), series("0/3", "r9"), series("1", "")];
        let columns = vec![Column { name: "power_usage".into(), field_type: FieldType::Int32 }];
        let identity = vec!["node".into(), if table == "gpu" { "gpu" } else { "name" }.into()];
        Layout::new(table, identity, vec!["rack".into()], columns, series).unwrap()
    }

    fn attributes(layout: &Layout) -> Vec<Vec<&str>> {
        let series = layout.series().iter();
        series.map(|one| one.attributes.iter().map(|value| &**value).collect()).collect()
    }

    #[test]
    fn rows_get_the_labels_that_they_lack() {
        let all = Labels::parse("# where\nrack = r1\n\nsite=x=y\npower_usage=no\n").unwrap();
        let mut labels = Labels::new(all);
        labels.add_jobs("0", "17\n\n 18 \n");
        labels.add_jobs("notes", "99");
        let dressed = labels.dress(&layout("gpu")).unwrap();
        let names: Vec<_> = dressed.attribute_tags().iter().map(|name| &**name).collect();
        assert_eq!(names, ["rack", "site", "hpc_job"]);
        assert_eq!(
            attributes(&dressed),
            [["r1", "x=y", "17,18"], ["r9", "x=y", "17,18"], ["r1", "x=y", ""]]
        );
        let dressed = labels.dress(&layout("metric")).unwrap();
        assert_eq!(attributes(&dressed), [["r1", "x=y"], ["r9", "x=y"], ["r1", "x=y"]]);
    }

    #[test]
    fn bad_labels_are_refused_with_their_line() {
        let refused = |text: &str| Labels::parse(text).unwrap_err();
        assert_eq!(refused("a=1\nb"), LabelError::NoValue { line: 2 });
        assert!(matches!(refused("1a=1"), LabelError::Name { line: 1, .. }));
        assert!(matches!(refused("=1"), LabelError::Name { line: 1, .. }));
        assert!(matches!(refused("node=1"), LabelError::Taken { line: 1, .. }));
        assert!(matches!(refused("DATE=1"), LabelError::Taken { line: 1, .. }));
        assert!(matches!(refused("a=1\na=2"), LabelError::Twice { line: 2, .. }));
        assert!(matches!(refused("a=1\nA=2"), LabelError::Twice { line: 2, .. }));
        let long = format!("a={}", "x".repeat(MAX_TAG_BYTES + 1));
        assert!(matches!(refused(&long), LabelError::Long { line: 1, bytes: 4_097 }));
        let many = (0..200).map(|n| format!("l{n}=x\n")).collect::<Vec<_>>().concat();
        assert_eq!(refused(&many), LabelError::Many { line: 129 });
    }

    #[test]
    fn labels_in_other_letters_name_the_same() {
        let all = Labels::parse("Rack=r1\nPOWER_USAGE=no\nGpu_1=x\nHPC_JOB=own").unwrap();
        let mut labels = Labels::new(all);
        labels.add_jobs("0", "17");
        let dressed = labels.dress(&layout("gpu")).unwrap();
        let names: Vec<_> = dressed.attribute_tags().iter().map(|name| &**name).collect();
        assert_eq!(names, ["rack", "Gpu_1", "HPC_JOB"]);
        assert_eq!(attributes(&dressed)[0], ["r1", "x", "17"]);
        assert_eq!(attributes(&dressed)[2], ["r1", "x", "own"]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "(?s).{0,200}", file in ".{0,4}", jobs in "(?s).{0,80}") {
            let mut labels = Labels::new(Labels::parse(&text).unwrap_or_default());
            labels.add_jobs(&file, &jobs);
            labels.dress(&layout("gpu")).unwrap();
        }
    }
}
