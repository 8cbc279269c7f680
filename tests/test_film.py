"""Films: what a picture shows, and that files hold the pictures as they were drawn."""

import numpy as np
import pytest
from PIL import Image, ImageSequence

from distill import film
from distill.film import Moment, Palette, Panel, draw, write_gif, write_mp4, writer_of

NAMES = ("NOOP", "FIRE", "UP")
PANEL = Panel("a", "1 parameter", NAMES)


def moment(probabilities=(0.5, 0.25, 0.25), *, action=0, score=0.0, game=1, shade=0):
    screen = np.full((210, 160, 3), shade, np.uint8)
    return Moment(screen, np.array(probabilities, np.float32), action, score, game)


def picture(*args, step=0, **kwargs):
    return np.asarray(draw([PANEL], [moment(*args, **kwargs)], step))


def where(pixels, *colors):
    return np.any([(pixels == color).all(-1) for color in colors], axis=0)


def bar_lengths(pixels):
    """Return the bars' lengths in pixels from top to bottom."""
    bars = where(pixels, film.BAR, film.TAKEN_BAR)
    lengths = bars.sum(1)
    starts = np.flatnonzero(np.diff(lengths, prepend=0) * (lengths > 0))
    return [int(lengths[row]) for row in starts]


def films(n=12):
    """Draw pictures that change a little from one to the next."""
    rng = np.random.default_rng(0)
    for step in range(n):
        probabilities = rng.dirichlet([1, 1, 1])
        yield draw([PANEL], [moment(probabilities, action=step % 3, shade=2 * step)], step)


def read_gif(path):
    with Image.open(path) as image:
        return [
            (np.asarray(frame.convert("RGB")), frame.info["duration"])
            for frame in ImageSequence.Iterator(image)
        ]


# --- pictures ---


@pytest.mark.parametrize(
    ("score", "shown"), [(-3.0, "-3"), (0.5, "0.5"), (1_234_560.0, "1,234,560")]
)
def test_a_score_is_shown_in_full(score, shown):
    assert film.state_of(moment(score=score), 7) == f"score {shown}   game 1   step 7"


def test_bars_are_as_long_as_the_actions_are_probable():
    (full,) = bar_lengths(picture((0.0, 1.0, 0.0)))
    for probabilities in ((0.5, 0.3, 0.2), (0.125, 0.25, 0.625)):
        expected = [p * full for p in probabilities]
        np.testing.assert_allclose(bar_lengths(picture(probabilities)), expected, atol=0.5)


@pytest.mark.parametrize("action", range(3))
def test_the_action_taken_is_the_one_highlighted(action):
    pixels = picture((0.25, 0.35, 0.4), action=action)
    rows = where(pixels, film.TAKEN_ROW).any(1)
    bars = where(pixels, film.BAR, film.TAKEN_BAR)
    assert bars[rows].sum(1).max() == bar_lengths(pixels)[action]
    assert where(pixels, film.TAKEN_BAR).any(1)[rows].any()
    assert not where(pixels, film.TAKEN_BAR).any(1)[~rows].any()


def test_an_action_of_no_probability_is_highlighted_still():
    """FIRE is pressed for the player that never would."""
    pixels = picture((1.0, 0.0, 0.0), action=1)
    assert where(pixels, film.TAKEN_ROW).any()
    assert not where(pixels, film.TAKEN_BAR).any()


def test_the_screen_is_shown_pixel_for_pixel():
    screen = np.random.default_rng(0).integers(0, 256, (210, 160, 3), dtype=np.uint8)
    pixels = np.asarray(draw([PANEL], [moment()._replace(screen=screen)], 0))
    enlarged = screen.repeat(film.SCALE, 0).repeat(film.SCALE, 1)
    top, left = film.MARGIN + 2 * film.LINE, film.MARGIN
    height, width = enlarged.shape[:2]
    np.testing.assert_array_equal(pixels[top : top + height, left : left + width], enlarged)


@pytest.mark.parametrize("change", [{"score": 1.0}, {"game": 2}, {"step": 1}])
def test_score_game_and_step_are_seen(change):
    assert not np.array_equal(picture(), picture(**change))


