//! Writes what shells need to complete the command line: `cargo run --example completions -- DIRECTORY`.
//!
//! Commands, options and what they are for come from the definition of the command line. What shall stand for their
//! values is written by hand, in `packaging/completions`.

// The command line belongs to the binary, which cannot be imported. Here it is only looked at.
#[allow(dead_code)]
#[path = "../src/cli/args.rs"]
mod args;

use std::error::Error;
use std::path::PathBuf;

use clap::{Arg, CommandFactory, ValueHint};
use clap_complete::Shell;

/// How the names of images end, as a pattern: as they are built, or compressed.
const IMAGE_ENDINGS: &str = "img|raw|wic|iso|sdcard|sdimg|rpi-sdimg|hddimg|ext2|ext3|ext4|btrfs|squashfs|gz|gzip|tgz|bz2|\
                             tbz|tbz2|xz|txz|lzma|zst|zstd|tzst|lz4|tlz4|lzo|tzo|zip|tar";

/// What is completed by hand: the argument, how its line in the script for zsh can be told, and the function there.
const BY_HAND: [(&str, &str, &str); 7] = [
    ("image", "':image -- ", "_bmaptool_images"),
    ("targets", "::targets -- ", "_bmaptool_targets"),
    ("file", "':file -- ", "_bmaptool_verified"),
    ("bmap", "--bmap=[", "_bmaptool_bmaps"),
    ("bmap_sig", "--bmap-sig=[", "_bmaptool_signatures"),
    ("keyring", "--keyring=[", "_bmaptool_keyrings"),
    ("cacert", "--cacert=[", "_bmaptool_certificates"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let directory = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: completions DIRECTORY")?);
    std::fs::create_dir_all(&directory)?;
    for (shell, name, tuning) in [
        (Shell::Bash, "bmaptool.bash", include_str!("../packaging/completions/tuning.bash")),
        (Shell::Zsh, "_bmaptool", include_str!("../packaging/completions/tuning.zsh")),
        (Shell::Fish, "bmaptool.fish", include_str!("../packaging/completions/tuning.fish")),
    ] {
        let tuning = tuning.replace("@IMAGE_ENDINGS@", IMAGE_ENDINGS);
        let script = script(shell)?;
        let tuned = match shell {
            Shell::Zsh => tuned_zsh(&script, &tuning)?,
            _ => script + &tuning,
        };
        std::fs::write(directory.join(name), tuned)?;
    }
    Ok(())
}

/// The script that the definition of the command line gives, without a word on what is completed by hand.
fn script(shell: Shell) -> Result<String, Box<dyn Error>> {
    let by_hand = |arg: &Arg| BY_HAND.iter().any(|(name, ..)| arg.get_id() == name);
    let unhinted = |arg: Arg| if by_hand(&arg) { arg.value_hint(ValueHint::Unknown) } else { arg };
    let mut command = args::Arguments::command();
    for name in ["create", "copy", "verify", "info"] {
        command = command.mut_subcommand(name, |command| command.mut_args(unhinted));
    }
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "bmaptool", &mut script);
    Ok(String::from_utf8(script)?)
}

/// In zsh what completes a value stands in the definition of its option. And the script ends with a call of its own
/// function, so that what is added must come first, after the line by which zsh finds the command.
fn tuned_zsh(script: &str, tuning: &str) -> Result<String, Box<dyn Error>> {
    let (first, rest) = script.split_once('\n').ok_or("the script for zsh is empty")?;
    let mut tuned = format!("{first}\n{tuning}");
    for line in rest.lines() {
        let by_hand = BY_HAND.iter().find(|(_, mark, _)| line.contains(mark));
        let line =
            by_hand.map_or(line.to_owned(), |(.., function)| line.replace(":_default'", &format!(":{function}'")));
        tuned += &line;
        tuned.push('\n');
    }
    Ok(tuned)
}
