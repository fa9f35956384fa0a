//! Makes `python3 /usr/bin/bmaptool ARGUMENTS` work: so build systems, such as OpenEmbedded's wic, call the Python
//! tool.
//!
//! Python runs a file that is a zip archive with a `__main__.py` in it, whatever stands before the archive (zipimport
//! of Python 3.8 and newer). There is one in a section of the executable that is not loaded, and its one line executes
//! the file itself, in the same process. Its numbers are bytes, as the archive is little-endian on every processor.
//! Nothing refers to the section; its flag `R` has linkers keep it.
//!
//! The end of the archive must lie in the last 64 KiB of the file. In a stripped executable little follows the section.
//! A symbol table is larger: it comes first where the linker is LLD, Rust's own on x86-64, which reads `python.ld`
//! because the section .deplibs asks for it. Other linkers drop that section (flag `e`).

// Where `global_asm!` is stable.
#![cfg(any(
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "loongarch64",
    target_arch = "powerpc",
    target_arch = "powerpc64",
    target_arch = "riscv32",
    target_arch = "riscv64",
    target_arch = "s390x",
    target_arch = "x86",
    target_arch = "x86_64"
))]

use std::arch::global_asm;

global_asm!(
    r#"
    .pushsection .python, "R", %progbits
2:  .ascii "PK\003\004"                           // local file header (APPNOTE, 4.3.7)
    .byte 10, 0,  0, 0,  0, 0,  0, 0,  0x21, 0    // version 1.0, no flags, stored, 1980-01-01 00:00
    .byte 0x4e, 0xb8, 0xd5, 0xe4                  // CRC-32
    .byte 4f - 3f, 0, 0, 0,  4f - 3f, 0, 0, 0     // size, stored and original
    .byte 11, 0,  0, 0                            // length of the name, and of extra fields
    .ascii "__main__.py"
3:  .ascii "import os,sys;os.execv(sys.argv[0],sys.argv)"
4:  .ascii "PK\001\002"                           // central directory header (4.3.12)
    .byte 10, 0,  10, 0,  0, 0,  0, 0,  0, 0,  0x21, 0
    .byte 0x4e, 0xb8, 0xd5, 0xe4
    .byte 4b - 3b, 0, 0, 0,  4b - 3b, 0, 0, 0
    .byte 11, 0,  0, 0,  0, 0,  0, 0,  0, 0       // no comment, disk 0, no attributes
    .byte 0, 0, 0, 0,  0, 0, 0, 0                 // external attributes, offset of the local header
    .ascii "__main__.py"
5:  .ascii "PK\005\006"                           // end of central directory record (4.3.16)
    .byte 0, 0,  0, 0,  1, 0,  1, 0               // disk 0, one entry
    .byte 5b - 4b, 0, 0, 0,  4b - 2b, 0, 0, 0,  0, 0
    .popsection

    .pushsection .deplibs, "MSe", %llvm_dependent_libraries, 1
    "#,
    concat!(".asciz \"", env!("CARGO_MANIFEST_DIR"), "/src/cli/python.ld\""),
    ".popsection",
    options(raw)
);
