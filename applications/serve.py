"""Serves an exported network in TensorFlow Serving's REST form on this machine.

    python applications/serve.py --saved_model=served --port=8501
    python applications/serve.py --help

The same as `keras-univrep serve` of an installed package; the program itself is
`keras_univrep.programs.serve`.
"""

import sys

from keras_univrep.programs.command_line import run

if __name__ == "__main__":
    sys.exit(run("serve"))
