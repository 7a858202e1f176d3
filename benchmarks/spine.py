"""What every stage of a finished run cost, in CPU-seconds and wall seconds, from its receipts.

python benchmarks/spine.py [RUN]      defaults to the demo's (run `make demo` first); the scan alone: scan.py
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

DEMO = Path("runs/demo")


def stages(run: Path) -> None:
    """From the receipts of a finished run; the decoder processes' time is in them."""
    spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0])
    for path in run.glob("*.receipts/part-*.json"):
        receipt = json.loads(path.read_text())
        for n, name in enumerate(("cpu_s", "wall_s", "computed")):
            spent[receipt["table"]][n] += receipt[name]
    print(f"{run}: CPU-seconds, wall seconds over all workers, inputs computed, by stage")
    for table, (cpu, wall, computed) in sorted(spent.items(), key=lambda row: -row[1][0]):
        print(f"  {table:<20} {cpu:8.2f} {wall:8.2f} {computed:6.0f}")


def main() -> None:
    run = Path(sys.argv[1]) if len(sys.argv) > 1 else DEMO
    if not run.is_dir():
        sys.exit(f"no run at {run}: name one, or run `make demo` first")
    stages(run)


if __name__ == "__main__":
    main()
