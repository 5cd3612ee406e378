"""The architectures of the paper's section 4.1 and the reading of window arguments."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from swinv2_dense.errors import UserError

__all__ = ["ARCHS", "Arch", "Window", "Windows", "arch_of", "windows_per_stage"]

Window = int | Sequence[int]
Windows = Window | Sequence[Window]


@dataclass(frozen=True)
class Arch:
    """``embed_dims``: channels C of the first stage; ``depths``: blocks per stage; ``num_heads``: heads per stage;
    ``extra_norm_every_n_blocks``: one more LayerNorm on the main branch after every n-th block of a stage, 0 for none."""

    embed_dims: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    extra_norm_every_n_blocks: int = 0

    def __post_init__(self) -> None:
        if len(self.depths) != len(self.num_heads):
            raise UserError(f"arch: depths {self.depths} and num_heads {self.num_heads} must name as many stages")
        for stage, heads in enumerate(self.num_heads):
            if self.embed_dims * 2**stage % heads:
                raise UserError(
                    f"arch: stage {stage} has {self.embed_dims * 2**stage} channels, which num_heads[{stage}]={heads} does not divide"
                )


ARCHS = {
    "tiny": Arch(96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "small": Arch(96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "base": Arch(128, (2, 2, 18, 2), (4, 8, 16, 32)),
    "large": Arch(192, (2, 2, 18, 2), (6, 12, 24, 48)),
    # the paper gives no head count for H; 32 channels a head as everywhere else
    "huge": Arch(352, (2, 2, 18, 2), (11, 22, 44, 88), extra_norm_every_n_blocks=6),
    "giant": Arch(512, (2, 2, 42, 4), (16, 32, 64, 128), extra_norm_every_n_blocks=6),
}


def arch_of(arch: str | Mapping[str, object]) -> Arch:
    """The architecture of a name, of its first letter, or of a dict of :class:`Arch`'s fields."""
    if isinstance(arch, str):
        names = [name for name in ARCHS if arch.lower() in (name, name[0])]
        if not names:
            raise UserError(f"arch={arch!r} is unknown: choose one of {', '.join(ARCHS)} (or its first letter), or a dict")
        return ARCHS[names[0]]
    known = {field.name for field in fields(Arch)}
    required = known - {"extra_norm_every_n_blocks"}
    if unknown := sorted(set(arch) - known):
        close = difflib.get_close_matches(unknown[0], known, n=1)
        raise UserError(f"arch: unknown key {unknown[0]!r}" + (f", did you mean {close[0]!r}?" if close else ""))
    if missing := sorted(required - set(arch)):
        raise UserError(f"arch: {missing[0]!r} is missing; a dict needs {', '.join(sorted(required))}")
    values = {k: tuple(v) if isinstance(v, Sequence) else v for k, v in arch.items()}
    return Arch(**values)  # type: ignore[arg-type]


def windows_per_stage(windows: Windows, stages: int, rank: int, key: str) -> tuple[tuple[int, ...], ...]:
    """One window, of ``rank`` axes in tokens, for every stage.

    ``windows`` is an int, one window of ``rank`` ints, or one of these per stage. Where the backbone has as many stages
    as axes, a plain list of ints is one window.
    """

    def one(window: object) -> tuple[int, ...]:
        sides = (window,) * rank if isinstance(window, int) else tuple(window) if isinstance(window, Sequence) else ()
        if len(sides) != rank or not all(isinstance(s, int) and s > 0 for s in sides):
            raise UserError(
                f"{key}={windows!r} is no window: give a positive int, {rank} of them (tokens per axis), or {stages} of these, one a stage"
            )
        return sides

    if isinstance(windows, int) or (len(windows) == rank and all(isinstance(w, int) for w in windows)):
        return (one(windows),) * stages
    if len(windows) != stages:
        raise UserError(f"{key}={windows!r} names {len(windows)} windows, but the backbone has {stages} stages")
    return tuple(one(w) for w in windows)
