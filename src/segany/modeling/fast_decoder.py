"""The mask decoder for prediction: the same masks as `Sam.decode`, several times sooner.

P prompts · T tokens · H heads · D channels per head · N image tokens · C channels · g grid side · M mask tokens

Three stages: weights alone (`FastDecoder`, once per model and precision), one photo (`prepare`, once per photo), its
prompts (`decode`, as often as asked). Tokens stay float32 throughout; the image side takes the computing precision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from segany.modeling.config import ModelConfig
from segany.modeling.image_mix import Mix, Scratch, Side, Update, gather, scores, updated
from segany.modeling.layers import LayerNorm2d
from segany.modeling.mask_decoder import MaskDecoder
from segany.modeling.prompt_encoder import PromptEncoder
from segany.modeling.two_way import Attention, TwoWayAttentionBlock, all_real

SUB_PIXELS = 4
"""Each of the two upscalings makes four pixels of one."""
CACHED_SCORES = 2_000_000
"""Attention scores of the prompts that a CPU computes together: few enough for its cache, enough for its products."""
DRAWN_BYTES = 1 << 21
"""Bytes of the first upscaling that a CPU computes together."""
DEVICE_PROMPTS = 64
"""Prompts that a device other than a CPU computes together."""
ROWS_PER_CHANNEL = 0.75
"""Rows of one update per channel above which writing the image tokens out is cheaper; measured at 128 and 256."""
_PAIR = {4: torch.int64, 2: torch.int32}


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """One photo as the decoder's prompts need it.

    Attributes:
        keys, values: per attention of tokens to the image, (H, D, N): each layer's and the final one's.
        queries: per layer, (H, D, N).
        updates: per layer, what changes the image tokens.
        fine: (N, 4 · C/4) base of the first upscaling.
        detail: what the photo's fine features add to the upscalings, (N, 4 · C/4) and (4 · N, 4 · C/8); None for a
            model without.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    queries: tuple[Tensor, ...]
    updates: tuple[Update, ...]
    fine: Tensor
    detail: tuple[Tensor, Tensor] | None


