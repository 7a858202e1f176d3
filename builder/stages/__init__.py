"""Reading this list is reading the pipeline: each step, the command it belongs to, and the section of build.toml."""

from dataclasses import dataclass
from typing import Any

from builder.stage import Stage
from builder.stages.admit import Admit
from builder.stages.caption import Captioner
from builder.stages.dedupe import Dedupe
from builder.stages.detect import Detector
from builder.stages.fetch import Fetch
from builder.stages.find import Find
from builder.stages.hash import Hash
from builder.stages.judge import Judge, Select
from builder.stages.match import Match
from builder.stages.merge import Merge
from builder.stages.pack import Pack
from builder.stages.pick import Pick
from builder.stages.plan import Plan
from builder.stages.rank import Rank, RankSelected
from builder.stages.scan import Scan
from builder.stages.score import Scorer
from builder.stages.split import Split


@dataclass(frozen=True)
class Step:
    """One stage, or with `plugins` one per plug-in chosen from that folder."""

    verb: str
    stage: type[Stage[Any, Any]]
    plugins: str = ""


STAGES = (
    Step("crawl", Find),
    Step("crawl", Admit),
    Step("crawl", Fetch),
    Step("crawl", Merge),
    Step("split", Scan),
    Step("split", Detector, plugins="detectors"),
    Step("split", Split),
    Step("filter", Scorer, plugins="scorers"),
    Step("filter", Hash),
    Step("filter", Dedupe),
    Step("filter", Rank),
    Step("filter", Pick),
    Step("filter", Judge),
    Step("caption", Captioner, plugins="captioners"),
    Step("caption", Match),  # one for each caption table, or none
    Step("pack", RankSelected),
    Step("pack", Select),
    Step("pack", Plan),
    Step("pack", Pack),
)
VERBS = tuple(dict.fromkeys(step.verb for step in STAGES))
