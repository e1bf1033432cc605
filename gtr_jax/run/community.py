"""`gtr community`: dumps of questions and answers to pairs for stage 1."""

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gtr_jax.run import arguments, cli

if TYPE_CHECKING:
  import pathlib

  from gtr_jax.community.choosing import Rules
  from gtr_jax.community.dumps import Sites
  from gtr_jax.community.tally import Tally

NAMES = {"title": "title", "body": "body", "answer": "answer", "id": "id"}


def optional_int(text: str) -> int | None:
  return None if text == "none" else int(text)


def _languages(text: str) -> tuple[str, ...]:
  return tuple(code.strip() for code in text.split(",") if code.strip())


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--format",
    required=True,
    choices=("stackexchange", "reddit", "faq", "fields"),
    help="what the input is: Posts.xml (also in a .7z); submissions and"
    " comments, JSONL; HTML pages; JSONL whose fields have names.  Files may be"
    " compressed (.gz, .bz2, .xz, .zst)",
  )
  parser.add_argument(
    "--input",
    required=True,
    nargs="+",
    metavar="PATH",
    help="files, or folders that are searched for them",
  )
  parser.add_argument(
    "--output",
    required=True,
    metavar="DIR",
    help="folder, made whole or not at all: SITE-00000-of-00004.jsonl.gz and"
    " statistics.json; an earlier result is replaced",
  )
  parser.add_argument(
    "--site",
    help="name for shards and ids; none: of the file or its folder",
  )
  parser.add_argument("--shards", type=int, default=1, help="files a site")
  parser.add_argument(
    "--workers",
    type=int,
    default=len(os.sched_getaffinity(0)),
    help="processes; the result does not depend on it",
  )
  parser.add_argument(
    "--temporary",
    metavar="DIR",
    help="where questions meet their answers, about as large as the dump"
    " without compression; none: beside --output",
  )
  _add_choice(parser)
  _add_filters(parser)
  for name, default in NAMES.items():
    parser.add_argument(
      f"--{name}_field",
      default=default,
      metavar="NAME",
      help=f"of --format=fields: the field of the {name}",
    )
  parser.add_argument(
    "--beam",
    choices=("tfrecord", "array_record"),
    help="make the same pairs as an Apache Beam pipeline, into such files, for"
    " dumps of any size (stackexchange and reddit)",
  )
  parser.add_argument(
    "--beam_options",
    default="",
    metavar="FLAGS",
    help="Beam's own flags in one string: '--runner=FlinkRunner …'",
  )
  arguments.add_on_bad_line(parser, "the input")


def _add_choice(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--num_answers",
    type=int,
    default=1,
    help="at most so many a question: the accepted one, then by score",
  )
  parser.add_argument(
    "--only_accepted", action="store_true", help="no other than the accepted"
  )
  for kind in ("question", "answer"):
    parser.add_argument(
      f"--min_{kind}_score",
      type=optional_int,
      default=0,
      metavar="VOTES",
      help=f"least score of a {kind}, or none",
    )
  parser.add_argument(
    "--closed", action="store_true", help="take closed questions too"
  )
  parser.add_argument(
    "--body", action="store_true", help="the query is title and body"
  )
  parser.add_argument(
    "--drop_code", action="store_true", help="leave blocks of code out of texts"
  )


def _add_filters(parser: argparse.ArgumentParser) -> None:
  limits = {"query": (10, 2_000), "answer": (30, 30_000)}
  for text, (least, most) in limits.items():
    for name, default in (("min", least), ("max", most)):
      parser.add_argument(
        f"--{name}_{text}_characters",
        type=optional_int,
        default=default,
        help=f"{name}imum length of the {text}, or none",
      )
      parser.add_argument(
        f"--{name}_{text}_words",
        type=optional_int,
        help="the same in words, for languages that put spaces between them",
      )
  parser.add_argument(
    "--languages",
    type=_languages,
    default=(),
    metavar="CODES",
    help="ISO codes with commas between: en,de; none: all.  What nobody can"
    " tell stays",
  )
  parser.add_argument(
    "--max_code_share",
    type=float,
    default=1.0,
    help="most of an answer that may be blocks of code",
  )
  parser.add_argument(
    "--near_duplicates",
    type=float,
    default=0.8,
    metavar="SIMILARITY",
    help="leave out pairs at least so similar to an earlier one of the site"
    " (0.5 to 1); 0 keeps all",
  )


