"""Everything that can go wrong, as one small tree.

    OsdError                 anything osd-build says on purpose; `str()` says what to do next
      x ConfigError          build.toml or the command line is wrong; nothing has been run
      x RunError             the run as a whole cannot go on (disk full, missing model, missing input)
      x ItemError            one item cannot be used: becomes a row of `<stage>.failures`, the rest goes on
      x Filtered             one item is left out on purpose (duplicate, too short): a row there too, not an error

Any other exception is a bug: it stops the unit loudly; `osd-build --debug` shows its traceback.
"""


class OsdError(Exception):
    """Base of all errors raised on purpose."""


class ConfigError(OsdError):
    """The configuration or the command line is wrong; nothing has been run."""


class RunError(OsdError):
    """The run as a whole cannot go on; finished work is kept."""


class ItemError(OsdError):
    """One item cannot be used.

    `kind` is a short snake_case word to group by (`truncated`), `message` says what happened and what to do next,
    `retryable` says whether `osd-build retry RUN` may succeed without anything else having changed (a timeout).
    """

    def __init__(self, kind: str, message: str, retryable: bool = False) -> None:
        super().__init__(kind, message, retryable)  # all three in args: the exception survives pickling
        self.kind, self.message, self.retryable = kind, message, retryable

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


class Filtered(OsdError):
    """One item is left out on purpose; `kind` groups (`duplicate`), `message` names the reason."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind, self.message = kind, message

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"
