"""The build.toml that `osd-build init` writes: every default a user is likely to change, with what it means."""

import json
from pathlib import Path

from builder.config import FILE
from builder.errors import ConfigError

TEMPLATE = """\
# What `osd-build run` does. Paths are relative to this file. `--set section.key=value` overrides a line for one run.
name = {name}

[[source]]                  # one or more; kinds: folder, urls, pexels, pixabay, mixkit
kind = "folder"
name = "local"              # names the shards: a-z, 0-9, - and _
path = {folder}             # read in place, never changed
license = {license}         # an SPDX id where there is one

# [[source]]
# kind = "pexels"           # key: the environment variable PEXELS_API_KEY; 200 requests an hour, 20,000 a month
# query = "harbour"
# rendition = "max_height=1080"
# limit = 100               # at most that many videos of this source

# [[source]]
# kind = "pixabay"          # key: PIXABAY_API_KEY; 100 requests a minute
# query = "forest"
# limit = 100               # Pixabay does not allow systematic mass downloads

# [web]
# contact = "https://..."   # shown to servers; set it before you crawl
# requests_per_s = 5        # to one host

# [licenses]
# allow = ["CC0-1.0", "CC-BY-*"]  # what may be fetched; without it everything is
# takedown = "takedown.txt"       # what must not be in the dataset: SITE:ID, a URL, `author: NAME` or a sha256 a line

[detect]
method = "auto"             # or content, adaptive (PySceneDetect's), transnet, panda70m, fixed; with their settings

[split]
min_s = 1.0                 # shorter shots are left out
max_s = 20.0                # longer shots are cut into equal clips

[dedupe]                    # of clips that show the same the best is kept
on = true
covered = 0.5               # leave a clip out if better ones show so much of it

[filter]                    # measure once, decide often: changing a line computes no score again
keep = [                    # what a line costs: osd-build filter RUN --dry-run
{conditions}]
# preset = "seed"           # the conditions of a published pipeline as well; there are
#                             {presets}
# [filter.source.NAME]      # other conditions for the clips of one source, instead of those above
# keep = ["duration_s in 2..16", "sharpness.laplacian >= p10"]  # p10: better than the worst tenth of the run

[caption.describe]          # composed by rule from what was measured; needs no model
# [caption.llava]           # a model of your choice, by id or folder
# engine = "transformers"
# model = "llava-hf/llava-1.5-7b-hf"

[plan]
shard_bytes = 1_000_000_000
"""


def write_template(run: Path, folder: Path | None, license_id: str) -> Path:
    """Write RUN/build.toml.

    Raises:
        ConfigError: there is one already, or `folder` is no folder.
    """
    from builder.rules import presets
    from builder.stages.judge import DEFAULT_KEEP

    if folder is not None and not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder")
    file = run / FILE
    if file.exists():
        raise ConfigError(f"{file} exists already; edit it, or choose another folder")
    run.mkdir(parents=True, exist_ok=True)
    text = TEMPLATE.format(
        name=json.dumps(run.resolve().name),
        folder=json.dumps(str(folder.resolve() if folder else "videos")),
        license=json.dumps(license_id),
        presets=", ".join(presets()),
        conditions="".join(f"    {json.dumps(condition)},\n" for condition in DEFAULT_KEEP),
    )
    file.write_text(text, encoding="utf-8")
    return file
