//! The integration tests: one program, a module for each family of scenarios.
//!
//! `cargo test --test it unsafe_targets` runs one of them. A test runs the built binary as a user would, and is
//! registered by its attribute: `registry` says how, and what is skipped where. Tests run at the same time in one
//! process; what belongs to the whole process (its current directory, its environment, its signals) is left alone by
//! all of them.

#[macro_use]
extern crate test_macros;

mod common;
mod registry;

mod adverse_conditions;
mod architectures;
mod archives;
mod bmaps;
mod bmaps_refused;
mod bzip2;
mod codecs;
mod codecs_and_memory;
mod codecs_with_an_index;
mod command_line;
mod completions;
mod concurrent_access;
mod create;
mod create_and_copy;
mod create_output;
mod create_ranges;
mod debian;
mod devices;
mod error_messages;
mod fake_root;
mod faults;
mod file_systems;
mod files;
mod ftp;
mod hostile;
mod hostile_peers;
mod http;
mod http_breaks;
mod images;
mod info;
mod info_of_what_is_unreadable;
mod input_is_not_target;
mod interruptions;
mod json;
mod json_codes;
mod json_errors;
mod json_readers;
mod large_images;
mod list;
mod little_machines;
mod machine;
mod manual;
mod nginx;
mod only_changed;
mod only_changed_sources;
mod openpgp;
mod overlapping_devices;
mod packaging;
mod partitions;
mod proxies;
mod python;
mod python_compat;
mod read_back;
mod readme;
mod redirects;
mod relocate;
mod scripts;
mod sector_sizes;
mod several_targets;
mod signatures;
mod silent_devices;
mod sinks;
mod soak;
mod ssh;
mod stand_ins;
mod static_binary;
mod targets_that_fail;
mod terminals;
mod tls;
mod unmapped;
mod unsafe_targets;
mod verifiers;
mod verify;
mod version;

fn main() {
    registry::run();
}
