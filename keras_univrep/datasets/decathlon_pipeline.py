"""Feeds a domain of the Visual Decathlon to a network, from TensorFlow Datasets."""

import pathlib
import types
import zlib
from typing import TYPE_CHECKING, Any

from keras_univrep.datasets.decathlon_domain import DECATHLON_SIDE, DecathlonDomain
from keras_univrep.datasets.tensorflow_loader import load_tensorflow
from keras_univrep.datasets.visual_decathlon import visual_decathlon
from keras_univrep.types import Tensor

if TYPE_CHECKING:
    from tensorflow.data import Dataset

_MOST_BLOCKS = 1 << 32


def decathlon_pipeline(
    name: str,
    split: str,
    batch_size: int,
    training: bool = False,
    preset: str = "rebuffi2018",
    data_dir: str | pathlib.Path | None = None,
    seed: int = 0,
    first_step: int = 0,
    with_names: bool = False,
    shuffle_buffer: int = 50_000,
    download: bool = False,
    side: int | None = None,
) -> "Dataset":
    """Makes a tf.data pipeline over a split of a Visual Decathlon domain.

    In training it is endless (give `fit` a `steps_per_epoch`), shuffled anew at each pass, and
    cropped and mirrored as the preset says. Otherwise it gives every image once, in the order of
    the stored files. The same seed gives the same batches, each time the pipeline is read.

    Differences:
        Resizing is bilinear with antialiasing, to whole grey levels, as in the papers' code; single
        pixels may differ from it by one level.

    Args:
        name: Official name of the domain, a key of `visual_decathlon()`.
        split: "train", "validation" or "test", or an expression of TensorFlow Datasets such as
            "train+validation". The test split has no labels: they are all -1.
        batch_size: Images a batch; the last batch of an evaluation may be smaller.
        training: Whether to shuffle, repeat and augment.
        preset: "rebuffi2018" or "li2022", see `visual_decathlon`.
        data_dir: Folder of TensorFlow Datasets; None for its default.
        seed: Integer from 0.
        first_step: Step to begin at, in training: how a resumed training finds its place.
        with_names: Whether batches also hold the names of their images, which
            `evaluation.write_decathlon_submission` needs. `fit` and `evaluate` would take them for
            weights: use it for predictions alone.
        shuffle_buffer: Encoded images that are shuffled together, about 3 kB each. The default
            holds every training set whole but that of imagenet12, whose stored order is random and
            which is shuffled block by block.
        download: Whether to download and prepare the domain if it is missing. All domains but
            imagenet12 come in one archive.
        side: Side to which smaller crops are enlarged, bilinearly, in pixels, at least the crop's;
            None for none. With 72 one network, even one that takes all domains as one batch,
            serves every domain, as the student of li2022.

    Returns:
        Dataset of (images, labels) or (images, labels, names): float32 (batch, height, width, 3),
        of 64 or 72 pixels a side or of `side`, normalised with the domain's official mean and
        deviation (dimensionless); int32 (batch,); string (batch,), such as b"dtd/test/000001.jpg".

    Raises:
        ValueError: If an argument is out of range or the domain or preset unknown.
        FileNotFoundError: If the domain has not been prepared in `data_dir`.
        ImportError: If TensorFlow or TensorFlow Datasets is not installed.

    Example:

    >>> import tensorflow_datasets as tfds
    >>> with tfds.testing.mock_data(num_examples=8):  # random images in place of the real ones
    ...     batches = decathlon_pipeline("dtd", "train", batch_size=4, training=True)
    ...     images, labels = next(iter(batches))
    >>> tuple(images.shape), tuple(labels.shape)
    ((4, 64, 64, 3), (4,))

    References:
        - Rebuffi, Bilen and Vedaldi, Learning Multiple Visual Domains with Residual Adapters, 2017.
    """
    domains = visual_decathlon(preset)
    if name not in domains:
        raise ValueError(
            f"`name` must be a domain of the Visual Decathlon: {list(domains)}. Received: "
            f"name={name!r}. For images of your own use `pipeline`."
        )
    least = {"batch_size": 1, "seed": 0, "first_step": 0, "shuffle_buffer": 1}
    given = {
        "batch_size": batch_size,
        "seed": seed,
        "first_step": first_step,
        "shuffle_buffer": shuffle_buffer,
    }
    for argument, value in given.items():
        if not isinstance(value, int) or value < least[argument]:
            raise ValueError(
                f"`{argument}` must be an integer of at least {least[argument]}. Received: "
                f"{argument}={value!r}. Pass a larger integer."
            )
    if side is not None and (not isinstance(side, int) or side < domains[name].crop_size):
        raise ValueError(
            f"`side` must be None or an integer of at least {domains[name].crop_size}, the side of "
            f"the crops of '{name}'. Received: side={side!r}. Pass 72, which holds every crop."
        )
    tf = load_tensorflow()
    source, decode = _open(_load_tensorflow_datasets(), name, split, data_dir, download)
    domain = domains[name]
    orders, changes = (zlib.crc32(f"{seed}/{name}/{what}".encode()) for what in ("order", "change"))
    first = 0
    if training:
        first = first_step * batch_size
        source = _endless(tf, source, orders, shuffle_buffer, first)

    def prepare(example: dict[str, Tensor], position: Tensor) -> tuple[Tensor, ...]:
        draws = None
        if training:
            draws = tf.random.stateless_uniform([3], seed=tf.stack([changes, position]))
        image = _prepare_image(tf, decode(example["image"]), domain, draws)
        if side not in (None, domain.crop_size):
            image = tf.image.resize(image, [side, side])
        label = tf.cast(example["label"], tf.int32)
        return (image, label, example["name"]) if with_names else (image, label)

    return (
        tf.data.Dataset.zip((source, tf.data.Dataset.counter(first)))
        .map(prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(batch_size, drop_remainder=training)
        .prefetch(2)
    )


def _endless(
    tf: types.ModuleType, source: "Dataset", orders: int, buffer: int, first: int
) -> "Dataset":
    """Repeats encoded images, each block in a new order each pass, from position `first` on."""
    size = int(source.cardinality())
    if size == 0:
        raise ValueError(
            "`split` must hold an image to train on. Received: an empty split. Pass, for example, "
            "'train'."
        )
    passes, within = divmod(first, size) if size > 0 else (0, first)

    # Not `Dataset.shuffle`: its order depends on TensorFlow's global seed as well.
    def one_pass(number: Tensor) -> "Dataset":
        def reorder(block: Tensor, examples: dict[str, Tensor]) -> "Dataset":
            seed = tf.stack([orders, number * _MOST_BLOCKS + block])
            draws = tf.random.stateless_uniform(tf.shape(examples["label"]), seed)
            order = tf.argsort(draws)
            return tf.data.Dataset.from_tensor_slices(
                {key: tf.gather(values, order) for key, values in examples.items()}
            )

        return source.batch(buffer).enumerate().flat_map(reorder)

    stream = tf.data.Dataset.counter(passes).flat_map(one_pass).skip(within)
    return stream.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))


