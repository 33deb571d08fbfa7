"""Predicts segmentation, depth and normals of an image, as pictures.

    python applications/dense_predict.py --image=room.jpg --network=network.keras --output_dir=out
    python applications/dense_predict.py --help

The same as `keras-univrep dense_predict` of an installed package; the program itself is
`keras_univrep.programs.dense_predict`.
"""

import sys

from keras_univrep.programs.command_line import run

if __name__ == "__main__":
    sys.exit(run("dense_predict"))
