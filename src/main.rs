//! The `warpline` binary: an allocator and a call.

use std::process::ExitCode;

/// Buffers and queries allocate large and small in many threads; jemalloc gives memory back.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    warpline::cli::main()
}
