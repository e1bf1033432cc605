"""Which steps are kept, which is the best, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtr_jax.checkpoints import manager


def params(step):
  return {"encoder": {"scale": jnp.full((4,), step, jnp.float32)}}


@pytest.fixture
def kept(tmp_path):
  """Seven steps, two to keep; step 3 is the best by the measure."""
  checkpoints = manager.open_checkpoints(tmp_path, keep=2)
  values = {1: 0.5, 2: None, 3: 0.9, 4: 0.9, 5: None, 6: 0.1, 7: None}
  for step, value in values.items():
    measures = None if value is None else {"ndcg@10": value, "mrr@10": 1.0}
    trainer = {"count": jnp.int32(step)}
    checkpoints.save(
      step, params(step), trainer, {"data": {"batches": step}}, measures
    )
  checkpoints.close()
  return tmp_path


def test_keeps_the_newest_and_the_best(kept):
  steps = manager.available_steps(kept)
  assert steps[-2:] == [6, 7]
  assert len(steps) == 3 and steps[0] in (3, 4)
  assert manager.best_step(kept) == steps[0]


def test_the_runs_own_measure_tells_the_best(tmp_path):
  checkpoints = manager.open_checkpoints(tmp_path, keep=3, measure="mrr@10")
  for step, (ndcg, mrr) in enumerate([(0.9, 0.1), (0.1, 0.9), (0.5, 0.5)]):
    checkpoints.save(
      step, params(step), measures={"ndcg@10": ndcg, "mrr@10": mrr}
    )
  checkpoints.close()
  assert manager.best_step(tmp_path) == 1


def test_without_measures_the_newest_is_the_best(tmp_path):
  checkpoints = manager.open_checkpoints(tmp_path)
  for step in (1, 2):
    checkpoints.save(step, params(step))
  checkpoints.close()
  assert manager.best_step(tmp_path) == 2


def test_brings_everything_back(kept):
  checkpoints = manager.open_checkpoints(kept)
  target = jax.eval_shape(lambda: params(0))
  one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  shape = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=one)
  trainer = {"count": jax.ShapeDtypeStruct((), jnp.int32, sharding=one)}
  restored = checkpoints.restore(7, jax.tree.map(shape, target), trainer)
  checkpoints.close()
  np.testing.assert_array_equal(restored[0]["encoder"]["scale"], np.full(4, 7))
  assert int(restored[1]["count"]) == 7
  assert restored[2] == {"measure": "ndcg@10", "data": {"batches": 7}}


def test_another_models_checkpoint_is_refused(kept):
  checkpoints = manager.open_checkpoints(kept)
  one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  wrong = {
    "encoder": {"scale": jax.ShapeDtypeStruct((5,), jnp.float32, sharding=one)}
  }
  trainer = {"count": jax.ShapeDtypeStruct((), jnp.int32, sharding=one)}
  with pytest.raises(ValueError, match="another MODEL_DIR"):
    checkpoints.restore(7, wrong, trainer)
  checkpoints.close()


def test_what_is_not_there_is_said(kept, tmp_path_factory):
  with pytest.raises(ValueError, match="no checkpoint of step 5"):
    manager.read_params(kept, 5)
  with pytest.raises(ValueError, match="holds no checkpoint"):
    manager.best_step(tmp_path_factory.mktemp("empty"))
  with pytest.raises(ValueError, match="KEEP_CHECKPOINTS is 0"):
    manager.open_checkpoints(kept, keep=0)


def test_a_cut_file_is_said(kept):
  for path in (kept / "checkpoints" / "7" / "params").rglob("*"):
    if path.is_file() and path.parent.name == "d":
      path.write_bytes(path.read_bytes()[:-20])
  with pytest.raises(ValueError, match="cannot be read whole"):
    manager.read_params(kept, 7)
