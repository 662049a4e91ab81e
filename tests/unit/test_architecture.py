"""The rules of the house that no linter knows: who may import what."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "benchmarking"
FRAMEWORKS = PACKAGE / "frameworks"
STANDALONE = sorted([*(FRAMEWORKS / "kit").rglob("*.py"), *FRAMEWORKS.glob("*/program/**/*.py")])
"""Programs that run on devices: the rules of the house are not for them."""
FILES = sorted({*PACKAGE.rglob("*.py")} - {*STANDALONE})

LEVELS = (
    {"cli", "devices", "history", "__main__"},
    {"driver", "continuous", "dispatch", "server"},
    {"frameworks", "platforms", "reporters", "regression_detectors", "repos"},
    {"records"},
    {"programs", "files", "specs", "statistics"},
    {"results", "terminal", "bounds", "errors", "packages", "registry", "start"},
)
"""A module imports from its own level and from those below."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def level(module: str) -> int | None:
    """None of other packages, and of the package itself, which holds nothing but its version."""
    parts = module.split(".")
    if parts[0] != "benchmarking" or not {path.stem for path in PACKAGE.iterdir()} & set(parts[1:2]):
        return None
    found = [number for number, names in enumerate(LEVELS) if parts[1] in names]
    assert len(found) == 1, f"benchmarking.{parts[1]} is on the levels {found}, and belongs to exactly one"
    return found[0]


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_go_one_way(path):
    own_level = level(module_name(path))
    for imported in imported_modules(path):
        other_level = level(imported)
        if own_level is not None and other_level is not None:
            assert other_level >= own_level, f"{module_name(path)} imports {imported}"


@pytest.mark.parametrize("package", ["frameworks", "platforms"])
def test_frameworks_and_platforms_do_not_know_each_other(package):
    other = {"frameworks": "platforms", "platforms": "frameworks"}[package]
    for path in (PACKAGE / package).rglob("*.py"):
        if path in FILES:
            assert not any(name.startswith(f"benchmarking.{other}") for name in imported_modules(path)), path


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_argparse_subprocess_and_argv_have_one_place(path):
    imported = imported_modules(path)
    if PACKAGE / "cli" not in path.parents:
        assert "argparse" not in imported
        assert "sys.argv" not in path.read_text(encoding="utf-8")
    if path != PACKAGE / "programs" / "process.py":
        assert "subprocess" not in imported


def called(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


ENTRANCES = [PACKAGE / "start.py", *(PACKAGE / "terminal").glob("*.py")]


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_all_that_is_printed_or_logged_goes_through_one_place(path):
    """Else what others chose would drive a terminal."""
    if path not in ENTRANCES:
        raw = {
            "print",
            "Console",
            "sys.stdout.write",
            "sys.stderr.write",
            "logging.basicConfig",
            "logging.Formatter",
        }
        assert called(path).isdisjoint(raw)


@pytest.mark.parametrize("path", STANDALONE, ids=module_name)
def test_programs_import_only_the_kit_of_this_project(path):
    own = ("benchmarking.frameworks.kit", ".".join(module_name(path).split(".")[:4]))
    for imported in imported_modules(path):
        assert not imported.startswith("benchmarking") or imported.startswith(own)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_nothing_but_the_programs_needs_torch(path):
    assert not any(name.split(".")[0] in ("torch", "caffe2") for name in imported_modules(path))


def imported_first(path: Path) -> set[str]:
    """The modules of the package that are imported before the module itself is complete."""
    later = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    nodes: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    modules = set()
    for node in nodes:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            nodes += node.orelse
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif not isinstance(node, later):
            nodes += ast.iter_child_nodes(node)
    above = {
        ".".join(parts[:end])
        for one in modules
        for parts in [one.split(".")]
        for end in range(1, len(parts) + 1)
    }
    return above & {*map(module_name, FILES)} - {module_name(path)}


def test_every_module_imports_alone():
    """A cycle would only affect the module that is imported first; and each can be imported."""
    order = graphlib.TopologicalSorter({module_name(path): imported_first(path) for path in FILES})
    code = "import sys\nfor name in sys.argv[1:]: __import__(name)"
    command = [sys.executable, "-c", code, *order.static_order()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("program", ["harness", "repo_driver", "history", "devices", "commands"])
def test_help_loads_nothing_heavy(program):
    code = (
        f"import sys\nfrom benchmarking.cli.{program} import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'requests', 'rich', 'pydantic', 'scipy', 'matplotlib', 'psutil', 'pynvml', 'git', 'hglib'} & set(sys.modules)))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert output.stdout.splitlines()[-1] == "[]"
