"""Plots milliseconds against size on logarithmic scales, next to a line of slope one.
Usage: plot_growth.py POINTS SVG WHAT. POINTS has a size and milliseconds per line."""

import math
import sys

WIDTH, HEIGHT, LEFT, BELOW = 640, 400, 70, 50


def main(points_file, svg_file, what):
    points = [tuple(map(float, line.split())) for line in open(points_file)]
    low_x, high_x = (math.floor(math.log10(points[0][0])), math.ceil(math.log10(points[-1][0])))
    times = [took for _, took in points]
    low_y, high_y = (math.floor(math.log10(min(times))), math.ceil(math.log10(max(times))))

    def x(rows):
        return LEFT + (math.log10(rows) - low_x) / (high_x - low_x) * (WIDTH - LEFT - 20)

    def y(took):
        return HEIGHT - BELOW - (math.log10(took) - low_y) / (high_y - low_y) * (HEIGHT - BELOW - 20)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for power in range(low_x, high_x + 1):
        at = x(10**power)
        parts.append(f'<path d="M{at:.1f} 20V{HEIGHT - BELOW}" stroke="#ddd"/>')
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - 30}" text-anchor="middle">{10**power:,}</text>')
    for power in range(low_y, high_y + 1):
        at = y(10**power)
        parts.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - 20}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{10**power:,} ms</text>')
    rows, took = points[len(points) // 2]
    ends = [(points[0][0], took * points[0][0] / rows), (points[-1][0], took * points[-1][0] / rows)]
    line = " ".join(f"{x(r):.1f},{y(t):.1f}" for r, t in ends)
    parts.append(f'<polyline points="{line}" fill="none" stroke="#aaa" stroke-dasharray="4"/>')
    line = " ".join(f"{x(r):.1f},{y(t):.1f}" for r, t in points)
    parts.append(f'<polyline points="{line}" fill="none" stroke="#0a5" stroke-width="2"/>')
    parts += [f'<circle cx="{x(r):.1f}" cy="{y(t):.1f}" r="3" fill="#0a5"/>' for r, t in points]
    parts.append(f'<text x="{(WIDTH + LEFT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{what} (dashed: linear)</text>')
    parts.append("</svg>")
    with open(svg_file, "w") as svg:
        svg.write("\n".join(parts) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
