"""Who may import whom, and what no file of the product may call."""

import ast
import os
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
COMMAND_LAYER = 4
LAYERS = (
    "__init__ ppo.__init__ study.__init__ types muon prioritization settings options config idle"
    " teacher_config teacher_files tool_config schedules losses cli device files provenance"
    " progress protocol game_names interruption statistics parsing errors tags sb3_archive rows"
    " study.markdown",
    "envs networks initialization bonus icm rnd coverage augmentations uncertainty rollouts learner"
    " evaluation fidelity floors floor_caches run_folder tracking teacher sb3_zip acting origins"
    " film measuring worth ppo.sb3 ppo.fast_policy ppo.kickstart"
    " study.naming study.curves study.rungs study.small_ppo study.axes study.grids"
    " study.study_config study.plan study.custom_file"
    " study.comparison",
    "checkpoint student_files labels advantages objective scoring run_state metrics"
    " study.probe study.outcomes study.cells study.tables study.figures study.cell_figures"
    " study.estimates_figure study.ladder_figure study.augmented_figure"
    " study.published study.arms study.verdicts study.summary",
    "training task player report bench_parts"
    " ppo.algorithm ppo.predecessors ppo.warm_start ppo.ladder ppo.callback ppo.process"
    " study.jobs study.runner study.custom",
)
LAYER_OF = {f"distill.{name}": i for i, names in enumerate(LAYERS) for name in names.split()}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted((ROOT / "distill").rglob("*.py"))
}
PACKAGES = {"distill", "distill.ppo", "distill.study"}  # names taken from them are modules
BOOTSTRAP = "_bootstrap"
COMMANDS = {
    path.stem: path
    for folder in (ROOT, ROOT / "scripts")
    for path in sorted(folder.glob("*.py"))
    if path.stem != BOOTSTRAP
}
PRODUCT = {**MODULES, **COMMANDS, BOOTSTRAP: ROOT / "scripts" / "_bootstrap.py"}

OPTIONAL = {"av"}  # for mp4, and asked for by name where it is missing
# Packages by another name than the one that is imported.
DISTRIBUTIONS = {
    "ale_py": "ale-py",
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "stable_baselines3": "stable-baselines3",
    "yaml": "PyYAML",
}

