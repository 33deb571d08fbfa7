"""Makes a classifier of a folder with a few images of each class.

    python applications/few_shot_folder.py --examples=mine --queries=photos --output_dir=out
    python applications/few_shot_folder.py --help

The same as `keras-univrep few_shot_folder` of an installed package; the program itself is
`keras_univrep.programs.few_shot_folder`.
"""

import sys

from keras_univrep.programs.command_line import run

if __name__ == "__main__":
    sys.exit(run("few_shot_folder"))
