//! Tests of the whole: the house's own rules, and the real binary from outside.

mod access;
mod agent;
mod audit;
mod backup;
mod clients;
mod dashboards;
mod demo;
mod export;
mod exporter;
mod house;
mod import;
mod kill;
mod metrics;
mod network;
mod nvml;
mod offline_live;
mod recipes;
mod recording;
mod server;
mod shell;
mod table;
mod torture;
mod torture_agent;
mod torture_disk;
mod torture_store;
mod writers;
