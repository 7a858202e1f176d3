"""Score: a scorer more is that scorer's work, and no other's."""

from pathlib import Path

import pytest

from command_line import digests, osd_build, write_run
from made_video import Made, write

MORE = ("--set", 'score.use=["motion", "brightness", "freeze", "shake"]')


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "three").mkdir()
    for n in range(3):
        write(tmp_path / "three" / f"{n}.mp4", Made(frames=30 + n))
    return write_run(tmp_path / "scored", tmp_path / "three")


def computed(stderr: str) -> dict[str, int]:
    """Inputs that each stage computed anew, if it had any to do."""
    told = (line.partition(":") for line in stderr.splitlines() if "computed" in line)
    return {table: count for table, _, rest in told if (count := int(rest.split()[0]))}


def test_a_scorer_more_in_a_finished_run_computes_itself_alone(run: Path) -> None:
    for verb in ("crawl", "split", "filter"):
        assert osd_build(verb, run).returncode == 0
    before = {name: digest for name, (digest, _) in digests(run).items() if "/score." in name and "part-" in name}
    assert before
    first = osd_build("filter", run, *MORE)
    assert first.returncode == 0, first.stderr
    assert computed(first.stderr) == {
        "score.freeze": 3,
        "score.shake": 3,
    }  # no condition names them, so nothing is judged again
    assert before.items() <= {name: digest for name, (digest, _) in digests(run).items()}.items()
    assert set(computed(osd_build("filter", run).stderr)) <= {"judge"}  # and one less is nobody's
    assert set(computed(osd_build("filter", run, *MORE).stderr)) <= {"judge"}  # what was measured was kept
