//! How a job's activity runs over its life: start-up, then rounds of steps closed by a pause.
//!
//! ```text
//! 1000 |            __ __ __ __       __ __ __ __
//!      |           |  |  |  | |      |  |  |  | |      steps, each opened by a dip
//!      |           |  |  |  | |______|  |  |  | |___   pause: a checkpoint, or no request
//!    0 |___________|                                   start-up: data and weights load
//! ```
//! Activity is in thousandths, time in microseconds, work (activity over time) their product.
//! All integers, so work never runs backwards and a counter made of it does not either.

use super::noise::{Draw, derive};
use super::quantiles;
use super::schedule::{Job, Kind, MINUTE, SECOND};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rhythm {
    start_up: i64,
    start_up_level: i64,
    round: i64,
    pause: i64,
    pause_level: i64,
    step: i64,
    dip: i64,
    dip_level: i64,
    step_work: i64,
    round_work: i64,
}

const FULL: i64 = 1_000;

impl Rhythm {
    pub(super) fn of(job: &Job) -> Self {
        let draw = &mut Draw::new(derive(job.key, 11));
        match job.kind {
            Kind::Training => Self::training(draw),
            Kind::Inference => Self::inference(draw),
            Kind::Notebook => Self::notebook(draw),
        }
        .with_sums()
    }

    fn training(draw: &mut Draw) -> Self {
        let step = draw.between(2 * SECOND, 40 * SECOND);
        let pause = draw.between(15 * SECOND, 45 * SECOND);
        Self {
            start_up: draw.between(MINUTE, 3 * MINUTE),
            start_up_level: draw.between(20, 120),
            round: draw.between(5 * MINUTE, 20 * MINUTE) + pause,
            pause,
            pause_level: draw.between(quantiles::CHECKPOINT.0, quantiles::CHECKPOINT.1),
            step,
            dip: step * draw.between(60, 160) / 1_000,
            dip_level: draw.between(quantiles::STEP_DIP.0, quantiles::STEP_DIP.1),
            step_work: 0,
            round_work: 0,
        }
    }

    /// Requests come in waves of minutes; now and then none come.
    fn inference(draw: &mut Draw) -> Self {
        let step = draw.between(90 * SECOND, 15 * MINUTE);
        Self {
            start_up: draw.between(20 * SECOND, 90 * SECOND),
            start_up_level: 30,
            round: draw.between(30 * MINUTE, 120 * MINUTE),
            pause: draw.between(10 * SECOND, 4 * MINUTE),
            pause_level: 0,
            step,
            dip: step * draw.between(200, 600) / 1_000,
            dip_level: draw.between(250, 700),
            step_work: 0,
            round_work: 0,
        }
    }

    /// Mostly nothing, with bursts.
    fn notebook(draw: &mut Draw) -> Self {
        let step = draw.between(MINUTE, 10 * MINUTE);
        Self {
            start_up: 10 * SECOND,
            start_up_level: 0,
            round: draw.between(20 * MINUTE, 60 * MINUTE),
            pause: draw.between(5 * MINUTE, 19 * MINUTE),
            pause_level: 0,
            step,
            dip: step * draw.between(800, 960) / 1_000,
            dip_level: 0,
            step_work: 0,
            round_work: 0,
        }
    }

    fn with_sums(mut self) -> Self {
        self.step_work = self.dip * self.dip_level + (self.step - self.dip) * FULL;
        self.round_work = self.steps_work(self.round - self.pause) + self.pause * self.pause_level;
        self
    }

    /// Activity `age` into the job.
    pub(super) fn level(&self, age: i64) -> i64 {
        if age < self.start_up {
            return self.start_up_level;
        }
        let in_round = (age - self.start_up) % self.round;
        if in_round >= self.round - self.pause {
            self.pause_level
        } else if in_round % self.step < self.dip {
            self.dip_level
        } else {
            FULL
        }
    }

    /// Work from the job's start to `age`.
    pub(super) fn work(&self, age: i64) -> i64 {
        if age < self.start_up {
            return age.max(0) * self.start_up_level;
        }
        let age = age - self.start_up;
        let (rounds, in_round) = (age / self.round, age % self.round);
        let steps = self.round - self.pause;
        let paused = (in_round - steps).max(0);
        self.start_up * self.start_up_level
            + rounds * self.round_work
            + self.steps_work(in_round.min(steps))
            + paused * self.pause_level
    }

    fn steps_work(&self, time: i64) -> i64 {
        let (steps, rest) = (time / self.step, time % self.step);
        let dip = rest.min(self.dip);
        steps * self.step_work + dip * self.dip_level + (rest - dip) * FULL
    }

    /// How far start-up has come at `age`, in thousandths: memory fills with it.
    pub(super) fn filled(&self, age: i64) -> i64 {
        if age >= self.start_up { 1_000 } else { age.max(0) * 1_000 / self.start_up }
    }
}
