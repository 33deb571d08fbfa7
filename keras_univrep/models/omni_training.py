"""Pre-training and meta-training at once, on the three flows of an Omni-Net."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep import backend
from keras_univrep.backbones import OmniFlow, OmniNet
from keras_univrep.layers.adapted_layer import restore_layer
from keras_univrep.layers.flows import FLOWS, PARALLEL, check_flow
from keras_univrep.models._divergence_check import all_finite
from keras_univrep.models._moving_teacher import MovingTeacher
from keras_univrep.models._omni_learners import (
    Learner,
    algorithm,
    episode_outputs,
    episode_targets,
    make_learner,
    share_right,
)
from keras_univrep.models._omni_parts import (
    COMPARED,
    KEYS,
    check_parts,
    make_heads,
    of_flow,
    read_item,
    some,
    trained_flows,
    variables_of,
)
from keras_univrep.models._omni_terms import omni_terms, teacher_outputs
from keras_univrep.models.meta_learner import MetaLearner
from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class OmniTraining(backend.TrainStep, keras.Model):
    """Trains an Omni-Net with the Omni-Loss: one step takes a mini-batch and an episode.

    Any head and Keras loss is a pre-training algorithm, and any `EpisodicModel` or `MetaLearner` a
    meta-training algorithm. Left with one loss it is that algorithm alone: `losses=["joint"],
    joint_terms=["pre"]` is pre-training of the trunk, `joint_terms=["meta"]` its meta-training, and
    both terms are Joint-Training.

    Equation:
        shu2021, equations 7 to 15, for a mini-batch B and an episode of support S and queries Q:

            L_joint = l_pre(H_joint F_joint(B)) + l_meta(H_joint F_joint(Q | S))
            L_pre   = l_pre(H_pre F_pre(B)) + lambda |H_pre F_pre(B) - H~_pre F~_pre(B)|^2
            L_meta  = l_meta(H_meta F_meta(Q | S))
                      + lambda |H_meta F_meta(Q | S) - H~_meta F~_meta(Q | S)|^2
            L = L_pre + L_meta + L_joint
            theta~_i = rho theta~_(i-1) + (1 - rho) theta_i

        | symbol | here | shape |
        |---|---|---|
        | F, H | `network`; `heads`, or what `learners[flow]` makes of features | |
        | l_pre | loss of `compile`, mean over the mini-batch | scalar |
        | l_meta | loss of `learners[flow]` | scalar |
        | lambda | `distillation_weight` | scalar |
        | rho | `decay` | scalar |
        | theta~ | `teacher.averages`, of `taught_variables` in their order | as theta |

    Differences: What the paper leaves open is decided here. The squared differences are of logits,
        or of what `compared` says, mean over queries and classes, without classes that an episode
        lacks. The teacher of step i is theta~_(i-1), and theta~_0 = theta_0. Its batch
        normalisations use the moments of the batch that it sees, like the student's, so that it has
        no moving moments of its own. On the joint flow mini-batch and episode are normalised one by
        one; both move its moving moments. Where an algorithm has a head of its own (a relation
        module), joint and meta flow have one each; a prototypical network has none.

    Args:
        network: The `OmniNet`.
        head: A layer that says what the heads of pre-training are, such as `Dense(64)`; each flow
            has its own. `None` where nothing is pre-trained.
        meta: The meta-training algorithm: `"prototypical"`, `"matching"`, `"relation"`, `"graph"`,
            `"proto_maml"`, `"maml"`, or a subclass of `EpisodicModel` or `MetaLearner` whose first
            argument is the backbone. `None` where nothing is meta-trained.
        meta_options: Its other arguments, such as `{"way": 5}`.
        meta_head: For a `MetaLearner`, which adapts a network with a head: what that head is, or
            `None` to share the flow's head of pre-training, as regression does.
        losses: Which of `"joint"`, `"pre"` and `"meta"` are trained.
        joint_terms: Which of `"pre"` and `"meta"` the joint loss has.
        distilled: Which of `"pre"` and `"meta"` are distilled from the teacher.
        distillation_weight: lambda, not negative.
        decay: rho, in [0, 1).
        compared: What is distilled, `"logits"` or, of classes, `"probabilities"`: the logits of a
            prototypical network are squared distances, whose differences may outweigh the losses.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        inputs: Images, (batch, ...); or an item as `fit` takes it, of which the images of the
            mini-batch are looked at.
        flow: `"joint"`, `"pre"` or `"meta"`.
        training: Whether normalisations use the statistics of the batch.

    Returns:
        What the flow's head of pre-training says, (batch, units); or its features without heads.
        `fit` takes items `{"batch": (images, targets), "episode": ...}` with what the algorithm
        takes as an episode; where one of the two is not trained on, it may be missing. Either may
        be given by flow, `{"joint": ..., "pre": ...}`, as where each flow gathers its own.

    Raises:
        ValueError: If an argument is none of the above, or an item lacks what is trained on.

    Example:
        >>> import keras, numpy as np
        >>> from keras_univrep.backbones import Conv4, OmniNet
        >>> from keras_univrep.models import OmniTraining
        >>> rng = np.random.default_rng(0)
        >>> def images(count):
        ...     return rng.random((count, 16, 16, 1), "float32")
        >>> labels = np.arange(4, dtype="int32")
        >>> item = {"batch": (images(4), labels), "episode": {
        ...     "support_images": images(4), "support_labels": labels % 2,
        ...     "query_images": images(4), "query_labels": labels % 2}}
        >>> network = OmniNet(Conv4(4, image_size=16, channels=1))
        >>> model = OmniTraining(network, keras.layers.Dense(4), "prototypical", {"way": 2})
        >>> model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> history = model.fit(((item,) for _ in range(1)), verbose=0).history
        >>> [name for name in history if "loss" in name]
        ['joint_loss', 'loss', 'meta_loss', 'pre_loss']

    References:
        Shu, Cao, Gao, Wang, Long. Omni-Training for data-efficient deep learning. 2021.
    """

    # Keras's, on TensorFlow, traces the call on inputs of its own making.
    _default_save_signature = None

    def __init__(
        self,
        network: OmniNet,
        head: keras.layers.Layer | None = None,
        meta: Any = None,
        meta_options: Mapping[str, Any] | None = None,
        meta_head: keras.layers.Layer | None = None,
        losses: Sequence[str] = FLOWS,
        joint_terms: Sequence[str] = PARALLEL,
        distilled: Sequence[str] = PARALLEL,
        distillation_weight: float = 3.0,
        decay: float = 0.99,
        compared: str = "logits",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.flows = some("losses", losses, FLOWS)
        self.joint_terms = some("joint_terms", joint_terms, PARALLEL)
        self.distilled = tuple(
            flow for flow in some("distilled", distilled, PARALLEL, 0) if flow in self.flows
        )
        if not distillation_weight >= 0:
            raise ValueError(
                "`distillation_weight` must not be negative. Received: "
                f"distillation_weight={distillation_weight}. Pass 3.0 for the paper's."
            )
        (self.compared,) = some("compared", compared, COMPARED)
        self.distillation_weight = float(distillation_weight)
        self.decay = float(decay)
        self.network = network
        self.trained = trained_flows(self.flows, self.joint_terms)
        self.meta, self.meta_options = meta, dict(meta_options or {})
        check_parts(self.trained, head, meta)
        kind = None if meta is None else algorithm(meta)
        self.adapts = kind is not None and issubclass(kind, MetaLearner)
        shares = self.adapts and meta_head is None
        pre, episodic = set(self.trained["pre"]), set(self.trained["meta"])
        common = {"channels": network.filters, "dtype": self.dtype_policy}
        self.heads = make_heads(head, pre | (episodic if shares else set()), name="heads", **common)
        self.meta_heads = make_heads(meta_head, episodic, name="meta_heads", **common)
        self.learners: dict[str, Learner] = {}
        if kind is not None:
            own = self.heads if shares else self.meta_heads
            self.learners = {
                flow: make_learner(kind, network, flow, own, self.meta_options)
                for flow in self.trained["meta"]
            }
        names = [f"{flow}_loss" for flow in self.flows]
        names += [f"{flow}_distillation" for flow in self.distilled]
        names += [f"{flow}_accuracy" for flow in self.flows]
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}
        self.teacher = MovingTeacher(decay, name="teacher")
        self.teacher.build(self.taught_variables)
        self.build(None)

    @property
    def taught_variables(self) -> list[keras.Variable]:
        """The trainable variables of which the teacher has averages."""
        return self._variables_of(self.distilled)

    def build(self, input_shape: Shape | None) -> None:
        self.built: bool = True

    def _variables_of(self, flows: Sequence[str]) -> list[keras.Variable]:
        return variables_of(self.network, [self.heads, self.meta_heads], self.learners, flows)

    def call(self, inputs: Any, flow: str = "joint", training: bool | None = None) -> Tensor:
        if isinstance(inputs, Mapping) and {"batch", "episode"} & set(inputs):
            # Keras builds a model by calling it with the data of `fit`.
            if "batch" not in inputs:
                flow, learner = next(iter(self.learners.items()))
                return episode_outputs(learner, of_flow(inputs["episode"], flow), False)
            flow = self.trained["pre"][0] if self.trained["pre"] else flow
            inputs = of_flow(inputs["batch"], flow)[0]
        features = self.network(inputs, flow=flow, training=training)
        if self.heads is None or flow not in self.heads.flows:
            return features
        return self.heads(features, flow=flow)

    def learner(self, flow: str) -> OmniFlow:
        """Returns a flow with its head as a network by itself, to adapt to a new task.

        Args:
            flow: A flow with a head.

        Returns:
            A `keras.Model` of the flow's own trainable variables, which are those of this model.

        Raises:
            ValueError: If the flow has no head.
        """
        check_flow(flow, self.name)
        for heads in (self.meta_heads, self.heads):
            if heads is not None and flow in heads.flows:
                return OmniFlow(self.network, flow, heads)
        raise ValueError(
            f"{flow!r} has no head. Received: flow={flow!r}, trained are {self.trained}. Use "
            "`OmniFlow(network, flow)` for its features."
        )

    def compile(
        self, optimizer: Any = "adam", loss: Any = None, metrics: Any = None, **kwargs: Any
    ) -> None:
        """Configures training.

        Args:
            optimizer: As for `keras.Model.compile`.
            loss: l_pre, a Keras loss; a `MetaLearner` adapts by it, too. `None` where neither is.
            metrics: None.
            **kwargs: Other arguments of `keras.Model.compile`.

        Raises:
            ValueError: If metrics are given, or a loss is missing.
        """
        given = {"metrics": metrics, **kwargs}
        for name in ("metrics", "weighted_metrics", "loss_weights"):
            if given.get(name) is not None:
                raise ValueError(
                    f"`{name}` must be None: each term of the Omni-Loss is a metric. Received: "
                    f"{name}={given[name]!r}. Leave it out."
                )
        if loss is None and (self.trained["pre"] or self.adapts):
            raise ValueError(
                "`loss` must be a loss of the heads. Received: loss=None. Pass, for example, "
                "keras.losses.SparseCategoricalCrossentropy(from_logits=True) or 'mse'."
            )
        super().compile(optimizer=optimizer, **kwargs)
        self.pre_loss = None if loss is None else keras.losses.get(loss)
        for learner in self.learners.values():
            if isinstance(learner, MetaLearner):
                learner.task_loss = self.pre_loss
        # Of what a step moves, and in one order, as when it is loaded.
        self.optimizer.build(self._variables_of(self.flows))

    def update(self, data: Any) -> dict[str, Tensor]:
        """One step (called by Keras).

        Args:
            data: A mini-batch and an episode.

        Returns:
            Logs.
        """
        item = read_item(data, self.trained)
        # Before the step: on PyTorch it moves the weights in place.
        taught_variables = self.taught_variables
        before = self.teacher.values(taught_variables)
        taught = teacher_outputs(self, item, before) if self.distilled else {}

        def forward() -> tuple[Tensor, Any]:
            terms, outputs = omni_terms(self, item, taught, self.trained, training=True)
            total = sum(terms[f"{flow}_loss"] for flow in self.flows)
            for flow in self.distilled:
                total = total + self.distillation_weight * terms[f"{flow}_distillation"]
            for penalty in self.losses:
                total = total + backend.share(ops.cast(penalty, total.dtype))
            return total, (terms, outputs)  # shu2021 eq. 15

        variables = self._variables_of(self.flows)
        loss, (terms, outputs), grads = backend.gradients(forward, variables, self.optimizer)
        if self.adapts:
            # Inner steps may diverge, which would spoil all weights: such a step is left out.
            finite = all_finite([loss], grads, self.optimizer)
            backend.apply_gradients(self.optimizer, grads, variables, condition=finite)
            counted = ops.cast(finite, "float32")
            loss = ops.where(finite, loss, 0.0)
        else:
            backend.apply_gradients(self.optimizer, grads, variables)
            counted = None
        self.teacher.move(before, taught_variables)
        self._track("loss", loss, counted)
        for name, value in terms.items():
            value = value if counted is None else ops.where(counted > 0, value, 0.0)
            self.trackers[name].update_state(backend.whole(value), sample_weight=counted)
        return self._judge(item, outputs)

    def evaluate_update(self, data: Any) -> dict[str, Tensor]:
        """One step of an evaluation (called by Keras): losses and accuracies of what there is.

        Args:
            data: A mini-batch, an episode, or both.

        Returns:
            Logs.
        """
        item = read_item(data, {})
        trained = {part: own for part, own in self.trained.items() if KEYS[part] in item}
        terms, outputs = omni_terms(self, item, {}, trained, training=False)
        flows = [name for name in terms if name.endswith("_loss")]
        self._track("loss", sum(terms[name] for name in flows))
        for name in flows:
            self.trackers[name].update_state(backend.whole(terms[name]))
        logs = self._judge(item, outputs)
        hidden = [name for name in logs if name.endswith("_distillation")]
        hidden += [f"{flow}_loss" for flow in self.flows if f"{flow}_loss" not in terms]
        return {name: value for name, value in logs.items() if name not in hidden}

    def _track(self, name: str, value: Tensor, weight: Tensor | None = None) -> None:
        for metric in self.metrics:
            if metric.name == name:
                metric.update_state(backend.whole(value), sample_weight=weight)

    def _judge(
        self, item: Mapping[str, Any], outputs: Mapping[tuple[str, str], Tensor]
    ) -> dict[str, Any]:
        judged = set()
        for (part, flow), found in outputs.items():
            # The joint flow is judged by episodes where it has them.
            if part == "pre" and ("meta", flow) in outputs:
                continue
            given = of_flow(item[KEYS[part]], flow)
            targets = given[1] if part == "pre" else episode_targets(given)
            share = share_right(found, ops.convert_to_tensor(targets))
            if share is not None:
                judged.add(f"{flow}_accuracy")
                self.trackers[f"{flow}_accuracy"].update_state(share)
        logs = self.get_metrics_result()
        # Targets of regression are never right.
        return {k: v for k, v in logs.items() if not k.endswith("_accuracy") or k in judged}

    def get_compile_config(self) -> dict[str, Any]:
        """Returns what `compile_from_config` takes."""
        config = super().get_compile_config()
        if config:
            loss = self.pre_loss
            config["loss"] = None if loss is None else keras.saving.serialize_keras_object(loss)
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as before saving, so that a loaded model goes on with its optimizer's state.

        Args:
            config: What `get_compile_config` returned.
        """
        # Keras skips this for a class with its own `compile`.
        self.compile(**keras.saving.deserialize_keras_object(config))

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        get_registered_name = keras.saving.get_registered_name
        meta = self.meta
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "network": serialize(self.network),
            "head": None if self.heads is None else self.heads.template,
            "meta": meta if meta is None or isinstance(meta, str) else get_registered_name(meta),
            "meta_options": dict(self.meta_options),
            "meta_head": None if self.meta_heads is None else self.meta_heads.template,
            "losses": list(self.flows),
            "joint_terms": list(self.joint_terms),
            "distilled": list(self.distilled),
            "distillation_weight": self.distillation_weight,
            "decay": self.decay,
            "compared": self.compared,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "OmniTraining":
        config = dict(config)
        config["network"] = keras.saving.deserialize_keras_object(config["network"])
        for key in ("head", "meta_head"):
            config[key] = None if config[key] is None else restore_layer(config[key])
        return cls(**config)
