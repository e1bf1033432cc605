import pytest

from gtr_jax.checkpoints import sizes

# T5 1.1 base and its GTR head.
SHAPES = {
  "token_embedder/embedding": (32128, 768),
  "encoder/relpos_bias/rel_embedding": (12, 32),
  "encoder/layers_0/attention/query/kernel": (768, 768),
  "encoder/layers_0/mlp/wi_0/kernel": (768, 2048),
  "encoder/layers_0/mlp/wi_1/kernel": (768, 2048),
  "encoder/layers_11/mlp/wo/kernel": (2048, 768),
  "decoder/layers_23/mlp/wo/kernel": (2048, 768),
  "projection_layer/kernel": (768, 512),
}
EXPECTED = sizes.Sizes(
  vocab_size=32128,
  embed_dim=768,
  num_layers=12,
  num_heads=12,
  head_dim=64,
  mlp_dim=2048,
  gated=True,
  num_buckets=32,
  projection_dim=512,
)


def without(*removed, **added):
  return {k: x for k, x in SHAPES.items() if k not in removed} | added


def test_the_shapes_tell_the_sizes():
  assert sizes.from_arrays(SHAPES) == EXPECTED


def test_one_wide_kernel_is_t5_1_0():
  shapes = without(
    "encoder/layers_0/mlp/wi_0/kernel", "encoder/layers_0/mlp/wi_1/kernel"
  )
  shapes["encoder/layers_0/mlp/wi/kernel"] = (768, 3072)
  found = sizes.from_arrays(shapes)
  assert not found.gated and found.mlp_dim == 3072


def test_t5_has_no_projection():
  found = sizes.from_arrays(without("projection_layer/kernel"))
  assert found.projection_dim is None


@pytest.mark.parametrize(
  "shapes, match",
  [
    ({}, "encoder/layers_0"),
    ({"encoder/encoder/mlp/wi/kernel": (8, 12, 4)}, "stacked by `scan`"),
    (without("token_embedder/embedding"), "no array token_embedder/embedding"),
    (
      SHAPES | {"encoder/relpos_bias/rel_embedding": (7, 32)},
      "768 columns, which the 7 heads",
    ),
    (
      SHAPES | {"encoder/layers_0/attention/query/kernel": (768, 12, 64)},
      r"\(768, 12, 64\), due is a matrix",
    ),
  ],
)
def test_what_does_not_tell_them_is_refused(shapes, match):
  with pytest.raises(ValueError, match=match):
    sizes.from_arrays(shapes)
