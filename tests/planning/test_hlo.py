"""Programs written by hand, with known loops, bytes and cycles."""

import pathlib

import pytest

from gtr_jax.planning import collectives, cycles, hlo

PROGRAM = (pathlib.Path(__file__).parent / "program.hlo").read_text()


@pytest.fixture
def program():
  return hlo.parse(PROGRAM)


def test_loops_multiply(program):
  runs, unknown = program.runs()
  # The inner loop goes from 2 to 5, four times.
  assert runs == {"main": 1, "outer_body": 4, "inner_body": 12}
  assert unknown == 0


def test_a_loop_of_unknown_trips_counts_once_and_is_told():
  text = PROGRAM.replace('"known_trip_count":{"n":"4"},', "")
  runs, unknown = hlo.parse(text).runs()
  assert runs == {"main": 1, "outer_body": 1, "inner_body": 3}
  assert unknown == 1


def test_cycles_times_trips(program):
  assert cycles.estimated(program) == 1000 + 12 * 7


def test_bytes_that_a_chip_sends(program):
  assert collectives.sent_bytes(program, num_chips=16) == {
    # Once in each of four trips, though it stands in two fusions: 3/4 of it.
    "all-gather": 4 * (512 * 2 * 4) * 3 // 4,
    # 3 of the 4 parts that are kept.
    "reduce-scatter": 3 * (32 * 4 * 4),
    # 256 float32 and 16 bfloat16 in groups of 8: twice 7/8.
    "all-reduce": (256 * 4 + 16 * 2) * 2 * 7 // 8,
    "collective-permute": 12 * 8 * 4,
    "dcn": 400,
  }


@pytest.mark.parametrize(
  ("groups", "size"),
  [
    ("{{0,1,2,3},{4,5,6,7}}", 4),
    ("[2,8]<=[16]", 8),
    ("[4,2]<=[2,4]T(1,0)", 2),
    ("mesh['axis_0'=4,'axis_1'=2] {'axis_0'}", 4),
    ("mesh['axis_0'=4,'axis_1'=2] {'axis_0','axis_1'}", 8),
    ("mesh['axis_0'=8] {'axis_0':(1)2}", 2),
    ("{}", 16),
  ],
)
def test_group_sizes(groups, size):
  text = f"replica_groups={groups}, use_global_device_ids=true"
  instruction = hlo.Instruction("x", "f32[]", "all-reduce", text, False)
  assert collectives.group_size(instruction, num_chips=16) == size


@pytest.mark.parametrize(
  ("opcode", "shape", "kind", "size"),
  [
    (
      "all-gather-start",
      "((f32[2]), f32[8]{0:T(8,128)(2,1)})",
      "all-gather",
      24,
    ),
    ("all-reduce-start", "(f32[4], f32[4])", "all-reduce", 48),
    (
      "collective-permute-start",
      "(f32[8], f32[8], u32[], u32[])",
      "collective-permute",
      32,
    ),
    ("reduce-scatter", "f32[2]{0}", "reduce-scatter", 24),
    ("all-to-all", "(f32[1], f32[1], f32[1], f32[1])", "all-to-all", 12),
  ],
)
def test_asynchronous_forms_count_their_result(opcode, shape, kind, size):
  text = (
    "ENTRY %main (p: f32[2]) -> f32[8] {\n"
    f"  %x = {shape} {opcode}(%p), replica_groups={{{{0,1,2,3}}}}\n"
    "}\n"
  )
  assert collectives.sent_bytes(hlo.parse(text), 4) == {kind: size}


def test_a_collective_in_pieces_is_one_and_two_of_a_channel_are_two():
  pieces = "".join(
    f"%fused.{number} (p: f32[2]) -> f32[8] {{\n"
    "  %p = f32[2] parameter(0)\n"
    "  ROOT %x = f32[8] all-gather(%p), channel_id=1,"
    " replica_groups={{0,1,2,3}},"
    f' frontend_attributes={{chain_id="{chain}"}}\n'
    "}\n"
    for number, chain in enumerate((7, 7, 8))
  )
  text = pieces + (
    "ENTRY %main (p: f32[2]) -> f32[8] {\n"
    "  %p = f32[2] parameter(0)\n"
    "  %a = f32[8] fusion(%p), kind=kCustom, calls=%fused.0\n"
    "  %b = f32[8] fusion(%p), kind=kCustom, calls=%fused.1\n"
    "  %c = f32[8] fusion(%p), kind=kCustom, calls=%fused.2\n"
    "}\n"
  )
  assert collectives.sent_bytes(hlo.parse(text), 4) == {"all-gather": 2 * 24}


def test_conditional_and_called_computations_run():
  text = """\
%a (p: f32[]) -> f32[] {
  %x = f32[] add(%p, %p), backend_config={"estimated_cycles":"3"}
}
%b (p: f32[]) -> f32[] {
  %y = f32[] add(%p, %p), backend_config={"estimated_cycles":"5"}
}
%c (p: f32[]) -> f32[] {
  %z = f32[] call(%p), to_apply=%a
}
ENTRY %main (p: f32[]) -> f32[] {
  %k = f32[] conditional(%p, %p, %p), branch_computations={%b, %c}
  %l = f32[] conditional(%p, %p, %p), true_computation=%a, false_computation=%b
}
"""
  assert cycles.estimated(hlo.parse(text)) == (5 + 3) + (3 + 5)


@pytest.mark.parametrize(
  ("shape", "size"),
  [
    ("f32[2,3]{1,0:T(8,128)}", 24),
    ("(bf16[4], s8[3], pred[])", 12),
    ("s4[3]", 2),
    ("f8e4m3fn[5]", 5),
    ("token[]", 0),
    ("c64[2]", 16),
  ],
)
def test_sizes_of_arrays(shape, size):
  assert hlo.num_bytes(shape) == size


def test_members_of_a_tuple():
  shape = "((f32[2]{0:T(8,128)}, s32[]), /*index=1*/f32[8]{0:T(8)(2,1)}, u32[])"
  assert hlo.elements(shape) == [
    "(f32[2]{0:T(8,128)}, s32[])",
    "/*index=1*/f32[8]{0:T(8)(2,1)}",
    "u32[]",
  ]
  assert hlo.elements("f32[8]{0}") == ["f32[8]{0}"]


def test_half_a_module_is_refused():
  with pytest.raises(ValueError, match="no ENTRY"):
    hlo.parse("HloModule x\n")
