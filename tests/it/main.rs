//! Tests of the whole: the house's own rules, and the real binary from outside.

mod agent;
mod audit;
mod backup;
mod clients;
mod demo;
mod exporter;
mod house;
mod import;
mod kill;
mod metrics;
mod network;
mod nvml;
mod offline_live;
mod recording;
mod server;
mod torture;
mod torture_agent;
mod torture_disk;
mod torture_store;
mod writers;
