"""What turns pictures and text into a model's inputs, also where its video half cannot be had."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, cast


class TextOnly:
    """A tokenizer where a processor is wanted: of models that read and see nothing."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.chat_template = tokenizer, tokenizer.chat_template

    def __call__(self, text: list[str], **told: Any) -> Any:
        return self.tokenizer(text, **told)


def load_processor(name: str, where: Mapping[str, Any]) -> Any:
    """The processor of a Hub id or folder, of a model without sight its tokenizer. Where only its video processor is
    missing (it needs torchvision), without.

    Raises:
        OSError, ValueError, ImportError: as transformers does.
    """
    from transformers import AutoProcessor, PreTrainedTokenizerBase

    try:
        found = cast(Any, AutoProcessor).from_pretrained(name, **where)
        return TextOnly(found) if isinstance(found, PreTrainedTokenizerBase) else found
    except (ValueError, ImportError) as error:
        if find_spec("torchvision") or "torchvision" not in str(error).lower():
            raise
        kind = processor_class(name, where)
        if kind is None or "video_processor" not in kind.get_attributes():
            raise
        return without_video(kind).from_pretrained(name, **where)


def processor_class(name: str, where: Mapping[str, Any]) -> Any:
    """The class that transformers has for models of this type, if it has one."""
    import transformers
    from transformers.models.auto import processing_auto

    config = cast(Any, transformers.AutoConfig).from_pretrained(name, **where)
    called = cast(Any, processing_auto).PROCESSOR_MAPPING_NAMES.get(config.model_type)
    return getattr(transformers, called, None) if called else None


def without_video(kind: Any) -> Any:
    """The same class for pictures alone: its first two parts are the image processor and the tokenizer."""

    class ForPictures(kind):  # type: ignore[misc]
        @classmethod
        def get_attributes(cls) -> list[str]:
            return [part for part in super().get_attributes() if part != "video_processor"]

        @classmethod
        def from_args_and_dict(cls, args: Any, processor_dict: dict[str, Any], **more: Any) -> Any:
            return super().from_args_and_dict([*args, None], processor_dict, **more)

    return ForPictures
