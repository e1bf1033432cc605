import dataclasses
import functools
import io
import itertools
import json
import pathlib
import random
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sentencepiece
import tensorflow as tf
from flax import linen as nn

from gtr_jax.data import vocabulary
from gtr_jax.export import artifact, placement, saved_model, tokenizer_graph
from gtr_jax.export import original as original_lib
from gtr_jax.export import saved_model_server as server
from gtr_jax.layers import mlp, pooling
from gtr_jax.models import dual_encoder, t5_encoder, text_encoder

TEXT = [
  "A SavedModel takes raw strings: SentencePiece is in the graph.",
  "Prompts, EOS and the cut to the length are there, too; 12,345 of them!",
  "Ünïcödé texts – naïve café, Straße, 日本語, русский – are read alike.",
] * 20
SHARED = pathlib.Path(__file__).parents[2] / "../shared/data"


def train(**settings):
  """A SentencePiece model with another layout than the house's own."""
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(TEXT),
    model_writer=model,
    hard_vocab_limit=False,
    num_threads=1,
    minloglevel=2,
    **settings,
  )
  return vocabulary.Tokenizer(model.getvalue(), "query: ", "")


T5_LAYOUT = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
TOKENIZERS = {
  "own": lambda: vocabulary.train(TEXT, 400, passage_prompt="passage:  "),
  "unknown is 0": lambda: train(vocab_size=120),
  "byte pairs": lambda: train(
    vocab_size=400, model_type="bpe", byte_fallback=True, **T5_LAYOUT
  ),
  "marks of its own": lambda: train(
    vocab_size=150,
    user_defined_symbols=["<extra_id_0>", "é"],
    control_symbols=["<sep>"],
    remove_extra_whitespaces=False,
    **T5_LAYOUT,
  ),
}


@functools.cache
def tokenizer_of(layout):
  return TOKENIZERS[layout]()


def random_text(rng):
  marks = ["<extra_id_0>", "<sep>", "</s>", "<unk>", "<0x41>", "\u2581", "ﬁ"]
  kinds = [
    lambda: chr(rng.randrange(128)),
    lambda: rng.choice(" \t\n\u00a0\u2003\u200b\u3000\u00ad\ufeff"),
    lambda: chr(rng.randrange(0xD800)),
    lambda: chr(rng.randrange(0xE000, 0x110000)),
    lambda: rng.choice(marks),
    lambda: rng.choice(TEXT)[: rng.randrange(30)],
  ]
  return "".join(rng.choice(kinds)() for _ in range(rng.choice([0, 1, 3, 30])))


@pytest.mark.parametrize("length", [1, 2, 16, 200])
@pytest.mark.parametrize("layout", TOKENIZERS)
def test_token_ids_are_the_tokenizers(layout, length):
  tokenizer = tokenizer_of(layout)
  graph = tokenizer_graph.sentencepiece(tokenizer.model_bytes)
  rng = random.Random(length)
  texts = [random_text(rng) for _ in range(300)]
  prompts = tokenizer.query_prompt, tokenizer.passage_prompt
  for tower, prompt in zip(original_lib.TOWERS, prompts, strict=True):
    actual = tokenizer_graph.token_ids(
      graph, tf.constant(texts), prompt, length, tokenizer.eos_id
    )
    rows, _ = tokenizer.encode(texts, length, tower)
    expected = vocabulary.pad(rows, max(map(len, rows)))
    assert actual.dtype == tf.int32 and actual.shape == expected.shape
    for text, row, due in zip(texts, actual.numpy(), expected, strict=True):
      # Of equally likely readings, either: see `check.Comparison`.
      decoded = tokenizer.decode(row), tokenizer.decode(due)
      assert sorted(row) == sorted(due) and decoded[0] == decoded[1], text


def test_ids_of_t5s_vocabulary_on_real_documents():
  model = SHARED / "vocab/t5_spiece.model"
  corpus = SHARED / "beir/scifact/corpus.jsonl"
  if not (model.is_file() and corpus.is_file()):
    pytest.skip(f"no {model} or no {corpus}")
  tokenizer = vocabulary.load(model)
  with corpus.open() as lines:
    lines = itertools.islice(lines, 500)
    texts = [json.loads(line)["text"] for line in lines]
  graph = tokenizer_graph.sentencepiece(tokenizer.model_bytes)
  actual = tokenizer_graph.token_ids(graph, tf.constant(texts), "", 512, 1)
  rows, _ = tokenizer.encode(texts, 512, "passage")
  expected = vocabulary.pad(rows, 512)
  differ = (actual.numpy() != expected).any(axis=1)
  assert (
    differ.mean() < 0.01
  )  # Ties, of which there are none to SentencePiece 0.2.1.


