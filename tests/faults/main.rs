//! System calls that fail: every one that a copy or a map makes fails in turn, and nothing may come of that but a right
//! result, or a message and a status that say that there is none.

#[path = "../common/mod.rs"]
mod common;

// The registers of a system call are the processor's own, and what is known of them is the C library's.
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
mod everywhere;
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
mod judge;
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
mod scenes;
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
mod sweeps;

#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
fn main() {
    use common::{Need, Test};
    use everywhere::{
        PACKERS, a_link_that_changes_to_the_image, a_packed_image, memory_that_runs_out,
        short_counts_and_interruptions_everywhere, signals_at_every_call_of_a_copy_to_a_device,
        signals_at_every_call_of_a_copy_to_a_file, signals_at_every_call_of_a_map,
    };
    use sweeps::{
        a_copy_to_a_device, a_copy_to_a_new_file, a_copy_to_an_old_file, a_map, refusals_of_devices, refusals_of_files,
    };

    const SCHEDULER: Need = Need::Scheduler("mq-deadline");
    let mut tests = tests![
        a_copy_to_a_device[Need::Root, SCHEDULER],
        a_copy_to_a_new_file,
        a_copy_to_an_old_file,
        a_map,
        refusals_of_devices[Need::Root],
        refusals_of_files[Need::Root],
        a_link_that_changes_to_the_image,
        memory_that_runs_out[Need::Root, SCHEDULER],
        signals_at_every_call_of_a_copy_to_a_device[Need::Root, SCHEDULER],
        signals_at_every_call_of_a_copy_to_a_file,
        signals_at_every_call_of_a_map,
        short_counts_and_interruptions_everywhere[Need::Root, SCHEDULER],
    ];
    tests.extend(PACKERS.map(|(program, command)| {
        let name = format!("short_counts_and_interruptions_of_{program}");
        Test::new(name, &[Need::Program(program)], || a_packed_image(command))
    }));
    common::run(tests);
}

#[cfg(not(all(target_arch = "x86_64", target_env = "gnu")))]
fn main() {
    common::run(vec![common::Test::new("every_call_fails", &[common::Need::KnownCalls], || {})]);
}
