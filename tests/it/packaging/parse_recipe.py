"""Has BitBake read the recipe: parse_recipe.py LAYER DIRECTORY

Prints what it makes of it as JSON: for the recipe itself, `native` and `nativesdk`, the variables that matter, the crates with
their checksums, and the script of do_install. The classes of OpenEmbedded-Core are not at hand; those that are written to
DIRECTORY do what the recipe relies on.
"""

import glob
import json
import os
import sys
import types

# A server that remembers checksums of tasks; the package bitbake-setup is BitBake without it.
for name in ["hashserv", "hashserv.client"]:
    sys.modules[name] = types.ModuleType(name)

import bb.data
import bb.fetch2
import bb.parse
import bb.siggen

FILES = {
    "conf/bitbake.conf": """
PN = "${@bb.parse.vars_from_file(d.getVar('FILE', False), d)[0]}"
BPN = "bmaptool"
BP = "${BPN}-${PV}"
FILE_DIRNAME = "${@os.path.dirname(d.getVar('FILE', False))}"
TMPDIR = "${TOPDIR}/tmp"
DL_DIR = "${TOPDIR}/downloads"
WORKDIR = "${TMPDIR}/work/${PN}"
T = "${WORKDIR}/temp"
S = "${WORKDIR}/${BP}"
B = "${S}"
D = "${WORKDIR}/image"
prefix = "/usr"
bindir = "${prefix}/bin"
libexecdir = "${prefix}/libexec"
mandir = "${prefix}/share/man"
CLASSOVERRIDE = "class-target"
OVERRIDES = "${CLASSOVERRIDE}:pn-${PN}"
PROVIDES = "${PN}"
""",
    "classes/base.bbclass": "",
    "classes-recipe/cargo.bbclass": """
CARGO_BUILD_FLAGS = "--frozen --release"
do_install() {
    install -D "${BINARY}" "${D}${bindir}/bmaptool"
}
""",
    "classes/externalsrc.bbclass": """
python () {
    d.setVar('S', d.getVar('EXTERNALSRC'))
}
""",
    "classes-recipe/native.bbclass": 'CLASSOVERRIDE = "class-native"\n',
    "classes-recipe/nativesdk.bbclass": 'CLASSOVERRIDE = "class-nativesdk"\n',
}
VARIABLES = ["PV", "PROVIDES", "S", "D", "CARGO_PROFILE_RELEASE_STRIP"]
RELATIONS = ["RPROVIDES", "RREPLACES", "RCONFLICTS"]


def main(layer, directory):
    for name, text in FILES.items():
        path = os.path.join(directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
    data = bb.data.init()
    data.setVar("BBPATH", directory)
    for name in ["BINARY", "PACKAGECONFIG"]:
        data.setVar(name, os.environ[name])
    bb.parse.siggen = bb.siggen.init(data)
    data = bb.parse.handle(os.path.join(directory, "conf/bitbake.conf"), data, True)
    data.setVar("TOPDIR", directory)
    data.setVar("LAYERDIR", layer)
    data = bb.parse.handle(os.path.join(layer, "conf/layer.conf"), data, True)
    data.expandVarref("LAYERDIR")
    [recipe] = [path for pattern in data.getVar("BBFILES").split() for path in glob.glob(pattern)]
    # From here on, classes are looked for in classes-recipe too.
    data.setVar("__bbclasstype", "recipe")
    variants = bb.parse.handle(recipe, data)
    print(json.dumps({name: describe(variant) for name, variant in variants.items()}))


def describe(d):
    facts = {name: d.getVar(name) for name in VARIABLES}
    facts.update({name: d.getVar(f"{name}:{d.getVar('PN')}") for name in RELATIONS})
    fetch = bb.fetch2.Fetch(d.getVar("SRC_URI").split(), d)
    facts["crates"] = {ud.url: ud.sha256_expected for ud in fetch.ud.values()}
    facts["do_install"] = d.getVar("do_install")
    return facts


main(*sys.argv[1:])
