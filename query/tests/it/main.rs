//! The query room over files written here, over a real store, and through real clients.

mod clients;
mod fixture;
mod oracle;
mod store;
