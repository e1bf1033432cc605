"""Every fast form gives the loss and the gradients of the plain one.

The forms: chunks, tiles of scores around the ring, packed rows, remat, scanned
layers, meshes.  Rows of the table hold every pair of values at least once.
"""

import itertools

import jax
import numpy as np
import optax
import pytest
from flax import linen as nn

from gtr_jax import partitioning
from gtr_jax.data import synthetic
from gtr_jax.models import dual_encoder, t5_encoder, text_encoder
from gtr_jax.objectives import contrastive, temperature, towers
from gtr_jax.training import state as state_lib
from gtr_jax.training import step as step_lib

B = 16
FSDP = (("embed", "data"),)
MESHES = {
  "data": (8, {}),
  "fsdp": (4, {"rules": FSDP}),
  "slices": (8, {"rules": FSDP, "num_slices": 2}),
  "tensor": (2, {"model_parallel": 2}),
  "all": (8, {"rules": FSDP, "num_slices": 2, "model_parallel": 2}),
}
FACTORS = {
  "mesh": tuple(MESHES),
  "num_chunks": (1, 3),
  "remat": ("none", "dots", "full"),
  "score_tile": (None, 2),
  "packed": (False, True),
  "scan": (False, True),
  "num_negatives": (0, 2),
}


def rows_with_every_pair():
  """A table in which any two values of two factors meet, by greedy choice."""
  names = list(FACTORS)
  missing = {
    ((a, x), (b, y))
    for a, b in itertools.combinations(names, 2)
    for x in FACTORS[a]
    for y in FACTORS[b]
  }

  def pairs(row):
    return set(itertools.combinations(zip(names, row, strict=True), 2))

  table = list(itertools.product(*FACTORS.values()))
  while missing:
    best = max(table, key=lambda row: len(pairs(row) & missing))
    missing -= pairs(best)
    yield dict(zip(names, best, strict=True))


def make(num_chunks=1, remat="none", scan=False, score_tile=None):
  encoder = t5_encoder.T5Encoder(2, 2, 8, 32, remat=remat)
  tower = text_encoder.TextEncoder(encoder, 96, 16, projection_dim=16)
  return contrastive.Contrastive(
    dual_encoder.DualEncoder(tower),
    temperature.Learned(0.1),
    margin=0.1,
    label_smoothing=0.1,
    num_chunks=num_chunks,
    scan_layers=scan,
    score_tile=score_tile,
  )


def padded(num_negatives):
  """A batch with copies and missing negatives: the masks have work."""
  batch = synthetic.SyntheticBatches(
    B,
    num_negatives,
    query_length=8,
    passage_length=12,
    vocab_size=96,
    mean_query_tokens=4,
    mean_passage_tokens=6,
  ).batch_at(0)
  batch["query_keys"][3] = batch["query_keys"][7]
  batch["passage_keys"][5, -1] = batch["passage_keys"][9, 0]
  batch["positive_keys"][11, 0] = batch["passage_keys"][2, 0]
  if num_negatives:
    batch["passage_tokens"][4, 1] = 0
    batch["passage_keys"][4, 1] = 0
  return batch


def packed(batch, num_shares):
  """The batch with up to three texts a row, each share's rows by themselves."""
  result = {k: v for k, v in batch.items() if not k.endswith("_tokens")}
  for tower in ("query", "passage"):
    tokens = batch[f"{tower}_tokens"]
    texts = tokens.reshape(num_shares, -1, tokens.shape[-1])
    rows = np.zeros((num_shares, texts.shape[1], 16), np.int32)
    segments = np.zeros_like(rows)
    places = np.full((*rows.shape[:2], 3), -1, np.int32)
    for share, own in enumerate(texts):
      row = used = slot = 0
      for number, text in enumerate(own):
        text = text[text > 0]
        if not len(text):
          continue
        if used + len(text) > 16 or slot == 3:
          row, used, slot = row + 1, 0, 0
        rows[share, row, used : used + len(text)] = text
        segments[share, row, used : used + len(text)] = slot + 1
        places[share, row, slot] = number
        used, slot = used + len(text), slot + 1
    result[f"{tower}_rows"] = rows.reshape(-1, 16)
    result[f"{tower}_segments"] = segments.reshape(-1, 16)
    result[f"{tower}_texts"] = places.reshape(-1, 3)
  return result


def updated(objective, batch, devices, layout):
  """Metrics and the gradient, which an update by it leaves behind."""
  layout = partitioning.Layout(**layout)
  mesh, rules = layout.mesh(jax.devices()[:devices]), layout.all_rules()
  optimizer = optax.sgd(1.0)
  init = state_lib.make_init(objective, optimizer, batch)
  state, shardings = state_lib.create(init, 0, mesh, rules)
  before = jax.device_get(state.params)
  step = step_lib.compile_step(objective, optimizer, mesh, shardings, rules)
  state, metrics = step(state, [partitioning.to_global(batch, mesh)])
  gradient = jax.tree.map(
    lambda old, new: old - np.asarray(new),
    before,
    jax.device_get(state.params),
  )
  return jax.device_get(metrics), gradient


