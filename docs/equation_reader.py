r"""Reads the formulas that docstrings write as plain text.

`latex("m_hw / ||m_.hw||")` is `\dfrac{m_{hw}}{\Vert m_{\cdot hw}\Vert }`. What is not surely read
raises `Uncertain`, and stays the text that it is: prose, names of two letters that may be
products, what is not closed, a slash of which it is not plain what it divides.
"""

import dataclasses
import re

from equation_latex import OPERATORS, Fenced, Item, Uncertain, fractions, join

GREEK = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau "
    "phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega".split()
)
# Words of a sentence; others are names.
WORDS = frozenset(
    "about after aligned all along among an and are at before by centres channels chosen class "
    "decoder each else encoder equations first for from head if in is it its itself kept layer "
    "level moves nearest not object of on once one or other others out outside over own "
    "positions set side some squares start step stride such summed than that the their then "
    "times to twice uniform up where which with within".split()
)
# Scripts of several letters that are indices: each letter is one. Other scripts are words.
INDICES = re.compile(r"[A-Za-z]{1,2}|[chijklmnpqw]{3}")
SCRIPT_WORDS = frozenset(["max", "min", "in"])
TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<code>`\w+`)|(?P<quoted>"[\w -]+")
    |(?P<number>\d+(?:\.\d+)?(?:e-?\d+)?)|(?P<hyphenated>[A-Za-z]{2,}(?:-[A-Za-z]{2,})+)
    |(?P<name>[A-Za-z]+)|(?P<dots>\.\.\.?)
    |(?P<sign><-|->|<=|>=|!=|:=|-/\+|\|\||[-+*/=<>~|.,;:'^_(){}\[\]\#])""",
    re.VERBOSE,
)
# "learning_rate" is one name, "f_joint" a letter with an index.
CODE_NAME = re.compile(r"[a-z]{3,}(?:_[a-z]{3,})+(?!\w)")
RELATIONS = {
    "=": "=", ":=": r"\coloneq ", "<=": r"\leq ", ">=": r"\geq ", "!=": r"\neq ",
    "<-": r"\leftarrow ", "->": r"\rightarrow ", "<": "<", ">": ">", "~": r"\sim ",
}  # fmt: skip
BINARY = {"+": "+", "-": "-", "*": r"\ast", ".": r"\cdot", "-/+": r"\mp"}
CLOSING = {"(": ")", "[": "]", "{": "}", "|": "|", "||": "||", "<": ">"}


@dataclasses.dataclass(frozen=True)
class Token:
    """A piece of the text; whether spaces stand before it (2: a gap) and after it."""

    kind: str
    text: str
    column: int
    before: int
    after: int


def tokens(text):
    found, at, before = [], 0, 1
    while at < len(text):
        match = CODE_NAME.match(text, at) or TOKEN.match(text, at)
        if not match:
            raise Uncertain(f"no notation: {text[at:]!r}")
        kind, word, start, at = match.lastgroup or "code", match.group(), at, match.end()
        if match.re is CODE_NAME and {*word.split("_")} & GREEK:
            kind, word, at = "name", word.split("_")[0], start + word.index("_")
        if kind == "space":
            before = len(word)
            continue
        found.append(Token(kind, word, start, before, int(at == len(text) or text[at] == " ")))
        before = 0
    return found


class Reader:
    """Reads a line by recursive descent."""

    def __init__(self, text):
        self.tokens, self.at = tokens(text), 0
        # "f o .. o g" is a composition, and any other o a letter.
        self.composes = re.search(r" o \.\.", text)

    def token(self, ahead=0):
        at = self.at + ahead
        return self.tokens[at] if at < len(self.tokens) else Token("end", "", -1, 1, 1)

    def tight(self, *texts):
        """Whether one of the texts comes next, without a space before it."""
        return not self.token().before and self.token().text in texts

    def take(self):
        self.at += 1
        return self.tokens[self.at - 1]

    def row(self, closing=""):
        """Reads up to the closing bracket."""
        items = []
        while not self.closes(closing, items):
            if self.token().kind == "end":
                raise Uncertain(f"no {closing}")
            items.append(self.item(items, closing))
        if closing:
            self.take()
        if not items:
            raise Uncertain("nothing in brackets")
        for one, two in zip(items, items[1:]):
            if is_bare_name(one) and is_bare_name(two) and two.before == 1:
                raise Uncertain(f"prose: {one.parts[0]} {two.parts[0]}")
            if two.kind in ("binary", "slash", "relation") and one.kind in ("binary", "relation"):
                raise Uncertain("two signs in a row")
        if items[-1].kind in ("binary", "sign", "slash", "relation"):
            raise Uncertain("a sign at the end")
        return tuple(fractions(items))

    def closes(self, closing, items):
        token = self.token()
        if token.text != closing:
            return False
        if closing in ("|", "||"):
            return bool(items) and items[-1].kind == "factor" and not self.opens()
        return closing != ">" or not token.before

    def opens(self):
        """Whether a bar looks like that at the start of a norm."""
        return self.token().before and not self.token().after and self.token(1).text not in "^_,)]"

    def item(self, items, closing):
        token = self.take()
        operand = bool(items) and items[-1].kind in ("factor", "dots")

        def made(kind, *parts, **options):
            return Item(kind, token.column, token.before, parts, **options)

        if token.kind == "code":
            word = token.text.strip("`").replace("_", r"\_")
            return made("factor", rf"\mathtt{{{word}}}", upright=True)
        if token.kind == "quoted":
            word = token.text[1:-1].replace(" ", r"\ ").replace("_", r"\_")
            return made("word", rf"\mathrm{{“{word}”}}")
        if token.kind == "hyphenated":
            return made("word", rf"\mathrm{{{token.text.replace('-', chr(0x2010))}}}")
        if token.kind == "number":
            return self.number(token, made)
        if token.kind == "name":
            return self.name(token, items, made)
        if token.kind == "dots":
            return made("dots", r"\ldots")
        if token.text in RELATIONS and (token.before and token.after or token.text == "->"):
            return made("relation", RELATIONS[token.text])
        if token.text in ("|", "||") and operand and token.before and token.after:
            if closing == ")":  # p(y | x), KL(q || p)
                return made("relation", r"\mid " if token.text == "|" else r"\;\Vert \;")
            raise Uncertain("a lone bar")
        if token.text in CLOSING and not (token.text == "<" and token.after):
            inner = Fenced(token.text, self.row(CLOSING[token.text]))
            return made("factor", *self.scripted(inner, made, called=False).parts)
        if token.text == "#" and self.tight("{"):
            inner = Fenced("{", self.row(CLOSING[self.take().text]))
            return made("factor", r"\#", inner)
        if token.text in ("+", "-") and not (items or closing) and token.after:
            return made("binary", token.text)  # of a line that goes on
        if token.text == "-" and (token.before or not items) and not (operand and token.after):
            return made("sign", "{-}")
        if token.text == "*" and self.tight("^") and operand:
            return made("binary", *self.scripted(r"{\ast}", made, called=False).parts)
        if token.text in BINARY and operand and token.before and token.after:
            if self.token().kind != "end":
                return made("binary", BINARY[token.text])
        if token.text in ("+", "-") and operand and not token.before and not token.after:
            return made("binary", token.text)
        if token.text == "/" and operand and token.before == token.after:
            return made("slash", "/")
        if token.text in (",", ";", ":") and items and (token.text == ":" or not token.before):
            sign = r"\colon " if token.text == ":" else f"{{{token.text}}}"
            return made("comma", (r"\ " if token.before else "") + sign)
        raise Uncertain(f"{token.text!r} after {items[-1:]}")

    def number(self, token, made):
        mantissa, _, exponent = token.text.partition("e")
        if exponent:
            power = f"10^{{{exponent}}}"
            return made("factor", power if mantissa == "1" else rf"{mantissa}\cdot {power}")
        if self.tight("x") and self.token(1).kind == "number" and not self.token(1).before:
            self.take()
            return made("factor", rf"{mantissa}{{\times}}{self.take().text}")
        return self.scripted(mantissa, made, called=False)

    def name(self, token, items, made):
        text, following = token.text, self.token()
        called = self.tight("(")
        plain = called or self.tight("_", "^", "'", "~", "[")
        if text == "in" and items and items[-1].kind == "factor" and is_set(following):
            return made("relation", r"\in ")
        if text == "sqrt" and called:
            self.take()
            return self.scripted(rf"\sqrt{{{join(self.row(')'), 'inline')}}}", made, called=False)
        if text == "o" and items and token.after and self.composes:
            return made("binary", r"\circ")
        if text == "a" and not plain and token.after and following.text in ("level", "step"):
            return made("word", r"\mathrm{a}")
        if text in WORDS and not plain:
            return made("word", rf"\mathrm{{{text}}}")
        if len(text) == 1 or text in GREEK:
            if following.kind == "number" and not following.before:
                return made("factor", rf"\mathrm{{{text}{self.take().text}}}", upright=True)
            return self.scripted(text if len(text) == 1 else rf"\{text} ", made)
        if text in OPERATORS and (following.text in WORDS or following.text == ":"):
            return made("word", rf"\mathrm{{{text}}}")
        if text in OPERATORS:
            item = self.scripted(OPERATORS[text], made)
            called = any(isinstance(part, Fenced) for part in item.parts)
            return item if called else dataclasses.replace(item, kind="operator")
        if len(text) == 2 and text.islower() and not plain:
            raise Uncertain(f"{text}: a name or a product?")
        return dataclasses.replace(self.scripted(rf"\mathrm{{{text}}}", made), upright=not plain)

    def scripted(self, base, made, called=True):
        """Reads what stands tightly after a base: primes and scripts, then arguments."""
        primes, scripts = 0, {}
        while True:
            following = self.token(1)
            if self.tight("'"):
                self.take()
                primes += 1
                if scripts and self.tight("("):
                    raise Uncertain("the prime of the base, or of its script?")
            elif self.tight("~") and not scripts:
                self.take()
                base = rf"\tilde{{{base}}}"
            elif self.tight("^") and following.text == "_" and not scripts:
                self.take()
                base = rf"\hat{{{base}}}"
            elif self.tight("*") and following.text == "_" and not following.before:
                self.take()
                scripts["^"] = r"\ast"
            elif self.tight("_", "^"):
                sign = self.take().text
                if sign in scripts:
                    raise Uncertain("two scripts")
                scripts[sign] = self.script(sign)
            else:
                break
        if primes:
            scripts["^"] = r"\prime " * primes + scripts.get("^", "")
        parts = [base, *(f"{sign}{{{scripts[sign]}}}" for sign in sorted(scripts)[::-1])]
        while called and self.tight("(", "["):
            opening = self.take().text
            parts.append(Fenced(opening, self.row(CLOSING[opening])))
        if called and isinstance(parts[-1], Fenced):
            if self.tight("^", "'"):
                sign = self.take().text
                parts.append(r"^{\prime }" if sign == "'" else f"^{{{self.script(sign)}}}")
            if self.tight("(", "[", "_", "^", "'"):
                raise Uncertain("more after a power")
        return made("factor", *parts)

    def script(self, sign):
        """Reads what stands after _ or ^, as LaTeX."""
        token = self.take() if self.token().text and not self.token().before else None
        if token is None:
            raise Uncertain("an empty script")
        if token.text in ("{", "("):
            return join(self.row(CLOSING[token.text]), "script")
        if token.text == "-" and self.token().kind in ("number", "name"):
            text = "-" + self.script(sign)
            if self.tight("/"):
                raise Uncertain("how much of a quotient is in the script?")
            return text
        if token.text == "." and not self.token().before and self.token().kind == "name":
            return r"\cdot " + self.script(sign)
        if token.kind == "number":
            letter = self.token()
            if letter.kind == "name" and not letter.before:
                return token.text + self.script(sign)
            return token.text
        if token.kind != "name":
            raise Uncertain(f"{token.text!r} in a script")
        text = token.text
        if text in GREEK:
            text = rf"\{text} "
        elif text in SCRIPT_WORDS or not INDICES.fullmatch(text):
            text = rf"\mathrm{{{text}}}"
        if self.token().kind == "number" and not self.token().before:
            text += self.take().text
        if sign == "_" and self.tight("_"):
            self.take()
            text += f"_{{{self.script(sign)}}}"
        return text


def is_set(token):
    return token.kind == "name" and len(token.text) == 1 or token.text in ("{", "[")


def is_bare_name(item):
    return item.upright and item.kind == "factor"


def items(text):
    """The parts of a line, `(Item, ...)`."""
    return Reader(text).row()


def latex(text):
    """A line as LaTeX, or `Uncertain`."""
    return join(items(text), "display")
