"""Plots as SVG, written by hand: bars, and lines over time or quantiles."""
import html
import math

WIDTH, LEFT, RIGHT = 760, 150, 150
COLOURS = {"tally": "#1b6ca8", "peer": "#c8553d", "peer, 10 ms commits": "#e0a458", "raw": "#8a8a8a"}
OTHER = "#5b8c5a"
LEAST = 0.1  # what a logarithmic axis shows of 0


def number(value):
    """At most three digits that count."""
    for size, suffix in ((1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{float(f'{value / size:.3g}'):g}{suffix}"
    return f"{float(f'{value:.3g}'):g}"


def colour(name):
    return next((COLOURS[known] for known in sorted(COLOURS, key=len, reverse=True) if name.startswith(known)), OTHER)


def steps(high):
    """About five round numbers from 0 to high."""
    size = 10 ** math.floor(math.log10(high / 5)) if high > 0 else 1
    size *= next(times for times in (1, 2, 5, 10) if high / 5 <= size * times)
    return [size * i for i in range(int(high / size) + 1)]


def text(x, y, words, anchor="start", size=12):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{html.escape(words)}</text>'


def picture(height, title, parts):
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" fill="#222">', f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        text(10, 22, title, size=15), *parts, "</svg>", ""])


def bars(title, rows):
    """rows: (label, value, low, high); the line over a bar is the range of its runs."""
    top, step = 40, 28
    scale = (WIDTH - LEFT - RIGHT) / max(high for _, _, _, high in rows)
    parts = []
    for i, (label, value, low, high) in enumerate(rows):
        y = top + i * step
        parts += [text(LEFT - 8, y + 14, label, "end"),
                  f'<rect x="{LEFT}" y="{y}" width="{value * scale:.1f}" height="18" fill="{colour(label)}"/>',
                  f'<path d="M{LEFT + low * scale:.1f} {y + 9}H{LEFT + high * scale:.1f}" stroke="#222"/>',
                  text(LEFT + high * scale + 6, y + 14, number(value))]
    return picture(top + step * len(rows) + 6, title, parts)


def lines(title, series, x_axis, y_axis, ticks=None, log=False):
    """series: name -> [(x, y)]. ticks: (x, label), for axes that are no plain numbers."""
    height, top, bottom, left = 320, 50, 40, 60
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    low, high = (math.log10(max(min(ys), LEAST)), math.log10(max(ys + [LEAST]))) if log else (0, max(ys) * 1.05 or 1)
    high = high if high > low else low + 1

    def at(x, y):
        y = math.log10(max(y, LEAST)) if log else y
        return (left + (x - min(xs)) / ((max(xs) - min(xs)) or 1) * (WIDTH - left - RIGHT),
                height - bottom - (y - low) / (high - low) * (height - top - bottom))

    parts = [text(left, 42, y_axis, size=11), text(WIDTH - RIGHT, height - 6, x_axis, "end", 11)]
    levels = ([times * 10 ** i for i in range(math.floor(low), math.ceil(high)) for times in (1, 2, 5)
               if low <= math.log10(times * 10 ** i) <= high] if log else steps(high))
    for level in levels:
        y = at(min(xs), level)[1]
        parts += [f'<path d="M{left} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>',
                  text(left - 6, y + 4, number(level), "end", 11)]
    for x, label in ticks or [(x, number(x)) for x in steps(max(xs))]:
        parts.append(text(at(x, 10 ** low if log else low)[0], height - bottom + 16, label, "middle", 11))
    beside = height  # where the last name stands: the next is above it
    for name, points in sorted(series.items(), key=lambda item: item[1][-1][1]):
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in (at(*point) for point in points))
        end = at(*points[-1])
        beside = min(end[1] + 4, beside - 12)
        parts += [f'<path d="M{path}" fill="none" stroke="{colour(name)}" stroke-width="2"/>',
                  text(end[0] + 6, beside, name, size=11)]
    return picture(height, title, parts)
