"""How a process finds the others: by T5X's flags, or by its environment."""

import argparse
import glob
import importlib.util
import os
import socket
import sys
import threading
import urllib.error
import urllib.request

import jax

from gtr_jax.run import runtime_log

# For the others to come, when a pod starts.
_JOIN_SECONDS = 300
_PATIENCE_SECONDS = 20.0
_METADATA = (
  "http://metadata.google.internal/computeMetadata/v1/instance/attributes/"
  "worker-network-endpoints"
)


def join(args: argparse.Namespace) -> bool:
  """Joins the other processes; whether there are any.

  Args:
    args: the flags of `gtr train`.

  Raises:
    ValueError: flags that do not fit each other, or an environment that does
      not tell what they do not.
  """
  given = {
    "--coordinator_address": args.coordinator_address,
    "--process_count": args.process_count,
    "--process_index": args.process_index,
  }
  missing = [name for name, value in given.items() if value is None]
  by_flags = len(missing) == 0
  if missing and len(missing) < len(given):
    raise ValueError(
      f"{', '.join(missing)} is missing: several processes need all of"
      f" {', '.join(given)}, or none of them on a TPU slice"
    )
  if by_flags and not 0 <= args.process_index < args.process_count:
    raise ValueError(
      f"--process_index is {args.process_index}, of {args.process_count}"
      " processes; they are counted from 0"
    )
  if not by_flags and (
    args.multiprocess == "never"
    or (args.multiprocess == "auto" and not _has_other_workers())
  ):
    return False
  if by_flags and args.process_index == 0:
    _check_port(args.coordinator_address)
  if not args.debug:  # Before joining, which the runtime ends from C++ too.
    runtime_log.relay(args.process_count, args.silence_seconds)
  jax.config.update("jax_cpu_collectives_implementation", "gloo")
  patience = threading.Timer(_PATIENCE_SECONDS, _say_waiting)
  patience.start()
  try:
    jax.distributed.initialize(
      args.coordinator_address,
      args.process_count,
      args.process_index,
      cluster_detection_method="deactivate" if by_flags else None,
      initialization_timeout=_JOIN_SECONDS,
      heartbeat_timeout_seconds=args.silence_seconds,
    )
  except ValueError as error:
    raise ValueError(
      f"the environment does not tell where the other processes are ({error}):"
      f" give {', '.join(given)}"
    ) from error
  finally:
    patience.cancel()
  return True


def _say_waiting() -> None:
  print(
    "gtr train: waiting for the other processes, for at most"
    f" {_JOIN_SECONDS} seconds",
    file=sys.stderr,
    flush=True,
  )


def _check_port(address: str) -> None:
  """Raises a ValueError where JAX would crash: nobody can listen there."""
  _, _, port = address.rpartition(":")
  if not port.isdigit():
    raise ValueError(
      f"--coordinator_address is {address}; HOST:PORT was due, such as"
      " 10.0.0.1:8476"
    )
  with socket.socket() as listener:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
      listener.bind(("", int(port)))
    except (OSError, OverflowError) as error:
      raise ValueError(
        f"process 0 cannot listen at --coordinator_address {address}"
        f" ({error}): choose another port"
      ) from None


def _has_other_workers() -> bool:
  """Whether the environment speaks of several processes; touches no device."""
  for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"):
    if os.environ.get(name, "1") not in ("", "1"):
      return True
  for name in ("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES"):
    if "," in os.environ.get(name, ""):
      return True
  has_chips = glob.glob("/dev/accel*") or glob.glob("/dev/vfio/[0-9]*")
  if not has_chips or importlib.util.find_spec("libtpu") is None:
    return False
  request = urllib.request.Request(
    _METADATA, headers={"Metadata-Flavor": "Google"}
  )
  try:
    with urllib.request.urlopen(request, timeout=5) as answer:
      return b"," in answer.read()
  except (OSError, urllib.error.URLError):
    return False
