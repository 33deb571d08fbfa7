"""The parts of a formula, and the LaTeX that matplotlib draws.

Products and quotients go from left to right, as in code: a / b c is (a / b) c.
"""

import dataclasses

# What acts on all that follows where no bracket does: no numerator begins before it.
OPERATORS = {"sum": r"\sum", "max": r"\max", "min": r"\min"} | {
    name: rf"\mathrm{{{name}}}"
    for name in "any arccos argmax argmin cos exp log mean sigmoid sin softmax tanh tr".split()
}
RANGING = ("sum", "max", "min", "argmax", "argmin", "mean")
FENCES = {
    "(": ("(", ")"), "[": ("[", "]"), "{": (r"\{", r"\}"),
    "|": ("|", "|"), "||": (r"\Vert ", r"\Vert "), "<": (r"\langle ", r"\rangle "),
}  # fmt: skip


class Uncertain(ValueError):
    """The text is perhaps no formula, or one of several."""


@dataclasses.dataclass(frozen=True)
class Item:
    """A part of a formula that stands by itself, at a column of the text.

    `kind` is "factor", "operator", "binary", "sign", "relation", "comma", "dots", "slash" or
    "word".
    """

    kind: str
    column: int
    before: int
    parts: tuple
    upright: bool = False

    def tex(self, style):
        return "".join(part if isinstance(part, str) else part.tex(style) for part in self.parts)


@dataclasses.dataclass(frozen=True)
class Fenced:
    """What stands in brackets, is a norm, or an inner product."""

    opening: str
    items: tuple

    def tex(self, style):
        inner = join(self.items, style)
        left, right = FENCES[self.opening]
        if r"\dfrac" in inner:
            left, right = rf"\left{left}", rf"\right{right}"
        return f"{left}{inner}{right}"


@dataclasses.dataclass(frozen=True)
class Fraction:
    """A quotient; whether the text has spaces at its slash, and a factor after it."""

    above: tuple
    below: tuple
    spaced: bool
    multiplied: bool

    def tex(self, style):
        sides = self.above, self.below
        # On one line, what follows could be read into the denominator.
        stacked = self.multiplied or any(unfenced(side) is not side for side in sides)
        if style == "display" or (stacked and style == "inline"):
            above, below = (join(unfenced(side), "inline") for side in sides)
            return rf"\{'dfrac' if style == 'display' else 'frac'}{{{above}}}{{{below}}}"
        slash = r"\,/\," if self.spaced and style != "script" else "/"
        return f"{join(self.above, style)}{slash}{join(self.below, style)}"


def unfenced(items):
    """The inside of a lone bracket, which a fraction's line makes superfluous."""
    if len(items) == 1 and len(items[0].parts) == 1 and isinstance(items[0].parts[0], Fenced):
        inner = items[0].parts[0]
        if inner.opening == "(" and all(item.kind != "comma" for item in inner.items):
            return inner.items
    return items


def join(items, style):
    """The LaTeX of a row of items."""
    pieces = []
    for i, item in enumerate(items):
        pieces += [between(items[i - 1], item, style) if i else "", item.tex(style)]
        if item.kind == "binary":
            pieces[-1] = f"{{{pieces[-1]}}}" if style == "script" else rf"\:{{{pieces[-1]}}}\:"
    return "".join(pieces)


def between(previous, item, style):
    kinds = {previous.kind, item.kind}
    if style == "display" and is_apart((previous, item), 1):
        return r"\quad\ "
    if item.kind == "comma":
        return ""
    if kinds & {"binary", "relation"} or previous.kind == "sign":
        return ""
    if "word" in kinds or "dots" in kinds:
        return r"\ "
    if previous.kind == "comma":
        return "" if style == "script" else r"\ "
    if not item.before:
        return ""
    return r"\ " if previous.upright or item.upright else r"\:"


def is_apart(items, i):
    """Whether a gap stands before an item, and not only to bring columns into line."""
    if not i or items[i].before < 2 or items[i].kind == "relation":
        return False
    return items[i - 1].kind not in ("relation", "operator")


def fractions(items):
    """Makes fractions of what stands on both sides of a slash."""
    done, i = [], 0
    while i < len(items):
        item = items[i]
        if item.kind != "slash":
            done.append(item)
            i += 1
            continue
        below = items[i + 1 : i + 2]
        if not below or below[0].kind != "factor":
            raise Uncertain("what is divided by?")
        first = len(done)
        while first and is_product(done, first - 1) and (item.before or first == len(done)):
            first -= 1
        if below[0].parts == ("d",):  # d L / d x
            below = items[i + 1 : i + 3]
            starts = [n for n in range(first, len(done)) if done[n].parts == ("d",)]
            if len(below) < 2 or below[1].kind != "factor" or not starts:
                raise Uncertain("the derivative of what?")
            first = starts[-1]
            if len(done) - first > 2:
                raise Uncertain("the derivative of what?")
        above = done[first:]
        if not above or above[0].kind != "factor":
            raise Uncertain("what is divided?")
        if first and done[first - 1].kind == "operator" and not ranges(done[first - 1]):
            raise Uncertain("is it within the logarithm?")
        i += 1 + len(below)
        if i < len(items) and items[i].kind == "slash":
            raise Uncertain("two slashes")
        multiplied = i < len(items) and items[i].kind in ("factor", "operator")
        fraction = Fraction(tuple(above), tuple(below), bool(item.before), multiplied)
        done[first:] = [Item("factor", above[0].column, above[0].before, (fraction,))]
    return done


def is_product(items, i):
    """Whether the item belongs to the product that ends the row."""
    dot = items[i].kind == "binary" and items[i].parts == (r"\cdot",)
    return (items[i].kind == "factor" or dot) and not (
        i + 1 < len(items) and items[i + 1].before > 1
    )


def ranges(item):
    """Whether an operator goes over indices, so that a quotient after it is within."""
    return any(item.parts[0] == OPERATORS[name] for name in RANGING)
