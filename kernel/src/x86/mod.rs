//! Lanes in registers of x86, and what its instruction sets share.
//!
//! Functions over instructions are compiled for them and inlined into one another. None goes
//! through a generic function of the standard library with a closure (`array::map`): that would be
//! compiled without the instructions, and call the closure by way of memory.

mod avx2;
mod avx512;

pub(crate) use avx2::Avx2;
pub(crate) use avx512::Avx512;

/// The lowest bits, at most 32.
#[inline(always)]
fn lowest(bits: usize) -> u32 {
    ((1_u64 << bits.min(32)) - 1) as u32
}

/// Defines functions over instructions.
macro_rules! with {
    ($features:literal; $($(#[$doc:meta])* $visible:vis fn $name:ident
        $(<$($generic:ident: $bound:path),*>)?
        ($($argument:ident: $type:ty),*) $(-> $result:ty)? $body:block)*) => {$(
        $(#[$doc])*
        #[target_feature(enable = $features)]
        #[inline]
        $visible fn $name $(<$($generic: $bound),*>)? ($($argument: $type),*) $(-> $result)? $body
    )*};
}

/// Implements `Lanes` by functions over instructions.
macro_rules! lanes {
    ($on:ty, $type:ty, $rows:literal, $lanes:ty, $none:ident, $block:ident, $some:ident,
        $combine:ident) => {
        impl Lanes<$type> for $on {
            type Lanes = $lanes;
            const ROWS: usize = $rows;

            #[inline(always)]
            fn none(self) -> $lanes {
                // SAFETY: `self` proves the instructions.
                unsafe { $none() }
            }

            #[inline(always)]
            fn block(self, lanes: &mut $lanes, rows: &[$type]) {
                // SAFETY: `self` proves the instructions.
                unsafe { $block(lanes, rows) }
            }

            #[inline(always)]
            fn some(self, lanes: &mut $lanes, rows: &[$type], set: u32) {
                // SAFETY: `self` proves the instructions.
                unsafe { $some(lanes, rows, set & lowest(rows.len())) }
            }

            #[inline(always)]
            fn combine(self, group: &[$lanes; GROUP]) -> Combined<$type> {
                // SAFETY: `self` proves the instructions.
                unsafe { $combine(group) }
            }
        }
    };
}

use {lanes, with};
