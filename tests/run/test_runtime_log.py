"""What users read when JAX's runtime ends a process."""

import pytest

from gtr_jax.run import runtime_log

FATAL = (
  "F1121 18:54:07.948992   15781 client.h:80] Terminating process because the"
  " JAX distributed service detected fatal errors. This most likely indicates"
  " that another task died. absl::Status: "
)
STACK = """*** Check failure stack trace: ***
    @     0x7f0d56540634  absl::log_internal::LogMessage::SendToLog()
"""
SILENT = """UNAVAILABLE: These tasks are unhealthy (stopped sending heartbeats):
1
3
The tasks have crashed. Check the task logs for an earlier error.

RPC: /xla.coordination.CoordinationService/PollForError
"""
GONE = """UNAVAILABLE: Failed to send RPC to coordination service. Either
Additional GRPC error information from remote target coordination_service
:UNKNOWN:Error received from peer  {grpc_message:"Socket closed"}
"""
LATE = """DEADLINE_EXCEEDED: Deadline Exceeded

RPC: /xla.coordination.CoordinationService/RegisterTask
"""


def translated(text):
  lines = text.splitlines(keepends=True)
  return list(runtime_log.translated(lines, "4", "30"))


@pytest.mark.parametrize(
  ("status", "said"),
  [
    (SILENT, "process 1, 3 of 4 gave no sign of life for 30 seconds"),
    (GONE, "process 0 of 4, which coordinates the others, is gone"),
    (LATE, "did not find each other"),
    ("INTERNAL: new words\n", "lost each other (INTERNAL: new words)"),
  ],
)
def test_a_fatal_error_becomes_one_line(status, said):
  (line,) = translated(FATAL + status + STACK)
  assert said in line and line.count("\n") == 1
  assert "start the same command" in line


def test_talk_about_lost_processes_is_left_out_and_all_else_is_passed_on():
  kept = [
    "a line of a library\n",
    "E1121 18:54:07.947231   15770 cpu_compiler.cc:12] no memory\n",
    "and how much\n",
    "F1121 18:54:07.947231   15770 other.cc:12] Check failed: x == y\n",
    "*** Check failure stack trace: ***\n",
  ]
  hidden = [
    "[Gloo] Rank 0 is connected to 2 peer ranks.\n",
    "[Gloo] Rank [Gloo] Rank 3\n",
    "2 is connected to 2 peer ranks. Expected number of peer ranks is : 2\n",
    "E1121 18:54:07.947231   15770 coordination_service.cc:1549] Use error\n",
    "1\n",
    "W1121 18:53:44.332935   15653 preemption_notifier.cc:90] SIGTERM caught\n",
  ]
  text = "".join([kept[0], *hidden, *kept[1:3], hidden[0], *kept[3:]])
  assert translated(text) == kept