class FastDecoder:
    """What of the decoder depends on its weights alone. Changes nothing after it is made, so it serves many threads.

    It reads the weights when it is made and keeps the modules for the token side: make a new one when they change.

    Args:
        prompt_encoder: the model's.
        mask_decoder: the model's.
        dtype: precision of the image side.
    """

    def __init__(self, prompt_encoder: PromptEncoder, mask_decoder: MaskDecoder, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.mask_decoder = mask_decoder
        self.own_tokens = 1 + mask_decoder.num_mask_tokens
        transformer = mask_decoder.transformer
        self.layers = [cast(TwoWayAttentionBlock, layer) for layer in transformer.layers]
        self.readers = [*(layer.cross_attn_token_to_image for layer in self.layers)]
        self.readers.append(transformer.final_attn_token_to_image)
        self.writers = [layer.cross_attn_image_to_token for layer in self.layers]
        self.gains = [layer.norm4.weight.detach().float() for layer in self.layers]
        self.grid = prompt_encoder.image_embedding_size
        self.no_mask = prompt_encoder.no_mask_embed.weight.detach().float()
        self._fold_constants(prompt_encoder.get_dense_pe()[0].flatten(1).t().float())
        self._fold_upscaling()
        self._fold_projections()

    def _fold_constants(self, position: Tensor) -> None:
        zero = torch.zeros_like(self.gains[0])
        self.offsets = [zero, *(layer.norm4.bias.detach().float() for layer in self.layers)]
        self.key_positions = [self._heads(_weight(r.k_proj) @ position.t(), r) for r in self.readers]
        self.query_positions = [
            self._heads(_weight(w.q_proj) @ (position + o).t() + _bias(w.q_proj)[:, None], w)
            for w, o in zip(self.writers, self.offsets, strict=False)
        ]
        self.value_offsets = [
            _weight(r.v_proj) @ o + _bias(r.v_proj) for r, o in zip(self.readers, self.offsets, strict=True)
        ]
        self.constants = [o + _bias(w.out_proj) for w, o in zip(self.writers, self.offsets, strict=False)]

    def _fold_upscaling(self) -> None:
        first, norm, _, second, _ = self.mask_decoder.output_upscaling
        assert isinstance(first, nn.ConvTranspose2d) and isinstance(second, nn.ConvTranspose2d)
        assert isinstance(norm, LayerNorm2d)
        self.first_weight = _as_matrix(first)
        self.first_offset = (self.first_weight @ self.offsets[-1] + _bias(first).repeat(SUB_PIXELS)).to(self.dtype)
        self.norm_weight, self.norm_bias = norm.weight.detach().to(self.dtype), norm.bias.detach().to(self.dtype)
        self.norm_eps = norm.eps
        self.second_weight = _as_matrix(second).to(self.dtype)
        self.second_bias = _bias(second).repeat(SUB_PIXELS).to(self.dtype)

    def _fold_projections(self) -> None:
        """Every layer's base is linear in the photo's embedding, so one product projects it for all of them."""
        parts: list[tuple[str, Attention, Tensor]] = []
        along = []
        for index, reader in enumerate(self.readers):
            parts += [(f"key {index}", reader, self._back(_weight(reader.k_proj), index))]
            parts += [(f"value {index}", reader, self._back(_weight(reader.v_proj), index))]
            if index == len(self.layers):
                break
            parts += [(f"query {index}", self.writers[index], self._back(_weight(self.writers[index].q_proj), index))]
            for earlier in range(index + 1):
                outward = torch.cat([_weight(self.writers[earlier].out_proj).t(), self.constants[earlier][None]])
                for step in range(earlier, index):
                    outward = _centred(outward) * self.gains[step]
                seen = self._back(_centred(outward), index)
                parts += [(f"across {index} {earlier}", self.writers[earlier], seen[:-1])]
                along.append(seen[-1])
        self.parts = [(name, owner.num_heads, len(weight)) for name, owner, weight in parts]
        self.projection = torch.cat([weight for _, _, weight in parts]).to(self.dtype)
        self.along = torch.stack(along)
        self.fine_weight = self._back(self.first_weight, len(self.layers)).to(self.dtype)

    def _back(self, weight: Tensor, layer: int) -> Tensor:
        """(…, C) acting on the base of a layer → acting on that of the first."""
        for step in range(layer - 1, -1, -1):
            weight = _centred(weight * self.gains[step])
        return weight

    def _heads(self, x: Tensor, attention: Attention) -> Tensor:
        return x.view(attention.num_heads, -1, x.shape[-1]).to(self.dtype)

    def prepare(self, features: Tensor, dense: Tensor | None = None) -> PreparedImage:
        """What all prompts of one photo share.

        Args:
            features: (C, g, g) image embedding, with fine features (C + …, g, g).
            dense: (C, g, g) embedded mask hint of these prompts; None for prompts without one.
        """
        channels = self.mask_decoder.transformer_dim
        image = features[:channels].float() + (self.no_mask.reshape(-1, 1, 1) if dense is None else dense.float())
        base = image.flatten(1).t().contiguous()
        lowered = base.to(self.dtype)
        flat = torch.split(self.projection @ lowered.t(), [rows for _, _, rows in self.parts])
        named = {name: x.view(heads, -1, len(base)) for x, (name, heads, _) in zip(flat, self.parts, strict=True)}
        named["key 0"] = named["key 0"] + self.key_positions[0]
        named["query 0"] = named["query 0"] + self.query_positions[0]
        along = list(self.along @ base.t())
        updates = []
        for index, layer in enumerate(self.layers):
            base = _centred(base)
            updates.append(
                Update(
                    norm=torch.linalg.vecdot(base, base),
                    across=tuple(named[f"across {index} {earlier}"] for earlier in range(index + 1)),
                    along=tuple(along.pop(0) for _ in range(index + 1)),
                    gain=self.gains[index],
                    eps=layer.norm4.eps,
                )
            )
            base = base * self.gains[index]
        return PreparedImage(
            keys=tuple(named[f"key {index}"] for index in range(len(self.readers))),
            values=tuple(named[f"value {index}"] for index in range(len(self.readers))),
            queries=tuple(named[f"query {index}"] for index in range(len(self.layers))),
            updates=tuple(updates),
            fine=functional.linear(lowered, self.fine_weight),
            detail=self._detail(features[channels:]),
        )

    def _detail(self, folded: Tensor) -> tuple[Tensor, Tensor] | None:
        """Fine features (C/4 · 4 + C/8 · 16, g, g) in the order of the upscalings' sub-pixels, biases included."""
        if not self.mask_decoder.detail:
            return None
        inner, outer = len(self.norm_weight), len(self.second_bias) // SUB_PIXELS
        eighth, quarter = torch.split(folded.float().flatten(1), [4 * inner, 16 * outer])
        first = eighth.view(inner, 4, -1).permute(2, 1, 0).flatten(1)
        second = quarter.view(outer, 2, 2, 2, 2, -1).permute(5, 1, 3, 2, 4, 0).reshape(-1, SUB_PIXELS * outer)
        return (first + self.first_offset).to(self.dtype), (second + self.second_bias).to(self.dtype)

    def decode(
        self,
        image: PreparedImage,
        sparse: Tensor,
        token_mask: Tensor | None = None,
        *,
        step: int | None = None,
        out: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Masks of P prompts of one photo, without gradients.

        Args:
            image: from `prepare`.
            sparse: (P, T, C) prompt tokens.
            token_mask: (P, T), False where a token only fills the batch.
            step: prompts computed together; changes no result. None chooses what suits the device's cache.
            out: where to write; shapes as returned.

        Returns:
            (P, M, 4g, 4g) mask logits and (P, M) predicted IoU, float32.
        """
        prompts = len(sparse)
        low_res, iou = out or self.empty(sparse)
        own = torch.cat([self.mask_decoder.iou_token.weight, self.mask_decoder.mask_tokens.weight])
        tokens = torch.cat([own.expand(prompts, -1, -1), sparse.to(own.dtype)], dim=1)
        if token_mask is not None:
            token_mask = torch.cat([all_real(tokens[:, : len(own)]), token_mask], dim=1)
        step, scratch = step or self._step(tokens), Scratch()
        for start in range(0, prompts, step):
            part = slice(start, start + step)
            done, mix = self._attend(image, tokens[part], None if token_mask is None else token_mask[part], scratch)
            kernels = torch.stack(
                [head(done[:, 1 + i]) for i, head in enumerate(self.mask_decoder.output_hypernetworks_mlps)], dim=1
            )
            iou[part] = self.mask_decoder.iou_prediction_head(done[:, 0])
            self._draw(image, mix, kernels, low_res[part], scratch)
        return low_res, iou

    def empty(self, sparse: Tensor) -> tuple[Tensor, Tensor]:
        """Memory for the results of these prompts."""
        shape = (len(sparse), self.mask_decoder.num_mask_tokens)
        return sparse.new_empty(*shape, 4 * self.grid[0], 4 * self.grid[1]), sparse.new_empty(shape)

    def pays(self, tokens: int) -> bool:
        """Whether prompts of this many tokens are decoded sooner than by the modules: cost grows with their square."""
        rows = (self.own_tokens + tokens) * self.writers[0].num_heads
        return rows <= ROWS_PER_CHANNEL * self.mask_decoder.transformer_dim

    def _step(self, tokens: Tensor) -> int:
        if tokens.device.type != "cpu":
            return min(len(tokens), DEVICE_PROMPTS)
        rows = tokens.shape[1] * self.writers[0].num_heads
        return max(1, min(len(tokens), CACHED_SCORES // (rows * self.grid[0] * self.grid[1])))

    def _attend(
        self, image: PreparedImage, point: Tensor, token_mask: Tensor | None, scratch: Scratch
    ) -> tuple[Tensor, Mix]:
        tokens, mix = point, None
        for index, layer in enumerate(self.layers):
            tokens = layer.norm1(layer.attend_self(tokens, point, token_mask))
            tokens = layer.norm2(tokens + self._read(image, index, tokens + point, mix, scratch))
            tokens = layer.norm3(tokens + layer.mlp(tokens))
            mix = self._write(image, index, tokens, tokens + point, token_mask, mix, scratch)
        assert mix is not None
        tokens, point = tokens[:, : self.own_tokens], point[:, : self.own_tokens]  # the others have said their part
        tokens = tokens + self._read(image, len(self.layers), tokens + point, mix, scratch)
        done: Tensor = self.mask_decoder.transformer.norm_final_attn(tokens)
        return done, mix

    def _read(self, image: PreparedImage, index: int, tokens: Tensor, mix: Mix | None, scratch: Scratch) -> Tensor:
        reader = self.readers[index]
        query = _split(reader.q_proj(tokens), reader.num_heads)
        query = query * query.shape[-1] ** -0.5
        side = Side(image.keys[index], self.key_positions[index], _weight(reader.k_proj))
        score = scores(query, side, mix, scratch)
        attention = torch.softmax(score, dim=-1, out=scratch.take("b", score, *score.shape))
        value = gather(attention, image.values[index], _weight(reader.v_proj), mix)
        out: Tensor = reader.out_proj(value.flatten(2) + self.value_offsets[index])
        return out

    def _write(
        self,
        image: PreparedImage,
        index: int,
        tokens: Tensor,
        placed: Tensor,
        token_mask: Tensor | None,
        mix: Mix | None,
        scratch: Scratch,
    ) -> Mix:
        writer = self.writers[index]
        heads = writer.num_heads
        key = _split(writer.k_proj(placed), heads)
        key = key * key.shape[-1] ** -0.5
        side = Side(image.queries[index], self.query_positions[index], _weight(writer.q_proj))
        score = scores(key, side, mix, scratch).view(*key.shape[:3], -1)
        if token_mask is not None:
            score.masked_fill_(~token_mask[:, :, None, None], float("-inf"))
        attention = torch.softmax(score, dim=1, out=scratch.take("b", score, *score.shape)).flatten(1, 2)
        value = _split(writer.v_proj(tokens), heads)
        outward = _split(_weight(writer.out_proj), heads)
        weights = torch.einsum("pthd,chd->pthc", value, outward) + self.constants[index] / heads
        return updated(mix, image.updates[index], attention, value, weights.flatten(1, 2), scratch)

    def _draw(self, image: PreparedImage, mix: Mix, kernels: Tensor, out: Tensor, scratch: Scratch) -> None:
        """Upscale the image tokens of some prompts twice and read the masks off, into (P, M, 4g, 4g), tile by tile."""
        (height, width), prompts, fine, detail = self.grid, len(kernels), image.fine, image.detail
        weights = functional.linear(mix.weights.to(self.dtype), self.first_weight.to(self.dtype))
        kernels, scale = kernels.to(self.dtype), mix.scale.to(self.dtype)
        rows = mix.rows.mul_(scale.unsqueeze(1))  # nobody reads them after this
        lines, together = height, prompts
        if fine.device.type == "cpu":
            room = DRAWN_BYTES // self.dtype.itemsize
            fitting = max(1, room // (width * fine.shape[1]))
            lines = max(n for n in range(1, min(height, fitting) + 1) if height % n == 0)
            together = max(1, room // fine.numel())
        for start in range(0, prompts, together):
            part = slice(start, start + together)
            for top in range(0, height, lines):
                cells = slice(top * width, (top + lines) * width)
                x = scratch.take("x", fine, len(kernels[part]), *fine[cells].shape)
                offset = self.first_offset if detail is None else detail[0][cells]
                torch.addcmul(offset, fine[cells], scale[part, cells].unsqueeze(-1), out=x)
                x.baddbmm_(rows[part, :, cells].transpose(1, 2), weights[part])
                second = None if detail is None else detail[1][4 * cells.start : 4 * cells.stop]
                z = self._upscale(x, second, scratch)
                self._read_masks(z, kernels[part], out[part, :, 4 * top : 4 * (top + lines)])

    def _read_masks(self, x: Tensor, kernels: Tensor, out: Tensor) -> None:
        """Twice upscaled cells, sub-pixels next to each other, times (p, M, C/8) → (p, M, 4 · lines, 4 · g)."""
        prompts, width = len(kernels), self.grid[1]
        lines = out.shape[2] // SUB_PIXELS
        bands = math.gcd(lines, SUB_PIXELS)  # a product of several small matrices is sooner done than of one
        x = x.view(prompts * bands, -1, kernels.shape[-1])
        logits = kernels.repeat_interleave(bands, dim=0) @ x.transpose(1, 2)
        # Axes: prompt, band, mask, line of the band, column, then row and column parity of either upscaling.
        logits = logits.view(prompts, bands, -1, lines // bands, width, 2, 2, 2, 2)
        pairs = logits.view(_PAIR[self.dtype.itemsize]).squeeze(-1)
        straight = pairs.permute(0, 2, 1, 3, 5, 7, 4, 6).contiguous().view(self.dtype)
        out.copy_(straight.view(out.shape))

    def _upscale(self, x: Tensor, detail: Tensor | None, scratch: Scratch) -> Tensor:
        """(p, n, 4 · C/4) → (p · 4 · n, 4 · C/8); `detail` (4 · n, 4 · C/8) is added to every prompt's."""
        prompts, inner, outer = len(x), len(self.norm_weight), len(self.second_weight)
        x = x.view(-1, inner)
        y = functional.layer_norm(x, (inner,), self.norm_weight, self.norm_bias, self.norm_eps)
        torch.ops.aten.gelu_(y)
        z = scratch.take("z", x, len(x), outer)
        if detail is None:
            torch.addmm(self.second_bias, y, self.second_weight.t(), out=z)
        else:
            torch.mm(y, self.second_weight.t(), out=z)
            z.view(prompts, -1, outer).add_(detail)
        torch.ops.aten.gelu_(z)
        return z


def working_bytes(config: ModelConfig, dtype: torch.dtype) -> int:
    """Most bytes that `FastDecoder` takes on a CPU beside weights and results, for prompts of any number and length."""
    cells, width = config.grid**2, config.width
    inner = width // config.decoder.attention_downsample
    depth = config.decoder.depth
    projected = inner * (3 * depth + 2 + depth * (depth + 1) // 2) + width
    prepared = cells * (projected * dtype.itemsize + 4 * width * torch.float32.itemsize)
    prepared += cells * (config.channels - width) * (dtype.itemsize + torch.float32.itemsize)
    one = int(ROWS_PER_CHANNEL * width) * cells
    scores = (2 + depth + depth * (depth + 1) // 2) * max(CACHED_SCORES, one)
    drawn = 5 * max(DRAWN_BYTES, config.grid * width * dtype.itemsize)
    return prepared + scores * dtype.itemsize + drawn


def _weight(linear: nn.Module) -> Tensor:
    assert isinstance(linear, nn.Linear)
    return linear.weight.detach().float()


def _bias(module: nn.Module) -> Tensor:
    bias = module.bias
    assert isinstance(bias, Tensor)
    return bias.detach().float()


def _split(x: Tensor, heads: int) -> Tensor:
    """(…, H · D) → (…, H, D)."""
    return x.view(*x.shape[:-1], heads, -1)


def _centred(x: Tensor) -> Tensor:
    """Less its mean over the last axis."""
    return x - x.mean(dim=-1, keepdim=True)


def _as_matrix(up: nn.ConvTranspose2d) -> Tensor:
    """2 x 2 transposed convolution at stride 2 as (4 · out, in), the four sub-pixels row by row."""
    return up.weight.detach().float().permute(2, 3, 1, 0).flatten(0, 2).contiguous()
