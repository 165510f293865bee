"""Where the default model is, for the scripts that read it."""

import os
from pathlib import Path


def default_model_path() -> Path:
    """FATHOM_MODEL, or the file in fathom's cache folder, as tools/fetch_model.sh leaves it."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("FATHOM_MODEL") or Path(cache) / "fathom" / "SmolLM2-135M-Instruct.Q4_1.gguf")
