//! Warpline's ingest: bytes of any protocol become [`warpline_storage::model::Batch`].
