"""Names of slices; and slices of the real compiler, where it is installed."""

import pytest

from gtr_jax.planning import topologies


@pytest.mark.parametrize(
  ("name", "num_slices", "shape", "num_chips"),
  [
    ("v5e:4x4", 1, (4, 4), 16),
    ("v6e:2x4", 2, (2, 4), 16),
    ("v4:2x2x4", 1, (2, 2, 4), 16),
    ("v5p:2x2", 1, (2, 2, 1), 4),
  ],
)
def test_names(name, num_slices, shape, num_chips):
  found = topologies.parse(name, num_slices)
  assert (found.shape, found.num_chips) == (shape, num_chips)


@pytest.mark.parametrize(
  ("name", "complaint"),
  [
    ("v5e", "a chip and its slice"),
    ("v5e-16", "a chip and its slice"),
    ("h100:8x1", "a chip and its slice"),
    ("v5e:4x4x4", "v5e has 2 dimensions"),
    ("v5e:0x4", "v5e has 2 dimensions"),
  ],
)
def test_other_names_are_refused(name, complaint):
  with pytest.raises(ValueError, match=complaint):
    topologies.parse(name)


def test_no_slices_are_refused():
  with pytest.raises(ValueError, match="--num_slices is 0"):
    topologies.parse("v5e:2x2", 0)


@pytest.mark.parametrize(
  "chip", topologies.CHIPS.values(), ids=lambda c: c.kind
)
def test_clock_agrees_with_the_peak(chip):
  """Matrix units do a power of two of operations a cycle."""
  a_cycle = chip.peak_tflops * 1e12 / (chip.clock_ghz * 1e9)
  units = {"v6e": 2**19}.get(chip.kind, 2**17 if chip.kind == "v5e" else 2**18)
  assert a_cycle == pytest.approx(units, rel=0.01)


@pytest.mark.parametrize(
  ("name", "num_slices", "kind"),
  [
    ("v4:2x2x1", 1, "TPU v4"),
    ("v5e:1x1", 1, "TPU v5 lite"),
    ("v5e:2x2", 2, "TPU v5 lite"),
    ("v5p:2x2x1", 1, "TPU v5"),
    ("v6e:2x4", 1, "TPU v6 lite"),
  ],
)
def test_a_device_is_a_chip(name, num_slices, kind):
  pytest.importorskip("libtpu", reason="libtpu is not installed: [plan]")
  slice_ = topologies.parse(name, num_slices)
  devices = topologies.devices(slice_)
  assert len(devices) == slice_.num_chips
  assert {device.device_kind for device in devices} == {kind}
