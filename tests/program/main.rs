//! The command line, run as a user runs it: each test in a directory of its own.
//!
//! `sandbox`, `bucket` and `receiver` are fixtures. The other modules test one subject each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bucket;
mod receiver;
mod sandbox;

mod absent_store;
mod annotations;
mod bucket_mistakes;
mod buckets;
mod chains;
mod clocks;
mod compacts;
mod companions;
mod completions;
mod config;
mod copies;
mod corruption;
mod credentials;
#[cfg(target_os = "linux")]
mod daemon;
mod deleted_meanwhile;
mod deploy;
#[cfg(target_os = "linux")]
mod destinations;
mod diff;
mod documents;
mod drill;
mod dry_run;
mod dump;
mod echoed_secrets;
#[cfg(target_os = "linux")]
mod embeddings;
mod exhaustion;
mod exit_codes;
mod exports;
mod file_size_limit;
mod find;
mod foreign_objects;
mod found_corrupt;
#[cfg(target_os = "linux")]
mod full_pipes;
mod full_store;
mod help;
#[cfg(target_os = "linux")]
mod hints;
#[cfg(target_os = "linux")]
mod hooks;
mod hostile_settings;
#[cfg(target_os = "linux")]
mod http;
mod imports;
#[cfg(unix)]
mod interrupts;
mod irregular;
mod killed;
#[cfg(target_os = "linux")]
mod killed_restores;
mod links;
mod listing;
#[cfg(target_os = "linux")]
mod little_memory;
mod logs;
mod mistakes;
mod modes;
mod name_forms;
mod open_database;
mod other_words;
mod parts;
#[cfg(unix)]
mod progress;
mod prune;
mod quiet;
mod rates;
#[cfg(target_os = "linux")]
mod refused_names;
#[cfg(target_os = "linux")]
mod refused_sync;
#[cfg(target_os = "linux")]
mod restore_plans;
mod schedule;
mod search;
mod several_ids;
mod sources;
mod status;
#[cfg(target_os = "linux")]
mod terminal;
mod unfinished;
mod unreadable;
mod verbs;
mod verify_depths;
