"""Draws the equations of docstrings: text to SVG, with the outlines of matplotlib's mathtext.

The pictures need neither a network nor a font, take the colour of the text around them, and have
the plain text for a name. An equation that `equation_reader` cannot read stays plain text.
"""

import contextlib
import functools
import html

from equation_latex import Uncertain, is_apart, join
from equation_reader import items
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import text_to_path

# Outlines are those of letters of 100 points, of which `em` is the unit on the page.
SIZE = text_to_path.FONT_SCALE
FONT = FontProperties(size=SIZE, math_fontfamily="cm")
QUAD = 1.6 * SIZE
LEADING = 0.45 * SIZE
MARGIN = 5
LETTERS = {
    Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C", Path.CLOSEPOLY: "Z",
}  # fmt: skip


class Page:
    """Draws the equations of one page, whose outlines of letters they share."""

    def __init__(self):
        self.glyphs = {}

    def typeset(self, text):
        """Markdown with pictures of its indented blocks, and of the symbols in its tables."""
        lines, block = [], []
        for line in [*text.splitlines(), ""]:
            if line.startswith("    ") and (block or not lines or not lines[-1].strip()):
                block.append(line)
                continue
            if block:
                lines += self.displayed(block)
                block = []
            lines.append(self.row(line) if line.startswith("| ") else line)
        return "\n".join(lines[:-1])

    def displayed(self, block):
        """The lines of a block as a picture, or as they are if one of them is not read."""
        plain = "\n".join(line.removeprefix("    ") for line in block)
        try:
            return [f'<div class="equation">{self.svg(plain)}</div>', ""]
        except Uncertain:
            return block

    def row(self, line):
        """A row of a table, with its first cell drawn. Bars within a cell are made no borders."""
        first, *others = line.removeprefix("| ").removesuffix(" |").split(" | ")
        cells = [cell.replace("|", r"\|") for cell in (first, *others)]
        with contextlib.suppress(Uncertain):
            if first.strip() != "symbol":
                cells[0] = self.svg(first, inline=True)
        return f"| {' | '.join(cells)} |"

    def outlines(self):
        """The letters of all equations, which belongs on the page once."""
        if not self.glyphs:
            return ""
        paths = "".join(
            f'<path id="{name}" d="{outline}"/>' for name, outline in self.glyphs.values()
        )
        return f'<div class="outlines"><svg aria-hidden="true"><defs>{paths}</defs></svg></div>\n'

    def svg(self, text, inline=False):
        """The picture of one or several lines, among words on their base line if `inline`."""
        drawn, top, right = [], 0.0, 0.0
        for row in arranged(text.splitlines()):
            baseline = top + max(piece.height - piece.depth for _, piece in row)
            depth = max(piece.depth for _, piece in row)
            top = baseline + depth + LEADING
            right = max(right, *(x + piece.width for x, piece in row))
            drawn += [self.placed(piece, x, baseline) for x, piece in row]
        width, height = right + 2 * MARGIN, top - LEADING + 2 * MARGIN
        style = f"width:{width / SIZE:.2f}em;height:{height / SIZE:.2f}em"
        if inline:
            style += f";vertical-align:{-(depth + MARGIN) / SIZE:.2f}em"
        name = html.escape(text).replace("\n", "&#10;").replace("|", "&#124;")
        return (
            f'<svg role="img" aria-label="{name}" style="{style}" '
            f'viewBox="{-MARGIN} {-MARGIN} {width:.0f} {height:.0f}">{"".join(drawn)}</svg>'
        )

    def placed(self, piece, x, y):
        """Letters and lines of a piece whose base line begins at a point."""
        marks = []
        for glyph, dx, dy, scale in piece.glyphs:
            key = glyph, round(scale, 3)
            if key not in self.glyphs:
                path = outline(*piece.outlines[glyph], scale)
                self.glyphs[key] = f"g{len(self.glyphs)}", path
            name = self.glyphs[key][0]
            marks.append(f'<use href="#{name}" x="{x + dx:.0f}" y="{y - dy:.0f}"/>')
        for corners, _ in piece.rectangles:
            (left, low), (right, high) = corners[0], corners[2]
            marks.append(
                f'<rect x="{x + left:.0f}" y="{y - high:.1f}" '
                f'width="{right - left:.0f}" height="{high - low:.1f}"/>'
            )
        return "".join(marks)


