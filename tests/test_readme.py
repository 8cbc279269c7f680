"""The READMEs against the code: tags, tree, flags, commands, numbers."""

import ast
import dataclasses
import re
import subprocess
from pathlib import Path
from typing import Any

import make_figures
import pytest

from distill.config import DistillConfig
from distill.networks import ActorCritic
from distill.rows import read_rows
from distill.student_files import save_student
from distill.study import markdown, tables
from distill.study.axes import BEST, GAMES, GRADES
from distill.study.custom import plan_custom
from distill.study.grids import GRIDS
from distill.study.probe import Probe
from distill.study.rungs import read_rungs
from distill.study.small_ppo import SmallScore
from distill.study.study_config import CompareConfig, ProbeConfig
from distill.tags import TAGS
from distill.teacher_config import EvalConfig, TeacherConfig
from distill.tool_config import BenchConfig, WatchConfig
from distill.types import WIDTHS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
NOTES = ROOT / "scripts" / "results" / "README.md"
PAGES = [ROOT / "README.md", NOTES, ROOT / "teachers" / "README.md"]
CELLS = make_figures.read_grids()
TOP_LEVEL = {
    "requirements.txt",
    "README.md",
    "ppo_teacher.py",
    "eval_teacher.py",
    "distill",
    "scripts",
    "teachers",
    "tests",
}


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def page_with(name: str) -> str:
    """Return the one page that has the place of a generated section."""
    pages = [page.read_text() for page in make_figures.PAGES]
    (page,) = [page for page in pages if f"<!-- {name} -->" in page]
    return page


def tree() -> dict[str, str]:
    """Return what the tree's lines say, by path; folders by indentation."""
    paths, folders = {}, []
    for line in section("What is where").split("```")[1].splitlines()[2:]:
        depth = (len(line) - len(line.lstrip())) // 2
        name, _, said = line.strip().partition(" ")
        folders[depth:] = [name.rstrip("/")]
        paths["/".join(folders)] = said.strip()
    return paths


def test_tags_table_is_the_one_in_the_code():
    rows = re.findall(r"^\| `([^`]+)` \| (.+) \|$", section("What is logged"), re.MULTILINE)
    assert dict(rows) == TAGS
    assert not any("|" in meaning for meaning in TAGS.values())  # it would end a table's cell


def test_tree_names_every_module_and_nothing_else():
    modules = {p.relative_to(ROOT).as_posix() for p in (ROOT / "distill").rglob("*.py")}
    modules |= {p.relative_to(ROOT).as_posix() for p in (ROOT / "scripts").glob("*.py")}
    modules |= {p.name for p in ROOT.glob("*.py")}
    assert {path for path in tree() if path.endswith(".py")} == modules
    assert all((ROOT / path).exists() for path in tree())


def test_tree_says_of_a_module_what_its_docstring_does():
    said = {path: line for path, line in tree().items() if path.endswith(".py")}
    docs = {path: ast.get_docstring(ast.parse((ROOT / path).read_text())) or "" for path in said}
    first = {path: doc.split("\n")[0].replace("`", "").rstrip(".") for path, doc in docs.items()}
    assert said == first


def test_top_level_holds_eight_names():
    assert {path for path in tree() if "/" not in path} == TOP_LEVEL
    git = ["git", "-C", str(ROOT), "ls-files"]
    listed = subprocess.run(git, capture_output=True, text=True, check=False)
    if listed.returncode == 0:  # a checkout, not an unpacked archive
        names = {path.split("/")[0] for path in listed.stdout.splitlines()}
        assert {name for name in names if not name.startswith(".")} == TOP_LEVEL


def test_every_flag_named_exists():
    configs = (
        TeacherConfig,
        EvalConfig,
        DistillConfig,
        BenchConfig,
        WatchConfig,
        CompareConfig,
        ProbeConfig,
    )
    fields = [f for config in configs for f in dataclasses.fields(config)]
    known = {f.name for f in fields} | {"config", "help"}
    known |= {f"no-{f.name}" for f in fields if isinstance(f.default, bool)}
    of_others = {"logdir", "index-url", "collect", "curves", "dist"}
    named = {flag for page in PAGES for flag in re.findall(r"--([a-z][\w-]*)", page.read_text())}
    assert named <= known | of_others


