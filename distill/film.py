"""Films: how networks play, side by side with what they answer, drawn and written as GIF or mp4."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from distill.types import ByteArray, FloatArray

SCALE = 2  # of the screen's pixels
MARGIN, LINE = 8, 18  # pixels
FONT_SIZE = 12
FONT_MODE = "1"  # letters of one color: smooth edges would take many colors of the palette
NAME_WIDTH, NUMBER_WIDTH = 108, 36  # beside the bars: longest names and numbers

# Even numbers alone, as in the emulator's palette: TRANSPARENT is no color of any picture.
BACKGROUND, TEXT, DIM = (24, 24, 28), (240, 240, 240), (150, 150, 156)
BAR, TAKEN_BAR, TAKEN_ROW = (90, 130, 180), (250, 170, 50), (74, 60, 36)
TRANSPARENT = (1, 1, 1)


class Panel(NamedTuple):
    """What is the same in all pictures of one player."""

    title: str
    subtitle: str
    action_names: tuple[str, ...]


class Moment(NamedTuple):
    """One step of one player: what it saw, answered and did."""

    screen: ByteArray  # (210, 160, 3)
    probabilities: FloatArray  # (A,)
    action: int  # executed: FIRE, whatever was chosen, where the game waits for it
    score: float  # of this game so far, raw
    game: int  # 1 for the first


Writer = Callable[[Path, Iterable[Image.Image], int], None]  # path, pictures, pictures a second


@lru_cache(maxsize=1)
def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(FONT_SIZE)


def shortened(text: str, width: float) -> str:
    """Cut the middle out of a text that is wider than `width` pixels."""
    n_kept = len(text)
    cut = text
    while _font().getlength(cut, mode=FONT_MODE) > width:
        n_kept -= 1
        cut = f"{text[: n_kept - n_kept // 2]}...{text[len(text) - n_kept // 2 :]}"
    return cut


def draw(panels: Sequence[Panel], moments: Sequence[Moment], step: int) -> Image.Image:
    """Draw one picture: the players side by side, all at their step `step`."""
    pictures = [
        draw_panel(panel, moment, step) for panel, moment in zip(panels, moments, strict=True)
    ]
    width, height = pictures[0].size
    whole = Image.new("RGB", (width * len(pictures), height))
    for i, picture in enumerate(pictures):
        whole.paste(picture, (i * width, 0))
    return whole


def draw_panel(panel: Panel, moment: Moment, step: int) -> Image.Image:
    """Draw one player: who it is, the screen, the score, and a bar an action."""
    height, width = (SCALE * n for n in moment.screen.shape[:2])
    bars_top = MARGIN + 2 * LINE + height + LINE + MARGIN
    size = width + 2 * MARGIN, bars_top + LINE * len(panel.action_names) + MARGIN
    picture = Image.new("RGB", size, BACKGROUND)
    pen = ImageDraw.Draw(picture)
    pen.fontmode = FONT_MODE
    pen.text((MARGIN, MARGIN), shortened(panel.title, width), TEXT, _font())
    pen.text((MARGIN, MARGIN + LINE), shortened(panel.subtitle, width), DIM, _font())
    screen = Image.fromarray(moment.screen).resize((width, height), Image.Resampling.NEAREST)
    picture.paste(screen, (MARGIN, MARGIN + 2 * LINE))
    pen.text((MARGIN, bars_top - LINE - MARGIN // 2), state_of(moment, step), TEXT, _font())
    for i, name in enumerate(panel.action_names):
        taken = i == moment.action
        _draw_bar(pen, bars_top + LINE * i, name, float(moment.probabilities[i]), taken=taken)
    return picture


def state_of(moment: Moment, step: int) -> str:
    """Return what stands below a screen."""
    return f"score {moment.score:,.10g}   game {moment.game}   step {step:,}"


def _draw_bar(
    pen: ImageDraw.ImageDraw, top: int, name: str, probability: float, *, taken: bool
) -> None:
    """Draw one action's row: name, bar, number."""
    right = pen.im.size[0] - MARGIN
    left, full = MARGIN + NAME_WIDTH, right - NUMBER_WIDTH - MARGIN - NAME_WIDTH
    if taken:
        pen.rectangle((MARGIN, top, right - 1, top + LINE - 1), TAKEN_ROW)
    color = TEXT if taken else DIM
    pen.text((MARGIN + 4, top + 2), name, color, _font())
    pen.text((right - 4, top + 2), f"{probability:.2f}", color, _font(), anchor="ra")
    length = round(probability * full)
    if length > 0:
        box = left, top + 3, left + length - 1, top + LINE - 4
        pen.rectangle(box, TAKEN_BAR if taken else BAR)


class Palette:
    """Numbers colors in order of appearance, in one table for all pictures.

    Once it is full, a new color takes the nearest one's number.
    """

    def __init__(self) -> None:
        self._number_of = np.full(2**24, -1, np.int16)
        self.colors: list[tuple[int, int, int]] = [TRANSPARENT]

    def convert(self, picture: Image.Image) -> Image.Image:
        """Turn colors into their numbers."""
        red, green, blue = np.moveaxis(np.asarray(picture, np.uint32), -1, 0)
        code = red << 16 | green << 8 | blue
        for new in np.unique(code[self._number_of[code] < 0]):
            self._number_of[new] = self._add((int(new) >> 16, int(new) >> 8 & 255, int(new) & 255))
        return Image.frombytes("P", picture.size, self._number_of[code].astype(np.uint8).tobytes())

    def _add(self, color: tuple[int, int, int]) -> int:
        if len(self.colors) < 256:
            self.colors.append(color)
            return len(self.colors) - 1
        return 1 + int(np.square(np.subtract(self.colors[1:], color)).sum(1).argmin())


def write_gif(path: Path, pictures: Iterable[Image.Image], fps: int) -> None:
    """Write a GIF that repeats forever; pixels that stay as they were cost next to nothing."""
    palette = Palette()
    converted = [palette.convert(picture) for picture in pictures]
    colors = bytes(np.array(palette.colors, np.uint8))
    for picture in converted:
        picture.putpalette(colors)
    # A GIF counts in hundredths of a second: 15 pictures a second last 7, 6, 7, 7, 6, 7, ...
    ends = [10 * round(100 * i / fps) for i in range(len(converted) + 1)]
    converted[0].save(
        path,
        format="GIF",
        save_all=True,
        append_images=converted[1:],
        duration=np.diff(ends).tolist(),
        loop=0,
        palette=colors,
        transparency=0,
        disposal=1,
        optimize=True,
    )


def write_mp4(path: Path, pictures: Iterable[Image.Image], fps: int) -> None:
    """Write H.264 in mp4, by the optional package av; width and height of the pictures are even."""
    import av  # pyright: ignore[reportMissingImports] (optional)

    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps)
        for i, picture in enumerate(pictures):
            if i == 0:  # fixed once the first is encoded
                stream.width, stream.height = picture.size
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())


def writer_of(path: Path) -> Writer:
    """Return what writes films of the path's suffix.

    Raises:
        ValueError: if it is .mp4 and the package for that is missing.
    """
    if path.suffix == ".gif":
        return write_gif
    try:
        import av  # noqa: F401 # pyright: ignore[reportMissingImports] (optional)
    except ImportError:
        allowed = "end in .gif, or in .mp4 once the package av is there (`pip install av`)"
        raise ValueError(f"--out must {allowed}, got '{path}'") from None
    return write_mp4
