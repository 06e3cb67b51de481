//! Warpline's kernel: slices in, facts and buckets out.
