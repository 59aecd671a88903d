"""The mask decoder cut in two: what depends on the photo alone, and what a click still costs.

A plain decoder projects every image token anew for every prompt. Here the image stream is never written out. With
x₀ the image tokens, A the attention of image tokens over the few prompt tokens and V what these say, the first layer's
output is LayerNorm(x₀ + A·V): x₀ plus something of rank (heads · T), scaled per image token. Everything linear that
follows (keys, queries, values, the first upscaling) acts on both parts alone: on x₀ once per photo, on V once per
click with a few dozen rows. What is left per image token are products with those few rows and one number, the
deviation of the normalisation, which follows from inner products of the same small things. No approximation is made.

T tokens (own and prompt) · N image tokens · C channels · H heads · D channels per head · R = H·T rows · M masks
g grid side · h = 4g low-res side. There is no prompt axis: one prompt at a time.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from segany.core.errors import OptionError
from segany.export.decoder import PromptDecoder, TanhGelu
from segany.export.graph import GraphSpec, TensorSpec
from segany.export.specs import decoder_inputs, example_prompts
from segany.modeling.layers import LayerNorm2d
from segany.modeling.sam import Sam
from segany.modeling.two_way import Attention, TwoWayAttentionBlock

LAYERS = 2
"""Two-way layers of a decoder that can be split; all released ones have so many."""


class Prepared(NamedTuple):
    """What the image part hands to the click part, per photo; the field names are the tensors' names in the files. A
    model without fine features has no `detail_…`.

    Keys, queries and spreads are (H, D, N), values (H, N, D). Numbers tell the layers apart, 2 is the final attention.
    """

    keys_0: Tensor
    values_0: Tensor
    queries_0: Tensor
    spread_0: Tensor
    """Image stream through the transposed output projection: its inner products with what tokens will say."""
    keys_1: Tensor
    values_1: Tensor
    queries_1: Tensor
    spread_1: Tensor
    spread_01: Tensor
    keys_2: Tensor
    values_2: Tensor
    upscaled: Tensor
    """(N, 4·C/4)"""
    norms: Tensor
    """(3, N) squared length before each normalisation, and the product with the constant the second one adds."""
    detail_0: Tensor | None = None
    """(N, 4·C/4) what fine features add to the first upscaling, centred like it."""
    detail_1: Tensor | None = None
    """(4·N, 4·C/8) likewise to the second, with its bias."""

    def there(self) -> dict[str, Tensor]:
        """Names and tensors of the fields that are there."""
        return {name: x for name, x in self._asdict().items() if x is not None}


class Updated(NamedTuple):
    """An image update that is not written out."""

    attention: Tensor
    """(R, N) image tokens over prompt tokens."""
    said: Tensor
    """(H, T, D) values of the tokens."""
    rows: Tensor
    """(R, C) the same through the output projection, centred."""
    scale: Tensor
    """(N,) one over the deviation of the normalisation."""


def centred(x: Tensor) -> Tensor:
    """(…, C) minus its mean over the channels."""
    return x - x.mean(dim=-1, keepdim=True)


class SplitWeights(nn.Module):
    """The decoder's parts under short names, shared by both halves."""

    def __init__(self, model: Sam) -> None:
        super().__init__()
        self.whole = PromptDecoder(model)
        transformer = model.mask_decoder.transformer
        self.first = cast(TwoWayAttentionBlock, transformer.layers[0])
        self.second = cast(TwoWayAttentionBlock, transformer.layers[1])
        self.last = transformer.final_attn_token_to_image
        self.last_norm = transformer.norm_final_attn
        self.heads = self.last.num_heads
        upscaling = model.mask_decoder.output_upscaling
        self.up1, self.up2 = cast(nn.ConvTranspose2d, upscaling[0]), cast(nn.ConvTranspose2d, upscaling[3])
        self.up_norm = cast(LayerNorm2d, upscaling[1])
        self.register_buffer("places", model.prompt_encoder.get_dense_pe()[0].flatten(1).T.contiguous())

    places: Tensor

    def rows(self, x: Tensor) -> Tensor:
        """(T or N, H·D) → (H, T or N, D)."""
        return x.reshape(-1, self.heads, x.shape[-1] // self.heads).transpose(0, 1)

    def columns(self, x: Tensor) -> Tensor:
        """(N, H·D) → (H, D, N)."""
        return x.T.reshape(self.heads, x.shape[-1] // self.heads, -1)

    def upscaling(self) -> tuple[Tensor, Tensor]:
        """The first transposed convolution as one product: (C, 4·C/4) matrix and (4·C/4,) offset.

        Its columns are sub-pixels (row, column), then channels, centred over the channels: the normalisation that
        follows takes the mean away, and here it costs nothing.
        """
        assert self.up1.bias is not None
        matrix = centred(self.up1.weight.permute(0, 2, 3, 1)).flatten(1)
        return matrix, centred(self.up1.bias).repeat(4)

    def detail(self, image_embeddings: Tensor) -> tuple[Tensor, Tensor] | tuple[()]:
        """Of an embedding (1, C + …, g, g): `detail_0` and `detail_1` of `Prepared`; nothing without fine features."""
        if not self.whole.decoder.detail:
            return ()
        inner, outer, width = self.up1.out_channels, self.up2.out_channels, self.up1.in_channels
        eighth, quarter = torch.split(image_embeddings[0, width:].flatten(1), [4 * inner, 16 * outer])
        first = centred(eighth.reshape(inner, 4, -1).permute(2, 1, 0)).flatten(1)
        order = quarter.reshape(outer, 2, 2, 2, 2, -1).permute(5, 1, 3, 2, 4, 0)
        assert self.up2.bias is not None
        return first, order.reshape(-1, 4 * outer) + self.up2.bias.repeat(4)

    def second_offset(self) -> Tensor:
        """(C,) what the second layer's image stream gets in every token: the norm's bias and the projection's."""
        return centred(self.first.norm4.bias + self.second.cross_attn_image_to_token.out_proj.bias)


class ImagePart(nn.Module):
    """`decoder_image.onnx`: image embedding, and a mask hint if there is one → everything a click needs."""

    def __init__(self, weights: SplitWeights) -> None:
        super().__init__()
        self.w = weights

    def forward(self, image_embeddings: Tensor, mask_input: Tensor, has_mask_input: Tensor) -> tuple[Tensor, ...]:
        """(1, C, g, g) embedding, (1, 1, h, h) mask hint and (1,) whether there is one → the fields of `Prepared`."""
        w, first, second = self.w, self.w.first, self.w.second
        dense = w.whole.dense(mask_input, has_mask_input)
        image = (image_embeddings[:, : dense.shape[1]] + dense).flatten(2)[0].T
        placed = image + w.places
        to_image, to_token = first.cross_attn_token_to_image, first.cross_attn_image_to_token
        start = centred(image + to_token.out_proj.bias)
        scaled = start * first.norm4.weight
        carried = centred(scaled)
        out0, out1 = to_token.out_proj.weight, second.cross_attn_image_to_token.out_proj.weight
        weighted = carried * second.norm4.weight
        norms = [start.square().sum(dim=1), carried.square().sum(dim=1), carried @ w.second_offset()]
        return (
            w.columns(to_image.k_proj(placed)),
            w.rows(to_image.v_proj(image)),
            w.columns(to_token.q_proj(placed)),
            w.columns(start @ out0),
            w.columns(scaled @ second.cross_attn_token_to_image.k_proj.weight.T),
            w.rows(scaled @ second.cross_attn_token_to_image.v_proj.weight.T),
            w.columns(scaled @ second.cross_attn_image_to_token.q_proj.weight.T),
            w.columns(carried @ out1),
            w.columns(centred(carried * first.norm4.weight) @ out0),
            w.columns(weighted @ w.last.k_proj.weight.T),
            w.rows(weighted @ w.last.v_proj.weight.T),
            weighted @ w.upscaling()[0],
            torch.stack(norms),
            *w.detail(image_embeddings),
        )


def over_tokens(scores: Tensor) -> Tensor:
    """(H, T, N) → the same, adding up to one over the tokens."""
    weights = (scores - scores.amax(dim=1, keepdim=True)).exp()
    return weights * weights.sum(dim=1, keepdim=True).reciprocal()


class ClickPart(nn.Module):
    """`decoder_click.onnx`: one prompt and the image part's outputs → masks and predicted IoU."""

    def __init__(self, weights: SplitWeights, *, tanh_gelu: bool = True) -> None:
        super().__init__()
        self.w = weights
        self.gelu = TanhGelu() if tanh_gelu else nn.GELU()
        bias = weights.first.norm4.bias
        to_image, to_token = weights.second.cross_attn_token_to_image, weights.second.cross_attn_image_to_token
        with torch.no_grad():
            self.register_buffer("key_places_1", weights.columns(to_image.k_proj(weights.places + bias)))
            self.register_buffer("query_places_1", weights.columns(to_token.q_proj(weights.places + bias)))
            self.register_buffer("key_places_2", weights.columns(weights.last.k_proj(weights.places)))
            self.register_buffer("finer", weights.up2.weight.permute(0, 2, 3, 1).flatten(1).contiguous())
            assert weights.up2.bias is not None
            self.register_buffer("finer_offset", weights.up2.bias.repeat(4))

    key_places_1: Tensor
    query_places_1: Tensor
    key_places_2: Tensor
    finer: Tensor
    finer_offset: Tensor

    def forward(self, point_coords: Tensor, point_labels: Tensor, *image: Tensor) -> tuple[Tensor, Tensor]:
        """(1, M, h, h) low-res logits and (1, M) predicted IoU; `image` are the fields of `Prepared` in order."""
        w, first, second, ready = self.w, self.w.first, self.w.second, Prepared(*image)
        own = torch.cat([w.whole.decoder.iou_token.weight, w.whole.decoder.mask_tokens.weight])
        pe = torch.cat([own, w.whole.sparse(point_coords, point_labels)[0]])

        tokens = first.norm1(attend_self(first, pe, pe))
        query = self._queries(first.cross_attn_token_to_image, tokens + pe)
        tokens = self._updated(first, tokens, (query @ ready.keys_0).softmax(dim=-1) @ ready.values_0)
        one = self._first_update(tokens, pe, ready)

        tokens = second.norm1(tokens + attend_self(second, tokens + pe, tokens))
        tokens = self._updated(second, tokens, self._second_look(tokens, pe, ready, one))
        two = self._second_update(tokens, pe, ready, one)

        # the image stream at the end is scale · (weighted + factors · ending), and never written out
        scale = one.scale * two.scale
        factors = torch.cat([one.attention, two.attention * one.scale.reciprocal(), scale.reciprocal().unsqueeze(0)])
        gain = second.norm4.weight
        carried = centred(one.rows * first.norm4.weight)
        ending = torch.cat([carried * gain, two.rows * gain, second.norm4.bias.unsqueeze(0)])
        tokens = self._last_look(tokens, pe, ready, factors, ending, scale)
        masks = self._masks(tokens, ready, factors, ending, scale)
        return masks, w.whole.decoder.iou_prediction_head(tokens[:1])

    def _first_update(self, tokens: Tensor, pe: Tensor, ready: Prepared) -> Updated:
        to_token = self.w.first.cross_attn_image_to_token
        said, rows = self._said(to_token, tokens)
        attention = over_tokens(self._keys(to_token, tokens + pe) @ ready.queries_0).flatten(0, 1)
        rows = centred(rows)
        meets = (2 * said @ ready.spread_0).flatten(0, 1) + (rows @ rows.T) @ attention
        square = ready.norms[0] + (attention * meets).sum(dim=0)
        return Updated(attention, said, rows, (square / rows.shape[1] + self.w.first.norm4.eps).rsqrt())

    def _second_look(self, tokens: Tensor, pe: Tensor, ready: Prepared, one: Updated) -> Tensor:
        """(H, T, D) what the tokens see of the image after its first update."""
        w, to_image, norm = self.w, self.w.second.cross_attn_token_to_image, self.w.first.norm4
        rows = one.rows * norm.weight
        query = self._queries(to_image, tokens + pe)
        folded = query @ w.columns(rows @ to_image.k_proj.weight.T)
        scores = (query @ ready.keys_1 + folded @ one.attention) * one.scale + query @ self.key_places_1
        looks = scores.softmax(dim=-1) * one.scale
        seen = looks @ ready.values_1 + (looks @ one.attention.T) @ w.rows(rows @ to_image.v_proj.weight.T)
        return seen + w.rows(to_image.v_proj(norm.bias).unsqueeze(0))

    def _second_update(self, tokens: Tensor, pe: Tensor, ready: Prepared, one: Updated) -> Updated:
        """Likewise; the deviation comes from inner products alone."""
        w, to_token, norm = self.w, self.w.second.cross_attn_image_to_token, self.w.first.norm4
        key = self._keys(to_token, tokens + pe)
        folded = key @ w.columns((one.rows * norm.weight) @ to_token.q_proj.weight.T)
        scores = (key @ ready.queries_1 + folded @ one.attention) * one.scale + key @ self.query_places_1
        attention = over_tokens(scores).flatten(0, 1)
        said, rows = self._said(to_token, tokens)
        rows = centred(rows) + w.second_offset() / w.heads
        carried = centred(one.rows * norm.weight)

        meets = 2 * (one.said @ ready.spread_01).flatten(0, 1) + (carried @ carried.T) @ one.attention
        square = ready.norms[1] + (one.attention * meets).sum(dim=0)
        across = (said @ ready.spread_1).flatten(0, 1) + (rows @ carried.T) @ one.attention
        rest = attention * (2 * one.scale * across + (rows @ rows.T) @ attention)
        square = one.scale * (one.scale * square + 2 * ready.norms[2]) + rest.sum(dim=0)
        return Updated(attention, said, rows, (square / rows.shape[1] + w.second.norm4.eps).rsqrt())

    def _scale(self, attention: Attention) -> float:
        return float((attention.q_proj.out_features // self.w.heads) ** -0.5)

    def _queries(self, attention: Attention, tokens: Tensor) -> Tensor:
        """(T, C) → (H, T, D) queries of the tokens, scaled."""
        return self.w.rows(attention.q_proj(tokens)) * self._scale(attention)

    def _keys(self, attention: Attention, tokens: Tensor) -> Tensor:
        """(T, C) → (H, T, D) keys of the tokens, scaled."""
        return self.w.rows(attention.k_proj(tokens)) * self._scale(attention)

    def _said(self, attention: Attention, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """What tokens say to the image: values (H, T, D), and through the output projection (R, C), without bias."""
        values = self.w.rows(attention.v_proj(tokens))
        out = attention.out_proj.weight
        per_head = out.T.reshape(self.w.heads, -1, out.shape[0])
        return values, (values @ per_head).flatten(0, 1)

    def _updated(self, layer: TwoWayAttentionBlock, tokens: Tensor, seen: Tensor) -> Tensor:
        """Tokens (T, C) after what they saw of the image (H, T, D) and their MLP."""
        attended = layer.cross_attn_token_to_image.out_proj(seen.transpose(0, 1).flatten(1))
        tokens = layer.norm2(tokens + attended)
        out: Tensor = layer.norm3(tokens + layer.mlp(tokens))
        return out

    def _last_look(
        self,
        tokens: Tensor,
        pe: Tensor,
        ready: Prepared,
        factors: Tensor,
        ending: Tensor,
        scale: Tensor,
    ) -> Tensor:
        """The model's own tokens (1 + M, C) after the final attention; prompt tokens are not needed any more."""
        w, own = self.w, self.w.whole.own_tokens
        tokens, pe = tokens[:own], pe[:own]
        query = self._queries(w.last, tokens + pe)
        folded = query @ w.columns(ending @ w.last.k_proj.weight.T)
        scores = (query @ ready.keys_2 + folded @ factors) * scale + query @ self.key_places_2
        looks = scores.softmax(dim=-1) * scale
        seen = looks @ ready.values_2 + (looks @ factors.T) @ w.rows(ending @ w.last.v_proj.weight.T)
        seen = seen.transpose(0, 1).flatten(1) + w.last.v_proj.bias
        out: Tensor = w.last_norm(tokens + w.last.out_proj(seen))
        return out

    def _masks(self, tokens: Tensor, ready: Prepared, factors: Tensor, ending: Tensor, scale: Tensor) -> Tensor:
        """(1, M, h, h) logits: both transposed convolutions as products, sub-pixels sorted at the very end."""
        w, norm, channels, upscaled = self.w, self.w.up_norm, self.w.up1.out_channels, ready.upscaled
        matrix, offset = w.upscaling()
        small = ending @ matrix
        small = torch.cat([small[:-1], small[-1:] + offset])
        # up to the factor `scale` of a cell, which the normalisation over its channels takes out again
        if ready.detail_0 is not None:
            upscaled = upscaled + ready.detail_0 * scale.reciprocal().unsqueeze(1)
        cells = torch.addmm(upscaled, factors.T, small).reshape(upscaled.shape[0], 4, channels)
        length = torch.linalg.vector_norm(cells, dim=2, keepdim=True)
        floor = (norm.eps * scale.reciprocal().square()).reshape(-1, 1, 1)
        cells = cells * (length.square() / channels + floor).rsqrt() * norm.weight + norm.bias
        cells = self.gelu(cells.reshape(-1, channels))
        second = self.finer_offset if ready.detail_1 is None else ready.detail_1
        fine = self.gelu(cells @ self.finer + second).reshape(-1, w.up2.out_channels)
        heads = w.whole.decoder.output_hypernetworks_mlps
        kernels = torch.cat([head(tokens[1 + index : 2 + index]) for index, head in enumerate(heads)])
        height, width = w.whole.prompts.image_embedding_size
        logits = (fine @ kernels.T).reshape(height, width, 2, 2, 2, 2, len(heads))
        masks: Tensor = logits.permute(6, 0, 2, 4, 1, 3, 5).reshape(1, len(heads), 4 * height, 4 * width)
        return masks


def split_specs(model: Sam, *, tanh_gelu: bool = True) -> tuple[GraphSpec, GraphSpec]:
    """`decoder_image.onnx` and `decoder_click.onnx`.

    Raises:
        OptionError: the decoder has another depth than `LAYERS`.
    """
    depth = len(model.mask_decoder.transformer.layers)
    if depth != LAYERS:
        raise OptionError(f"a decoder can be split when it has {LAYERS} layers; {model.config.name} has {depth}.")
    weights = SplitWeights(model)
    image, click = ImagePart(weights), ClickPart(weights, tanh_gelu=tanh_gelu)
    embedding, coords, labels, mask_input, has_mask, _ = decoder_inputs(model, 1)
    given = dict(zip(("e", "c", "l", "m", "h", "s"), example_prompts(model, 1), strict=True))
    with torch.no_grad():
        prepared = Prepared(*image(given["e"], given["m"], given["h"])).there()
    between = tuple(TensorSpec(name, tuple(x.shape)) for name, x in prepared.items())
    masks, side = model.mask_decoder.num_mask_tokens, model.config.low_res
    return (
        GraphSpec(
            "decoder_image",
            image,
            (embedding, mask_input, has_mask),
            between,
            (given["e"], given["m"], given["h"]),
            "What does not depend on the clicks. Once per photo, and once more for every new mask hint; hand its "
            "outputs to decoder_click under their own names.",
        ),
        GraphSpec(
            "decoder_click",
            click,
            (coords, labels, *between),
            (TensorSpec("low_res_masks", (1, masks, side, side)), TensorSpec("iou_predictions", (1, masks))),
            (given["c"], given["l"], *prepared.values()),
            "What a click costs: prompt in canvas pixels as for the decoder, low-res logits out; the caller enlarges "
            "them.",
        ),
    )


def attend_self(layer: TwoWayAttentionBlock, placed: Tensor, tokens: Tensor) -> Tensor:
    """(T, C) queries and keys, (T, C) values → (T, C)."""
    out: Tensor = layer.self_attn(placed.unsqueeze(0), placed.unsqueeze(0), tokens.unsqueeze(0))[0]
    return out
