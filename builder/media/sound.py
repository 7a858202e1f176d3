"""What the headers of a container say of its sound; nothing of it is decoded."""

from dataclasses import dataclass

from av.container import InputContainer


@dataclass(frozen=True)
class Sound:
    """Of the first audio stream; "" and 0 where there is none, or where the header is silent.

    `audio_start_s` is when it begins after the first picture; negative: before it.
    """

    audio_codec: str = ""
    audio_channels: int = 0
    audio_rate: int = 0
    audio_start_s: float = 0.0
    audio_duration_s: float = 0.0


def sound(container: InputContainer, pictures_start_s: float) -> Sound:
    """`pictures_start_s` is the timestamp of the first picture."""
    stream = next(iter(container.streams.audio), None)
    if stream is None or stream.codec_context is None:
        return Sound()
    base = stream.time_base or 0
    start_s = float(stream.start_time * base) - pictures_start_s if stream.start_time is not None else 0.0
    length_s = float(stream.duration * base) if stream.duration else (container.duration or 0) / 1e6
    codec = stream.codec_context
    return Sound(codec.codec.canonical_name, codec.channels, codec.sample_rate, start_s, max(0.0, length_s))
