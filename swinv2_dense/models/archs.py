"""The architectures of the paper's section 4.1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from swinv2_dense.errors import UserError
from swinv2_dense.suggestions import did_you_mean

__all__ = ["ARCHS", "Arch", "arch_of"]


def _is_count(value: object, least: int) -> bool:
    return type(value) is int and value >= least


@dataclass(frozen=True)
class Arch:
    """``embed_dims``: channels C of the first stage; ``depths``, ``num_heads``: blocks and heads of each stage;
    ``extra_norm_every_n_blocks``: one more LayerNorm on the main branch after every n-th block of a stage."""

    embed_dims: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    extra_norm_every_n_blocks: int = 0

    def __post_init__(self) -> None:
        for key, least in (("embed_dims", 1), ("extra_norm_every_n_blocks", 0)):
            if not _is_count(value := getattr(self, key), least):
                raise UserError(f"arch: {key}={value!r} must be a whole number from {least} on")
        for key in ("depths", "num_heads"):
            value = getattr(self, key)
            if not isinstance(value, tuple) or not value or not all(_is_count(count, 1) for count in value):
                raise UserError(f"arch: {key}={value!r} must be whole numbers from 1 on, one a stage")
        if len(self.depths) != len(self.num_heads):
            raise UserError(f"arch: depths {self.depths} and num_heads {self.num_heads} must name as many stages")
        for stage, heads in enumerate(self.num_heads):
            if self.embed_dims * 2**stage % heads:
                width = self.embed_dims * 2**stage
                raise UserError(f"arch: num_heads[{stage}]={heads} does not divide the {width} channels of its stage")


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
    """The architecture of a name, of its first letter, or of a dict of :class:`Arch`'s fields.

    Raises:
        UserError: no such name, or a dict with other or impossible entries.
    """
    if isinstance(arch, str):
        names = [name for name in ARCHS if arch.lower() in (name, name[0])]
        if not names:
            raise UserError(
                f"arch={arch!r} is unknown: choose one of {', '.join(ARCHS)} (or its first letter), or a dict"
            )
        return ARCHS[names[0]]
    if not isinstance(arch, Mapping):
        raise UserError(f"arch={arch!r}: it must be one of {', '.join(ARCHS)}, or a dict")
    known = {field.name for field in fields(Arch)}
    required = known - {"extra_norm_every_n_blocks"}
    if unknown := sorted(set(arch) - known):
        raise UserError(f"arch: unknown key {unknown[0]!r}: {did_you_mean(unknown[0], known)}")
    if missing := sorted(required - set(arch)):
        raise UserError(f"arch: {missing[0]!r} is missing; a dict needs {', '.join(sorted(required))}")
    values = {k: tuple(v) if isinstance(v, Sequence) and not isinstance(v, str) else v for k, v in arch.items()}
    return Arch(**values)  # type: ignore[arg-type]
