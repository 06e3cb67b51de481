//! The lanes in pairs of registers of 256 bits.
#![allow(unsafe_code)] // loads, and instructions that `Avx2` proves to be there
#![allow(clippy::wildcard_imports)] // instructions have names nobody else has

use super::{lanes, lowest, with};
use crate::lanes::{Combined, GROUP, Instructions, Lanes, WINDOW};
use crate::value::{Element, NAN, canonical, join};
use std::arch::x86_64::*;

/// AVX2 and instructions for bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

/// Bytes between a row and those asked for while it is read.
const AHEAD: usize = 2048;

impl Avx2 {
    with! {
        "avx2,bmi1,bmi2,lzcnt,popcnt";

        /// The proof, to be had where the instructions are.
        pub(crate) fn new() -> Self {
            Self(())
        }
    }
}

impl Instructions for Avx2 {
    #[inline(always)]
    fn below(self, window: &[i64; WINDOW], bound: i64) -> usize {
        // SAFETY: `self` proves the instructions.
        unsafe { below(window, bound) }
    }

    #[inline(always)]
    fn fetch<T>(self, address: *const T) {
        // SAFETY: `self` proves the instructions.
        unsafe { fetch(address.cast()) }
    }
}

/// A block of rows.
type Pair = [__m256i; 2];

/// Min, max and sum: of small integers in four lanes; of `i64` four lanes modulo 2^64 and four of
/// upper halves; of `f64` in all eight lanes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registers<const SUMS: usize> {
    min: Pair,
    max: Pair,
    sum: [__m256i; SUMS],
}

lanes!(Avx2, i16, 32, Registers<1>, none_i16, block_i16, some_i16, combine_i16);
lanes!(Avx2, i32, 16, Registers<1>, none_i32, block_i32, some_i32, combine_i32);
lanes!(Avx2, i64, 8, Registers<2>, none_i64, block_i64, some_i64, combine_i64);
lanes!(Avx2, f64, 8, Registers<2>, none_f64, block_f64, some_f64, combine_f64);

