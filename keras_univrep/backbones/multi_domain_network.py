"""One network for the dense tasks of several domains at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_univrep.backbones._batch_part import BatchPart
from keras_univrep.backbones._joined_batch import JoinedBatch
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class MultiDomainNetwork(keras.Model):
    """A network of several tasks whose tasks belong to different domains.

    It takes a batch of each domain. Layers that tasks of several domains depend on see all these
    images as one batch, so that a batch normalisation has one mean and variance for them; layers of
    one domain's tasks, the heads, see the images of this domain alone. Maps by name: the layer
    `"<map>_<domain>"`, for each of `maps`, is what a domain has of the map of that name, as
    "features_nyu", where `models.DenseDistiller` compares and `models.MultiTaskModel` cuts.

    Equation:
        li2022, eq. 2, where task t belongs to domain d(t):

            y_t = psi_t(phi_d(t)),    [phi_1; ..; phi_D] = phi([x_1; ..; x_D])

        | symbol | here | shape |
        |---|---|---|
        | x_d | images of domain d | (batch of d, height, width, channels) |
        | [;] | one batch after another | (sum of the batches, height, width, channels) |
        | phi | layers of `network` that several domains depend on | |
        | phi_d | layers "<map>_<d>" | (batch of d, ...) |
        | psi_t | layers of `network` that domain d(t) alone depends on | |

    Differences: li2022 has networks of several tasks in one domain, or of one task in several
        domains, and leaves both at once to future work.

    Args:
        network: A functional network of one input with a dictionary of outputs by task, such as
            `SegNet`. Its layers become those of this network, and `network` stays usable.
        domains: Tasks of each domain, `{"nyu": ["nyu_depth", ...], "camvid": [...]}`. Each task
            belongs to one domain; additional outputs go with the task that `network.auxiliary`
            names.
        maps: Names of layers of `network` whose maps are to be had by domain.
        **kwargs: `name` of a Keras model.

    Call arguments:
        images: Images by domain, `{domain: (batch of it, height, width, channels)}`, of one size.
        training: Whether batch normalisation uses the statistics of the batch.

    Returns:
        Outputs by task, `{task: (batch of its domain, height, width, channels of the task)}`.

    Raises:
        ValueError: If the tasks are not divided among the domains, a map is unknown, or images of
            two domains differ in size.
        TypeError: If `network` is not functional with outputs by task.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import MultiDomainNetwork, SegNet
        >>> network = MultiDomainNetwork(
        ...     SegNet({"room_depth": 1, "street_classes": 11}, width=0.0625),
        ...     {"room": ["room_depth"], "street": ["street_classes"]},
        ... )
        >>> images = {"room": np.ones((2, 32, 32, 3)), "street": np.ones((1, 32, 32, 3))}
        >>> {task: tuple(values.shape) for task, values in network(images).items()}
        {'room_depth': (2, 32, 32, 1), 'street_classes': (1, 32, 32, 11)}
        >>> network.map_names["street_classes"]
        ('bottleneck_street', 'features_street')

    References:
        Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
        learning. 2022.
    """

    def __init__(
        self,
        network: keras.Model,
        domains: Mapping[str, Sequence[str]],
        maps: Sequence[str] = ("bottleneck", "features"),
        **kwargs: Any,
    ) -> None:
        auxiliary = dict(getattr(network, "auxiliary", {}))
        _check(network, domains, maps, auxiliary)
        domain_of = {task: domain for domain, tasks in domains.items() for task in tasks}
        wanted = domain_of | {name: domain_of[task] for name, task in auxiliary.items()}
        inputs = {
            domain: keras.Input(
                network.inputs[0].shape[1:], name=domain, dtype=network.inputs[0].dtype
            )
            for domain in domains
        }
        outputs = _Graph(network, inputs, wanted, maps).outputs()
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)
        self.domains = {domain: tuple(tasks) for domain, tasks in domains.items()}
        self.maps = tuple(maps)
        self.auxiliary = auxiliary
        self.domain_of = {task: domain_of[task] for task in network.output if task in domain_of}
        # In a function, which Keras does not look into: its layers are this network's already.
        self.network = lambda: network

    @property
    def map_names(self) -> dict[str, tuple[str, ...]]:
        """Names of the layers with the maps of each task's domain: `student_layers`."""
        return {
            task: tuple(f"{name}_{domain}" for name in self.maps)
            for task, domain in self.domain_of.items()
        }

    def of_domain(self, domain: str) -> keras.Model:
        """Returns the network of one domain, which shares all its weights with this one.

        Args:
            domain: One of `domains`.

        Returns:
            A functional model of images (batch, height, width, channels) with the outputs of the
            domain's tasks, `{task: (batch, height, width, channels of the task)}`.

        Raises:
            ValueError: If the domain is unknown.
        """
        if domain not in self.domains:
            raise ValueError(
                f"`domain` must be one of {list(self.domains)}. Received: domain={domain!r}."
            )
        whole = self.network()
        outputs = {task: whole.output[task] for task in self.domains[domain]}
        return keras.Model(whole.input, outputs, name=domain)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "network": keras.saving.serialize_keras_object(self.network()),
            # As pairs: the file of a configuration does not keep the order of a dictionary.
            "domains": [[domain, list(tasks)] for domain, tasks in self.domains.items()],
            "maps": list(self.maps),
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> "MultiDomainNetwork":
        """Builds the network that `get_config` describes.

        Args:
            config: What `get_config` gave.
            custom_objects: Classes of the network that Keras does not know.

        Returns:
            A network with new weights.
        """
        network = keras.saving.deserialize_keras_object(config["network"], custom_objects)
        return cls(**{**config, "network": network, "domains": dict(config["domains"])})


