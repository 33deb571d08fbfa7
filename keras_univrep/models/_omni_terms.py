"""The terms of the Omni-Loss, and what its teacher says."""

from collections.abc import Mapping, Sequence
from typing import Any

from keras import ops

from keras_univrep import backend
from keras_univrep.models._omni_learners import (
    episode_loss,
    episode_outputs,
    episode_targets,
    squared_difference,
)
from keras_univrep.models._omni_parts import of_flow, wide
from keras_univrep.models._task_losses import scalar_loss
from keras_univrep.types import Tensor


def omni_terms(
    model: Any,
    item: Mapping[str, Any],
    taught: Mapping[str, Tensor],
    trained: Mapping[str, Sequence[str]],
    training: bool,
) -> tuple[dict[str, Tensor], dict[tuple[str, str], Tensor]]:
    """Terms of the loss by name, and outputs by part ("pre" or "meta") and flow.

    Args:
        model: The `OmniTraining`.
        item: Mini-batch and episode.
        taught: What the teacher says, by part.
        trained: The flows of each part.
        training: Whether normalisations use the statistics of the batch.
    """
    terms: dict[str, Any] = {}
    outputs: dict[tuple[str, str], Tensor] = {}
    for flow in trained.get("pre", ()):
        images, targets = of_flow(item["batch"], flow)
        outputs["pre", flow] = found = wide(model(images, flow=flow, training=training))
        loss = scalar_loss(model.pre_loss, targets, found, None)  # shu2021 eq. 8
        terms[f"{flow}_loss"] = terms.get(f"{flow}_loss", 0.0) + loss  # eq. 7
        if "pre" in taught and flow == "pre":
            terms["pre_distillation"] = squared_difference(
                model.compared, taught["pre"], found
            )  # eq. 10
    for flow in trained.get("meta", ()):
        learner, episode = model.learners[flow], of_flow(item["episode"], flow)
        outputs["meta", flow] = found = episode_outputs(learner, episode, training)
        loss = episode_loss(learner, episode, found)  # eq. 12
        terms[f"{flow}_loss"] = terms.get(f"{flow}_loss", 0.0) + loss  # eq. 7
        if "meta" in taught and flow == "meta":
            targets = episode_targets(episode)
            terms["meta_distillation"] = squared_difference(
                model.compared, taught["meta"], found, targets
            )  # eq. 13
    return terms, outputs


def teacher_outputs(
    model: Any, item: Mapping[str, Any], values: Sequence[Tensor]
) -> dict[str, Tensor]:
    """What the teacher says on the parallel flows, by part; nothing that it assigns is kept.

    Args:
        model: The `OmniTraining`.
        item: Mini-batch and episode.
        values: The teacher's values of `model.taught_variables`.
    """

    def forward() -> dict[str, Tensor]:
        found = {}
        if "pre" in model.distilled:
            images, _ = of_flow(item["batch"], "pre")
            found["pre"] = wide(model(images, flow="pre", training=True))
        if "meta" in model.distilled:
            episode = of_flow(item["episode"], "meta")
            found["meta"] = episode_outputs(model.learners["meta"], episode, True)
        return found

    found, _ = backend.functional(forward, model.taught_variables)(values)
    return {name: ops.stop_gradient(value) for name, value in found.items()}
