"""Teaches a trained network the images of a folder, as a file of adapters.

    python applications/add_domain.py --images=mine --output_dir=out
    python applications/add_domain.py --help

The same as `keras-univrep add_domain` of an installed package; the program itself is
`keras_univrep.programs.add_domain`.
"""

import sys

from keras_univrep.programs.command_line import run

if __name__ == "__main__":
    sys.exit(run("add_domain"))
