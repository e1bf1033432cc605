import jax
import numpy as np
import pytest
from flax import core
from flax.core import meta
from flax.linen import partitioning as flax_partitioning

from gtr_jax.adapters import t5x_variables
from gtr_jax.checkpoints import names
from gtr_jax.models import dual_encoder, t5_encoder, text_encoder
from gtr_jax.objectives import contrastive, temperature

# T5X's names of the axes of its matrices.
LAYER = "encoder/layers_0"
AXES = {
  "token_embedder/embedding": ("vocab", "embed"),
  "encoder/relpos_bias/rel_embedding": ("heads", "relpos_buckets"),
  "encoder/encoder_norm/scale": ("embed",),
  f"{LAYER}/pre_attention_layer_norm/scale": ("embed",),
  f"{LAYER}/pre_mlp_layer_norm/scale": ("embed",),
  f"{LAYER}/attention/query/kernel": ("embed", "joined_kv"),
  f"{LAYER}/attention/key/kernel": ("embed", "joined_kv"),
  f"{LAYER}/attention/value/kernel": ("embed", "joined_kv"),
  f"{LAYER}/attention/out/kernel": ("joined_kv", "embed"),
  f"{LAYER}/mlp/wi/kernel": ("embed", "mlp"),
  f"{LAYER}/mlp/wo/kernel": ("mlp", "embed"),
  "projection_layer/kernel": ("embed", "affinity"),
  "temperature/logit": (),
}


def test_axes_stand_beside_their_parameters():
  encoder = t5_encoder.T5Encoder(1, 2, 4, 16)
  tower = text_encoder.TextEncoder(encoder, 32, 8, projection_dim=8)
  objective = contrastive.Contrastive(
    dual_encoder.DualEncoder(tower), temperature.Learned()
  )
  batch = {
    "query_tokens": np.ones((1, 4), np.int32),
    "passage_tokens": np.ones((1, 1, 4), np.int32),
  }
  boxed = objective.init(jax.random.key(0), batch)
  variables = t5x_variables.variables(boxed)
  plain = names.flatten(variables["params"])
  for name, array in names.flatten(meta.unbox(boxed)).items():
    np.testing.assert_array_equal(plain[name], array)
  # Read as T5X's train state reads them.
  axes = flax_partitioning.get_axis_names(variables["params_axes"])
  found = names.flatten(core.unfreeze(axes))
  assert {name: tuple(spec) for name, spec in found.items()} == AXES
  assert plain.keys() == AXES.keys()


def test_a_parameter_without_names_is_refused():
  with pytest.raises(ValueError, match="parameter kernel has no names"):
    t5x_variables.variables({"layer": {"kernel": np.zeros(2)}})