def _prepare_image(
    tf: types.ModuleType, image: Tensor, domain: DecathlonDomain, draws: Tensor | None
) -> Tensor:
    """Resizes, crops, mirrors and normalises a uint8 image; `draws` are three numbers in [0, 1)."""
    image = tf.cast(image, tf.float32)
    sides = tf.shape(image)[:2]
    wanted = tf.fill([2], DECATHLON_SIDE)
    if not domain.squash:
        wanted = sides * DECATHLON_SIDE // tf.reduce_min(sides)
    image = tf.cond(
        tf.reduce_all(sides == wanted),
        lambda: image,
        lambda: tf.round(tf.image.resize(image, wanted, method="bilinear", antialias=True)),
    )
    spare = wanted - domain.crop_size
    corner = tf.cast(tf.round(tf.cast(spare, tf.float32) / 2), tf.int32)
    if draws is not None and domain.random_crop:
        corner = tf.cast(draws[:2] * tf.cast(spare + 1, tf.float32), tf.int32)
    image = tf.slice(image, [corner[0], corner[1], 0], domain.image_shape)
    if draws is not None and domain.flip:
        image = tf.cond(draws[2] < 0.5, lambda: image[:, ::-1], lambda: image)
    image = tf.ensure_shape(image, domain.image_shape)
    return (image / 255.0 - tf.constant(domain.mean)) / tf.constant(domain.std)


def _open(
    tfds: types.ModuleType,
    name: str,
    split: str,
    data_dir: str | pathlib.Path | None,
    download: bool,
) -> tuple["Dataset", Any]:
    builder = tfds.builder(f"visual_domain_decathlon/{name}", data_dir=data_dir)
    if download:
        try:
            builder.download_and_prepare()
        except ModuleNotFoundError as error:
            # Some releases use a module here that they do not install.
            raise ImportError(
                "TensorFlow Datasets must have its modules to prepare a domain. Received: no "
                f"module {error.name!r}. Run `pip install {error.name}`."
            ) from error
    try:
        # Images stay encoded until they have been shuffled: they take a fifth of the memory.
        source = builder.as_dataset(
            split=split, decoders={"image": tfds.decode.SkipDecoding()}, shuffle_files=False
        )
    except AssertionError as error:
        raise FileNotFoundError(
            f"'visual_domain_decathlon/{name}' must have been prepared in `data_dir`. Received: "
            f"data_dir={str(builder.data_dir)!r}, which does not hold it. Pass `download=True` "
            "once, or the folder of TensorFlow Datasets that holds it."
        ) from error
    return source, builder.info.features["image"].decode_example


def _load_tensorflow_datasets() -> types.ModuleType:
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            "The Visual Decathlon is read with TensorFlow Datasets. Received: an installation "
            "without it. Run `pip install keras_univrep[data]`."
        ) from error
    return tfds
