"""The one table of architectures; it drives creation, export and the tests of them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from models.base import PainModel
from models.crossmod_transformer import CrossModTransformer
from models.crossmod_unimodal import CrossModALSTM, CrossModFAT, CrossModFCN
from models.image_pipeline import PainFormerPipeline, TinyBioMoEPipeline
from models.painattnnet import MSCNSE, MSCNOnly, MSCNTran, PainAttnNet
from models.painattnnet_fusion import PainAttnNetAttention, PainAttnNetLate
from models.se_cnn import SECNN

_ALL: Final[tuple[type[PainModel], ...]] = (
    CrossModTransformer,
    CrossModFCN,
    CrossModALSTM,
    CrossModFAT,
    MSCNOnly,
    MSCNSE,
    MSCNTran,
    PainAttnNet,
    PainAttnNetAttention,
    PainAttnNetLate,
    PainFormerPipeline,
    SECNN,
    TinyBioMoEPipeline,
)

MODELS: Final[Mapping[str, Callable[..., PainModel]]] = MappingProxyType({model.architecture: model for model in _ALL})


def list_models() -> tuple[str, ...]:
    """Names of all architectures, sorted."""
    return tuple(sorted(MODELS))


def create_model(name: str, **kwargs: Any) -> PainModel:
    """Build an untrained model.

    Args:
        name: One of `list_models()`.
        **kwargs: The constructor's own.

    Raises:
        ValueError: If there is no such architecture.
    """
    if name not in MODELS:
        raise ValueError(f"no model {name!r}; there are {', '.join(list_models())}")
    return MODELS[name](**kwargs)
