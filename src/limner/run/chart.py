"""run.png: a run's curves as a picture."""

from PIL import Image, ImageDraw, ImageFont

from limner.run.curves import Chart, Story, extent, ticks

WIDTH, HEIGHT = 560, 300  # pixels of a chart
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 62, 30
HEAD = 44
PAPER, INK, FAINT, LINE, KEPT = "#fbfaf7", "#1d2129", "#636a76", "#dcd9d2", "#b0851a"
COLOURS = ("#1f6fb5", "#c2571a", "#2b8a57", "#8a4fb0")


def chart(story: Story) -> Image.Image:
    """All charts on one page, two side by side."""
    rows = -(-len(story.charts) // 2) or 1
    sheet = Image.new("RGB", (2 * WIDTH, HEAD + rows * HEIGHT), PAPER)
    pen = ImageDraw.Draw(sheet)
    at = story.ended or f"step {story.step} of at most {story.steps}"
    pen.text((16, 12), f"{story.title}: {at}"[:140], fill=INK, font=ImageFont.load_default(17))
    for number, each in enumerate(story.charts):
        _draw(pen, each, story, WIDTH * (number % 2), HEAD + HEIGHT * (number // 2))
    return sheet


def _draw(pen: ImageDraw.ImageDraw, chart: Chart, story: Story, left: int, top: int) -> None:
    low, high = extent(chart)
    last = max(story.step, 1)
    small = ImageFont.load_default(13)

    def place(step: float, value: float) -> tuple[float, float]:
        x = left + LEFT + (WIDTH - LEFT - RIGHT) * step / last
        return x, top + TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / (high - low))

    pen.text((left + 16, top + 8), chart.title, fill=INK, font=ImageFont.load_default(16))
    for value in ticks(low, high):
        _, y = place(0, value)
        pen.line((left + LEFT, y, left + WIDTH - RIGHT, y), fill=LINE)
        pen.text((left + LEFT - 6, y), f"{value:.3g}", fill=FAINT, font=small, anchor="rm")
    for step in (value for value in ticks(0, last) if value == int(value)):
        x, y = place(step, low)
        pen.text((x, y + 6), f"{step:.0f}", fill=FAINT, font=small, anchor="mt")
    if story.kept is not None:
        pen.line((*place(story.kept, low), *place(story.kept, high)), fill=KEPT, width=2)
    across = left + 16
    for curve, colour in zip(chart.curves, COLOURS, strict=False):
        points = [place(*point) for point in curve.points]
        if len(points) > 1:
            pen.line(points, fill=colour, width=2, joint="curve")
        for x, y in points if len(points) <= 40 else []:
            pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour)
        label = f"{curve.name} {curve.points[-1][1]:.3g}"
        pen.rectangle((across, top + 40, across + 14, top + 44), fill=colour)
        pen.text((across + 20, top + 42), label, fill=FAINT, font=small, anchor="lm")
        across += 40 + int(pen.textlength(label, font=small))
