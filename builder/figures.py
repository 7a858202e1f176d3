"""Numbers and texts as people read them."""


def as_count(number: int) -> str:
    return f"{number:,}"


def as_number(number: float) -> str:
    """Three digits at least: 0.0123, 4.5, 1,920."""
    return f"{number:.3g}" if -100 < number < 100 else f"{number:,.0f}"  # noqa: PLR2004


def as_duration(seconds: float) -> str:
    for unit, length_s in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length_s:
            return f"{as_number(seconds / length_s)} {unit}"
    return f"{as_number(seconds)} s"


def as_size(size_bytes: int) -> str:
    for unit, length in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size_bytes >= length:
            return f"{as_number(size_bytes / length)} {unit}"
    return f"{as_number(size_bytes / 1e3)} kB"


def one_line(text: str) -> str:
    """All but printable characters become one space: a terminal obeys some, and YAML breaks lines at U+0085, U+2028."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())
