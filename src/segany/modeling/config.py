"""What a model is made of, as plain values: no torch here, so that configs can be read and written anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

from segany.core.errors import CheckpointError

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """Plain Vision Transformer with windowed and global blocks (ViTDet style), spec of the released encoders."""

    kind: ClassVar[str] = "vit"
    width: int = 768
    """Channels of every token."""
    depth: int = 12
    """Number of transformer blocks."""
    heads: int = 12
    """Attention heads; width must divide by it."""
    global_blocks: tuple[int, ...] = (2, 5, 8, 11)
    """0-based blocks that attend over the whole grid; the others attend in windows."""
    window: int = 14
    """Side of an attention window, in tokens."""
    patch: int = 16
    """Side of a patch, in pixels; also the encoder's stride."""
    mlp_ratio: float = 4.0
    """Hidden width of a block's MLP over its width."""

    @property
    def stride(self) -> int:
        return self.patch


@dataclass(frozen=True, kw_only=True)
class TinyViTConfig:
    """TinyViT-5M as MobileSAM lays it out."""

    kind: ClassVar[str] = "tiny_vit"
    widths: tuple[int, ...] = (64, 128, 160, 320)
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (2, 4, 5, 10)
    windows: tuple[int, ...] = (7, 7, 14, 7)
    mlp_ratio: float = 4.0
    """Hidden width of a block's MLP over its width."""
    expand: int = 4
    """Expansion of the first stage's inverted bottlenecks."""
    classes: int = 1000
    """Width of the unused classification head that the released file carries."""

    @property
    def stride(self) -> int:
        return 16


@dataclass(frozen=True, kw_only=True)
class ConvConfig:
    """Our own convolutional encoder: four stages at strides 4, 8, 16, 32, fused on the stride-16 grid."""

    kind: ClassVar[str] = "conv"
    widths: tuple[int, ...] = (40, 80, 160, 256)
    """Channels of the four stages."""
    depths: tuple[int, ...] = (1, 2, 6, 3)
    """Blocks of the four stages."""
    kernels: tuple[int, ...] = (3, 3, 3, 7)
    """Side of each stage's depthwise kernels, in cells of its grid; odd. Large ones are slow to train on fine grids."""
    expand: int = 4
    """Hidden width of a block's MLP over its width."""
    attention: int = 0
    """Self-attention layers over the whole stride-32 grid, before the last stage's blocks: far things meet."""

    @property
    def stride(self) -> int:
        return 16


EncoderConfig = ViTConfig | TinyViTConfig | ConvConfig
_ENCODERS: dict[str, type[ViTConfig] | type[TinyViTConfig] | type[ConvConfig]] = {
    "vit": ViTConfig,
    "tiny_vit": TinyViTConfig,
    "conv": ConvConfig,
}


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """The two-way mask decoder; defaults are the released decoder's."""

    depth: int = 2
    """Two-way layers; the paper's data-engine model used 3."""
    heads: int = 8
    """Attention heads."""
    mlp_width: int = 2048
    """Hidden width of the token MLP."""
    attention_downsample: int = 2
    """Cross-attention works at the token width divided by this."""
    multimask_outputs: int = 3
    """Masks for an ambiguous prompt; one more token gives the unambiguous mask."""
    iou_head_depth: int = 3
    """Layers of the IoU head."""
    iou_head_width: int = 256
    """Hidden width of the IoU head."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A whole promptable model. Every size downstream (grid, low-res, canvas) is read from here."""

    name: str
    """Preset or family name, shown to people."""
    encoder: EncoderConfig
    canvas: int = 1024
    """Side of the square the photo is fitted into, in pixels."""
    width: int = 256
    """Channels of every token, and of the image embedding that tokens attend to."""
    mask_channels: int = 16
    """Inner channels of the mask prompt's downscaling."""
    detail: bool = False
    """A convolutional encoder's features at strides 8 and 4 travel with the embedding and join the decoder's
    upscaling, so that small things keep their shape."""
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    pixel_mean: tuple[float, float, float] = IMAGENET_MEAN
    """Per-channel mean of RGB in 0-255."""
    pixel_std: tuple[float, float, float] = IMAGENET_STD
    """Per-channel deviation of RGB in 0-255."""
    mask_threshold: float = 0.0
    """A pixel belongs to a mask when its logit is strictly above this."""

    def __post_init__(self) -> None:
        if self.canvas % self.encoder.stride:
            raise CheckpointError(
                f"canvas must be a multiple of the encoder's stride {self.encoder.stride}; got {self.canvas}. "
                "Choose the nearest multiple."
            )
        if self.width % (4 * self.decoder.heads):
            raise CheckpointError(
                f"width must be a multiple of 4 x decoder heads ({4 * self.decoder.heads}); got {self.width}. "
                "Change width or decoder.heads."
            )
        if self.detail and not isinstance(self.encoder, ConvConfig):
            raise CheckpointError(
                f"only convolutional encoders have fine features to hand on; got detail with {self.encoder.kind}. "
                "Set detail to False."
            )

    @property
    def detail_channels(self) -> tuple[int, int]:
        """Channels of the fine features at strides 8 and 4, as the decoder's upscaling takes them; 0, 0 without."""
        return (self.width // 4, self.width // 8) if self.detail else (0, 0)

    @property
    def channels(self) -> int:
        """Channels of the image embedding: `width`, then the fine features, folded onto the embedding's grid."""
        eighth, quarter = self.detail_channels
        return self.width + 4 * eighth + 16 * quarter

    @property
    def grid(self) -> int:
        """Side of the image embedding, in cells."""
        return self.canvas // self.encoder.stride

    @property
    def low_res(self) -> int:
        """Side of the decoder's logits, in pixels: four per cell."""
        return 4 * self.grid

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready value; `from_dict` reads it back."""
        value = asdict(self)
        value["encoder"] = {"kind": self.encoder.kind, **value["encoder"]}
        return value

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> ModelConfig:
        """Read what `to_dict` wrote.

        Raises:
            CheckpointError: a key is missing, unknown, or names an encoder that does not exist.
        """
        try:
            encoder = dict(value["encoder"])
            kind = _ENCODERS[encoder.pop("kind")]
            rest: dict[str, Any] = {k: v for k, v in value.items() if k not in ("encoder", "decoder")}
            return cls(
                encoder=_build(kind, encoder),
                decoder=_build(DecoderConfig, value.get("decoder", {})),
                **_tuples(rest),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"a model config must hold name, encoder (kind one of {', '.join(_ENCODERS)}), canvas, width and "
                f"decoder; reading it failed at {error!r}. Compare with `segany models info tiny`."
            ) from error


def _build(kind: Any, value: Mapping[str, Any]) -> Any:
    known = {item.name for item in fields(kind)}
    if unknown := set(value) - known:
        raise KeyError(f"unknown {sorted(unknown)}")
    return kind(**_tuples(value))


def _tuples(value: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
