//! Tests of the whole: the house's own rules, and the real binary from outside.

mod house;
