"""A common view of the layers, heads and neurons of BERT-like encoders of transformers.

Model families differ only in the names of their modules. To add a family, add one entry to
:data:`FAMILIES`.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from autotune.errors import Unsupported


@dataclass(frozen=True)
class Family:
    """The module paths and attribute names of a model family.

    ``layers`` is relative to the base model, other paths to a layer. ``attention`` is the module
    that runs the heads; ``heads`` and ``width`` are its attributes for the number of heads and of
    their features. ``ffn_size`` is the config's attribute for the number of neurons.
    """

    layers: str
    attention: str
    query: str
    key: str
    value: str
    attention_output: str
    ffn_in: str
    ffn_out: str
    heads: str
    width: str
    ffn_size: str


BERT = Family(
    layers="encoder.layer",
    attention="attention.self",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attention_output="attention.output.dense",
    ffn_in="intermediate.dense",
    ffn_out="output.dense",
    heads="num_attention_heads",
    width="all_head_size",
    ffn_size="intermediate_size",
)

DISTILBERT = Family(
    layers="transformer.layer",
    attention="attention",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attention_output="attention.out_lin",
    ffn_in="ffn.lin1",
    ffn_out="ffn.lin2",
    heads="n_heads",
    width="dim",
    ffn_size="hidden_dim",
)

FAMILIES = {
    "bert": BERT,
    "camembert": BERT,
    "distilbert": DISTILBERT,
    "electra": BERT,
    "roberta": BERT,
    "xlm-roberta": BERT,
}
"""Families by ``config.model_type``. MiniLM is a ``bert``. ALBERT (one layer shared by all) and
MPNet (one position bias for all layers) are missing: their heads cannot be pruned by layer."""


@dataclass(frozen=True)
class Layer:
    """The modules of one layer. They stay valid when their weights shrink.

    Weights are ``(out_features, in_features)``: a head is ``head_size`` rows of query, key and
    value and as many columns of ``attention_output``; a neuron is a row of ``ffn_in`` and a column
    of ``ffn_out``.
    """

    family: Family
    attention: nn.Module
    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    attention_output: nn.Linear
    ffn_in: nn.Linear
    ffn_out: nn.Linear
    head_size: int

    @property
    def heads(self) -> int:
        return self.query.out_features // self.head_size

    @property
    def neurons(self) -> int:
        return self.ffn_in.out_features

    @property
    def linears(self) -> tuple[nn.Linear, ...]:
        """The six weight matrices of the layer, in order of use."""
        attention = (self.query, self.key, self.value, self.attention_output)
        return (*attention, self.ffn_in, self.ffn_out)

    def update_head_count(self) -> None:
        """Set the attention module's number of heads to that of its weights."""
        setattr(self.attention, self.family.heads, self.heads)
        setattr(self.attention, self.family.width, self.heads * self.head_size)


@dataclass(frozen=True)
class Encoder:
    """The encoder of a model.

    ``embeddings`` are the modules before the first layer (ELECTRA has a projection too).
    ``module_list`` is the list that the model iterates over; ``layers`` are views of its members.
    """

    family: Family
    embeddings: tuple[nn.Module, ...]
    module_list: nn.ModuleList
    layers: tuple[Layer, ...]

    @property
    def linears(self) -> tuple[nn.Linear, ...]:
        return tuple(linear for layer in self.layers for linear in layer.linears)


def encoder_of(model: PreTrainedModel) -> Encoder:
    """A view of the current modules of ``model``.

    Raises :class:`~autotune.errors.Unsupported` for a family not in :data:`FAMILIES`, or if a
    module is not a plain ``nn.Linear`` (an adapter, a quantised one).
    """
    kind = str(model.config.model_type)
    family = FAMILIES.get(kind)
    if family is None:
        raise Unsupported(
            f"models of type {kind!r} are not supported; supported: {', '.join(FAMILIES)}",
            hint="set pruning_ratio and freeze_layers to 0, or use a supported type",
        )
    base: nn.Module = model.base_model
    try:
        module_list = base.get_submodule(family.layers)
    except AttributeError as error:  # a class of the user's own
        raise Unsupported(f"{type(model).__name__} has no {family.layers}") from error
    if not isinstance(module_list, nn.ModuleList):
        raise Unsupported(
            f"{kind}: {family.layers} is a {type(module_list).__name__}, not a ModuleList"
        )
    names = ("embeddings", "embeddings_project")
    embeddings = tuple(getattr(base, name) for name in names if hasattr(base, name))
    layers = tuple(layer_of(module, family) for module in module_list)
    return Encoder(family, embeddings, module_list, layers)


def layer_of(module: nn.Module, family: Family) -> Layer:
    """A view of one layer of a model of ``family``. Raises as :func:`encoder_of`."""
    attention = module.get_submodule(family.attention)
    return Layer(
        family=family,
        attention=attention,
        query=_linear(module, family.query),
        key=_linear(module, family.key),
        value=_linear(module, family.value),
        attention_output=_linear(module, family.attention_output),
        ffn_in=_linear(module, family.ffn_in),
        ffn_out=_linear(module, family.ffn_out),
        head_size=int(attention.attention_head_size),  # type: ignore[arg-type]
    )


def _linear(module: nn.Module, path: str) -> nn.Linear:
    linear = module.get_submodule(path)
    if type(linear) is not nn.Linear:
        raise Unsupported(
            f"{path} is a {type(linear).__name__}, not a plain Linear",
            hint="prune and freeze before adding adapters or quantisation",
        )
    return linear
