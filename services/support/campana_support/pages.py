"""The pages, from `web/dist`; read once at the start."""

import hashlib
from pathlib import Path
from urllib.parse import urlsplit

DIST = Path(__file__).resolve().parent.parent / "web" / "dist"
KINDS = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
         ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8"}


class Pages:
    """Files by their name; no path of the file system is ever made of a request."""

    def __init__(self, edge_url: str) -> None:
        self.files: dict[str, tuple[bytes, str, str]] = {}
        for path in sorted(DIST.iterdir()):
            data = path.read_bytes()
            kind = KINDS.get(path.suffix, "application/octet-stream")
            self.files[path.name] = (data, kind, f'"{hashlib.sha256(data).hexdigest()[:32]}"')
        edge = urlsplit(edge_url)
        origin = f" {edge.scheme}://{edge.netloc}" if edge.netloc else ""
        self.policy = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
            f"connect-src 'self'{origin}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    def find(self, path: str) -> str | None:
        """Name of the file for a path, or `None`."""
        name = {"/": "index.html", "/agents": "agents.html"}.get(path)
        if name is None and path.startswith("/assets/"):
            name = path.removeprefix("/assets/")
            name = None if name.endswith(".html") else name
        return name if name in self.files else None
