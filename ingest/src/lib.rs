//! Warpline's ingest: bytes of any protocol become [`warpline_storage::model::Batch`].

pub mod dictionary;
pub mod exposition;
pub mod scrape;

#[cfg(test)]
mod test_data;