def make_original(tokenizer, separate=False, pooling_fn=pooling.mean, **sizes):
  encoder = functools.partial(
    t5_encoder.T5Encoder, num_heads=2, head_dim=8, mlp_dim=32
  )
  sizes = {"num_layers": 1, **sizes}

  def tower():
    return text_encoder.TextEncoder(
      encoder(**sizes),
      vocab_size=tokenizer.vocab_size,
      embed_dim=16,
      projection_dim=24,
      pooling_fn=pooling_fn,
    )

  model = dual_encoder.DualEncoder(tower(), tower() if separate else None)
  return original_lib.Original(
    model, random_params(model), tokenizer, 16, 32, "0123456789abcdef", step=7
  )


def random_params(model):
  """As `init` makes them, without compiling it; scales differ from 1."""
  tokens = jnp.ones((1, 2), jnp.int32)
  shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), tokens, tokens))
  rng = np.random.default_rng(0)

  def draw(leaf):
    spread = rng.normal(size=leaf.shape) / np.sqrt(leaf.shape[0])
    return jnp.asarray(spread + (len(leaf.shape) == 1), jnp.float32)

  return jax.tree.map(draw, nn.meta.unbox(shapes)["params"])


@pytest.fixture(scope="module")
def original():
  tokenizer = vocabulary.train(
    TEXT, 400, query_prompt="query: ", passage_prompt="passage:  "
  )
  return make_original(tokenizer, separate=True)


@pytest.fixture(scope="module")
def exported(original, tmp_path_factory):
  """(directory, comparison) of separate towers with prompts, float32."""
  directory = tmp_path_factory.mktemp("exports") / "export"
  return directory, artifact.make(original, saved_model, directory)


@pytest.fixture(scope="module")
def loaded(exported):
  return tf.saved_model.load(str(exported[0]))


@pytest.fixture(scope="module")
def towers(exported):
  return saved_model.open_towers(exported[0])


@pytest.fixture
def in_this_process(monkeypatch):
  """Reads exports back here, which takes less time than a new process."""
  monkeypatch.setattr(
    saved_model, "load", lambda folder: server.open_folder(str(folder))
  )


def expected_of(original, texts, tower):
  rows, _ = original.tokenizer.encode(texts, original.length(tower), tower)
  tokens = vocabulary.pad(rows, max(map(len, rows)))
  encode = original.encoders()[tower]
  return np.asarray(jax.jit(encode)(original.params, tokens))


@pytest.mark.parametrize("tower", original_lib.TOWERS)
def test_embeddings_are_the_models(original, loaded, tower):
  texts = ["a short one", "", "a longer one " * 30]
  encode = getattr(loaded, f"encode_{tower}")
  actual = encode(tf.constant(texts)).numpy()
  assert actual.shape == (3, 24) and actual.dtype == np.float32
  expected = expected_of(original, texts, tower)
  np.testing.assert_allclose(actual, expected, atol=1e-6)
  named = loaded.signatures[f"encode_{tower}"](texts=tf.constant(texts))
  assert named.keys() == {"embeddings"}
  np.testing.assert_array_equal(named["embeddings"], actual)


def test_the_towers_differ_and_queries_are_the_default(loaded):
  texts = tf.constant(["one text"])
  query, passage = loaded.encode_query(texts), loaded.encode_passage(texts)
  assert np.abs(query - passage).max() > 1e-2
  default = loaded.signatures["serving_default"](texts=texts)["embeddings"]
  np.testing.assert_array_equal(default, query)


def test_token_ids_of_any_shape(original, loaded):
  encode = loaded.encode_passage_tokens
  expected = encode(tf.constant([[5, 6, 7, 1]]))
  for shape in [(1, 5), (3, 16), (2, 17)]:
    tokens = np.zeros(shape, np.int32)
    tokens[:, :4] = [5, 6, 7, 1]
    for row in encode(tf.constant(tokens)).numpy():
      np.testing.assert_allclose(row, expected[0], atol=1e-6)
  model = original.encoders()["passage"]
  due = model(original.params, jnp.array([[5, 6, 7, 1]]))
  np.testing.assert_allclose(expected, due, atol=1e-6)
  assert not encode(tf.zeros([1, 0], tf.int32)).numpy().any()


