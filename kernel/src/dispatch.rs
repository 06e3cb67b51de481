//! Which instructions this process uses: asked of the machine once, then a table of functions.
#![allow(unsafe_code)] // a function compiled for instructions may be called where they are there

use crate::lanes::{Lanes, Plain};
use crate::value::Element;
#[cfg(target_arch = "x86_64")]
use crate::x86::{Avx2, Avx512};
use crate::{Edges, Grid, M4Rows, Reduced, Validity, Value, buckets, cadence, counter, read};
use std::sync::OnceLock;

/// The kernel over one instruction set, which this machine has.
#[derive(Debug)]
pub struct Path {
    pub(crate) name: &'static str,
    find: unsafe fn(&[i64], Grid, &mut Edges),
    read: unsafe fn(&[u64]) -> u64,
    pub(crate) i16: Reductions<i16>,
    pub(crate) i32: Reductions<i32>,
    pub(crate) i64: Reductions<i64>,
    pub(crate) f64: Reductions<f64>,
}

/// The reductions of one type.
#[derive(Debug)]
pub struct Reductions<T: Value> {
    reduce: Reduce<T>,
    increase: Increase<T>,
    m4: M4<T>,
}

type Reduce<T> = unsafe fn(&[T], Option<Validity<'_>>, &[u32], &mut Reduced<T>);
type Increase<T> =
    unsafe fn(&[T], Option<Validity<'_>>, &[u32], Option<T>, &mut Grown<T>) -> Option<T>;
type M4<T> = unsafe fn(&[T], Option<Validity<'_>>, &[u32], &mut Vec<M4Rows>);
type Grown<T> = Vec<<T as Element>::Wide>;

impl Path {
    pub(crate) fn find(&self, times: &[i64], grid: Grid, edges: &mut Edges) {
        // SAFETY: `paths` has only what the machine can run.
        unsafe { (self.find)(times, grid, edges) }
    }

    pub(crate) fn read(&self, words: &[u64]) -> u64 {
        // SAFETY: `paths` has only what the machine can run.
        unsafe { (self.read)(words) }
    }
}

impl<T: Value> Reductions<T> {
    pub(crate) fn reduce(
        &self,
        values: &[T],
        validity: Option<Validity<'_>>,
        ends: &[u32],
        out: &mut Reduced<T>,
    ) {
        // SAFETY: `paths` has only what the machine can run.
        unsafe { (self.reduce)(values, validity, ends, out) }
    }

    pub(crate) fn increase(
        &self,
        values: &[T],
        validity: Option<Validity<'_>>,
        ends: &[u32],
        before: Option<T>,
        out: &mut Grown<T>,
    ) -> Option<T> {
        // SAFETY: `paths` has only what the machine can run.
        unsafe { (self.increase)(values, validity, ends, before, out) }
    }

    pub(crate) fn m4(
        &self,
        values: &[T],
        validity: Option<Validity<'_>>,
        ends: &[u32],
        out: &mut Vec<M4Rows>,
    ) {
        // SAFETY: `paths` has only what the machine can run.
        unsafe { (self.m4)(values, validity, ends, out) }
    }
}

/// Compiles the algorithms for a set of instructions.
macro_rules! path {
    ($path:ident, $type:ty, $on:expr $(, $features:literal)?) => {
        mod $path {
            use super::*;

            pub(super) fn path(name: &'static str) -> Path {
                Path { name, find, read, i16: of(), i32: of(), i64: of(), f64: of() }
            }

            fn of<T: Value>() -> Reductions<T>
            where
                $type: Lanes<T>,
            {
                Reductions { reduce, increase, m4 }
            }

            $(#[target_feature(enable = $features)])?
            fn find(times: &[i64], grid: Grid, edges: &mut Edges) {
                cadence::find($on, times, grid, edges);
            }

            $(#[target_feature(enable = $features)])?
            fn read(words: &[u64]) -> u64 {
                read::sum($on, words)
            }

            $(#[target_feature(enable = $features)])?
            fn reduce<T: Value>(
                values: &[T],
                validity: Option<Validity<'_>>,
                ends: &[u32],
                out: &mut Reduced<T>,
            ) where
                $type: Lanes<T>,
            {
                buckets::reduce($on, values, validity, ends, out);
            }

            $(#[target_feature(enable = $features)])?
            fn increase<T: Value>(
                values: &[T],
                validity: Option<Validity<'_>>,
                ends: &[u32],
                before: Option<T>,
                out: &mut Grown<T>,
            ) -> Option<T> {
                counter::increase(values, validity, ends, before, out)
            }

            $(#[target_feature(enable = $features)])?
            fn m4<T: Value>(
                values: &[T],
                validity: Option<Validity<'_>>,
                ends: &[u32],
                out: &mut Vec<M4Rows>,
            ) where
                $type: Lanes<T>,
            {
                buckets::m4($on, values, validity, ends, out);
            }
        }
    };
}

path!(plain, Plain, Plain);
#[cfg(target_arch = "x86_64")]
path!(avx2, Avx2, Avx2::new(), "avx2,bmi1,bmi2,lzcnt,popcnt");
#[cfg(target_arch = "x86_64")]
path!(avx512, Avx512, Avx512::new(), "avx512f,avx512bw,avx512dq,avx512vl,bmi1,bmi2,lzcnt,popcnt");

/// Every path that this machine can take, the fastest first.
pub(crate) fn paths() -> Vec<Path> {
    let mut paths = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let bits = has!("bmi1") && has!("bmi2") && has!("lzcnt") && has!("popcnt");
        let wide = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
        if bits && wide {
            paths.push(avx512::path("avx512"));
        }
        if bits && has!("avx2") {
            paths.push(avx2::path("avx2"));
        }
    }
    // Neon is part of every 64-bit ARM, so that plain Rust is compiled to it.
    paths.push(plain::path(if cfg!(target_arch = "aarch64") { "neon" } else { "scalar" }));
    paths
}

/// The path that this process takes.
pub(crate) fn path() -> &'static Path {
    static PATH: OnceLock<Path> = OnceLock::new();
    PATH.get_or_init(|| paths().swap_remove(0))
}
