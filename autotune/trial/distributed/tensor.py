"""Kind ``tp``: the heads and neurons of every layer are dealt out over ranks."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)
from transformers import PreTrainedModel

from autotune.errors import Unsupported
from autotune.trial.encoder import Encoder, encoder_of

BY_POSITION = Shard(1)


def split(model: PreTrainedModel, mesh: DeviceMesh, *, by_sequence: bool) -> None:
    """Deal the layers' heads and neurons out over ``mesh``, in place.

    Each rank computes its own, and the sums that make up a layer's two outputs are added up over
    ranks. With ``by_sequence``, what lies between (layer norms, dropout, residuals) is split by
    position in the text instead of being done by every rank, which keeps less of it in memory.
    Texts must then be padded to a multiple of the ranks.

    Raises :class:`Unsupported` where they cannot be dealt out evenly.
    """
    encoder = encoder_of(model)
    _require_even(encoder, mesh.size())
    trained = {name: weight.requires_grad for name, weight in model.named_parameters()}
    for module in encoder.holder:
        parallelize_module(module, mesh, _plan(encoder, module, by_sequence))
        if by_sequence:
            # The attention module reads the shape of its input, so it must see all positions.
            attention = module.get_submodule(encoder.family.attention)
            _place_first(attention, mesh, BY_POSITION, Replicate())
    if by_sequence:
        _place_first(encoder.holder[0], mesh, Replicate(), BY_POSITION)
        _gather(encoder.holder[-1], mesh)
    for name, weight in model.named_parameters():
        weight.requires_grad_(trained[name])


def _require_even(encoder: Encoder, degree: int) -> None:
    for layer in encoder.layers:
        if layer.heads % degree or layer.neurons % degree:
            raise Unsupported(
                f"{layer.heads} heads and {layer.neurons} neurons cannot be dealt out evenly "
                f"over {degree} ranks",
                hint="take a degree that divides both",
            )


def _plan(encoder: Encoder, module: nn.Module, by_sequence: bool) -> dict[str, ParallelStyle]:
    family = encoder.family
    plan: dict[str, ParallelStyle] = {
        **{name: ColwiseParallel() for name in (family.query, family.key, family.value)},
        family.attention_output: RowwiseParallel(),
        family.ffn_in: ColwiseParallel(),
        family.ffn_out: RowwiseParallel(),
    }
    if not by_sequence:
        return plan
    plan[family.attention_output] = RowwiseParallel(output_layouts=BY_POSITION)
    plan[family.ffn_in] = ColwiseParallel(input_layouts=BY_POSITION)
    plan[family.ffn_out] = RowwiseParallel(output_layouts=BY_POSITION)
    norms = [name for name, part in module.named_modules() if isinstance(part, nn.LayerNorm)]
    return {**plan, **{name: SequenceParallel(use_local_output=True) for name in norms}}


def _place_first(module: nn.Module, mesh: DeviceMesh, before: Placement, after: Placement) -> None:
    """Have hidden states, the module's first argument, laid out ``after`` where they come as
    ``before``."""

    def replaced(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (_laid_out(args[0], mesh, before, after), *args[1:])

    module.register_forward_pre_hook(replaced)


def _gather(module: nn.Module, mesh: DeviceMesh) -> None:
    """Have what the module returns put together from all positions."""
    module.register_forward_hook(
        lambda _, args, output: _laid_out(output, mesh, BY_POSITION, Replicate())
    )


def _laid_out(hidden: Tensor, mesh: DeviceMesh, before: Placement, after: Placement) -> Tensor:
    placed = DTensor.from_local(hidden, mesh, [before], run_check=False)
    return placed.redistribute(placements=[after]).to_local()
