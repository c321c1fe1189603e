"""Kind ``tp``: the heads and neurons of every layer are sharded over the ranks."""

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

SEQUENCE_SHARD = Shard(1)


def shard_layers(model: PreTrainedModel, mesh: DeviceMesh, *, by_sequence: bool) -> None:
    """Shard the heads and neurons of all layers over ``mesh`` in place.

    Each rank computes its own; the two outputs of a layer are reduced over the ranks. With
    ``by_sequence``, the operations between them (layer norms, dropout, residuals) are sharded by
    position instead of repeated by every rank, which saves activation memory. Batches must then be
    padded to a multiple of the number of ranks.

    Raises :class:`Unsupported` if heads or neurons are not divisible by the number of ranks.
    """
    encoder = encoder_of(model)
    _require_divisible(encoder, mesh.size())
    is_trained = {name: weight.requires_grad for name, weight in model.named_parameters()}
    for module in encoder.module_list:
        parallelize_module(module, mesh, _plan(encoder, module, by_sequence))
        if by_sequence:
            # The attention module reads the shape of its input, so it needs all positions.
            attention = module.get_submodule(encoder.family.attention)
            _redistribute_input(attention, mesh, SEQUENCE_SHARD, Replicate())
    if by_sequence:
        _redistribute_input(encoder.module_list[0], mesh, Replicate(), SEQUENCE_SHARD)
        _gather_output(encoder.module_list[-1], mesh)
    for name, weight in model.named_parameters():
        weight.requires_grad_(is_trained[name])


def _require_divisible(encoder: Encoder, degree: int) -> None:
    for layer in encoder.layers:
        if layer.heads % degree or layer.neurons % degree:
            raise Unsupported(
                f"{layer.heads} heads and {layer.neurons} neurons are not divisible by "
                f"{degree} ranks",
                hint="use a degree that divides both",
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
    plan[family.attention_output] = RowwiseParallel(output_layouts=SEQUENCE_SHARD)
    plan[family.ffn_in] = ColwiseParallel(input_layouts=SEQUENCE_SHARD)
    plan[family.ffn_out] = RowwiseParallel(output_layouts=SEQUENCE_SHARD)
    norms = [name for name, part in module.named_modules() if isinstance(part, nn.LayerNorm)]
    return {**plan, **{name: SequenceParallel(use_local_output=True) for name in norms}}


def _redistribute_input(
    module: nn.Module, mesh: DeviceMesh, before: Placement, after: Placement
) -> None:
    """Change the placement of hidden states, the module's first argument, from ``before`` to
    ``after``."""

    def redistribute_first(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (_redistribute(args[0], mesh, before, after), *args[1:])

    module.register_forward_pre_hook(redistribute_first)


def _gather_output(module: nn.Module, mesh: DeviceMesh) -> None:
    """Gather the module's output over all positions."""
    module.register_forward_hook(
        lambda _, args, output: _redistribute(output, mesh, SEQUENCE_SHARD, Replicate())
    )


def _redistribute(hidden: Tensor, mesh: DeviceMesh, before: Placement, after: Placement) -> Tensor:
    tensor = DTensor.from_local(hidden, mesh, [before], run_check=False)
    return tensor.redistribute(placements=[after]).to_local()
