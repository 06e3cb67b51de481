//! How busy real GPUs are: quantiles that the simulated jobs draw their levels from.
//!
//! Each table holds 11 values: the 50th, 55th, ... 100th percentile of a trace, that is the
//! busy half of a cluster (the other half idles or starts up; the schedule makes that part).
//!
//! Sources:
//! - AcmeTrace, cluster Kalos, `util_pkl` quantiles (Hu et al., NSDI '24; CC-BY 4.0): GPU power
//!   as a share of the A100's 400 W, memory in use, and two of the activity columns.
//! - MLPerf Training v4.0 node power of Sustainable Metal Cloud's H100 nodes (MLCommons;
//!   Apache-2.0): how deep steps and checkpoints dip below the level of a job.

/// Power at full activity, thousandths of the power limit; the last steps are capped by it.
pub(super) const POWER: [i64; 11] = [370, 590, 760, 810, 890, 930, 970, 990, 1_000, 1_030, 1_060];
/// Cycles with a warp resident, parts per million (`util_gpu_kalos_full`, pair 3).
pub(super) const SM_ACTIVE: [i64; 11] = [
    330_060, 553_390, 650_920, 693_830, 712_420, 728_310, 768_700, 786_500, 913_340, 940_580,
    990_490,
];
/// Cycles of the tensor pipe, parts per million (`util_gpu_kalos_full`, pair 4).
pub(super) const TENSOR_ACTIVE: [i64; 11] = [
    92_440, 163_100, 186_280, 195_550, 200_570, 205_430, 215_530, 221_570, 250_220, 327_660,
    503_460,
];
/// Frame buffer in use, parts per million (`util_gpu_kalos`, pair 2).
pub(super) const MEMORY: [i64; 11] = [
    753_270, 767_800, 769_260, 770_480, 772_050, 773_780, 776_880, 788_820, 880_960, 934_530,
    979_000,
];
/// Idle power in milliwatts, the 0th to the 25th percentile in steps of 2.5 (`gpu_power_kalos`).
pub(super) const IDLE_POWER: [i64; 11] =
    [60_200, 60_900, 61_900, 62_500, 63_000, 63_600, 64_200, 64_800, 65_300, 65_900, 66_400];
/// Level of a training step's boundary, thousandths of the job's level (gpt3 on 64 nodes: 5.7 to
/// 6.5 kW between plateaus of 7.35 kW, over an idle node of 2.1 kW).
pub(super) const STEP_DIP: (i64, i64) = (690, 850);
/// Level while a checkpoint is written (ssd on 8 nodes: 3.2 to 3.6 kW of 6.2 kW).
pub(super) const CHECKPOINT: (i64, i64) = (60, 300);

/// The table's value at an even draw of 64 bits, linear between its points.
pub(super) fn at(table: &[i64; 11], bits: u64) -> i64 {
    let position = u128::from(bits) * 10;
    let (step, part) = ((position >> 64) as usize, (position as u64 >> 40) as i64);
    table[step] + (((table[step + 1] - table[step]) * part) >> 24)
}
