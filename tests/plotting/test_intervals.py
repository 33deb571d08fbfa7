import numpy as np
import pytest
from PIL import Image

from keras_univrep.plotting import plot_intervals

RESULTS = {"MDL": {"birds": (90.0, 1.0)}, "URL": {"birds": (10.0, 1.0)}}


def test_the_bars_are_as_high_as_the_means(tmp_path):
    path = plot_intervals(tmp_path / "i.png", RESULTS, "accuracy, per cent", "test")
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
    # Matplotlib's first two colours; the legend has a little of both.
    first, second = (
        (pixels == colour).all(axis=1).sum() for colour in [(31, 119, 180), (255, 127, 14)]
    )
    assert first > 5 * second > 0


@pytest.mark.parametrize("results", [{}, {"MDL": {}}, {**RESULTS, "SDL": {"signs": (1.0, 0.0)}}])
def test_gaps_are_refused(tmp_path, results):
    with pytest.raises(ValueError, match="the same domains"):
        plot_intervals(tmp_path / "i.png", results, "y", "title")
    assert not list(tmp_path.iterdir())
