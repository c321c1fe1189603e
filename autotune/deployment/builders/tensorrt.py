"""The engine of TensorRT, from the ONNX graph of the model. It runs on GPUs like that of this host
only."""

from __future__ import annotations

from pathlib import Path

import tensorrt

from autotune.deployment.artifact import Artifact
from autotune.deployment.runtimes.tensorrt import ENGINE
from autotune.errors import Unsupported

MIN_LENGTH = 1


def build_engine(graph: Path, artifact: Artifact, folder: Path) -> None:
    """Write an engine for 1 to ``batch_size`` texts of up to ``max_length`` tokens.

    Raises :class:`Unsupported` with the message of the parser if TensorRT cannot run the graph.
    """
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    network = builder.create_network(0)
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse(graph.read_bytes()):
        raise Unsupported(f"TensorRT cannot read the model: {parser.get_error(0).desc()}")
    config = builder.create_builder_config()
    if artifact.quantization == "fp16":
        config.set_flag(tensorrt.BuilderFlag.FP16)
    profile = builder.create_optimization_profile()
    longest, batch = artifact.max_length, artifact.batch_size
    for name in artifact.inputs:
        profile.set_shape(name, (1, MIN_LENGTH), (batch, (longest + 1) // 2), (batch, longest))
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise Unsupported("TensorRT cannot build an engine of the model for this GPU")
    (folder / ENGINE).write_bytes(bytes(engine))
