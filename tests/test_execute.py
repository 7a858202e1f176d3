"""What a command tells at its end beside the table."""

from pathlib import Path

from builder.execute import open_run, without_clip
from builder.records import Shots
from builder.storage import Storage
from builder.table import Answer, Stamp, Table
from judged_run import clip, write


def test_shots_that_became_no_clip_are_counted(tmp_path: Path) -> None:
    (tmp_path / "build.toml").write_text('[[source]]\nkind = "folder"\npath = "."\nlicense = "CC0-1.0"\n')
    run = open_run(tmp_path)
    assert list(without_clip(run)) == []  # nothing is split yet
    clips = [clip("a"), clip("b")]
    write(tmp_path, "split", clips)
    table: Table[Shots] = Table(Storage(tmp_path), "detect", Shots)
    rows = [Shots(clips[0].video_id, "auto", (0, 5, 9), (5, 9, 40)), Shots(clips[1].video_id, "auto", (0,), (40,))]
    table.write(0, Stamp("test", ""), {row.id: Answer("", [row]) for row in rows})
    [note] = without_clip(run)
    assert note.startswith("note: 2 of the shots of a video became no clip: shorter than split.min_s = 1 s, ")
