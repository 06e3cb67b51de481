//! What a GPU's own counters say of a span of time: NVML's GPM, of Hopper and later. These are
//! DCGM's profiling fields and the rates of PCIe and NVLinks.
//!
//! Engines that seldom run and single NVLinks would more than double the columns of a row: they are
//! told at every tenth tick, of all ten. That takes a sample of its own, for a call takes the driver
//! 1.5 to 4 ms however few numbers it is asked for.

use super::MIB;
use super::samples::Samples;
use nvml_wrapper::enums::gpm::GpmMetricId as Id;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::gpm::{GpmSample, gpm_metrics_get};
use nvml_wrapper::struct_wrappers::gpm::GpmMetricResult;
use std::fmt::Display;

/// What GPM tells in percent: of the time, or of the most there can be.
type Share = (Id, &'static str);

/// Multiprocessors, what they do, and memory.
const PIPES: [Share; 12] = [
    (Id::GraphicsUtil, "DCGM_FI_PROF_GR_ENGINE_ACTIVE"),
    (Id::SmUtil, "DCGM_FI_PROF_SM_ACTIVE"),
    (Id::SmOccupancy, "DCGM_FI_PROF_SM_OCCUPANCY"),
    (Id::AnyTensorUtil, "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE"),
    (Id::DramBwUtil, "DCGM_FI_PROF_DRAM_ACTIVE"),
    (Id::Fp64Util, "DCGM_FI_PROF_PIPE_FP64_ACTIVE"),
    (Id::Fp32Util, "DCGM_FI_PROF_PIPE_FP32_ACTIVE"),
    (Id::Fp16Util, "DCGM_FI_PROF_PIPE_FP16_ACTIVE"),
    (Id::ImmaTensorUtil, "DCGM_FI_PROF_PIPE_TENSOR_IMMA_ACTIVE"),
    (Id::HmmaTensorUtil, "DCGM_FI_PROF_PIPE_TENSOR_HMMA_ACTIVE"),
    (Id::DfmaTensorUtil, "DCGM_FI_PROF_PIPE_TENSOR_DFMA_ACTIVE"),
    (Id::IntegerUtil, "DCGM_FI_PROF_PIPE_INT_ACTIVE"),
];

/// Decoders of video and of pictures, and optical flow.
const ENGINES: [Share; 18] = [
    (Id::Nvdec0Util, "DCGM_FI_PROF_NVDEC0_ACTIVE"),
    (Id::Nvdec1Util, "DCGM_FI_PROF_NVDEC1_ACTIVE"),
    (Id::Nvdec2Util, "DCGM_FI_PROF_NVDEC2_ACTIVE"),
    (Id::Nvdec3Util, "DCGM_FI_PROF_NVDEC3_ACTIVE"),
    (Id::Nvdec4Util, "DCGM_FI_PROF_NVDEC4_ACTIVE"),
    (Id::Nvdec5Util, "DCGM_FI_PROF_NVDEC5_ACTIVE"),
    (Id::Nvdec6Util, "DCGM_FI_PROF_NVDEC6_ACTIVE"),
    (Id::Nvdec7Util, "DCGM_FI_PROF_NVDEC7_ACTIVE"),
    (Id::Nvjpg0Util, "DCGM_FI_PROF_NVJPG0_ACTIVE"),
    (Id::Nvjpg1Util, "DCGM_FI_PROF_NVJPG1_ACTIVE"),
    (Id::Nvjpg2Util, "DCGM_FI_PROF_NVJPG2_ACTIVE"),
    (Id::Nvjpg3Util, "DCGM_FI_PROF_NVJPG3_ACTIVE"),
    (Id::Nvjpg4Util, "DCGM_FI_PROF_NVJPG4_ACTIVE"),
    (Id::Nvjpg5Util, "DCGM_FI_PROF_NVJPG5_ACTIVE"),
    (Id::Nvjpg6Util, "DCGM_FI_PROF_NVJPG6_ACTIVE"),
    (Id::Nvjpg7Util, "DCGM_FI_PROF_NVJPG7_ACTIVE"),
    (Id::Nvofa0Util, "DCGM_FI_PROF_NVOFA0_ACTIVE"),
    (Id::Nvofa1Util, "DCGM_FI_PROF_NVOFA1_ACTIVE"),
];

/// What is received and sent over PCIe, and over all NVLinks.
const TOTALS: [Id; 4] =
    [Id::PcieRxPerSec, Id::PcieTxPerSec, Id::NvlinkTotalRxPerSec, Id::NvlinkTotalTxPerSec];

/// A GPU has at most so many NVLinks that GPM can tell apart.
const LINKS: u32 = 18;

type Answer = Result<GpmMetricResult, NvmlError>;

/// One GPU or MIG instance.
#[derive(Debug, Default)]
pub(super) struct Profile {
    tick: Span,
    ten_ticks: Span,
}

/// The time since the last sample.
#[derive(Debug, Default)]
struct Span {
    last: Option<GpmSample<'static>>,
}

/// What is received and sent, in MiB a second, where GPM tells it.
#[derive(Clone, Copy, Debug)]
struct Rate {
    received: Option<f64>,
    sent: Option<f64>,
}

impl Profile {
    /// `take` takes a sample of now.
    pub(super) fn read(
        &mut self,
        take: impl Fn() -> Result<GpmSample<'static>, NvmlError>,
        tenth: bool,
        out: &mut Samples<'_>,
    ) {
        let rates = self.tick.read(take(), &PIPES, &TOTALS, out);
        if let [pcie, all_links] = rates[..] {
            pcie.put("DCGM_FI_PROF_PCIE_", "_BYTES", 1.0, out);
            pcie.put("DCGM_FI_DEV_PCIE_", "_THROUGHPUT", 1e3, out);
            all_links.put("DCGM_FI_PROF_NVLINK_", "_BYTES", 1.0, out);
            all_links.put_bandwidths("TOTAL", out);
        }
        if tenth {
            let links = self.ten_ticks.read(take(), &ENGINES, &links(), out);
            for (link, rate) in links.into_iter().enumerate() {
                rate.put_bandwidths(format_args!("L{link}"), out);
            }
        }
    }
}

impl Span {
    /// Writes the shares and returns the rates, of which `rates` has a pair for each; nothing for
    /// the first sample.
    fn read(
        &mut self,
        sample: Result<GpmSample<'static>, NvmlError>,
        shares: &[Share],
        rates: &[Id],
        out: &mut Samples<'_>,
    ) -> Vec<Rate> {
        let before = std::mem::replace(&mut self.last, sample.ok());
        let (Some(before), Some(now)) = (before, &self.last) else { return Vec::new() };
        let asked: Vec<Id> =
            shares.iter().map(|(id, _)| *id).chain(rates.iter().copied()).collect();
        let Ok(answers) = gpm_metrics_get(now.nvml(), &before, now, &asked) else {
            return Vec::new();
        };
        let (of_shares, of_rates) = answers.split_at(shares.len());
        for ((_, name), share) in shares.iter().zip(of_shares) {
            if let Some(percent) = number(share) {
                out.put_ratio(name, percent / 100.0);
            }
        }
        let rate = |pair: &[Answer]| Rate { received: number(&pair[0]), sent: number(&pair[1]) };
        of_rates.chunks_exact(2).map(rate).collect()
    }
}

impl Rate {
    fn put(self, before: &str, behind: impl Display, unit: f64, out: &mut Samples<'_>) {
        for (way, mib) in [("RX", self.received), ("TX", self.sent)] {
            if let Some(mib) = mib {
                out.put(format_args!("{before}{way}{behind}"), in_units(mib, unit));
            }
        }
    }

    /// Of one link or of all, each way and both together, in megabytes.
    fn put_bandwidths(self, link: impl Display, out: &mut Samples<'_>) {
        self.put("DCGM_FI_DEV_NVLINK_", format_args!("_BANDWIDTH_{link}"), 1e6, out);
        if let (Some(received), Some(sent)) = (self.received, self.sent) {
            let name = format_args!("DCGM_FI_DEV_NVLINK_BANDWIDTH_{link}");
            out.put(name, in_units(received + sent, 1e6));
        }
    }
}

/// GPM's MiB, in units of so many bytes.
fn in_units(mib: f64, unit: f64) -> f64 {
    (mib * MIB as f64 / unit).round()
}

/// What is received and sent over each NVLink.
fn links() -> Vec<Id> {
    let numbers = Id::NvlinkL0RxPerSec.as_c()..;
    numbers.take(2 * LINKS as usize).filter_map(|number| Id::try_from(number).ok()).collect()
}

fn number(answer: &Answer) -> Option<f64> {
    answer.as_ref().ok().map(|metric| metric.value).filter(|value| value.is_finite())
}