def test_no_texts_are_no_embeddings(loaded):
  assert loaded.encode_query(tf.constant([], tf.string)).shape == (0, 24)
  assert loaded.encode_passage_tokens(tf.zeros([0, 0], tf.int32)).shape == (
    0,
    24,
  )


def test_the_description_tells_what_it_is(exported):
  directory, comparison = exported
  path = directory / placement.DESCRIPTION_FILE
  description = json.loads(path.read_text())
  assert comparison.near.max_difference <= 1e-5
  assert {
    "checkpoint_hash": "0123456789abcdef",
    "step": 7,
    "query_length": 16,
    "passage_length": 32,
    "query_prompt": "query: ",
    "passage_prompt": "passage:  ",
    "embedding_dim": 24,
    "tensorflow": tf.__version__,
  }.items() <= description.items()
  assert "tensorflow_text" in (directory / "README.md").read_text()


@pytest.fixture(scope="module")
def shared():
  return make_original(vocabulary.train(TEXT, 400))


def test_parameters_are_variables_and_stored_once(shared, tmp_path):
  saved_model.write(shared, tmp_path)
  path = str(tmp_path / "variables/variables")
  stored = {
    name.split("/.ATTRIBUTES")[0].removeprefix("params/")
    for name, _ in tf.train.list_variables(path)
    if name.startswith("params/")
  }
  leaves = jax.tree_util.tree_leaves_with_path(shared.params)
  assert stored == {"/".join(part.key for part in place) for place, _ in leaves}
  size = sum(array.nbytes for _, array in leaves)
  data = next((tmp_path / "variables").glob("*.data*")).stat().st_size
  assert size <= data < size + 20_000
  graph = (tmp_path / "saved_model.pb").read_bytes()
  table = np.asarray(shared.params["token_embedder"]["embedding"])
  assert table.tobytes()[:64] not in graph


def test_an_export_with_a_wrong_number_is_not_kept(
  shared, tmp_path, monkeypatch, in_this_process
):
  write = saved_model.write

  def poisoned(original, directory):
    params = jax.tree.map(np.array, original.params)
    params["encoder"]["layers_0"]["mlp"]["wo"]["kernel"][3] *= 1.1
    write(dataclasses.replace(original, params=params), directory)

  monkeypatch.setattr(saved_model, "write", poisoned)
  with pytest.raises(ValueError, match="differ by .* at most 1e-05 is due"):
    artifact.make(shared, saved_model, tmp_path / "export")
  assert not list(tmp_path.iterdir())


GATED = (mlp.gelu_gate, mlp.linear_gate)


@pytest.mark.parametrize(
  "parts",
  [
    {"pooling_fn": pooling.first},
    {"pooling_fn": pooling.last},
    {"pooling_fn": pooling.maximum},
    {"pooling_fn": pooling.Attention()},
    {"num_layers": 1, "activations": GATED},
  ],
  ids=lambda parts: "-".join(map(str, parts)),
)
def test_every_part_of_a_model_goes_through(shared, parts):
  parts = {"num_layers": 0, **parts}
  other = make_original(shared.tokenizer, **parts)
  variables = jax.tree.map(saved_model._variable, other.params)
  encode = saved_model._encode_tokens(other.encoders()["query"], variables)
  texts = ["one text", "", "two texts are more than one, and longer"]
  rows, _ = other.tokenizer.encode(texts, other.query_length, "query")
  actual = encode(tf.constant(vocabulary.pad(rows, 16)))
  np.testing.assert_allclose(
    actual, expected_of(other, texts, "query"), atol=1e-6
  )


def test_an_export_with_another_vocabulary_is_not_kept(
  shared, tmp_path, monkeypatch, in_this_process
):
  other = vocabulary.train(TEXT[:1], 300).model_bytes
  sentencepiece_of = tokenizer_graph.sentencepiece
  monkeypatch.setattr(
    tokenizer_graph, "sentencepiece", lambda _: sentencepiece_of(other)
  )
  with pytest.raises(ValueError, match="the export reads the query"):
    artifact.make(shared, saved_model, tmp_path / "export")
  assert not list(tmp_path.iterdir())


def test_sizes_are_few_and_waste_a_third_at_most():
  sizes = np.arange(1, 513)
  rounded = tf.map_fn(saved_model._rounded_up, tf.constant(sizes, tf.int32))
  rounded = rounded.numpy()
  assert len(set(rounded)) <= 19
  assert (sizes <= rounded).all() and ((rounded - sizes) * 3 <= rounded).all()
  assert int(saved_model._rounded_up(tf.constant(0))) == 1