@pytest.mark.parametrize("block", re.findall(r"```bash\n(.*?)```", README, re.DOTALL)[:2])
def test_setup_commands_install_and_run_what_is_there(block):
    command = block.strip()
    assert command.startswith(
        "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && .venv/bin/python "
    )
    script = command.split(".venv/bin/python ")[1].split()[0]
    assert script == "-m" or (ROOT / script).is_file()


def test_the_student_in_a_program_of_ones_own_acts(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    student = ActorCritic(WIDTHS["0.1pct"], 6)
    save_student(tmp_path / "runs" / "NAME" / "student.safetensors", student, {"env_id": "x"})
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["about"]["env_id"] == "x"
    assert names["student"].action_net.weight.equal(student.action_net.weight)
    assert names["action"].shape == (1,)
    assert 0 <= int(names["action"]) < 6


def test_the_study_of_ones_own_is_one(tmp_path, monkeypatch):
    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "mine.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    runs = plan_custom(tmp_path / "mine.yaml")
    assert f"trains these {len(runs)} students" in README
    assert {run.labels["arm"] for run in runs} == {"plain", "curious"}


def test_ci_runs_the_readmes_test_command():
    command = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)[1].split("&& ")[-1].strip()
    assert (ROOT / ".ci/run").read_text().strip().endswith(command)


def test_what_is_said_of_uncertainty_agrees_with_its_csv():
    text = tables.probe_section(read_rows(make_figures.PROBES, Probe))
    page = page_with("uncertainty")
    assert markdown.with_section(page, "uncertainty", text) == page


def test_what_is_said_of_small_ppo_agrees_with_its_csv():
    rows = read_rows(make_figures.SMALL_PPO, SmallScore)
    text = tables.small_ppo_table(rows, read_rungs(make_figures.TEACHERS))
    page = page_with("small_ppo")
    assert markdown.with_section(page, "small_ppo", text) == page


@pytest.mark.parametrize("grid", GRIDS)
def test_generated_sections_agree_with_the_csv(grid):
    text = make_figures.section_of(grid, CELLS[grid])
    page = page_with(grid)
    assert markdown.with_section(page, grid, text) == page


def test_how_well_games_know_the_teachers_is_what_their_records_say():
    halves = {}
    for rung in read_rungs(make_figures.TEACHERS):
        assert rung.sampled.ci95 is not None
        low, high = rung.sampled.ci95
        share = 50 * (high - low) / (rung.mean - rung.floor)
        halves[rung.env_id, rung.grade] = f"{share:.1f} %" if share < 2 else f"{share:.0f} %"
    said = [
        f"{game} "
        + ", ".join(f"{g} {halves[key]}" for g in (BEST, *GRADES) if (key := (env_id, g)) in halves)
        for game, env_id in GAMES.items()
    ]
    assert "give or take so much of its range: " + "; ".join(said) in NOTES.read_text()


@pytest.mark.parametrize("game", GAMES)
def test_the_graded_teachers_scores_are_what_their_records_say(game):
    rungs = {r.grade: r for r in read_rungs(make_figures.TEACHERS) if r.env_id == GAMES[game]}
    (row,) = re.findall(
        rf"^\| {game}\b.* \|$", section("Results so far").split("<!-- best")[0], re.M
    )
    _, floor, *means = (cell.strip() for cell in row.strip("|").split("|"))
    known = ("bad", "medium", "good", BEST)
    assert means == [f"{rungs[grade].mean:.1f}" if grade in rungs else "" for grade in known]
    assert {floor.split(" (")[0]} == {f"{rung.floor:.1f}" for rung in rungs.values() if rung.grade}


def anchors(page: Path) -> set[str]:
    """Return what a link may have behind its `#`, as GitHub makes it of the page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_links_lead_to_files_and_to_headings_of_theirs(page):
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text())
    assert links
    for link in links:
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


def test_links_within_a_page_and_to_headings_of_another_are_looked_at():
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert any(link.startswith("#") for link in links)
    assert any("README.md#" in link for link in links)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_no_placeholder_is_left(page):
    assert not re.findall(r"@@|TODO|FIXME", page.read_text())