class Piece:
    """What mathtext makes of a formula: letters, lines and extent, in 1 / SIZE em."""

    def __init__(self, latex):
        text = f"${latex}$"
        try:
            extent = text_to_path.get_text_width_height_descent(text, FONT, ismath=True)
            drawn = text_to_path.get_glyphs_mathtext(FONT, text)
        except ValueError as error:
            raise Uncertain(f"mathtext does not draw {latex}") from error
        self.width, self.height, self.depth = extent
        self.glyphs, self.outlines, self.rectangles = drawn


piece_of = functools.cache(Piece)


def outline(vertices, codes, scale):
    """The path of a letter, downwards as SVG counts."""
    parts, i = [], 0
    while i < len(codes):
        letter = LETTERS[codes[i]]
        length = {"Q": 2, "C": 3}.get(letter, 1)
        points = () if letter == "Z" else (vertices[i : i + length] * (scale, -scale)).ravel()
        parts.append(letter + " ".join(f"{value:.1f}".removesuffix(".0") for value in points))
        i += length
    return "".join(parts)


def arranged(lines):
    """Where the pieces of a block stand, [[(x, Piece)]] by line.

    What the text has in one column, after a gap, at the start of a line that goes on or as the
    first relation, is put in one column.
    """
    rows = [items(line) for line in lines]
    stops = stops_of(rows)
    stopped = {number for at in stops.values() for number, index in at if index < 2}
    placed, done = [[] for _ in rows], [0] * len(rows)
    # A line further in that goes on with nothing above it keeps its indentation.
    cursors = [
        0.0 if number in stopped else 0.5 * SIZE * row[0].column for number, row in enumerate(rows)
    ]

    def advance(number, until):
        """Draws items up to one; a gap before it is left."""
        row = rows[number][done[number] : until]
        if row:
            piece = piece_of(join(row, "display"))
            placed[number].append((cursors[number], piece))
            cursors[number] += piece.width
        done[number] = until

    for column in sorted(stops):
        for number, index in stops[column]:
            advance(number, index)
            if index and is_apart(rows[number], index):
                cursors[number] += QUAD
        x = max(cursors[number] for number, _ in stops[column])
        for number, index in stops[column]:
            if index == 1 and goes_on(rows[number]):  # its sign stands out to the left
                piece = placed[number][0][1]
                placed[number][0] = (x - piece.width, piece)
            cursors[number] = x
    for number, row in enumerate(rows):
        advance(number, len(row))
    return placed


def stops_of(rows):
    """What lines have at the same column, {(column, is relation): [(line, index)]}."""
    found = {}
    for number, row in enumerate(rows):
        relation = next((i for i, item in enumerate(row) if item.kind == "relation"), -1)
        for i, item in enumerate(row):
            if i in (0, relation) or is_apart(row, i):
                found.setdefault((item.column, i == relation), []).append((number, i))
        if row[0].column:
            index, other = continued(rows, number)
            if other:
                stop = found.setdefault((row[index].column, False), [])
                stop += [at for at in ((number, index), other) if at not in stop]
    return {column: sorted(at) for column, at in found.items() if len(at) > 1}


def continued(rows, number):
    """The item at which a line goes on, and (line, index) of what it stands under."""
    row = rows[number]
    above = max((n for n in range(number) if not rows[n][0].column), default=0)
    for index in (0, 1) if goes_on(row) else (0,):
        for i, item in enumerate(rows[above]):
            if item.column == row[index].column and above != number:
                return index, (above, i)
    return 0, None


def goes_on(row):
    return row[0].kind == "binary"
