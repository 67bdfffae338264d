"""What the documents say is tried: their programs run, and their links lead somewhere."""

import re
import subprocess
import sys

import pytest


@pytest.mark.parametrize("document", ["README.md", "docs/signalling.md"])
def test_the_program_in_a_document_does_what_it_says(document, project_root):
    (program,) = re.findall(r"```python\n(.*?)```", (project_root / document).read_text(), re.DOTALL)
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, encoding="utf-8", timeout=30
    )
    assert (finished.returncode, finished.stdout) == (0, "chat says: Hello, Bob\n"), finished.stderr


def test_every_file_that_a_document_links_to_exists(project_root):
    documents = [*project_root.glob("*.md"), *project_root.glob("docs/**/*.md")]
    links = [
        (document, target)
        for document in documents
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
    ]
    assert links
    assert [f"{document.name}: {target}" for document, target in links if not (document.parent / target).exists()] == []
