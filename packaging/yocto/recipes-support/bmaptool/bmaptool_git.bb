SUMMARY = "Maps sparse disk images and flashes them"
DESCRIPTION = "Lists the blocks of a sparse disk image that hold data in a small file, a bmap, and writes only \
               these to SD cards, eMMC and files, each range verified by its checksum. Takes the place of the \
               Python bmaptool."
SECTION = "console/utils"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://LICENSE;md5=c9cfc5c06e4536d1c8e04fe47cbb4011"

# PV, and the crates, which are fetched and verified like any other source.
require bmaptool-crates.inc

# Recipes and images that name the Python tool get this one. Layers before scarthgap call it bmap-tools.
PROVIDES += "bmap-tools"

inherit cargo externalsrc

# The checkout that this layer lies in. It is left as it is.
EXTERNALSRC ?= "${@os.path.realpath(os.path.join(d.getVar('FILE_DIRNAME'), '../../../..'))}"
EXTERNALSRC_SYMLINKS = ""

# Linked dynamically, as Rust does by default: pseudo, which makes files of the build belong to root, works by
# LD_PRELOAD and so does not see what a static binary does.
CARGO_BUILD_FLAGS += "--bin bmaptool"

# The build strips it later, and keeps what it strips for the package of debug symbols.
export CARGO_PROFILE_RELEASE_STRIP = "none"

# With it, /usr/bin/bmaptool is a script in Python that executes the binary.
PACKAGECONFIG ??= ""
PACKAGECONFIG[launcher] = ",,,python3-core"

do_install:append() {
    if ${@bb.utils.contains('PACKAGECONFIG', 'launcher', 'true', 'false', d)}; then
        install -d ${D}${libexecdir}/bmaptool
        mv ${D}${bindir}/bmaptool ${D}${libexecdir}/bmaptool/bmaptool
        install -m 0755 ${S}/packaging/yocto/launcher ${D}${bindir}/bmaptool
        sed -i "s|../libexec|${@os.path.relpath(d.getVar('libexecdir'), d.getVar('bindir'))}|" ${D}${bindir}/bmaptool
    fi
    install -d ${D}${mandir}/man1
    install -m 0644 ${S}/man/bmaptool.1 ${D}${mandir}/man1/bmaptool.1
}

RPROVIDES:${PN} += "bmap-tools"
RREPLACES:${PN} += "bmap-tools"
RCONFLICTS:${PN} += "bmap-tools"

BBCLASSEXTEND = "native nativesdk"