class _Graph:
    """Runs the layers of a network anew, each on the domains that need what it gives."""

    def __init__(
        self,
        network: keras.Model,
        inputs: Mapping[str, Tensor],
        wanted: Mapping[str, str],
        maps: Sequence[str],
    ) -> None:
        self.network = network
        self.inputs = inputs
        self.wanted = wanted
        self.maps = maps
        self.needed: dict[int, set[str]] = {}
        for domain in inputs:
            own = [output for name, output in network.output.items() if wanted[name] == domain]
            for operation in keras.Model(network.input, own).operations:
                self.needed.setdefault(id(operation), set()).add(domain)

    def outputs(self) -> dict[str, Tensor]:
        images = _Maps(self, "images", tuple(self.inputs), dict(self.inputs))
        found = self.network._run_through_graph([images], call_fn=self.call)
        return {name: found[name].on((self.wanted[name],)) for name in self.network.output}

    def call(self, operation: Any, *args: Any, **kwargs: Any) -> Any:
        """The operation on what the values of its inputs are for the domains that need it."""
        values = [leaf for leaf in keras.tree.flatten((args, kwargs)) if isinstance(leaf, _Maps)]
        domains = tuple(
            domain
            for domain in self.inputs
            if domain in self.needed[id(operation)]
            and all(domain in value.domains for value in values)
        )
        args, kwargs = keras.tree.map_structure(
            lambda leaf: leaf.on(domains) if isinstance(leaf, _Maps) else leaf, (args, kwargs)
        )
        found = keras.tree.flatten(operation(*args, **kwargs))
        several = len(found) > 1
        return [
            _Maps(self, f"{operation.name}_{i}" if several else operation.name, domains, tensor)
            for i, tensor in enumerate(found)
        ]


class _Maps:
    """A tensor of the network for some domains: as one batch, and by domain where asked for."""

    def __init__(
        self, graph: _Graph, name: str, domains: tuple[str, ...], found: Tensor | dict[str, Tensor]
    ) -> None:
        self.graph = graph
        self.name = name
        self.domains = domains
        self.joint: dict[tuple[str, ...], Tensor] = {}
        self.parts: dict[str, Tensor] = {}
        if isinstance(found, dict):
            self.parts = found
            return
        self.joint[domains] = found
        if name in graph.maps:
            # What follows goes through the parts: a layer off the ways to the outputs is lost.
            self.parts = {domain: self.part(domain) for domain in domains}
            self.joint = {}

    def part(self, domain: str) -> Tensor:
        """What one domain has of it."""
        if domain in self.parts:
            return self.parts[domain]
        name = f"{self.name}_{domain}"
        tensor = self.joint[self.domains]
        if len(self.domains) == 1:
            part = keras.layers.Identity(name=name, dtype=tensor.dtype)(tensor)
        else:
            batches = [self.graph.inputs[other] for other in self.domains]
            part = BatchPart(self.domains.index(domain), name=name)([tensor, *batches])
        self.parts[domain] = part
        return part

    def on(self, domains: tuple[str, ...]) -> Tensor:
        """What several domains have of it, one after another."""
        if domains not in self.joint:
            parts = [self.part(domain) for domain in domains]
            if len(parts) == 1:
                return parts[0]
            names = ("joined",) if domains == self.domains else domains
            self.joint[domains] = JoinedBatch(name="_".join((self.name, *names)))(parts)
        return self.joint[domains]


def _check(
    network: Any,
    domains: Mapping[str, Sequence[str]],
    maps: Sequence[str],
    auxiliary: Mapping[str, str],
) -> None:
    functional = isinstance(network, keras.Model) and hasattr(network, "operations")
    if not functional or not isinstance(network.output, Mapping) or len(network.inputs) != 1:
        raise TypeError(
            "`network` must be a functional model of one input with a dictionary of outputs by "
            f"task. Received: {network!r}. Build it as `keras.Model(images, {{'depth': ...}})`."
        )
    tasks = [name for name in network.output if name not in auxiliary]
    given = [] if not isinstance(domains, Mapping) else [t for of in domains.values() for t in of]
    if sorted(given) != sorted(tasks) or any(
        isinstance(of, str) or not of for of in domains.values()
    ):
        raise ValueError(
            "`domains` must list, for each domain, some of the tasks, and each task once. "
            f"Received: domains={domains!r} for the tasks {tasks}. Pass for example "
            "{'nyu': ['nyu_depth'], 'camvid': ['camvid_classes']}."
        )
    layers = [layer.name for layer in network.layers if layer is not network.layers[0]]
    if isinstance(maps, str) or not set(maps) <= set(layers):
        raise ValueError(
            f"`maps` must list layers of {network.name!r}: {layers}. Received: maps={maps!r}. Pass "
            "those that teachers are compared with, or `maps=()`."
        )
    several = [name for name in maps if isinstance(network.get_layer(name).output, (list, tuple))]
    if several:
        raise ValueError(
            f"`maps` must be layers of one output. Received: {several}, which have more. Name the "
            "layers that take these."
        )
    bad = [name for name in domains if not name or "/" in name or name in layers]
    if bad:
        raise ValueError(
            "Names of domains must be other than those of layers, not empty, and without '/'. "
            f"Received: {bad}. Choose others."
        )
