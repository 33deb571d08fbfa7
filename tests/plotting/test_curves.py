import numpy as np
from PIL import Image

from keras_univrep.plotting import plot_curves


def test_a_band_appears_where_the_seeds_disagree(tmp_path):
    def coloured(spread):
        curves = {"a": {0.1: [50.0, 50.0 + spread], 1.0: [60.0, 60.0 + spread]}}
        path = plot_curves(tmp_path / "c.png", curves, "share", "accuracy", "a domain")
        image = np.asarray(Image.open(path).convert("RGB")).astype(float)
        return int((np.ptp(image, axis=-1) > 20).sum())

    assert coloured(20.0) > 2 * coloured(0.0)
    assert [path.name for path in tmp_path.iterdir()] == ["c.png"]
