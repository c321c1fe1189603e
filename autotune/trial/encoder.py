"""One view over the BERT-like encoders of transformers, for whatever must reach inside them.

The families differ only in where things are kept and what they are called. A family is one entry
of :data:`FAMILIES`; everything else in this room speaks of layers, heads and neurons.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from autotune.errors import Unsupported


@dataclass(frozen=True)
class Family:
    """Where a family keeps its parts: dotted paths, and the names of what counts them.

    ``layers`` starts at the base model, the other paths at one layer. ``attention`` is the module
    that runs the heads; ``heads`` and ``width`` are its attributes for their number and for all
    their features together. ``ffn_size`` is the config's name for the number of neurons.
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
"""By ``config.model_type``. MiniLM is a ``bert``. ALBERT (one layer shared by all) and MPNet (one
position bias for the heads of all layers) are left out: their heads cannot go layer by layer."""


@dataclass(frozen=True)
class Layer:
    """Handles into one layer; they stay valid when the weights behind them shrink.

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
        """Tell the attention module how many heads its weights hold now."""
        setattr(self.attention, self.family.heads, self.heads)
        setattr(self.attention, self.family.width, self.heads * self.head_size)


@dataclass(frozen=True)
class Encoder:
    """The encoder inside a model.

    ``embeddings`` are the modules before the first layer (ELECTRA projects them in a second one).
    ``holder`` is the list that the model walks through; ``layers`` are the views of its members.
    """

    family: Family
    embeddings: tuple[nn.Module, ...]
    module_list: nn.ModuleList
    layers: tuple[Layer, ...]

    @property
    def linears(self) -> tuple[nn.Linear, ...]:
        return tuple(linear for layer in self.layers for linear in layer.linears)


def encoder_of(model: PreTrainedModel) -> Encoder:
    """The view of ``model``, read from its modules as they are now.

    Raises :class:`~autotune.errors.Unsupported` for a family not in :data:`FAMILIES`, or where a
    plain ``nn.Linear`` was expected and something else (an adapter, a quantised one) was found.
    """
    kind = str(model.config.model_type)
    family = FAMILIES.get(kind)
    if family is None:
        raise Unsupported(
            f"the inside of a model of type {kind!r} is not known; known: {', '.join(FAMILIES)}",
            hint="keep pruning_ratio and freeze_layers at 0 for this model, or take a known type",
        )
    base: nn.Module = model.base_model
    holder = base.get_submodule(family.layers)
    if not isinstance(holder, nn.ModuleList):
        raise Unsupported(f"{kind}: {family.layers} is a {type(holder).__name__}, not a ModuleList")
    names = ("embeddings", "embeddings_project")
    embeddings = tuple(getattr(base, name) for name in names if hasattr(base, name))
    layers = tuple(_layer(module, family) for module in holder)
    return Encoder(family, embeddings, holder, layers)


def _layer(module: nn.Module, family: Family) -> Layer:
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
    found = module.get_submodule(path)
    if type(found) is not nn.Linear:
        raise Unsupported(
            f"{path} is a {type(found).__name__}, not a plain Linear",
            hint="prune and freeze before adapters or quantisation are put in",
        )
    return found