with! {
    "avx2,bmi1,bmi2,lzcnt,popcnt";

    fn below(window: &[i64; WINDOW], bound: i64) -> usize {
        let ([low, high], bound) = (load(window), _mm256_set1_epi64x(bound));
        let signs = |v| _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(bound, v)));
        (signs(low) | signs(high) << 4).count_ones() as usize
    }

    /// A hint; an address where there is nothing is ignored.
    fn fetch(address: *const i8) {
        _mm_prefetch::<_MM_HINT_T0>(address);
    }

    /// A full block; asks for what follows, because the machine stops at the end of each page.
    fn load<T: Element>(rows: &[T]) -> Pair {
        assert!(size_of_val(rows) >= 64);
        let block = rows.as_ptr().cast::<__m256i>();
        fetch(block.cast::<i8>().wrapping_add(AHEAD));
        // SAFETY: as many bytes as the registers have were found there.
        unsafe { [_mm256_loadu_si256(block), _mm256_loadu_si256(block.add(1))] }
    }

    /// Rows, and zeros up to a full block.
    fn padded<T: Element>(rows: &[T]) -> Pair {
        if size_of_val(rows) == 64 {
            return load(rows);
        }
        let mut block = [T::default(); 32];
        block[..rows.len()].copy_from_slice(rows);
        load(&block)
    }

    /// Lanes of 64 bits that are all ones where set.
    fn mask64(set: u32) -> Pair {
        let bits = |set: u32| {
            let bit = _mm256_setr_epi64x(1, 2, 4, 8);
            _mm256_cmpeq_epi64(_mm256_and_si256(_mm256_set1_epi64x(i64::from(set)), bit), bit)
        };
        [bits(set), bits(set >> 4)]
    }

    /// Lanes of 32 bits that are all ones where set.
    fn mask32(set: u32) -> Pair {
        let bits = |set: u32| {
            let bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
            _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(set as i32), bit), bit)
        };
        [bits(set), bits(set >> 8)]
    }

    /// Lanes of 16 bits that are all ones where set.
    fn mask16(set: u32) -> Pair {
        let bits = |set: u32| {
            let low = _mm_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128);
            let bit = _mm256_setr_m128i(low, _mm_slli_epi16::<8>(low));
            _mm256_cmpeq_epi16(_mm256_and_si256(_mm256_set1_epi16(set as i16), bit), bit)
        };
        [bits(set), bits(set >> 16)]
    }

    /// `v` where the mask is ones, else what takes no part.
    fn or_else(v: __m256i, mask: __m256i, neutral: __m256i) -> __m256i {
        _mm256_blendv_epi8(neutral, v, mask)
    }

    fn min64(a: __m256i, b: __m256i) -> __m256i {
        _mm256_blendv_epi8(a, b, _mm256_cmpgt_epi64(a, b))
    }

    fn max64(a: __m256i, b: __m256i) -> __m256i {
        _mm256_blendv_epi8(b, a, _mm256_cmpgt_epi64(a, b))
    }

    /// Two halves of 32 bits each added to one lane of 64.
    fn add_pairs(sum: __m256i, v: __m256i) -> __m256i {
        let low = _mm256_cvtepi32_epi64(_mm256_castsi256_si128(v));
        let high = _mm256_cvtepi32_epi64(_mm256_extracti128_si256::<1>(v));
        _mm256_add_epi64(sum, _mm256_add_epi64(low, high))
    }

    fn none_i16() -> Registers<1> {
        let (min, max) = (_mm256_set1_epi16(i16::MAX), _mm256_set1_epi16(i16::MIN));
        Registers { min: [min; 2], max: [max; 2], sum: [_mm256_setzero_si256()] }
    }

    fn block_i16(l: &mut Registers<1>, rows: &[i16]) {
        let v = load(rows);
        take_i16(l, v, v, v);
    }

    fn some_i16(l: &mut Registers<1>, rows: &[i16], set: u32) {
        let (v, mask, none) = (padded(rows), mask16(set), none_i16());
        let least = [or_else(v[0], mask[0], none.min[0]), or_else(v[1], mask[1], none.min[1])];
        let most = [or_else(v[0], mask[0], none.max[0]), or_else(v[1], mask[1], none.max[1])];
        take_i16(l, least, most, and(v, mask));
    }

    fn take_i16(l: &mut Registers<1>, least: Pair, most: Pair, v: Pair) {
        for half in 0..2 {
            l.min[half] = _mm256_min_epi16(l.min[half], least[half]);
            l.max[half] = _mm256_max_epi16(l.max[half], most[half]);
            let pairs = _mm256_madd_epi16(v[half], _mm256_set1_epi16(1));
            l.sum[0] = add_pairs(l.sum[0], pairs);
        }
    }

    fn combine_i16(group: &[Registers<1>; GROUP]) -> Combined<i16> {
        let low = |v| _mm256_cvtepi16_epi32(_mm256_castsi256_si128(v));
        let high = |v| _mm256_cvtepi16_epi32(_mm256_extracti128_si256::<1>(v));
        let min = |i: usize| {
            let v = _mm256_min_epi16(group[i].min[0], group[i].min[1]);
            _mm256_min_epi32(low(v), high(v))
        };
        let max = |i: usize| {
            let v = _mm256_max_epi16(group[i].max[0], group[i].max[1]);
            _mm256_max_epi32(low(v), high(v))
        };
        let min = fold8_twice(min, |a, b| _mm256_min_epi32(a, b));
        let max = fold8_twice(max, |a, b| _mm256_max_epi32(a, b));
        Combined {
            min: std::array::from_fn(|i| min[i] as i16),
            max: std::array::from_fn(|i| max[i] as i16),
            sum: fold4_each(|i| group[i].sum[0], |a, b| _mm256_add_epi64(a, b)),
        }
    }

    fn none_i32() -> Registers<1> {
        let (min, max) = (_mm256_set1_epi32(i32::MAX), _mm256_set1_epi32(i32::MIN));
        Registers { min: [min; 2], max: [max; 2], sum: [_mm256_setzero_si256()] }
    }

    fn block_i32(l: &mut Registers<1>, rows: &[i32]) {
        let v = load(rows);
        take_i32(l, v, v, v);
    }

    fn some_i32(l: &mut Registers<1>, rows: &[i32], set: u32) {
        let (v, mask, none) = (padded(rows), mask32(set), none_i32());
        let least = [or_else(v[0], mask[0], none.min[0]), or_else(v[1], mask[1], none.min[1])];
        let most = [or_else(v[0], mask[0], none.max[0]), or_else(v[1], mask[1], none.max[1])];
        take_i32(l, least, most, and(v, mask));
    }

    fn take_i32(l: &mut Registers<1>, least: Pair, most: Pair, v: Pair) {
        for half in 0..2 {
            l.min[half] = _mm256_min_epi32(l.min[half], least[half]);
            l.max[half] = _mm256_max_epi32(l.max[half], most[half]);
            l.sum[0] = add_pairs(l.sum[0], v[half]);
        }
    }

    fn combine_i32(group: &[Registers<1>; GROUP]) -> Combined<i32> {
        let min = |i: usize| _mm256_min_epi32(group[i].min[0], group[i].min[1]);
        let max = |i: usize| _mm256_max_epi32(group[i].max[0], group[i].max[1]);
        Combined {
            min: fold8_twice(min, |a, b| _mm256_min_epi32(a, b)),
            max: fold8_twice(max, |a, b| _mm256_max_epi32(a, b)),
            sum: fold4_each(|i| group[i].sum[0], |a, b| _mm256_add_epi64(a, b)),
        }
    }

    fn none_i64() -> Registers<2> {
        let (min, max) = (_mm256_set1_epi64x(i64::MAX), _mm256_set1_epi64x(i64::MIN));
        Registers { min: [min; 2], max: [max; 2], sum: [_mm256_setzero_si256(); 2] }
    }

    fn block_i64(l: &mut Registers<2>, rows: &[i64]) {
        let v = load(rows);
        take_i64(l, v, v, v);
    }

    fn some_i64(l: &mut Registers<2>, rows: &[i64], set: u32) {
        let (v, mask, none) = (padded(rows), mask64(set), none_i64());
        let least = [or_else(v[0], mask[0], none.min[0]), or_else(v[1], mask[1], none.min[1])];
        let most = [or_else(v[0], mask[0], none.max[0]), or_else(v[1], mask[1], none.max[1])];
        take_i64(l, least, most, and(v, mask));
    }

    /// Sums modulo 2^64, and of the upper halves, whose sign is that of the value.
    fn take_i64(l: &mut Registers<2>, least: Pair, most: Pair, v: Pair) {
        for half in 0..2 {
            l.min[half] = min64(l.min[half], least[half]);
            l.max[half] = max64(l.max[half], most[half]);
            l.sum[0] = _mm256_add_epi64(l.sum[0], v[half]);
            let upper = _mm256_shuffle_epi32::<0b11_11_01_01>(v[half]);
            let sign = _mm256_srai_epi32::<31>(upper);
            l.sum[1] = _mm256_add_epi64(l.sum[1], _mm256_blend_epi32::<0b1010_1010>(upper, sign));
        }
    }

    fn combine_i64(group: &[Registers<2>; GROUP]) -> Combined<i64> {
        let low = fold4_each(|i| group[i].sum[0], |a, b| _mm256_add_epi64(a, b));
        let high = fold4_each(|i| group[i].sum[1], |a, b| _mm256_add_epi64(a, b));
        Combined {
            min: fold4_each(|i| min64(group[i].min[0], group[i].min[1]), |a, b| min64(a, b)),
            max: fold4_each(|i| max64(group[i].max[0], group[i].max[1]), |a, b| max64(a, b)),
            sum: std::array::from_fn(|i| join(low[i] as u64, high[i])),
        }
    }

    fn none_f64() -> Registers<2> {
        let (min, max) = (_mm256_set1_epi64x(NAN), _mm256_set1_epi64x(f64::NEG_INFINITY.key()));
        Registers { min: [min; 2], max: [max; 2], sum: [_mm256_setzero_si256(); 2] }
    }

    fn block_f64(l: &mut Registers<2>, rows: &[f64]) {
        let v = load(rows);
        let keys = [keys(v[0]), keys(v[1])];
        take_f64(l, keys, keys, v);
    }

    fn some_f64(l: &mut Registers<2>, rows: &[f64], set: u32) {
        let (v, mask, none) = (padded(rows), mask64(set), none_f64());
        let keys = [keys(v[0]), keys(v[1])];
        let least = [or_else(keys[0], mask[0], none.min[0]), or_else(keys[1], mask[1], none.min[1])];
        let most = [or_else(keys[0], mask[0], none.max[0]), or_else(keys[1], mask[1], none.max[1])];
        take_f64(l, least, most, and(v, mask));
    }

    /// `v` is 0 where not set, which leaves a sum alone, because it is never -0.0.
    fn take_f64(l: &mut Registers<2>, least: Pair, most: Pair, v: Pair) {
        for half in 0..2 {
            l.min[half] = min64(l.min[half], least[half]);
            l.max[half] = max64(l.max[half], most[half]);
            l.sum[half] = add_floats(l.sum[half], v[half]);
        }
    }

    /// The key of each float.
    fn keys(v: __m256i) -> __m256i {
        let sign = _mm256_cmpgt_epi64(_mm256_setzero_si256(), v);
        let keys = _mm256_xor_si256(v, _mm256_srli_epi64::<1>(sign));
        let v = _mm256_castsi256_pd(v);
        let nan = _mm256_castpd_si256(_mm256_cmp_pd::<_CMP_UNORD_Q>(v, v));
        _mm256_blendv_epi8(keys, _mm256_set1_epi64x(NAN), nan)
    }

    fn add_floats(a: __m256i, b: __m256i) -> __m256i {
        let sum = _mm256_add_pd(_mm256_castsi256_pd(a), _mm256_castsi256_pd(b));
        _mm256_castpd_si256(sum)
    }

    fn and(a: Pair, b: Pair) -> Pair {
        [_mm256_and_si256(a[0], b[0]), _mm256_and_si256(a[1], b[1])]
    }

    fn combine_f64(group: &[Registers<2>; GROUP]) -> Combined<f64> {
        let min = |i: usize| min64(group[i].min[0], group[i].min[1]);
        let max = |i: usize| max64(group[i].max[0], group[i].max[1]);
        let sum = |i: usize| add_floats(group[i].sum[0], group[i].sum[1]);
        let min = fold4_each(min, |a, b| min64(a, b));
        let max = fold4_each(max, |a, b| max64(a, b));
        let sum = fold4_each(sum, |a, b| add_floats(a, b));
        Combined {
            min: std::array::from_fn(|i| f64::of_key(min[i])),
            max: std::array::from_fn(|i| f64::of_key(max[i])),
            sum: std::array::from_fn(|i| canonical(f64::from_bits(sum[i] as u64))),
        }
    }

    /// Folds each of sixteen registers of four lanes: lane 0 with 2, 1 with 3; then these two.
    fn fold4_each<R: Row, F: Fold>(row: R, fold: F) -> [i64; GROUP] {
        let four = |first: usize| {
            let even = halves(row(first), row(first + 2), fold);
            let odd = halves(row(first + 1), row(first + 3), fold);
            fold(_mm256_unpacklo_epi64(even, odd), _mm256_unpackhi_epi64(even, odd))
        };
        // SAFETY: as many bits, any of which make integers.
        unsafe { std::mem::transmute([four(0), four(4), four(8), four(12)]) }
    }

    /// Folds each of sixteen registers of eight lanes, in any order.
    fn fold8_twice<R: Row, F: Fold>(row: R, fold: F) -> [i32; GROUP] {
        let pairs = |first: usize| {
            let a = halves(row(first), row(first + 4), fold);
            let b = halves(row(first + 1), row(first + 5), fold);
            let low = _mm256_unpacklo_epi64(a, b);
            _mm256_castsi256_ps(fold(low, _mm256_unpackhi_epi64(a, b)))
        };
        let eight = |first: usize| {
            let (x, y) = (pairs(first), pairs(first + 2));
            let even = _mm256_castps_si256(_mm256_shuffle_ps::<0b10_00_10_00>(x, y));
            fold(even, _mm256_castps_si256(_mm256_shuffle_ps::<0b11_01_11_01>(x, y)))
        };
        // SAFETY: as many bits, any of which make integers.
        unsafe { std::mem::transmute([eight(0), eight(8)]) }
    }

    /// Folds two registers to 128 bits each, and puts them side by side.
    fn halves<F: Fold>(a: __m256i, b: __m256i, fold: F) -> __m256i {
        let low = _mm256_permute2x128_si256::<0x20>(a, b);
        fold(low, _mm256_permute2x128_si256::<0x31>(a, b))
    }
}

/// The registers of a group.
trait Row: Fn(usize) -> __m256i + Copy {}

impl<R: Fn(usize) -> __m256i + Copy> Row for R {}

/// One of two registers, lane by lane.
trait Fold: Fn(__m256i, __m256i) -> __m256i + Copy {}

impl<F: Fn(__m256i, __m256i) -> __m256i + Copy> Fold for F {}