def test_the_cards_code_runs(exported):
  """The gate has run the model where JAX cannot be imported."""
  card = (exported[0] / "README.md").read_text()
  code = card.partition("```python\n")[2].partition("```")[0]
  names: dict[str, Any] = {}
  exec(code.replace("PATH", str(exported[0])), names)
  queries, passages = names["queries"].numpy(), names["passages"].numpy()
  np.testing.assert_allclose(names["scores"], queries @ passages.T, atol=1e-6)
  assert queries.shape == (1, 24) and names["scores"].shape == (1, 1)


def test_the_warm_up_requests_are_what_serving_reads(
  original, exported, loaded
):
  log = pytest.importorskip(
    "tensorflow_serving.apis.prediction_log_pb2",
    reason="tensorflow-serving-api is not installed; the extra dev has it",
  )
  path = exported[0] / "assets.extra/tf_serving_warmup_requests"
  found: dict[str, list] = {}
  for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
    read = log.PredictionLog.FromString(record)
    # Nothing was taken for an unknown field.
    assert read.WhichOneof("log_type") == "predict_log"
    request = read.predict_log.request
    (name,) = request.inputs
    tensor = tf.make_ndarray(request.inputs[name])
    again = log.PredictionLog()
    again.predict_log.request.model_spec.name = request.model_spec.name
    signature = request.model_spec.signature_name
    again.predict_log.request.model_spec.signature_name = signature
    again.predict_log.request.inputs[name].CopyFrom(
      tf.make_tensor_proto(tensor)
    )
    assert again == read
    answer = loaded.signatures[signature](**{name: tf.constant(tensor)})
    assert answer["embeddings"].shape == (len(tensor), 24)
    found.setdefault(signature, []).append(tensor)
  assert found.keys() == set(loaded.signatures)
  assert {array.shape for array in found["encode_passage"]} == {(1,), (8,)}
  lengths = {array.shape[1] for array in found["encode_passage_tokens"]}
  assert max(lengths) == original.passage_length and len(lengths) == 2


def test_the_vocabulary_lies_beside(original, exported):
  model = (exported[0] / "assets.extra/spiece.model").read_bytes()
  assert model == original.tokenizer.model_bytes


@pytest.mark.parametrize("shape", [(2, 7), (0, 5), (3, 0), (0, 0)])
def test_towers_of_a_folder(original, towers, shape):
  tokens = np.random.default_rng(0).integers(1, 300, shape).astype(np.int32)
  for tower in original_lib.TOWERS:
    actual = towers(tokens, tower)
    assert actual.shape == (shape[0], 24) and actual.dtype == np.float32
    if tokens.size:
      due = jax.jit(original.encoders()[tower])(original.params, tokens)
      np.testing.assert_allclose(actual, due, atol=1e-6)
    else:
      assert not actual.any()


def test_accelerators_get_no_cpus_program(shared):
  """A CPU goes block by block, a loop; an exported program does not."""
  encode = shared.encoders()["query"]
  tokens = jax.export.symbolic_args_specs(
    jax.ShapeDtypeStruct((1, 1), jnp.int32), "b, l"
  )
  platforms = ("cpu", "cuda", "tpu")
  lowered = jax.export.export(jax.jit(encode), platforms=platforms)(
    shared.params, tokens
  )
  assert "stablehlo.while" not in lowered.mlir_module()
  # What is looked for is there where the shapes are known.
  tokens = jax.ShapeDtypeStruct((2_048, 128), jnp.int32)
  known = jax.jit(encode).lower(shared.params, tokens)
  assert "stablehlo.while" in known.as_text()


def test_bfloat16_is_written_and_computed_in(shared, tmp_path):
  low = dataclasses.replace(shared, dtype="bfloat16")
  saved_model.write(low, tmp_path)
  path = str(tmp_path / "variables/variables")
  reader = tf.train.load_checkpoint(path)
  types = reader.get_variable_to_dtype_map()
  stored = {types[name] for name in types if name.startswith("params/")}
  assert stored == {tf.bfloat16}
  texts = ["a short one", "another one"]
  actual = server.open_folder(str(tmp_path)).embeddings(texts, "query")
  assert actual.dtype == np.float32
  due = expected_of(shared, texts, "query")
  difference = np.abs(actual - due).max()
  assert 1e-5 < difference < 2**-6
