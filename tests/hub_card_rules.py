"""What the Hub's /api/validate-yaml refuses in a dataset card's YAML, as far as its documentation says."""

from typing import Any

import yaml

SIZES = ["n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B"]
LICENSES = {
    "cc0-1.0",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc-by-sa-4.0",
    "cc-by-nc-4.0",
    "mit",
    "apache-2.0",
    "other",
    "unknown",
}
TASKS = {"text-to-video", "video-classification", "video-text-to-text"}


def errors(content: str) -> list[str]:
    """What is wrong with the card `content`; without YAML nothing is."""
    if not content.startswith("---\n"):
        return []
    try:
        fields = yaml.safe_load(content.removeprefix("---\n").partition("\n---")[0])
    except yaml.YAMLError as error:
        return [f"not valid YAML: {error}"]
    return [*_fields(fields), *_configs(fields)]


def _fields(fields: dict[str, Any]) -> list[str]:
    checks = {
        "license": fields.get("license", "unknown") in LICENSES,
        "license_name": "license_name" not in fields or fields["license"] == "other",
        "size_categories": set(fields.get("size_categories", [])) <= {*SIZES, "n>1T"},
        "task_categories": set(fields.get("task_categories", [])) <= TASKS,
        "pretty_name": isinstance(fields.get("pretty_name", ""), str),
        "language": all(isinstance(code, str) and 2 <= len(code) <= 8 for code in fields.get("language", [])),
        "tags": all(isinstance(tag, str) for tag in fields.get("tags", [])),
    }
    return [f'"{name}" must be one of those the Hub knows' for name, right in checks.items() if not right]


def _configs(fields: dict[str, Any]) -> list[str]:
    configs = fields.get("configs", [])
    names = [config.get("config_name") for config in configs]
    told = fields.get("dataset_info", [])
    infos = [info.get("config_name") for info in ([told] if isinstance(told, dict) else told)]
    found = []
    if len(set(names)) != len(names) or not all(isinstance(name, str) for name in names):
        found.append('"configs": names must be texts, each given once')
    if sum(bool(config.get("default")) for config in configs) > 1:
        found.append('"configs": only one can be the default')
    if sorted(infos) != sorted(names):
        found.append('"dataset_info" must be about the configs')
    for config in configs:
        files = config.get("data_files", [])
        splits = [entry.get("split") for entry in files]
        if not files or len(set(splits)) != len(splits) or not all(entry.get("path") for entry in files):
            found.append('"data_files": every split must be given once, with a path')
    return found
