//! Samples of one GPU or MIG instance, as lines of the Prometheus text format.

use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::error::NvmlError;
use std::fmt::{Display, Write};

/// What a number of NVML is divided by to become the dictionary's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Plain,
    /// Milliwatts, for watts.
    Thousandths,
}

/// Where samples are written, and the labels of each.
pub(super) struct Samples<'a> {
    page: &'a mut String,
    labels: &'a str,
}

impl<'a> Samples<'a> {
    pub(super) fn new(page: &'a mut String, labels: &'a str) -> Self {
        Self { page, labels }
    }

    pub(super) fn put(&mut self, name: impl Display, value: impl Display) {
        let labels = self.labels;
        writeln!(self.page, "{name}{labels} {value}").expect("a string takes everything");
    }

    pub(super) fn put_if(&mut self, name: impl Display, value: Result<impl Display, NvmlError>) {
        if let Ok(value) = value {
            self.put(name, value);
        }
    }

    pub(super) fn put_watts(&mut self, name: &str, milliwatts: Result<u32, NvmlError>) {
        self.put_if(name, milliwatts.map(|milliwatts| thousandths(milliwatts.into())));
    }

    /// A share of one, with the six decimals that exporters give it.
    pub(super) fn put_ratio(&mut self, name: impl Display, ratio: f64) {
        self.put(name, format_args!("{ratio:.6}"));
    }

    pub(super) fn put_value(&mut self, name: &str, value: &SampleValue, unit: Unit) {
        match (value, unit) {
            (SampleValue::U32(n), Unit::Thousandths) => self.put(name, thousandths((*n).into())),
            (SampleValue::U64(n), Unit::Thousandths) => self.put(name, thousandths(*n)),
            (SampleValue::F64(n), Unit::Thousandths) => self.put(name, n / 1_000.0),
            (SampleValue::I64(n), Unit::Thousandths) => self.put(name, *n as f64 / 1_000.0),
            (SampleValue::U32(n), Unit::Plain) => self.put(name, n),
            (SampleValue::U64(n), Unit::Plain) => self.put(name, n),
            (SampleValue::I64(n), Unit::Plain) => self.put(name, n),
            (SampleValue::F64(n), Unit::Plain) => self.put(name, n),
        }
    }
}

fn thousandths(number: u64) -> String {
    format!("{}.{:03}", number / 1_000, number % 1_000)
}

/// Labels as the format writes them, without empty ones.
pub(super) fn labels<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let pairs = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    let pairs: Vec<String> =
        pairs.map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
