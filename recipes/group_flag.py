"""The flag `--groups` of `train_url.py` and `distill_universal.py`: hierarchical distillation.

Paper: Li, Liu, Bilen, "Universal representations" (li2022), section 5.4: teachers are distilled
into the networks of groups of domains, and these into the universal network.
"""

import json

from absl import app, flags

from keras_univrep.models.distillation_plan import GROUPINGS

# Model
GROUPS = flags.DEFINE_string(
    "groups", None,
    "Number of groups to draw; 'group 1', 'group 2' or 'group 3', as the paper groups the Visual "
    'Decathlon\'s domains; or groups as JSON: \'[["a", "b"], "c"]\'.',
)  # fmt: skip


def read_groups(domains, stand_ins=None):
    """Returns what `--groups` asks for, as `models.distillation_plan` takes it.

    `stand_ins` names the domains that stand in the place of the paper's; a domain of the paper that
    nothing stands for is left out of its group.
    """
    text = GROUPS.value
    if text is None or text.isdigit():
        return None if text is None else int(text)
    if text not in GROUPINGS:
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise app.UsageError(
                f"--groups must be a number, one of {list(GROUPINGS)}, or JSON such as "
                f'[["a", "b"], "c"]. Received: --groups={text!r} ({error}).'
            ) from error
    names = {name: name for group in GROUPINGS[text] for name in group}
    names = names if stand_ins is None else stand_ins
    groups = [[names[name] for name in group if name in names] for group in GROUPINGS[text]]
    wanted = sorted(name for group in groups for name in group)
    if wanted != sorted(domains):
        raise app.UsageError(
            f"--groups={text!r} divides the domains {wanted}, and all of them must be there. "
            f"Received: {sorted(domains)}. Pass a number, or groups of these as JSON."
        )
    return groups
