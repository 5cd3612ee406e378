"""The page, by Gradio: a file, a score and a window go in; a drawing, a table and files come out."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from swinv2_dense.errors import UserError
from swinv2_dense.web.service import HEADERS, Service, window_of

__all__ = ["build"]

_AT_ONCE = 4  # requests: while one has its turn on the model, others are decoded and drawn
_SHOWN = 30  # seconds that the page shows an error
_OLD = 24 * 3600  # seconds; uploads of longer ago are removed


def build(service: Service, name: str) -> gr.Blocks:
    """The page of a service.

    Args:
        name: of the checkpoint.
    """
    with gr.Blocks(title=f"swinv2: {name}", analytics_enabled=False, delete_cache=(3600, _OLD)) as page:
        with gr.Row():
            with gr.Column(scale=2):
                gr.Textbox(service.about(), label=name, interactive=False)
                source = _source(service.task)
                score = gr.Slider(
                    service.lowest,
                    1,
                    service.score,
                    step=0.01,
                    label="lowest score",
                    buttons=["reset"],
                    visible=service.task == "detection",
                )
                window = gr.Textbox(
                    "",
                    label="window",
                    info="in tokens; the position bias follows, and another model is loaded",
                    placeholder=service.window(),
                )
                button = gr.Button("Predict", variant="primary")
            with gr.Column(scale=3):
                drawing = gr.Image(label="prediction", interactive=False, buttons=["download", "fullscreen"])
                summary = gr.Textbox(label="found", interactive=False)
                rows = gr.Dataframe(headers=HEADERS[service.task], interactive=False, max_height=400, label="table")
                files = gr.File(file_count="multiple", label="files", interactive=False)

        def predict(path: str | None, score: float, window: str | None) -> tuple[Any, ...]:
            """Predict on an image or a clip: the drawing, what was found in words and as a table, and the files."""
            if path is None:
                return None, "", None, None
            try:
                answer = service.answer(path, score, window_of(window or ""))
            except Exception as error:  # the page reports it, and the server goes on
                raise gr.Error(_line(error), duration=_SHOWN, print_exception=False) from error
            return str(answer.drawing), answer.summary, answer.rows, [str(file) for file in answer.files]

        gr.on(
            [source.input, source.clear, score.release, window.submit, button.click],
            predict,
            [source, score, window],
            [drawing, summary, rows, files],
            trigger_mode="always_last",
            concurrency_limit=_AT_ONCE,
            api_name="predict",
        )
    return page


def _source(task: str) -> Any:
    if task == "video":
        source = gr.Video(label="clip", sources=["upload"])
    else:
        source = gr.Image(label="image", type="filepath", buttons=["fullscreen"])
        # Gradio's own would decode the image with Pillow, and word its errors; the predictor reads the file itself, as
        # `swinv2 predict` does, turned as its EXIF entry asks for.
        source.preprocess = lambda payload: payload.path if payload else None
    _take_uploads_alone(source)
    return source


def _take_uploads_alone(source: Any) -> None:
    """Refuse whatever else a request may name: other files of this machine, which the answer would show, and addresses,
    which would be fetched. Gradio refuses the files itself, but not on a page that is mounted, as ours is."""
    take = source.async_move_resource_to_block_cache

    async def taken(path: str | Path | None) -> str | None:
        uploads = Path(get_upload_folder()).resolve()
        if path is not None and uploads not in Path(path).resolve().parents:
            raise gr.Error("this is no file that was uploaded to the page: upload it", print_exception=False)
        kept: str | None = await take(path)
        return kept

    source.async_move_resource_to_block_cache = taken


def _line(error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's
        return "the memory is full: give a smaller image or a smaller window"
    traceback.print_exception(error)
    first = (str(error).splitlines() or [""])[0]
    return f"the prediction failed ({type(error).__name__}: {first}): the server's output says where"
