//! The lanes in registers of 512 bits.
#![allow(unsafe_code)] // loads, and instructions that `Avx512` proves to be there
#![allow(clippy::wildcard_imports)] // instructions have names nobody else has

use super::{lanes, lowest, with};
use crate::lanes::{Combined, GROUP, Instructions, Lanes, WINDOW};
use crate::value::{Element, NAN, canonical, join};
use std::arch::x86_64::*;

/// AVX-512 with its instructions for bytes, words and quadwords.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512(());

/// Bytes between a row and those asked for while it is read.
const AHEAD: usize = 2048;

impl Avx512 {
    with! {
    "avx512f,avx512bw,avx512dq,avx512vl,bmi1,bmi2,lzcnt,popcnt";

        /// The proof, to be had where the instructions are.
        pub(crate) fn new() -> Self {
            Self(())
        }
    }
}

impl Instructions for Avx512 {
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

with! {
    "avx512f,avx512bw,avx512dq,avx512vl,bmi1,bmi2,lzcnt,popcnt";

    fn below(window: &[i64; WINDOW], bound: i64) -> usize {
        let below = _mm512_cmplt_epi64_mask(load(window), _mm512_set1_epi64(bound));
        below.count_ones() as usize
    }

    /// A register full of values.
    fn load<T: Element>(rows: &[T]) -> __m512i {
        assert!(size_of_val(rows) >= 64);
        // SAFETY: as many bytes as the register has were found there.
        unsafe { _mm512_loadu_si512(rows.as_ptr().cast()) }
    }

    /// Asks for what follows: the machine by itself stops at the end of each page.
    fn ahead<T: Element>(rows: &[T]) {
        fetch(rows.as_ptr().cast::<i8>().wrapping_add(AHEAD));
    }

    /// A hint; an address where there is nothing is ignored.
    fn fetch(address: *const i8) {
        _mm_prefetch::<_MM_HINT_T0>(address);
    }

    /// Two halves of 32 bits each added to one lane of 64.
    fn add_pairs(sum: __m512i, v: __m512i) -> __m512i {
        let low = _mm512_cvtepi32_epi64(_mm512_castsi512_si256(v));
        let high = _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64::<1>(v));
        _mm512_add_epi64(sum, _mm512_add_epi64(low, high))
    }

    /// The key of each float.
    fn keys(v: __m512d) -> __m512i {
        let (bits, rest) = (_mm512_castpd_si512(v), _mm512_set1_epi64(i64::MAX));
        let sign = _mm512_srai_epi64::<63>(bits);
        // bits ^ (sign & rest)
        let keys = _mm512_ternarylogic_epi64::<0x78>(bits, sign, rest);
        let nan = _mm512_cmp_pd_mask::<_CMP_UNORD_Q>(v, v);
        _mm512_mask_mov_epi64(keys, nan, _mm512_set1_epi64(NAN))
    }
}

/// Min, max and sum in registers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registers {
    min: __m512i,
    max: __m512i,
    sum: __m512i,
}

/// The same where a sum has two registers: modulo 2^64, and of upper halves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SplitRegisters {
    min: __m512i,
    max: __m512i,
    low: __m512i,
    high: __m512i,
}

lanes!(Avx512, i16, 32, Registers, none_i16, block_i16, some_i16, combine_i16);
lanes!(Avx512, i32, 16, Registers, none_i32, block_i32, some_i32, combine_i32);
lanes!(Avx512, i64, 8, SplitRegisters, none_i64, block_i64, some_i64, combine_i64);
lanes!(Avx512, f64, 8, Registers, none_f64, block_f64, some_f64, combine_f64);

