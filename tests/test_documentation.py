"""What the documents say is tried: their programs run and print what is shown, and their links lead somewhere."""

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def programs() -> list[object]:
    """The programs in all documents, each with the output that is shown behind it."""
    found = []
    for document in [PROJECT / "README.md", *sorted(PROJECT.glob("docs/*.md"))]:
        blocks = BLOCK.findall(document.read_text())
        for (kind, program), (next_kind, output) in pairwise([*blocks, ("", "")]):
            if kind == "python":
                expected = output if next_kind == "text" else ""
                found.append(pytest.param(program, expected, id=f"{document.stem}-{len(found)}"))
    return found


@pytest.mark.parametrize(("program", "output"), programs())
def test_the_program_in_a_document_does_what_it_says(program, output, tmp_path):
    if "def test_" in program:
        (tmp_path / "test_program.py").write_text(program)
        command = ["-m", "pytest", "-o", "trio_mode=true", "-p", "no:cacheprovider", "test_program.py"]
    else:
        command = ["-c", program]
    finished = subprocess.run(
        [sys.executable, "-W", "error", *command], capture_output=True, encoding="utf-8", timeout=30, cwd=tmp_path
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    if "def test_" not in program:
        assert finished.stdout == output


def test_every_file_that_a_document_links_to_exists(project_root):
    documents = [*project_root.glob("*.md"), *project_root.glob("docs/**/*.md")]
    links = [
        (document, target)
        for document in documents
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
    ]
    assert links
    assert [f"{document.name}: {target}" for document, target in links if not (document.parent / target).exists()] == []
