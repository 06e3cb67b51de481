//! Tests of the whole: the house's own rules, and the real binary from outside.

mod audit;
mod backup;
mod clients;
mod demo;
mod exporter;
mod house;
mod import;
mod kill;
mod offline_live;
mod server;
mod torture;
mod torture_disk;
mod torture_store;
mod writers;
