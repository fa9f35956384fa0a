"""Executes the command that was installed with this package, in the same process."""

import os
import sys
from importlib.metadata import distribution


def candidates():
    # After `pip install --target`, where what pip says does not apply and may lead to another program.
    yield os.path.join(os.path.dirname(__file__), "..", "bin", "bmaptool")
    # Where pip says that it has put it.
    for file in distribution("bmaptool").files or []:
        if file.name == "bmaptool":
            yield file.locate()


for command in candidates():
    if os.path.isfile(command):
        os.execv(command, [os.fspath(command), *sys.argv[1:]])
sys.exit("bmaptool: the command is missing; 'pip install --force-reinstall bmaptool' installs it again")
