"""What the documents say is tried: the README's program, and that its commands are two."""

import re
import subprocess
import sys


def test_the_first_program_of_the_readme_does_what_it_says(project_root):
    (program,) = re.findall(r"```python\n(.*?)```", (project_root / "README.md").read_text(), re.DOTALL)
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", timeout=30)
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
