"""HDR pictures as an ordinary screen would show them; for looking at, not for measuring light.

PQ and HLG (ITU-R BT.2100-2) are brought to linear light in units of HDR reference white (203 cd/m2, BT.2408), from
BT.2020 to BT.709 primaries (BT.2087), through a curve that leaves what is below the knee alone and bends all above it
up to 1000 cd/m2 under 1 (extended Reinhard, Reinhard et al. 2002), and to the sRGB curve. The curve is applied to the
largest of the three values and the others keep their ratio to it, so that colours keep their hue.
"""

import cv2
import numpy as np
import numpy.typing as npt

WHITE = 203.0  # cd/m2
PEAK = 1000 / WHITE  # what becomes 1; brighter is clipped
KNEE = 0.5  # linear; below it light passes unchanged
BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
BT2020_LUMA = np.array([0.2627, 0.6780, 0.0593], np.float32)
STEPS = 4096  # of the tables: finer than the 10 or 12 bits of the source

Floats = npt.NDArray[np.float32]


def to_sdr(pixels: npt.NDArray[np.uint16], transfer: str) -> npt.NDArray[np.uint8]:
    """BGR of 8 bits from RGB of 16 (full range, as coded); `transfer` is "pq" or "hlg"."""
    linear = (_PQ if transfer == "pq" else _HLG)[pixels >> 4]
    if transfer == "hlg":
        linear = _hlg_shown(linear)
    light = np.maximum(cv2.transform(linear, BT2020_TO_BT709), 0)
    most = light.max(axis=2, keepdims=True)
    mapped = light * (_curve(most) / np.maximum(most, 1e-6))
    codes = _SRGB[(np.clip(mapped, 0, 1) * (STEPS * 4 - 1)).astype(np.uint16)]
    return np.ascontiguousarray(codes[..., ::-1])


def _curve(x: Floats) -> Floats:
    """Identity up to KNEE; above it x/(1+x) stretched so that its slope goes on and PEAK lands on 1."""
    room, over, most = 1 - KNEE, np.maximum(x - KNEE, 0), PEAK - KNEE
    scaled, white = over / room, most / room
    bent = scaled * (1 + scaled / white**2) / (1 + scaled)
    return np.where(x <= KNEE, x, np.minimum(KNEE + room * bent, 1.0)).astype(np.float32)


def _pq_light() -> Floats:
    """BT.2100 table 4, the EOTF, over WHITE."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    code = np.linspace(0, 1, STEPS) ** (1 / m2)
    return (10000 / WHITE * (np.maximum(code - c1, 0) / (c2 - c3 * code)) ** (1 / m1)).astype(np.float32)


def _hlg_scene() -> Floats:
    """BT.2100 table 5, the inverse OETF: scene light 0..1."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    code = np.linspace(0, 1, STEPS)
    half = 0.5  # of the code; there the two curves meet
    return np.where(code <= half, code**2 / 3, (np.exp((code - c) / a) + b) / 12).astype(np.float32)


def _hlg_shown(scene: Floats) -> Floats:
    """The OOTF of a display of 1000 cd/m2 (gamma 1.2), over WHITE."""
    luma = np.maximum(scene @ BT2020_LUMA, 1e-6)
    gain = luma[..., None] ** 0.2 * (1000 / WHITE)
    shown: Floats = (scene * gain).astype(np.float32)
    return shown


def _srgb_codes() -> npt.NDArray[np.uint8]:
    """IEC 61966-2-1."""
    light, knee = np.linspace(0, 1, STEPS * 4), 0.0031308
    code = np.where(light <= knee, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(255 * code).astype(np.uint8)


_PQ, _HLG, _SRGB = _pq_light(), _hlg_scene(), _srgb_codes()
