"""The tools that read the code without running it, each as a test; and the wheel, which has to work by itself."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest


def run_tool(project_root: Path, *command: str) -> None:
    """Run a tool of this environment over the project; its complaints are the test's failure."""
    # A tool's own configuration decides, not that of a terminal or a CI service around it.
    environment = {key: value for key, value in os.environ.items() if key not in ("FORCE_COLOR", "CI")}
    finished = subprocess.run(
        command, cwd=project_root, env=environment, capture_output=True, encoding="utf-8", timeout=300
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


def program(name: str) -> str:
    """The program that was installed beside this Python."""
    return str(Path(sys.executable).parent / name)


def test_types_are_right_by_mypy_strict(project_root):
    run_tool(project_root, sys.executable, "-m", "mypy")


def test_ruff_finds_nothing_to_complain_about(project_root):
    run_tool(project_root, sys.executable, "-m", "ruff", "check", "src", "tests", "examples")


def test_every_file_is_formatted_as_ruff_would(project_root):
    run_tool(project_root, sys.executable, "-m", "ruff", "format", "--check", "src", "tests", "examples")


def test_async_code_has_no_known_hazards_by_flake8_async(project_root):
    files = sorted(str(file) for folder in ("src", "examples") for file in (project_root / folder).rglob("*.py"))
    # ASYNC114 wants every startable function listed by name, for a check that none of our code needs. ASYNC9xx are off
    # by default and come on with any --disable: not every async function has to be a checkpoint.
    rules = ["--disable=ASYNC114,ASYNC9", "--transform-async-generator-decorators=scope"]
    run_tool(project_root, program("flake8-async"), *rules, *files)


def test_imports_point_down_only(project_root):
    run_tool(project_root, program("lint-imports"), "--no-cache")


@pytest.fixture(scope="module")
def wheel(project_root, tmp_path_factory, require) -> Path:
    """The wheel, built from this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    fetch = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder / "registry"), "hatchling"]
    require(subprocess.run(fetch, capture_output=True).returncode == 0, "pip reaches no package registry")
    run_tool(project_root, sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(folder), ".")
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_installs_and_imports_in_an_empty_environment(wheel, tmp_path):
    venv.create(tmp_path, with_pip=True)
    python = str(tmp_path / "bin" / "python")
    run_tool(tmp_path, python, "-m", "pip", "install", "--quiet", str(wheel))
    run_tool(tmp_path, python, "-W", "error", "-c", "from trio_webrtc import open_peer_connection")
