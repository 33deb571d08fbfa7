"""Feeds images together with what teachers answered to them, without TensorFlow."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_univrep.datasets.batch_plan import BatchPlan
from keras_univrep.datasets.fixed_views import FixedViews


class TaughtSequence(keras.utils.PyDataset):
    """Gives batches of fixed views of several domains, each with its teacher's cached answers.

    It is endless in effect: batch `index` of epoch `e` is step `e * len(sequence) + index`, as for
    `MultiDomainSequence`. Each domain is shuffled anew at each pass over its images, and shows the
    next view of each image at each pass.

    Args:
        views: The `FixedViews` of each domain, by name.
        caches: For each domain with a teacher, a `models.TeacherCache` of that many samples.
        batch_size: Images a batch for each domain, or a dict of name to number.
        seed: Integer from 0, of the order.
        steps: Batches of an epoch; None for one pass over the longest domain.
        first_step: Step to begin at.
        **kwargs: Of `keras.utils.PyDataset`: `workers`, `use_multiprocessing`, `max_queue_size`.

    Returns:
        Item `index` is ({"images": {name: images}, "targets": {name: {"features", "logits"}}},
        {name: labels}), what `models.UniversalDistiller` takes: images float32 (batch, height,
        width, channels), normalised; features and logits float32 (batch, channels) and (batch,
        classes); labels int32 (batch,).

    Raises:
        ValueError: If an argument is out of range, or a cache does not fit its domain's views.

    Example:

    >>> import numpy as np
    >>> from keras_univrep.datasets import FixedViews, TaughtSequence, load_domain
    >>> from keras_univrep.models import TeacherCache
    >>> views = FixedViews(load_domain("eurosat"), "train", views=2)
    >>> cache = TeacherCache(np.zeros((len(views), 64)), np.zeros((len(views), 10)))
    >>> x, y = TaughtSequence({"eurosat": views}, {"eurosat": cache}, 8)[0]
    >>> x["images"]["eurosat"].shape, x["targets"]["eurosat"]["features"].shape
    ((8, 32, 32, 3), (8, 64))
    """

    def __init__(
        self,
        views: Mapping[str, FixedViews],
        caches: Mapping[str, Any],
        batch_size: int | Mapping[str, int],
        seed: int = 0,
        steps: int | None = None,
        first_step: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        sizes = batch_size if isinstance(batch_size, Mapping) else dict.fromkeys(views, batch_size)
        if not views or set(sizes) != set(views) or not set(caches) <= set(views):
            raise ValueError(
                "`views` must not be empty, `batch_size` must name each of its domains, and "
                f"`caches` some. Received: views of {list(views)}, caches of {list(caches)}, "
                f"batch_size={batch_size}."
            )
        for name, cache in caches.items():
            if len(cache) != len(views[name]):
                raise ValueError(
                    f"The cache of {name!r} must have one row for each view. Received: "
                    f"{len(cache)} rows, {len(views[name])} views. Make it from "
                    "`FixedViews.batches`."
                )
        if (steps is not None and steps < 1) or first_step < 0:
            raise ValueError(
                "`steps` must be None or at least 1, and `first_step` at least 0. Received: "
                f"steps={steps}, first_step={first_step}."
            )
        self.views = dict(views)
        self.caches = dict(caches)
        self.plans = {
            name: BatchPlan(
                domain.size, domain.domain.image_shape, sizes[name], True, None, seed=seed,
                stream=name,
            )
            for name, domain in views.items()
        }  # fmt: skip
        self._steps = max(p.pass_steps for p in self.plans.values()) if steps is None else steps
        self._first = first_step

    def __len__(self) -> int:
        return self._steps

    def samples(self, name: str, step: int) -> np.ndarray:
        """Returns the numbers of the samples of a domain at a step, int64 (batch,)."""
        plan, views = self.plans[name], self.views[name]
        passes = np.arange(step * plan.batch_size, (step + 1) * plan.batch_size) // views.size
        return passes % views.views * views.size + plan(step)[0]

    def read(self, step: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Reads a step, counted from 0 whatever `first_step` is.

        Args:
            step: Number of the step.

        Returns:
            What an item is.
        """
        images, targets, labels = {}, {}, {}
        for name, views in self.views.items():
            samples = self.samples(name, step)
            images[name], labels[name] = views.read(samples)
            if name in self.caches:
                targets[name] = self.caches[name].take(samples)
        return {"images": images, "targets": targets}, labels

    def __getitem__(self, index: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        if not 0 <= index < self._steps:
            raise IndexError(
                f"`index` must be in [0, {self._steps}). Received: index={index}. Pass a smaller "
                "index."
            )
        return self.read(self._first + index)

    def on_epoch_end(self) -> None:
        """Moves on to the next epoch's batches; `fit` calls it."""
        self._first += self._steps
