//! Randomness that can be asked for in any order: every draw is a hash of what it is about.
//!
//! Integer arithmetic only, so a fleet is the same on every machine.

/// 64 bits in which every bit depends on every bit of `x`.
pub(super) const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// The key of `part` under `key`.
pub(super) const fn derive(key: u64, part: u64) -> u64 {
    mix(key ^ mix(part))
}

/// A series of draws under one key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw(u64);

impl Draw {
    pub(super) const fn new(key: u64) -> Self {
        Self(key)
    }

    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0xD1B5_4A32_D192_ED03);
        mix(self.0)
    }

    /// Even between `low` and `high`, `high` excluded.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = u128::from(low.abs_diff(high));
        low + ((u128::from(self.bits()) * span) >> 64) as i64
    }

    /// True `permille` times in a thousand.
    pub(super) fn chance(&mut self, permille: i64) -> bool {
        self.between(0, 1_000) < permille
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.between(0, from.len() as i64) as usize]
    }
}

/// The four 16-bit noises of a word as signed numbers around 0, scaled to `amplitude`.
pub(super) const fn spread(word: u64, part: u32, amplitude: i64) -> i64 {
    let noise = ((word >> (16 * part)) & 0xFFFF) as i64 - 0x8000;
    (noise * amplitude) >> 15
}