@pytest.fixture(scope="module")
def plain():
  return {
    num_negatives: updated(make(), padded(num_negatives), 1, {})
    for num_negatives in FACTORS["num_negatives"]
  }


@pytest.mark.parametrize(
  "row",
  list(rows_with_every_pair()),
  ids=lambda row: "-".join(map(str, row.values())),
)
def test_every_form_is_the_plain_form(row, plain):
  row = dict(row)
  devices, layout = MESHES[row.pop("mesh")]
  num_negatives = row.pop("num_negatives")
  batch = padded(num_negatives)
  if row.pop("packed"):
    batch = packed(batch, devices // layout.get("model_parallel", 1))
  metrics, gradient = updated(make(**row), batch, devices, layout)
  due_metrics, due_gradient = plain[num_negatives]
  due_metrics = dict(due_metrics)
  assert due_metrics["masked_rate"] > 0
  del metrics["cells_used"], due_metrics["cells_used"]  # The form's own.
  for name, due in due_metrics.items():
    np.testing.assert_allclose(
      metrics[name], due, rtol=1e-5, atol=1e-6, err_msg=name
    )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    gradient,
    due_gradient,
  )


def test_accumulated_batches_give_the_mean_of_their_gradients():
  objective, optimizer = make(num_chunks=2), optax.sgd(1.0)
  first = padded(0)
  second = {k: np.roll(v, 5, axis=-1) for k, v in first.items()}
  mesh = partitioning.Layout().mesh()

  def after(batches):
    init = state_lib.make_init(objective, optimizer, first)
    state, shardings = state_lib.create(init, 0, mesh)
    step = step_lib.compile_step(objective, optimizer, mesh, shardings)
    state, metrics = step(
      state, [partitioning.to_global(batch, mesh) for batch in batches]
    )
    return float(metrics["loss"]), int(state.step), jax.device_get(state.params)

  loss_a, _, params_a = after([first])
  loss_b, _, params_b = after([second])
  loss, step, params = after([first, second])
  assert step == 1 and loss_a != loss_b
  np.testing.assert_allclose(loss, (loss_a + loss_b) / 2, rtol=1e-6)
  jax.tree.map(
    lambda x, a, b: np.testing.assert_allclose(x, (a + b) / 2, atol=1e-5),
    params,
    params_a,
    params_b,
  )


def collectives(objective, layout):
  """Collective operations of a compiled step, by the loops that they are in."""
  layout = partitioning.Layout(**layout)
  mesh, rules = layout.mesh(), layout.all_rules()
  optimizer = optax.sgd(1.0)
  batch = padded(0)
  init = state_lib.make_init(objective, optimizer, batch)
  with jax.set_mesh(mesh), nn.logical_axis_rules(rules):
    shardings = state_lib.shardings(init, mesh, rules)
    step = step_lib.jit_step(objective, optimizer, shardings)
    state = jax.eval_shape(lambda: nn.unbox(init(jax.random.key(0))))
    text = str(
      step.lower(
        jax.tree.map(
          lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
          state,
          shardings,
        ),
        partitioning.to_global(batch, mesh),
      )
      .compile()
      .as_text()
    )
  names = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all")
  found = [
    (name, line)
    for line in text.splitlines()
    for name in names
    if f" {name}(" in line
  ]
  return [(name, "while/body" in line) for name, line in found]


def test_chunks_sum_their_gradients_before_they_meet():
  """Data parallel: no chunk talks to another device."""
  found = collectives(make(num_chunks=2, scan=True), {})
  assert ("all-reduce", False) in found
  assert not [name for name, in_loop in found if in_loop]


@pytest.mark.parametrize(
  ("num_chunks", "queries", "passages"), [(1, 1, 1), (3, 1, 3), (12, 2, 12)]
)
def test_chunks_of_both_towers_are_as_large(num_chunks, queries, passages):
  """A query has 4 cells, its three passages 8 each: a sixth of the work."""
  batch = {
    "query_tokens": np.ones((24, 4), np.int32),
    "passage_tokens": np.ones((24, 3, 8), np.int32),
  }
  chunks = towers.Towers(nn.Module(), num_chunks)._num_chunks
  assert (chunks("query", batch), chunks("passage", batch)) == (
    queries,
    passages,
  )


def test_spread_parameters_are_gathered_in_the_loop_over_the_layers():
  found = collectives(make(remat="full", scan=True), {"rules": FSDP})
  assert ("all-gather", True) in found
