"""README's commands, run as printed, and its help texts, compared with what the program says.

A fenced block of bash or python right after `<!-- run -->` is run; a block of text after `<!-- help: COMMAND -->` is
compared.

    python tests/test_docs.py         write the help texts into README.md
"""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
MARKED = re.compile(r"^<!-- run -->\s*\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HELP = re.compile(r"^(<!-- help: (.+?) -->\s*\n```text\n)(.*?)^```$", re.MULTILINE | re.DOTALL)
SCRIPT = {"bash": ("bash", "-euxo", "pipefail", "-c"), "python": (sys.executable, "-c")}


@dataclass(frozen=True)
class Block:
    language: str
    code: str
    line: int

    def command(self) -> list[str]:
        return [*SCRIPT[self.language], self.code]


def blocks(text: str) -> list[Block]:
    """Raises ValueError for a mark that no block of a known language follows: it would silently never run."""
    found = [Block(m[1], m[2], text.count("\n", 0, m.start(2)) + 1) for m in MARKED.finditer(text)]
    if len(found) != text.count("<!-- run -->") or any(block.language not in SCRIPT for block in found):
        raise ValueError("a `<!-- run -->` is not followed by a block of bash or python")
    return found


def test_only_marked_blocks_are_found_with_their_lines() -> None:
    text = "a\n\n```bash\nno\n```\n\n<!-- run -->\n```bash\nmake demo\n```\n\n<!-- run -->\n\n```python\nx = 1\n```\n"
    assert blocks(text) == [Block("bash", "make demo\n", 9), Block("python", "x = 1\n", 15)]


@pytest.mark.parametrize("text", ["<!-- run -->\nplain text\n", "<!-- run -->\n```perl\ndie\n```\n"])
def test_a_mark_without_a_block_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not followed"):
        blocks(text)


def test_a_failing_line_in_the_middle_of_a_block_fails_it() -> None:
    assert subprocess.run(Block("bash", "false\ntrue\n", 1).command(), check=False, capture_output=True).returncode


def help_text(command: str) -> str:
    """What a command prints on a terminal of 100 columns without colours."""
    program, *arguments = shlex.split(command)
    plain = {**os.environ, "COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}
    done = subprocess.run(
        [Path(sys.executable).with_name(program), *arguments], check=True, env=plain, capture_output=True, text=True
    )
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines()) + "\n"


def with_help(text: str) -> str:
    return HELP.sub(lambda found: f"{found[1]}{help_text(found[2])}```", text)


def test_help_texts_are_what_the_program_says() -> None:
    text = README.read_text(encoding="utf-8")
    assert text.count("<!-- help:") == len(HELP.findall(text)) > 0
    assert text == with_help(text), "run `make readme`"


@pytest.mark.docs
@pytest.mark.timeout(900)
def test_readme_runs_as_printed() -> None:
    """README and then the pages of docs/, from the root of the checkout, without standard input, as a reader's shell
    would."""
    found = [(page, block) for page in PAGES for block in blocks(page.read_text(encoding="utf-8"))]
    assert found[0][0] == README, "README.md marks no block with <!-- run -->"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    for page, block in found:
        done = subprocess.run(
            block.command(), check=False, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, f"{page.name} line {block.line}:\n{block.code}\n{done.stdout[-4000:]}"


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"], ids=lambda page: str(page.name)
)
def test_links_into_the_repository_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = {target.partition("#")[0] for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)\s]+)\)", text)}
    assert [target for target in sorted(targets) if not (page.parent / target).exists()] == []


if __name__ == "__main__":
    README.write_text(with_help(README.read_text(encoding="utf-8")), encoding="utf-8")
