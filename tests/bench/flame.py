"""Flame graphs as SVG, and their table: a stack is a tuple of names, outermost first. A name of a library
begins with that library's, "libyajl: yajl_parse"."""
import html
from collections import defaultdict

WIDTH, ROW, MARGIN = 1400, 17, 10
LEAST = 0.3  # pixels: what is narrower is left out
CHARACTER = 6.6  # pixels of one in a frame's name
COLOURS = {"tally": "#f2a65a", "librocksdb": "#7fb2d6", "librdkafka": "#8cc084", "kernel": "#d98880"}
OTHER = "#c9c5d6"


class Frame:
    def __init__(self):
        self.total = 0.0
        self.below = defaultdict(Frame)


def tree(stacks):
    root = Frame()
    for stack, number in stacks.items():
        frame = root
        frame.total += number
        for name in stack:
            frame = frame.below[name]
            frame.total += number
    return root


def owner(name):
    before, found, _ = name.partition(": ")
    return before if found else "tally"


def draw(title, unit, stacks):
    """The flame graph; the outermost frames are at its foot."""
    root = tree(stacks)
    scale = (WIDTH - 2 * MARGIN) / root.total
    boxes = []  # depth, left edge, total, name

    def lay(frame, depth, left):
        for name, below in sorted(frame.below.items()):
            if below.total * scale >= LEAST:
                boxes.append((depth, left, below.total, name))
                lay(below, depth + 1, left)
            left += below.total * scale

    lay(root, 0, MARGIN)
    height = (max(depth for depth, *_ in boxes) + 1) * ROW + 60
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
             f'viewBox="0 0 {WIDTH} {height}" font-family="monospace" font-size="11">',
             f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
             f'<text x="{MARGIN}" y="22" font-size="15">{html.escape(title)}</text>']
    for i, (name, colour) in enumerate([*COLOURS.items(), ("other libraries", OTHER)]):
        x = WIDTH - 620 + i * 120
        parts.append(f'<rect x="{x}" y="12" width="12" height="12" fill="{colour}"/>'
                     f'<text x="{x + 16}" y="22">{name}</text>')
    for depth, left, total, name in boxes:
        parts.append(box(left, height - MARGIN - (depth + 1) * ROW, total * scale, name,
                         f"{name}: {total:,.0f} {unit}, {total * 100 / root.total:.1f} %"))
    return "\n".join([*parts, "</svg>", ""])


def box(left, top, width, name, tip):
    library = owner(name)
    short = name if library in ("tally", "thread") else name[len(library) + 2:]  # the colour tells the library
    short = short.partition("(")[0]
    room = int((width - 4) / CHARACTER)
    shown = short if len(short) <= room else short[:room - 2] + ".." if room > 4 else ""
    label = f'<text x="{left + 2:.1f}" y="{top + 12}">{html.escape(shown)}</text>' if shown else ""
    return (f'<g><title>{html.escape(tip)}</title><rect x="{left:.1f}" y="{top}" width="{width:.1f}" '
            f'height="{ROW - 1}" fill="{COLOURS.get(owner(name), OTHER)}" stroke="#fff" stroke-width="0.3"/>{label}</g>')


def table(stacks, rows):
    """Lines: the functions with the largest own share, and what they have with all below them."""
    own, below = defaultdict(float), defaultdict(float)
    for stack, number in stacks.items():
        own[stack[-1]] += number
        for name in set(stack):
            below[name] += number
    total = sum(own.values())
    yield f"{'own':>7} {'below':>7}  function"
    for name in sorted(own, key=lambda one: (-own[one], one))[:rows]:
        yield f"{own[name] * 100 / total:6.1f}% {below[name] * 100 / total:6.1f}%  {name[:90]}"
