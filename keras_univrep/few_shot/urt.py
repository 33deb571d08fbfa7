"""Attention over the features of several extractors, learned on training episodes."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from keras import ops

from keras_univrep.few_shot._checks import positive_number, whole_number
from keras_univrep.few_shot._compiled import run_light
from keras_univrep.few_shot._episodes import (
    ONE,
    Sets,
    as_array,
    read_features,
    read_labels,
    rows_of,
)
from keras_univrep.few_shot._episodic_classifier import EpisodicClassifier
from keras_univrep.few_shot._similarity import cosine
from keras_univrep.few_shot._transformer_heads import TransformerHeads, attend, weighted
from keras_univrep.types import Tensor


class URT(EpisodicClassifier):
    """Universal representation transformer: weighs extractors by attention, head by head.

    Equation:
        URT, compared with in li2022 table 7, for head h and class means r_ij of the unit features
        of extractor i:

            beta_hij = <W_q^h [r_1j, ..., r_mj], W_k^h r_ij> / sqrt(C)
            A_hi = mean_j softmax_i(beta_hij),   g(x) = [sum_i A_1i f_i(x), ..., sum_i A_Hi f_i(x)]
            loss = ce(gamma cos(g(x), c_j), y) + penalty ||A A' - I||_F^2

        | symbol | here | shape |
        |---|---|---|
        | f_i | `features`, of extractor i, to unit length | (episodes, samples, channels) |
        | C | channels | scalar |
        | W_q | `weights["query"]` | (heads, extractors * channels, units) |
        | W_k | `weights["key"]` | (heads, channels, units) |
        | A | `selection_` | (episodes, heads, extractors) |
        | gamma | `weights["temperature"]`, from 10 | scalar |

    Differences:
        None known from the released code in these formulae, but that code carries a value
        transform that it does not use. The weights start at N(0, 0.001), that is, as an average of
        the extractors. Whether it averages over classes before the softmax was not checked.

    Args:
        heads: Number of heads H.
        units: Length of queries and keys.
        penalty: Weight of the penalty that keeps heads apart.
        seed: Of the first weights.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.few_shot import URT
        >>> rng = np.random.default_rng(0)
        >>> labels = np.tile([0, 1], 4)
        >>> def features():  # of two extractors, the second of which sees noise
        ...     signal = np.eye(2)[labels] + 0.1 * rng.normal(size=(8, 2))
        ...     return np.stack([signal, rng.normal(size=(8, 2))], axis=1)
        >>> episodes = [(features(), labels, features(), labels) for _ in range(3)]
        >>> classifier = URT(heads=1, units=4).meta_fit(episodes)
        >>> classifier.fit(features(), labels).predict(features()).shape
        (8,)

    References:
        - Liu, Hamilton, Long, Jiang, Larochelle. A universal representation transformer layer for
          few-shot image classification. 2021.
        - Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
          learning. 2022.
    """

    selection_: np.ndarray

    def __init__(
        self, heads: int = 2, units: int = 1024, penalty: float = 0.1, seed: int = 0
    ) -> None:
        self.heads = whole_number("heads", heads, 1)
        self.units = whole_number("units", units, 1)
        self.penalty = penalty if penalty == 0 else positive_number("penalty", penalty)
        self.seed = whole_number("seed", seed, 0)
        self._transformer: TransformerHeads | None = None

    def meta_fit(
        self,
        episodes: Iterable[tuple[Any, Any, Any, Any]],
        learning_rate: float = 1e-2,
        weight_decay: float = 1e-5,
        steps: int | None = None,
    ) -> URT:
        """Learns the attention on training episodes, one step each.

        Args:
            episodes: Support features, support labels, query features and query labels of an
                episode, (samples, extractors, channels) and (samples,), or of many that make one
                step together: with an axis in front, or as lists of arrays if their sizes differ.
            learning_rate: Of Adam, at the start; it falls along a cosine to zero.
            weight_decay: Of every weight, as PyTorch's Adam has it: half the squares in the loss.
            steps: Number of steps of the schedule; `None` for the number of episodes, which then
                are held in memory. The released code takes 10,000.

        Returns:
            The estimator itself, with `history_`, the loss of each step. A second call goes on
            from the weights of the first, with a new schedule.

        Raises:
            ValueError: If there is no episode, or a query is of a class without support.
        """
        if steps is None:
            episodes = list(episodes)
            steps = len(episodes)
        steps = whole_number("steps", steps, 1)
        self.history_: list[float] = []
        for support, labels, queries, query_labels in episodes:
            inputs = _training_sets(support, labels, queries, query_labels)
            transformer = self._transformer_for(tuple(inputs[0].shape[2:]))
            if not self.history_:
                transformer.prepare(learning_rate, weight_decay, steps)
            loss = transformer.train_on_batch(inputs, np.zeros(len(inputs[0]), "float32"))
            self.history_.append(float(loss))
        if not self.history_:
            raise ValueError(
                "`episodes` must hold at least one episode. Received: none. "
                "Pass a list, or a fresh iterator."
            )
        return self

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """Copies of what was learned, by name."""
        return self._trained().arrays()

    def save(self, path: str | pathlib.Path) -> None:
        """Writes the learned weights.

        Args:
            path: File to write, a NumPy archive that ends in `.npz`.

        Raises:
            RuntimeError: Before `meta_fit`.
        """
        np.savez(path, **self.weights)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: str | pathlib.Path) -> URT:
        """An estimator with the weights that `save` wrote, of whatever backend.

        Args:
            path: The file.

        Returns:
            The estimator, ready to be fitted on support sets, or trained further.
        """
        with np.load(path) as archive:
            weights = dict(archive)
        heads, channels, units = weights["key"].shape
        loaded = cls(heads, units)
        extractors = weights["query"].shape[1] // channels
        loaded._transformer_for((extractors, channels)).assign(weights)
        return loaded

    def _read(self, name: str, features: Any) -> Sets:
        return read_features(name, features, rank=3)

    def _learn(self, support: Sets, one_hot: np.ndarray) -> None:
        transformer, x = self._trained(), support.x
        if tuple(x.shape[2:]) != transformer.sizes:
            raise ValueError(
                "Features must have the extractors and channels of the training. Received: "
                f"(extractors, channels)={tuple(x.shape[2:])} after {transformer.sizes}. "
                "Train anew, or extract by the same networks."
            )
        weights = [transformer.query, transformer.key]
        self._selection, self._centroids = run_light(attend, [x, one_hot, *weights])
        self._scale = float(ops.convert_to_numpy(transformer.temperature))

    def fit(self, features: Any, labels: Any) -> URT:
        """Weighs the extractors for support sets.

        Args:
            features: (samples, extractors, channels), or (episodes, samples, extractors, channels),
                or a list of arrays (samples, extractors, channels).
            labels: (samples,) or (episodes, samples) or a list, integers or strings.

        Returns:
            The estimator itself, with `classes_`, and with `selection_` (heads, extractors) or
            (episodes, heads, extractors).

        Raises:
            RuntimeError: Before `meta_fit`.
            ValueError: As every estimator, and if extractors or channels are not those trained on.
        """
        super().fit(features, labels)
        selection = as_array(self._selection)
        self.selection_ = selection[0] if self._form == ONE else selection
        return self

    def _answer(self, queries: Sets) -> Any:
        found = run_light(_cosines, [queries.x, self._selection, self._centroids])
        return self._scale * as_array(found)

    def _trained(self) -> TransformerHeads:
        if self._transformer is None:
            raise RuntimeError(
                "`URT` must be trained first. Received: no weights. "
                "Call `meta_fit(episodes)`, or `URT.load(path)`."
            )
        return self._transformer

    def _transformer_for(self, sizes: tuple[int, ...]) -> TransformerHeads:
        if self._transformer is None:
            self._transformer = TransformerHeads(
                sizes, self.heads, self.units, self.penalty, self.seed
            )
        if self._transformer.sizes != sizes:
            raise ValueError(
                "Training episodes must have the same extractors and channels. Received: "
                f"(extractors, channels)={sizes} after {self._transformer.sizes}. "
                "Extract all episodes by the same networks."
            )
        return self._transformer


def _cosines(x: Tensor, selection: Tensor, centroids: Tensor) -> Tensor:
    return cosine(weighted(x, selection), centroids)


def _training_sets(support: Any, labels: Any, queries: Any, query_labels: Any) -> list[Any]:
    """Features and one-hot labels of support sets and of queries, in the support set's order."""
    x = read_features("support", support, rank=3)
    q = read_features("queries", queries, rank=3)
    classes, one_hot = read_labels(labels, x)
    wanted = rows_of("query_labels", query_labels, q)
    q_one_hot = np.zeros((len(wanted), q.length, one_hot.shape[-1]), "float32")
    for found, own, known in zip(q_one_hot, wanted, classes, strict=True):
        same = own[:, None] == known
        if not same.any(axis=-1).all():
            raise ValueError(
                "Every query must be of a class of its support set. Received: query labels "
                f"{sorted(set(own.tolist()))}, classes {known.tolist()}. Sample support set and "
                "queries from the same classes."
            )
        found[: len(own), : len(known)] = same
    return [x.x, one_hot, q.x, q_one_hot]
