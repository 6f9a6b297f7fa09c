"""The bundle's repository over HTTP: the same bytes and headers for everybody, so that fetching says nothing.

What is named by its version or digest never changes and may be kept for ever; the timestamp, and what is not there yet,
are asked for anew each time. No header depends on who asks, when, or which worker answers; no range, so that no
request differs from another.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Request, Response
from fastapi import Path as InPath

from aggregator.leader.desk import desk_of
from models.wire.bundle import BUNDLE_TARGET
from models.wire.problems import ProblemError

_FOR_EVER: Final = "public, max-age=31536000, immutable, no-transform"
_EACH_TIME: Final = "no-cache, no-transform"
_TIMESTAMP: Final = "timestamp.json"
MetadataName = Annotated[
    str, InPath(pattern=r"^(timestamp|[1-9][0-9]{0,15}\.(root|targets|snapshot|publishing))\.json$", max_length=64)
]
BundleName = Annotated[str, InPath(pattern=r"^[0-9a-f]{64}\." + BUNDLE_TARGET.replace(".", r"\.") + "$")]


def repository_routes() -> APIRouter:
    """What agents fetch their bundle from. Everybody may, and nobody says who they are."""
    router = APIRouter(prefix="/tuf", tags=["bundles"])

    @router.head("/metadata/{name}", response_class=Response, include_in_schema=False)
    @router.get("/metadata/{name}", response_class=Response)
    async def metadata(request: Request, name: MetadataName) -> Response:
        """One file of TUF metadata; agents verify it."""
        return await _file(request, desk_of(request).publisher.distribution.metadata_dir / name)

    @router.head("/targets/{name}", response_class=Response, include_in_schema=False)
    @router.get("/targets/{name}", response_class=Response)
    async def target(request: Request, name: BundleName) -> Response:
        """One bundle, padded, named by its digest."""
        return await _file(request, desk_of(request).publisher.distribution.targets_dir / name)

    return router


async def _file(request: Request, path: Path) -> Response:
    """The answer for a file: whole, or that the asker has it already.

    Raises:
        ProblemError: ``not-found``.
    """
    try:
        body = await asyncio.to_thread(path.read_bytes)
    except FileNotFoundError:
        raise ProblemError("not-found", "no such file has been published") from None
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": _EACH_TIME if path.name == _TIMESTAMP else _FOR_EVER}
    if tag in [item.strip() for item in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")
