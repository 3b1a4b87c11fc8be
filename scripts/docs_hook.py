"""Called by mkdocs (mkdocs.yml): the site lists the decisions by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def on_config(config: Any) -> Any:  # noqa: ANN401 - mkdocs is no dependency of this package
    decisions = sorted((Path(config["docs_dir"]) / "decisions").glob("*.md"))
    developers = next(part["For developers"] for part in config["nav"] if "For developers" in part)
    developers.append({"Decisions": [f"decisions/{path.name}" for path in decisions]})
    return config