with! {
    "avx512f,avx512bw,avx512dq,avx512vl,bmi1,bmi2,lzcnt,popcnt";

    fn none_i16() -> Registers {
        let (min, max) = (_mm512_set1_epi16(i16::MAX), _mm512_set1_epi16(i16::MIN));
        Registers { min, max, sum: _mm512_setzero_si512() }
    }

    fn block_i16(l: &mut Registers, rows: &[i16]) {
        ahead(rows);
        let v = load(rows);
        l.min = _mm512_min_epi16(l.min, v);
        l.max = _mm512_max_epi16(l.max, v);
        l.sum = add_pairs(l.sum, _mm512_madd_epi16(v, _mm512_set1_epi16(1)));
    }

    /// `set` has no bit beyond the rows.
    fn some_i16(l: &mut Registers, rows: &[i16], set: u32) {
        ahead(rows);
        // SAFETY: lanes that are not set are not read.
        let v = unsafe { _mm512_maskz_loadu_epi16(set, rows.as_ptr()) };
        l.min = _mm512_mask_min_epi16(l.min, set, l.min, v);
        l.max = _mm512_mask_max_epi16(l.max, set, l.max, v);
        l.sum = add_pairs(l.sum, _mm512_madd_epi16(v, _mm512_set1_epi16(1)));
    }

    fn combine_i16(group: &[Registers; GROUP]) -> Combined<i16> {
        let low = |v| _mm512_cvtepi16_epi32(_mm512_castsi512_si256(v));
        let high = |v| _mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64::<1>(v));
        let min = |i: usize| _mm512_min_epi32(low(group[i].min), high(group[i].min));
        let max = |i: usize| _mm512_max_epi32(low(group[i].max), high(group[i].max));
        let min = fold16(min, |a, b| _mm512_min_epi32(a, b));
        let max = fold16(max, |a, b| _mm512_max_epi32(a, b));
        Combined { min: narrow(min), max: narrow(max), sum: sums(group) }
    }

    fn none_i32() -> Registers {
        let (min, max) = (_mm512_set1_epi32(i32::MAX), _mm512_set1_epi32(i32::MIN));
        Registers { min, max, sum: _mm512_setzero_si512() }
    }

    fn block_i32(l: &mut Registers, rows: &[i32]) {
        ahead(rows);
        let v = load(rows);
        l.min = _mm512_min_epi32(l.min, v);
        l.max = _mm512_max_epi32(l.max, v);
        l.sum = add_pairs(l.sum, v);
    }

    /// `set` has no bit beyond the rows.
    fn some_i32(l: &mut Registers, rows: &[i32], set: u32) {
        ahead(rows);
        let set = set as __mmask16;
        // SAFETY: lanes that are not set are not read.
        let v = unsafe { _mm512_maskz_loadu_epi32(set, rows.as_ptr()) };
        l.min = _mm512_mask_min_epi32(l.min, set, l.min, v);
        l.max = _mm512_mask_max_epi32(l.max, set, l.max, v);
        l.sum = add_pairs(l.sum, v);
    }

    fn combine_i32(group: &[Registers; GROUP]) -> Combined<i32> {
        let min = fold16(|i| group[i].min, |a, b| _mm512_min_epi32(a, b));
        let max = fold16(|i| group[i].max, |a, b| _mm512_max_epi32(a, b));
        Combined { min: words(min), max: words(max), sum: sums(group) }
    }

    fn none_i64() -> SplitRegisters {
        let (min, max) = (_mm512_set1_epi64(i64::MAX), _mm512_set1_epi64(i64::MIN));
        let zero = _mm512_setzero_si512();
        SplitRegisters { min, max, low: zero, high: zero }
    }

    fn block_i64(l: &mut SplitRegisters, rows: &[i64]) {
        ahead(rows);
        take_i64(l, load(rows), u8::MAX);
    }

    /// `set` has no bit beyond the rows.
    fn some_i64(l: &mut SplitRegisters, rows: &[i64], set: u32) {
        ahead(rows);
        let set = set as __mmask8;
        // SAFETY: lanes that are not set are not read.
        take_i64(l, unsafe { _mm512_maskz_loadu_epi64(set, rows.as_ptr()) }, set);
    }

    /// `v` is 0 where not set.
    fn take_i64(l: &mut SplitRegisters, v: __m512i, set: __mmask8) {
        l.min = _mm512_mask_min_epi64(l.min, set, l.min, v);
        l.max = _mm512_mask_max_epi64(l.max, set, l.max, v);
        l.low = _mm512_add_epi64(l.low, v);
        l.high = _mm512_add_epi64(l.high, _mm512_srai_epi64::<32>(v));
    }

    fn combine_i64(group: &[SplitRegisters; GROUP]) -> Combined<i64> {
        let add = |a, b| _mm512_add_epi64(a, b);
        let low = fold8_twice(|i| group[i].low, add);
        let high = fold8_twice(|i| group[i].high, add);
        Combined {
            min: fold8_twice(|i| group[i].min, |a, b| _mm512_min_epi64(a, b)),
            max: fold8_twice(|i| group[i].max, |a, b| _mm512_max_epi64(a, b)),
            sum: std::array::from_fn(|bucket| join(low[bucket] as u64, high[bucket])),
        }
    }

    fn none_f64() -> Registers {
        let (min, max) = (_mm512_set1_epi64(NAN), _mm512_set1_epi64(f64::NEG_INFINITY.key()));
        Registers { min, max, sum: _mm512_setzero_si512() }
    }

    fn block_f64(l: &mut Registers, rows: &[f64]) {
        ahead(rows);
        take_f64(l, _mm512_castsi512_pd(load(rows)), u8::MAX);
    }

    /// `set` has no bit beyond the rows.
    fn some_f64(l: &mut Registers, rows: &[f64], set: u32) {
        ahead(rows);
        let set = set as __mmask8;
        // SAFETY: lanes that are not set are not read.
        take_f64(l, unsafe { _mm512_maskz_loadu_pd(set, rows.as_ptr()) }, set);
    }

    /// `v` is 0 where not set, which leaves a sum alone, because it is never -0.0.
    fn take_f64(l: &mut Registers, v: __m512d, set: __mmask8) {
        let keys = keys(v);
        l.min = _mm512_mask_min_epi64(l.min, set, l.min, keys);
        l.max = _mm512_mask_max_epi64(l.max, set, l.max, keys);
        l.sum = add_floats(l.sum, _mm512_castpd_si512(v));
    }

    fn add_floats(a: __m512i, b: __m512i) -> __m512i {
        let sum = _mm512_add_pd(_mm512_castsi512_pd(a), _mm512_castsi512_pd(b));
        _mm512_castpd_si512(sum)
    }

    fn combine_f64(group: &[Registers; GROUP]) -> Combined<f64> {
        let min = fold8_twice(|i| group[i].min, |a, b| _mm512_min_epi64(a, b));
        let max = fold8_twice(|i| group[i].max, |a, b| _mm512_max_epi64(a, b));
        let sum = fold8_twice(|i| group[i].sum, |a, b| add_floats(a, b));
        Combined {
            min: std::array::from_fn(|i| f64::of_key(min[i])),
            max: std::array::from_fn(|i| f64::of_key(max[i])),
            sum: std::array::from_fn(|i| canonical(f64::from_bits(sum[i] as u64))),
        }
    }

    fn sums(group: &[Registers; GROUP]) -> [i64; GROUP] {
        fold8_twice(|i| group[i].sum, |a, b| _mm512_add_epi64(a, b))
    }

    fn words(v: __m512i) -> [i32; GROUP] {
        // SAFETY: as many bits, any of which make integers.
        unsafe { std::mem::transmute(v) }
    }

    fn narrow(v: __m512i) -> [i16; GROUP] {
        // SAFETY: as many bits, any of which make integers.
        unsafe { std::mem::transmute(_mm512_cvtepi32_epi16(v)) }
    }

    /// Folds each of sixteen registers of eight lanes: lane 0 with 4, 1 with 5, 2 with 6, 3 with 7;
    /// the first of these with the third, the second with the fourth; then the two that are left.
    fn fold8_twice<R: Row, F: Fold>(row: R, fold: F) -> [i64; GROUP] {
        let low = fold8(row, fold);
        let high = fold8(|i| row(i + 8), fold);
        // SAFETY: as many bits, any of which make integers.
        unsafe { std::mem::transmute([low, high]) }
    }

    fn fold8<R: Row, F: Fold>(row: R, fold: F) -> __m512i {
        let even = quarters(|i| row(2 * i), fold);
        let odd = quarters(|i| row(2 * i + 1), fold);
        fold(_mm512_unpacklo_epi64(even, odd), _mm512_unpackhi_epi64(even, odd))
    }

    /// Folds each of sixteen registers of sixteen lanes, in any order.
    fn fold16<R: Row, F: Fold>(row: R, fold: F) -> __m512i {
        let pairs = |first: usize| {
            let a = quarters(|i| row(4 * i + first), fold);
            let b = quarters(|i| row(4 * i + first + 1), fold);
            let low = _mm512_unpacklo_epi64(a, b);
            _mm512_castsi512_ps(fold(low, _mm512_unpackhi_epi64(a, b)))
        };
        let (x, y) = (pairs(0), pairs(2));
        let even = _mm512_shuffle_ps::<0b10_00_10_00>(x, y);
        let odd = _mm512_shuffle_ps::<0b11_01_11_01>(x, y);
        fold(_mm512_castps_si512(even), _mm512_castps_si512(odd))
    }

    /// Folds each of four registers to 128 bits, and puts them side by side.
    fn quarters<R: Row, F: Fold>(row: R, fold: F) -> __m512i {
        let halves = |a, b| {
            let low = _mm512_shuffle_i64x2::<0b01_00_01_00>(a, b);
            fold(low, _mm512_shuffle_i64x2::<0b11_10_11_10>(a, b))
        };
        let (ab, cd) = (halves(row(0), row(1)), halves(row(2), row(3)));
        let low = _mm512_shuffle_i64x2::<0b10_00_10_00>(ab, cd);
        fold(low, _mm512_shuffle_i64x2::<0b11_01_11_01>(ab, cd))
    }
}

/// The registers of a group.
trait Row: Fn(usize) -> __m512i + Copy {}

impl<R: Fn(usize) -> __m512i + Copy> Row for R {}

/// One of two registers, lane by lane.
trait Fold: Fn(__m512i, __m512i) -> __m512i + Copy {}

impl<F: Fn(__m512i, __m512i) -> __m512i + Copy> Fold for F {}
