//! Warpline's query: SQL over a snapshot becomes record batches, and those become bytes.
