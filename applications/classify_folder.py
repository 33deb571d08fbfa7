"""Classifies the images of a folder: a CSV file and an HTML contact sheet.

    python applications/classify_folder.py --images=photos --output_dir=out --domains=eurosat
    python applications/classify_folder.py --help

The same as `keras-univrep classify_folder` of an installed package; the program itself is
`keras_univrep.programs.classify_folder`.
"""

import sys

from keras_univrep.programs.command_line import run

if __name__ == "__main__":
    sys.exit(run("classify_folder"))