# Who may import what is heavy, or belongs to one place.
HOMES = {
    "stable_baselines3": {
        "distill.ppo.algorithm",
        "distill.ppo.callback",
        "distill.ppo.fast_policy",
        "distill.ppo.ladder",
        "distill.ppo.process",  # stock SB3's, to be measured
        "distill.ppo.sb3",
        "distill.ppo.warm_start",
    },
    "ale_py": {"distill.envs"},
    "kornia": {"distill.augmentations"},
}
# Whatever reads these runs what it reads, or imports past the table.
FORBIDDEN_IMPORTS = {
    *("pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "runpy"),
    *("imp", "importlib", "pkgutil"),
}
FORBIDDEN_BUILTINS = {"exec", "eval", "compile", "__import__"}
LOADS = {"load", "loads", "load_all", "full_load", "unsafe_load"}
SAFE_LOADS = {"torch": "weights_only=True", "yaml": "Loader=_Loader"}


class Import(NamedTuple):
    """An imported module; `distill.x` where a name of a package is imported from it."""

    module: str
    names: tuple[str, ...]  # taken from it
    in_function: bool


def imports_of(source: str) -> list[Import]:
    """Read all imports, also those inside functions and under conditions."""
    tree = ast.parse(source)
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    inner = {id(node) for function in functions for node in ast.walk(function)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, (), id(node) in inner) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += _imports_from(node, in_function=id(node) in inner)
    return found


def _imports_from(node: ast.ImportFrom, *, in_function: bool) -> list[Import]:
    module = "." * node.level + (node.module or "")
    names = tuple(alias.name for alias in node.names)
    if module in PACKAGES:
        return [Import(f"{module}.{name}", (), in_function) for name in names]
    return [Import(module, names, in_function)]


def top(module: str) -> str:
    return module.split(".")[0]


IMPORTS = {name: imports_of(path.read_text()) for name, path in PRODUCT.items()}
OURS = {
    name: {i.module for i in found if top(i.module) == "distill"} for name, found in IMPORTS.items()
}


def calls_of(name: str) -> list[ast.Call]:
    tree = ast.parse(PRODUCT[name].read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def reachable(name: str) -> set[str]:
    """Return all modules of the package that importing this one imports."""
    seen: set[str] = set()
    left = set(OURS[name])
    while left:
        module = left.pop()
        seen.add(module)
        left |= OURS[module] - seen
    return seen


def test_imports_are_read_wherever_they_stand():
    source = """
import json, distill.cli as c
from distill import losses, types
from distill.study import tables
from . import icm
def f():
    if True:
        from distill.envs import make_atari, AtariEnvs
"""
    assert imports_of(source) == [
        Import("json", (), False),
        Import("distill.cli", (), False),
        Import("distill.losses", (), False),
        Import("distill.types", (), False),
        Import("distill.study.tables", (), False),
        Import(".", ("icm",), False),
        Import("distill.envs", ("make_atari", "AtariEnvs"), True),
    ]


def test_table_names_every_module_once():
    assert sorted(LAYER_OF) == sorted(MODULES)
    assert len(LAYER_OF) == sum(len(names.split()) for names in LAYERS)


@pytest.mark.parametrize("name", PRODUCT)
def test_imports_go_downward_or_sideways(name):
    layer = LAYER_OF.get(name, COMMAND_LAYER)
    upward = {module for module in OURS[name] if LAYER_OF.get(module, COMMAND_LAYER) > layer}
    assert not upward


def test_each_package_that_the_product_imports_is_required_in_one_version():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pins = [re.fullmatch(r"([\w-]+)(\[\w+\])?==[\w.]+", line) for line in lines]
    required = {pin[1] for pin in pins if pin is not None}
    assert len(required) == len(lines)  # and no index, which is the machine's affair
    imported = {top(i.module) for found in IMPORTS.values() for i in found}
    theirs = imported - sys.stdlib_module_names - {"distill", BOOTSTRAP} - OPTIONAL
    assert {DISTRIBUTIONS.get(name, name) for name in theirs} <= required


def test_no_module_imports_itself_through_others():
    TopologicalSorter({name: OURS[name] for name in MODULES}).prepare()  # raises on a cycle


@pytest.mark.parametrize("name", PRODUCT)
def test_imports_inside_the_project_are_of_the_package_and_absolute(name):
    modules = {i.module for i in IMPORTS[name]}
    allowed = {BOOTSTRAP} if PRODUCT[name].parent.name == "scripts" else set()
    assert not {module for module in modules if module.startswith(".")}
    assert {top(module) for module in modules} & {*COMMANDS, BOOTSTRAP, "scripts"} <= allowed
    assert OURS[name] <= {*MODULES, *PACKAGES}


@pytest.mark.parametrize(
    ("package", "allowed"), [("distill.ppo", {"distill.bench_parts"}), ("distill.study", set())]
)
def test_distillation_needs_neither_the_teachers_training_nor_the_studies(package, allowed):
    inside = {name for name in MODULES if name.startswith(package)}
    users = {name for name in MODULES if OURS[name] & inside} - inside
    assert users <= allowed


@pytest.mark.parametrize("package", HOMES)
def test_libraries_stay_in_their_places(package):
    users = {name for name, found in IMPORTS.items() if package in {top(i.module) for i in found}}
    assert users <= HOMES[package]


def test_kornia_is_imported_only_when_it_is_used():
    found = [i for i in IMPORTS["distill.augmentations"] if top(i.module) == "kornia"]
    assert found
    assert all(i.in_function for i in found)


def test_training_meets_games_and_teachers_only_as_protocols():
    not_needed = ("envs", "teacher", "sb3_zip", "sb3_archive")
    reached = reachable("distill.training")
    assert not reached & {f"distill.{name}" for name in not_needed}
    assert not {name for name in reached if name.startswith("distill.ppo")}


@pytest.mark.parametrize("name", ["evaluation", "scoring", "acting", "floors", "film"])
def test_scores_are_taken_by_code_that_knows_no_intrinsic_reward(name):
    rewards = {f"distill.{name}" for name in ("bonus", "icm", "rnd", "advantages", "run_state")}
    assert not reachable(f"distill.{name}") & rewards


def test_training_takes_nothing_but_the_student_from_the_networks():
    loop = IMPORTS["distill.training"] + IMPORTS["distill.run_state"]
    assert [i.names for i in loop if i.module == "distill.networks"] == [("ActorCritic",)]


def test_importing_the_loop_loads_no_emulator_no_sb3_and_no_kornia():
    code = "import sys, distill.training; print(*{m.split('.')[0] for m in sys.modules}, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    loaded = set(done.stdout.split())
    assert {"distill", "torch"} <= loaded
    assert not loaded & HOMES.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_load_the_package_before_torch(name):
    """It sets what OpenMP reads when torch is loaded."""
    outside = [
        top(i.module)
        for i in IMPORTS[name]
        if not i.in_function and top(i.module) not in sys.stdlib_module_names
    ]
    assert outside[0] in ("distill", BOOTSTRAP)


def test_the_bootstrap_loads_the_package():
    assert "distill" in {i.module for i in IMPORTS[BOOTSTRAP]}


def test_idle_openmp_threads_stop_spinning_soon_unless_the_user_says_otherwise():
    code = "import distill, os; print(os.environ['GOMP_SPINCOUNT'])"
    command = [sys.executable, "-c", code]
    for given, expected in (({}, "50000"), ({"GOMP_SPINCOUNT": "5"}, "5")):
        env = {k: v for k, v in os.environ.items() if k != "GOMP_SPINCOUNT"} | given
        done = subprocess.run(
            command, cwd=ROOT, env=env, check=True, capture_output=True, text=True
        )
        assert done.stdout.strip() == expected


@pytest.mark.parametrize("name", PRODUCT)
def test_no_file_imports_what_unpickles_or_imports_by_name(name):
    found = {i.module for i in IMPORTS[name]} - {"importlib.metadata"}
    assert not {top(module) for module in found} & FORBIDDEN_IMPORTS


@pytest.mark.parametrize("name", PRODUCT)
def test_no_file_runs_text_as_code(name):
    called = {call.func.id for call in calls_of(name) if isinstance(call.func, ast.Name)}
    assert not called & FORBIDDEN_BUILTINS


@pytest.mark.parametrize("name", PRODUCT)
def test_every_load_is_of_weights_or_plain_values(name):
    """So neither `PPO.load`, whatever PPO is called there, nor `pickle.load` or `np.load`."""
    assert not LOADS & {taken for i in IMPORTS[name] for taken in i.names}
    for call in calls_of(name):
        if isinstance(call.func, ast.Attribute) and call.func.attr in LOADS:
            module = ast.unparse(call.func.value)
            settings = {ast.unparse(keyword) for keyword in call.keywords}
            assert module == "json" or SAFE_LOADS.get(module) in settings, ast.unparse(call)
