"""The embedded domains hold what their documentation says."""

import pathlib
import shutil

import numpy as np
import pytest

from keras_univrep.datasets import Domain, benchmark, load_domain
from keras_univrep.datasets.embedded_domains import read_manifest

SIZES = {
    "eurosat": (10, 800, 150, 300),
    "letters": (26, 6760, 1040, 1560),
    "omniglot": (1623, 19473, 6491, 6492),
    "quickdraw": (8, 5600, 800, 1600),
    "signdigits": (10, 641, 102, 257),
}
GREY = ("letters", "omniglot", "quickdraw")
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def domains() -> dict[str, Domain]:
    return benchmark("five_domains")


@pytest.mark.parametrize("name", SIZES)
def test_sizes_shapes_and_types(domains: dict[str, Domain], name: str) -> None:
    domain = domains[name]
    assert (domain.num_classes, *map(domain.size, SPLITS)) == SIZES[name]
    assert domain.licence and domain.source and domain.citation
    for split in SPLITS:
        images, labels = domain.arrays(split)
        assert images.shape == (len(labels), 32, 32, 3) and images.dtype == np.uint8
        assert labels.dtype == np.int32


@pytest.mark.parametrize("name", SIZES)
def test_every_class_is_in_every_split(domains: dict[str, Domain], name: str) -> None:
    for split in SPLITS:
        labels = domains[name].arrays(split)[1]
        np.testing.assert_array_equal(np.unique(labels), np.arange(domains[name].num_classes))


@pytest.mark.parametrize(
    ("name", "counts"),
    [("eurosat", (80, 15, 30)), ("letters", (260, 40, 60)), ("quickdraw", (700, 100, 200))],
)
def test_stratified_splits_hold_each_class_equally_often(
    domains: dict[str, Domain], name: str, counts: tuple[int, ...]
) -> None:
    for split, count in zip(SPLITS, counts, strict=True):
        assert set(np.bincount(domains[name].arrays(split)[1])) == {count}


def test_omniglot_holds_twelve_four_and_four_drawers_but_for_copies(
    domains: dict[str, Domain],
) -> None:
    for split, most, left_out in zip(SPLITS, (12, 4, 4), (3, 1, 0), strict=True):
        counts = np.bincount(domains["omniglot"].arrays(split)[1])
        assert counts.max() == most and (most - counts).sum() == left_out


@pytest.mark.parametrize("name", SIZES)
def test_no_image_is_in_two_splits(domains: dict[str, Domain], name: str) -> None:
    parts = [{x.tobytes() for x in domains[name].arrays(split)[0]} for split in SPLITS]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not parts[one] & parts[other]


@pytest.mark.parametrize("name", SIZES)
def test_mean_and_deviation_are_those_of_the_training_images(
    domains: dict[str, Domain], name: str
) -> None:
    images = domains[name].arrays("train")[0]
    for channel in range(3):
        values = images[..., channel].astype("float64") / 255
        assert domains[name].mean[channel] == pytest.approx(values.mean(), abs=1e-6)
        assert domains[name].std[channel] == pytest.approx(values.std(), abs=1e-6)


@pytest.mark.parametrize("name", GREY)
def test_grey_images_have_equal_channels_a_black_border_and_bright_strokes(
    domains: dict[str, Domain], name: str
) -> None:
    images = domains[name].arrays("test")[0]
    assert (images == images[..., :1]).all()
    assert not images[:, :2].any() and not images[:, :, -2:].any() and images.any()
    assert (images > 127).mean() < 0.25


def test_characters_are_not_mirrored(domains: dict[str, Domain]) -> None:
    assert {name for name, domain in domains.items() if not domain.flip} == {"letters", "omniglot"}


def test_class_names_are_in_the_order_of_the_labels(domains: dict[str, Domain]) -> None:
    assert domains["letters"].class_names[:3] == ("A", "B", "C")
    assert domains["signdigits"].class_names == tuple("0123456789")
    assert domains["quickdraw"].class_names[-1] == "train"
    assert len(set(domains["omniglot"].class_names)) == 1623


def test_arrays_are_read_once_and_read_only(domains: dict[str, Domain]) -> None:
    images, _ = domains["eurosat"].arrays("train")
    assert domains["eurosat"].arrays("train")[0] is images
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


def test_lists_the_domains_when_one_is_unknown() -> None:
    with pytest.raises(ValueError, match=r"'eurosat', 'letters'.*Received: name='imagenet'"):
        load_domain("imagenet")


@pytest.fixture
def copy(tmp_path: pathlib.Path) -> pathlib.Path:
    directory, _ = read_manifest(None)
    for file in ("manifest.json", "eurosat.npz"):
        shutil.copy(directory / file, tmp_path)
    return tmp_path


def test_reads_another_directory(copy: pathlib.Path) -> None:
    assert load_domain("eurosat", copy).size("test") == 300


def test_a_truncated_file_is_refused_with_both_sums(copy: pathlib.Path) -> None:
    path = copy / "eurosat.npz"
    path.write_bytes(path.read_bytes()[:-1])
    expected = read_manifest(None)[1]["eurosat"]["sha256"]
    with pytest.raises(ValueError, match="SHA-256 [0-9a-f]{64} .*truncated") as error:
        load_domain("eurosat", copy)
    assert expected in str(error.value) and "pip install" in str(error.value)


def test_a_changed_byte_is_refused(copy: pathlib.Path) -> None:
    path = copy / "eurosat.npz"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="must have SHA-256"):
        load_domain("eurosat", copy)


def test_a_missing_file_is_named(copy: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError, match="no file 'letters.npz'.*pip install"):
        load_domain("letters", copy)