def test_panels_stand_side_by_side():
    moments = [moment(shade=10), moment(shade=20), moment(shade=30)]
    whole = np.asarray(draw([PANEL] * 3, moments, 0))
    alone = [np.asarray(draw([PANEL], [m], 0)) for m in moments]
    np.testing.assert_array_equal(whole, np.concatenate(alone, axis=1))


def test_a_long_name_is_cut_in_the_middle_to_fit():
    name = "envPongNoFrameskip-v4_20261121-084112_n_iters1500000"
    cut = film.shortened(name, 200)
    start, end = cut.split("...")
    assert name.startswith(start)
    assert name.endswith(end)
    assert film.shortened(name, 10_000) == name
    with_more = f"{start}x...{end}"
    assert film._font().getlength(cut) <= 200 < film._font().getlength(with_more) + 12


def test_a_long_title_stays_within_its_panel():
    name = "envBreakoutNoFrameskip-v4_20261127-162437_n_iters2000000"
    for title in (name, name[:-1], name[:-2], name[:-3]):
        pixels = np.asarray(draw([PANEL._replace(title=title)], [moment()], 0))
        row = pixels[film.MARGIN : film.MARGIN + film.LINE]
        assert where(row, film.TEXT).any()
        assert not where(row[:, -film.MARGIN :], film.TEXT).any()


def test_the_color_of_unchanged_pixels_is_in_no_picture():
    for image in films():
        assert not where(np.asarray(image), film.TRANSPARENT).any()


# --- colors ---


def test_colors_are_kept_up_to_the_tables_end_and_then_the_nearest_is_taken():
    palette = Palette()
    line = np.zeros((1, 255, 3), np.uint8)
    line[0, :, 0] = np.arange(255)
    numbers = np.asarray(palette.convert(Image.fromarray(line)))
    table = np.array(palette.colors)
    np.testing.assert_array_equal(table[numbers], line)
    more = np.array([[[7, 1, 0], [7, 0, 0]]], np.uint8)
    numbers = np.asarray(palette.convert(Image.fromarray(more)))
    assert len(palette.colors) == 256
    np.testing.assert_array_equal(table[numbers], [[[7, 0, 0], [7, 0, 0]]])


# --- files ---


def test_a_gif_holds_every_picture_as_it_was_drawn(tmp_path):
    write_gif(tmp_path / "a.gif", films(), 15)
    frames = [pixels for pixels, _ in read_gif(tmp_path / "a.gif")]
    np.testing.assert_array_equal(frames, [np.asarray(image) for image in films()])


def test_a_gif_of_one_picture_holds_it(tmp_path):
    write_gif(tmp_path / "a.gif", films(1), 15)
    with Image.open(tmp_path / "a.gif") as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), np.asarray(next(films())))


@pytest.mark.parametrize("fps", [1, 15, 30, 50])
def test_a_gif_lasts_as_long_as_its_speed_says(tmp_path, fps):
    write_gif(tmp_path / "a.gif", films(), fps)
    durations = [duration for _, duration in read_gif(tmp_path / "a.gif")]
    assert sum(durations) == pytest.approx(12_000 / fps, abs=5)
    assert max(durations) - min(durations) <= 10


def test_what_does_not_change_costs_next_to_nothing(tmp_path):
    rng = np.random.default_rng(0)
    noise = moment()._replace(screen=rng.choice([20, 90, 200], (210, 160, 1)).repeat(3, 2))
    noise = noise._replace(screen=noise.screen.astype(np.uint8))
    for n in (1, 101):
        pictures = (draw([PANEL], [noise], step) for step in range(n))
        write_gif(tmp_path / f"{n}.gif", pictures, 15)
    first, all_ = ((tmp_path / f"{n}.gif").stat().st_size for n in (1, 101))
    assert (all_ - first) / 100 < 0.02 * first


def test_mp4_holds_as_many_pictures_of_the_same_size(tmp_path):
    av = pytest.importorskip("av")
    write_mp4(tmp_path / "a.mp4", films(), 15)
    with av.open(str(tmp_path / "a.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 15
    assert len(frames) == 12
    assert frames[0].shape == np.asarray(next(films())).shape


def test_the_suffix_chooses_the_writer(tmp_path):
    assert writer_of(tmp_path / "a.gif") is write_gif
