"""Title and text of a passage as one text, the same in training and tests."""


def join(title: str, text: str) -> str:
  """With a space between, as BEIR joins them."""
  return f"{title} {text}".strip()
