"""What a step of Omni-Training is made of: flows, heads, variables, and what an item holds."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_univrep.backbones import OmniNet
from keras_univrep.layers import OmniHead
from keras_univrep.layers.flows import FLOWS, PARALLEL
from keras_univrep.types import Tensor

KEYS = {"pre": "batch", "meta": "episode"}
COMPARED = ("logits", "probabilities")


def some(name: str, given: Sequence[str], known: Sequence[str], least: int = 1) -> tuple[str, ...]:
    """The given words in the order of the known ones."""
    words = [given] if isinstance(given, str) else list(given)
    if set(words) - set(known) or len(words) < least:
        raise ValueError(f"`{name}` must be some of {list(known)}. Received: {name}={given!r}.")
    return tuple(word for word in known if word in words)


def trained_flows(flows: Sequence[str], joint_terms: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The flows on which there is pre-training ("pre") and meta-training ("meta")."""
    joint = joint_terms if "joint" in flows else ()
    return {
        part: tuple(
            flow
            for flow in ("joint", part)
            if (part in joint if flow == "joint" else flow in flows)
        )
        for part in PARALLEL
    }


def check_parts(trained: Mapping[str, Sequence[str]], head: Any, meta: Any) -> None:
    """Refuses to train with what there is not."""
    for part, given, name in (("pre", head, "head"), ("meta", meta, "meta")):
        if trained[part] and given is None:
            raise ValueError(
                f"`{name}` must be given to train {list(trained[part])} with the {part} loss. "
                f"Received: {name}=None. Pass one, or leave {part!r} out of `losses` and "
                "`joint_terms`."
            )


def make_heads(
    template: keras.layers.Layer | None, flows: set[str], channels: int, **kwargs: Any
) -> OmniHead | None:
    """Built heads of the flows, or `None` where there is nothing to make."""
    if template is None or not flows:
        return None
    head = OmniHead(template, [flow for flow in FLOWS if flow in flows], **kwargs)
    head.build((None, channels))
    return head


def variables_of(
    network: OmniNet,
    heads: Sequence[OmniHead | None],
    learners: Mapping[str, keras.Model],
    flows: Sequence[str],
) -> list[keras.Variable]:
    """Trainable variables of the flows, of their heads and of their algorithms, each once."""
    present = [head for head in heads if head is not None]
    parts: list[keras.Layer] = [network, *present]
    known = {id(v) for part in parts for v in part.variables}
    found: dict[int, keras.Variable] = {}
    for flow in flows:
        own = list(network.flow_variables(flow))
        for head in present:
            if flow in head.flows:
                own += head.head(flow).trainable_variables
        if flow in learners:
            own += [v for v in learners[flow].trainable_variables if id(v) not in known]
        found |= {id(v): v for v in own}
    return list(found.values())


def read_item(data: Any, trained: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The item of a data set as a dictionary, which holds what is trained on."""
    item, _, _ = keras.utils.unpack_x_y_sample_weight(data)
    wanted = [KEYS[part] for part in PARALLEL if trained.get(part)]
    if not isinstance(item, Mapping) or set(wanted) - set(item):
        found = sorted(item) if isinstance(item, Mapping) else type(item).__name__
        raise ValueError(
            f"An item must be a dictionary with {wanted}. Received: {found}. Pass "
            "{'batch': (images, targets), 'episode': ...}."
        )
    return {key: item[key] for key in KEYS.values() if key in item}


def of_flow(values: Any, flow: str) -> Any:
    """What is for one flow of a mini-batch or episode that may be given by flow."""
    if isinstance(values, Mapping) and values and set(values) <= set(FLOWS):
        if flow not in values:
            raise ValueError(
                f"An item that is given by flow must hold each flow that is trained on it. "
                f"Received: {sorted(values)} without {flow!r}. Add it."
            )
        return values[flow]
    return values


def wide(outputs: Tensor) -> Tensor:
    """In float32 where they are of less."""
    narrow = keras.backend.standardize_dtype(outputs.dtype) in ("float16", "bfloat16")
    return keras.ops.cast(outputs, "float32") if narrow else outputs
