"""The console's own files, read once; their address holds a hash of their bytes, so browsers may keep them for ever."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from starlette.responses import Response

_FOLDER: Final = Path(__file__).parent / "assets"
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Assets:
    """Every file of the folder by its address."""

    def __init__(self, folder: Path = _FOLDER) -> None:
        self._files: dict[str, tuple[bytes, str]] = {}
        self._addresses: dict[str, str] = {}
        for path in sorted(folder.iterdir()):
            if path.suffix in _TYPES:
                content = path.read_bytes()
                hashed = f"{path.stem}.{hashlib.sha256(content).hexdigest()[:12]}{path.suffix}"
                self._files[hashed] = (content, _TYPES[path.suffix])
                self._addresses[path.name] = f"/assets/{hashed}"

    def address(self, name: str) -> str:
        """Return where a template finds a file; an unknown name is a mistake in the template."""
        return self._addresses[name]

    def response(self, hashed: str) -> Response:
        """Answer with one file."""
        if hashed not in self._files:
            return Response(status_code=404)
        content, kind = self._files[hashed]
        return Response(content, media_type=kind, headers={"Cache-Control": "public, max-age=31536000, immutable"})
