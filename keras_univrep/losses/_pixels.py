"""What the losses on maps share: precision, shape checks, and the weight of each pixel."""

from typing import Any

import keras
from keras import ops

from keras_univrep.types import Tensor


def pixel_dtype(dtype: Any) -> str:
    """At least float32: in half precision the number of pixels alone overflows."""
    wanted = keras.dtype_policies.get(dtype or keras.config.floatx()).compute_dtype
    return "float64" if wanted == "float64" else "float32"


def check_maps(loss: str, target: Tensor, prediction: Tensor, channels: int | None) -> None:
    """Refuses maps of other ranks, or whose known sizes differ.

    `channels` are those of both; `None` for a target of labels, which has no channels.
    """
    first, second = tuple(target.shape), tuple(prediction.shape)
    fits = len(first) == (3 if channels is None else 4) and len(second) == 4
    fits = fits and all(
        a is None or b is None or a == b for a, b in zip(first[:3], second[:3], strict=True)
    )
    if channels is not None:
        fits = fits and {first[3], second[3]} <= {None, channels}
    if not fits:
        last = "" if channels is None else f", {channels}"
        raise ValueError(
            f"`{loss}` needs a target of shape (batch, height, width{last}) and a prediction of "
            f"shape (batch, height, width{last or ', classes'}), of the same size. Received: "
            f"target shape={first}, prediction shape={second}. Resize the prediction with "
            "`keras.ops.image.resize`; add or drop a last axis of 1 with `keras.ops.expand_dims` "
            "or `keras.ops.squeeze`."
        )


def measured(target: Tensor) -> Tensor:
    """Pixels of `(batch, h, w, channels)` with a finite target other than zero: `(batch, h, w)`."""
    finite = ops.all(ops.isfinite(target), axis=-1)
    return ops.logical_and(finite, ops.any(target != 0, axis=-1))


def only(valid: Tensor, maps: Tensor) -> Tensor:
    """`maps` with zeros, and no gradient, in the pixels that are not valid."""
    return ops.where(valid[..., None], maps, ops.zeros_like(maps))


def pixel_weights(
    loss: str, valid: Tensor, sample_weight: Any, reduction: str | None, dtype: str
) -> Tensor:
    """Weights `(batch, h, w)` with which Keras's reduction takes the valid pixels alone.

    Keras divides a mean by the number of all pixels, so that the valid ones weigh all / valid.
    """
    weights = ops.cast(valid, dtype)
    if reduction in ("sum_over_batch_size", "mean"):
        count = ops.cast(ops.sum(ops.cast(valid, "int32")), dtype)
        weights = weights * ops.divide_no_nan(ops.cast(ops.size(valid), dtype), count)
    if sample_weight is None:
        return weights
    given = ops.convert_to_tensor(sample_weight, dtype=dtype)
    shape, maps = tuple(given.shape), tuple(valid.shape)
    if not shape:
        return weights * given
    fits = len(shape) in (1, 3) or (len(shape) == 4 and shape[3] == 1)
    if not fits or any(
        a is not None and b is not None and a != b for a, b in zip(shape, maps, strict=False)
    ):
        raise ValueError(
            f"`{loss}` takes a `sample_weight` of shape (), (batch,) or (batch, height, width). "
            f"Received: sample_weight of shape {shape} for maps of shape {maps}. "
            "Give one weight to each image or to each pixel."
        )
    if len(shape) == 1:
        return weights * given[:, None, None]
    return weights * (given if len(shape) == 3 else given[..., 0])
