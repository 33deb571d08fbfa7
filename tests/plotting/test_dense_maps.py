import matplotlib.figure
import numpy as np
import pytest
from PIL import Image

from keras_univrep.plotting import plot_dense_maps
from tests.golden_dense import golden_depths, golden_labels, golden_normals

(LABELS, LOGITS), (DEPTH, TOO_FAR), (NORMALS, TILTED) = (
    golden_labels(),
    golden_depths(),
    golden_normals(),
)
TRUTHS = {"segmentation": LABELS, "depth": DEPTH, "normals": NORMALS}
PREDICTIONS = {"segmentation": LOGITS, "depth": TOO_FAR, "normals": TILTED}
IMAGES = np.full((2, 4, 6, 3), 137, "uint8")


@pytest.fixture
def titles(monkeypatch):
    """Titles of all pictures of the last figure."""
    found = []
    save = matplotlib.figure.Figure.savefig

    def spy(figure, *args, **options):
        found[:] = [axis.get_title() for axis in figure.axes]
        return save(figure, *args, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", spy)
    return found


def _colours(path):
    return {tuple(p) for p in np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3).tolist()}


def test_each_picture_bears_the_error_of_its_image(tmp_path, titles):
    perfect = {"segmentation": np.eye(5)[np.maximum(LABELS, 0)], "depth": DEPTH, "normals": NORMALS}
    methods = {"ours": PREDICTIONS, "oracle": perfect}
    second = [1]  # alone, not the mean of both
    truths = {task: values[second] for task, values in TRUTHS.items()}
    methods = {m: {t: values[second] for t, values in of.items()} for m, of in methods.items()}
    path = plot_dense_maps(tmp_path / "m.png", IMAGES[second], truths, methods)
    by_row = np.reshape(titles, (3, 4))
    assert by_row[0, 0] == "image" and set(by_row[:, 1]) == {"truth"}
    assert [t.split("\n")[1] for t in by_row[:, 3]] == ["mIoU 100.0 %", "aErr 0.000", "mErr 0.0°"]
    assert by_row[0, 2].startswith("ours\nmIoU ") and by_row[0, 2] != by_row[0, 3]
    known = DEPTH[1] != 0
    depth = np.abs(DEPTH[1] - TOO_FAR[1])[known].mean()
    assert by_row[1, 2] == f"ours\naErr {depth:.3f}"
    known = np.any(NORMALS[1] != 0, axis=-1)
    angle = np.degrees(np.arccos(np.sum(NORMALS[1] * TILTED[1], axis=-1)[known])).mean()
    assert by_row[2, 2] == f"ours\nmErr {angle:.1f}°"
    assert (137, 137, 137) in _colours(path)
    assert [p.name for p in tmp_path.iterdir()] == ["m.png"]


def test_each_image_has_a_row_for_each_task(tmp_path, titles):
    plot_dense_maps(tmp_path / "m.png", IMAGES, TRUTHS, {})
    assert titles == ["image", "truth"] + ["", "truth"] * 5


def test_black_is_where_the_truth_is_unknown(tmp_path):
    truth = np.zeros((1, 4, 6, 3))
    truth[..., 2] = 1.0
    prediction = {"net": {"normals": truth}}
    images = np.full((1, 4, 6, 3), 0.5)

    def black():
        path = plot_dense_maps(tmp_path / "m.png", images, {"normals": truth}, prediction)
        picture = np.asarray(Image.open(path).convert("RGB"))
        return int((picture.max(-1) < 10).sum()), _colours(path)

    before, colours = black()
    truth = truth.copy()
    truth[0, :2] = 0.0
    assert (127, 127, 255) in colours or (128, 128, 255) in colours
    assert black()[0] > 2 * before


def test_classes_have_colours_of_their_own_and_a_legend(tmp_path):
    def drawn(names, classes):
        labels = np.arange(24).reshape(1, 4, 6) % classes
        logits = {"net": {"parts": np.eye(classes)[labels]}}
        path = tmp_path / "m.png"
        plot_dense_maps(
            path, IMAGES[:1], {"parts": labels}, logits, {"parts": "segmentation"}, names
        )
        picture = np.asarray(Image.open(path).convert("RGB"))
        values, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
        return picture.shape, len(values[(counts > 1000) & (np.ptp(values, axis=1) > 30)])

    assert drawn(None, 13)[1] == 13
    assert drawn(None, 2)[1] == 2
    figures = set()
    for names in (None, ["wall", "floor"]):
        drawn(names, 2)
        figures.add((tmp_path / "m.png").read_bytes())
    assert len(figures) == 2


def test_image_without_a_truth_says_so(tmp_path, titles):
    depth = {"depth": np.zeros((2, 4, 6, 1))}
    plot_dense_maps(tmp_path / "m.png", IMAGES, depth, {"net": {"depth": TOO_FAR}})
    assert titles[2] == "net\nno truth"


@pytest.mark.parametrize(
    ("truths", "predictions"),
    [
        ({}, {}),
        ({"depth": DEPTH[:1]}, {}),
        ({"depth": DEPTH}, {"net": {"depth": TOO_FAR[:, :2]}}),
        ({"depth": DEPTH}, {"net": {}}),
        ({"depth": DEPTH}, {"net": PREDICTIONS}),
    ],
)
def test_what_does_not_belong_together_is_refused(tmp_path, truths, predictions):
    with pytest.raises(ValueError, match=r"Received: images of shape \(2, 4, 6, 3\)"):
        plot_dense_maps(tmp_path / "m.png", IMAGES, truths, predictions)
    assert not list(tmp_path.iterdir())


def test_task_of_unknown_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\['far'\] with kinds={'far': 'far'}"):
        plot_dense_maps(tmp_path / "m.png", IMAGES, {"far": DEPTH}, {})
