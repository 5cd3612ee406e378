"""Serves the page on an address of this machine, and nothing else: no telemetry, no fonts or scripts from elsewhere."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from typing import Any

from swinv2_dense.errors import UserError

__all__ = ["address_of", "bind", "is_local", "private_gradio", "serve"]

_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1", "[::1]")
# Parts of Gradio that nobody needs here, such as cutting a clip, would load programs of other sites.
_POLICY = b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob: mediastream:"
_GOODBYE = 2  # seconds that requests have to end in


def private_gradio(folder: str) -> None:
    """Set, before Gradio is imported, that it reports to nobody and keeps uploads in a folder of ours."""
    os.environ |= {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": folder,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DISABLE_TELEMETRY": "1",
    }


def bind(host: str, port: int) -> socket.socket:
    """Take an address; port 0 stands for any free one.

    Raises:
        UserError: it is taken, not allowed, or none of this machine's.
    """
    if not host:  # which would be all addresses
        raise UserError("--host is empty and so is no address of this machine: 127.0.0.1 is its own, 0.0.0.0 all")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"port {port} of {host} is taken: name another, --port {port + 1}, or --port 0 for any free one"
            ) from error
        if error.errno == errno.EACCES:
            raise UserError(
                f"port {port} is the system's: name one from 1024 on, or --port 0 for any free one"
            ) from error
        reason = error.strerror or error
        raise UserError(
            f"--host {host} is no address of this machine ({reason}): 127.0.0.1 is its own, 0.0.0.0 all"
        ) from error


def is_local(taken: socket.socket) -> bool:
    """Whether only this machine reaches it."""
    return ipaddress.ip_address(taken.getsockname()[0]).is_loopback


def address_of(taken: socket.socket) -> str:
    """For a browser on this machine."""
    host, port = taken.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # all addresses are none that a browser could open
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(page: Any, taken: socket.socket) -> None:
    """Serve a page of Gradio's until the process is interrupted or asked to end."""
    import fastapi
    import gradio as gr
    import uvicorn
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app = gr.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        allowed_paths=[],
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        pwa=False,
        theme=_theme(),
    )
    app.add_middleware(_OwnSourcesOnly)
    if is_local(taken):  # another site's page, whose name is made to lead here, is no caller
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(_LOCAL_NAMES))
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=_GOODBYE)
    uvicorn.Server(config).run(sockets=[taken])


class _OwnSourcesOnly:
    """Tells browsers to ask nobody else for anything."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"content-security-policy", _POLICY)]}
            await send(message)

        await self.app(scope, receive, send_with_policy)


def _theme() -> Any:
    """Gradio's, in the fonts of whoever looks at it."""
    import gradio as gr

    return gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
