"""How busy a server says that it is, on the page that it has for Prometheus.

https://prometheus.io/docs/instrumenting/exposition_formats/, of which two gauges are read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from greenbench.engines.engine import Queue
from greenbench.engines.serving.endpoint import Endpoint

if TYPE_CHECKING:
    import aiohttp

PAGE = "/metrics"
PATIENCE_S = 2.0
"""One that is too busy to tell is not waited for longer."""
GAUGES = (
    ("vllm:num_requests_running", "vllm:num_requests_waiting"),
    ("llamacpp:requests_processing", "llamacpp:requests_deferred"),
    ("openvino_genai:requests_running", "openvino_genai:requests_waiting"),
)
"""Requests that are being answered, and that wait."""


class Gauges:
    """The page of one server; where there never was one, it is asked for once."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._tells: bool | None = None

    async def read(self, at: aiohttp.ClientSession) -> Queue | None:
        """As they stand; null where it does not tell, or not in time. Never raises."""
        import aiohttp

        if self._tells is False:
            return None
        limit = aiohttp.ClientTimeout(total=PATIENCE_S)
        try:
            async with at.get(
                self._endpoint.url + PAGE, timeout=limit, allow_redirects=False
            ) as page:
                text = await page.text(errors="replace") if page.status == 200 else ""
        except (aiohttp.ClientError, OSError):  # its answers will say what is wrong with it
            return None
        found = busy(text)
        self._tells = self._tells or found is not None
        return found


def busy(text: str) -> Queue | None:
    """What a page says of the requests; null where it has none of the gauges."""
    for names in GAUGES:
        running, waiting = (_total(text, name) for name in names)
        if running is not None and waiting is not None:
            return Queue(running, waiting)
    return None


def _total(text: str, name: str) -> float | None:
    """The sum over all labels, of which a server may have one for each of its engines."""
    found = re.findall(rf"^{name}(?:\{{.*\}})?[ \t]+(\S+)", text, re.M)
    try:
        return sum(map(float, found)) if found else None
    except ValueError:
        return None