def run(args: argparse.Namespace) -> Mapping[str, Any]:
  import pathlib

  from gtr_jax.community import dumps, output
  from gtr_jax.files import json_shards

  _check(args)
  sites = dumps.find(args.format, args.input, args.site)
  dumps.require_apart(sites, pathlib.Path(args.output))
  dumps.require_libraries(
    args.format, _rules(args, "").filters, args.near_duplicates
  )
  with json_shards.replacing(pathlib.Path(args.output)) as folder:
    make = _by_beam if args.beam else _here
    tallies = make(args, sites, folder)
    if not any(tally["pairs.out"] for tally in tallies.values()):
      table = " ".join(" ".join(output.table(tallies)).split())
      raise ValueError(f"no pair came out of {args.input[0]}: {table}")
    result = output.statistics(tallies)
    json_shards.write_statistics(folder / json_shards.STATISTICS, result)
  for line in output.table(tallies):
    print(line)
  return result


def _here(
  args: argparse.Namespace, sites: "Sites", folder: "pathlib.Path"
) -> "dict[str, Tally]":
  """Pairs by this machine; what became of all that was read."""
  from gtr_jax.community import dumps, fields, output
  from gtr_jax.run import progress

  names = fields.Names(
    **{name: getattr(args, f"{name}_field") for name in NAMES},
    with_body=args.body,
  )
  tallies = {}
  for site, files in sites.items():
    tally = tallies[site] = output.Tally()
    with progress.bar(site, None, "record") as advance:
      options = dumps.Options(
        format=args.format,
        rules=_rules(args, site),
        near_duplicates=args.near_duplicates,
        temporary=args.temporary or folder,
        num_workers=args.workers,
        on_bad_line=args.on_bad_line,
        names=names,
        progress=advance,
      )
      pairs = dumps.pairs(site, files, options, tally)
      output.write(folder, site, pairs, args.shards, tally)
  return tallies


def _by_beam(
  args: argparse.Namespace, sites: "Sites", folder: "pathlib.Path"
) -> "dict[str, Tally]":
  """The same by Apache Beam."""
  from gtr_jax.community import beam_pipeline

  return beam_pipeline.run(
    beam_pipeline.Job(
      format=args.format,
      sites=sites,
      rules={site: _rules(args, site) for site in sites},
      near_duplicates=args.near_duplicates,
      on_bad_line=args.on_bad_line,
      folder=folder,
      kind=args.beam,
      num_shards=args.shards,
      runner_options=shlex.split(args.beam_options),
    )
  )


def _rules(args: argparse.Namespace, site: str) -> "Rules":
  from gtr_jax.community import choosing, dumps, filters

  lengths = {
    text: filters.Lengths(
      *(
        getattr(args, f"{name}_{text}_{unit}")
        for unit in ("characters", "words")
        for name in ("min", "max")
      )
    )
    for text in ("query", "answer")
  }
  return choosing.Rules(
    site=site,
    to_text=dumps.to_text(args.format, not args.drop_code),
    filters=filters.Filters(
      lengths["query"], lengths["answer"], args.languages, args.max_code_share
    ),
    num_answers=args.num_answers,
    only_accepted=args.only_accepted,
    min_question_score=args.min_question_score,
    min_answer_score=args.min_answer_score,
    closed=args.closed,
    body=args.body,
  )


def _check(args: argparse.Namespace) -> None:
  for name in ("shards", "workers", "num_answers"):
    if getattr(args, name) < 1:
      raise ValueError(f"--{name} is {getattr(args, name)}: give 1 or more")
  if args.shards > 10_000:
    raise ValueError(f"--shards is {args.shards}: give 1 to 10000")
  if args.beam and args.format not in ("stackexchange", "reddit"):
    raise ValueError(
      f"--beam with --format={args.format}: run it without --beam"
    )
  if not 0 <= args.max_code_share <= 1:
    raise ValueError(f"--max_code_share is {args.max_code_share}: give 0 to 1")
  if args.near_duplicates and not 0.5 <= args.near_duplicates <= 1:
    raise ValueError(
      f"--near_duplicates is {args.near_duplicates}: give 0.5 to 1, or 0"
    )


def main(argv: Sequence[str] | None = None) -> int:
  return cli.run_program(
    "community",
    "Makes pairs for stage 1 from dumps of questions and answers.",
    add_arguments,
    run,
    argv,
  )


if __name__ == "__main__":
  sys.exit(main())
