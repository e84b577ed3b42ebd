"""The whole program with the language model behind it, as a person starts it; the weights are random, the CPU backend is real."""

import base64
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import openai
import pytest

from hunyuanocr.loadtest.receipts import draw_text
from tests.support.appliance import Appliance, appliance
from tests.support.checkpoints import random_checkpoint


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    folder = random_checkpoint(tmp_path_factory.mktemp("models") / "tiny-hunyuan")
    flags = ("--no-page", "--backend", "torch", "--device", "cpu", "--model-path", str(folder), "--vram-gb", "0.5")
    with appliance(*flags) as running:
        running.until_ready()
        yield running
        assert running.stop() == 0
    assert "Traceback" not in "".join(running.printed)


@pytest.fixture(scope="module")
def receipt() -> bytes:
    return draw_text(("CORNER SHOP", "TOTAL 36.80"))


def ask(served: Appliance, receipt: bytes, **expected: Any) -> httpx.Response:
    return httpx.post(f"{served.api}/ocr", files={"file": receipt}, data=expected, timeout=60)


def test_it_says_which_model_serves_where_and_why(served: Appliance) -> None:
    why = "HunyuanOCR (tiny-hunyuan) runs on the CPU (slow) because it was requested."
    assert "".join(served.printed).splitlines()[0] == why
    (model,) = httpx.get(f"{served.api}/v1/models", timeout=60).json()["data"]
    assert (model["id"], model["backend"], model["ready"], model["detail"]) == ("tiny-hunyuan", "torch", True, why)
    assert {"extract", "table", "translate"} <= set(model["tasks"])
    version = httpx.get(f"{served.api}/version", timeout=60).json()
    assert (version["backend"], version["model"]) == ("torch", "tiny-hunyuan")


def test_text_is_streamed_while_the_model_writes(served: Appliance, receipt: bytes) -> None:
    """To OpenAI's client, within its bound of tokens; the pieces are the same text as without a stream."""
    picture = "data:image/png;base64," + base64.b64encode(receipt).decode()
    words = {"type": "text", "text": "Describe this picture for a blind person."}
    message: Any = {"role": "user", "content": [words, {"type": "image_url", "image_url": {"url": picture}}]}
    with openai.OpenAI(base_url=f"{served.api}/v1", api_key="x", max_retries=0, timeout=60) as client:
        ask: Any = partial(client.chat.completions.create, model="any", messages=[message], max_tokens=12)
        chunks = list(ask(stream=True, stream_options={"include_usage": True}))
        whole = ask()
    assert whole.usage.completion_tokens == chunks[-1].usage.completion_tokens == 12
    assert whole.choices[0].finish_reason == chunks[-2].choices[0].finish_reason == "length"
    pieces = [c.choices[0].delta.content for c in chunks[:-2]]
    assert len(pieces) > 2
    assert "".join(pieces).strip() == whole.choices[0].message.content


def test_fields_are_the_models_and_their_proof_the_cpu_readers(served: Appliance, receipt: bytes) -> None:
    answer = ask(served, receipt, instruction="extract total amount").json()
    assert (answer["backend"], answer["model"]) == ("torch", "tiny-hunyuan")
    assert list(answer["fields"]) == ["total_amount"]
    assert not answer["details"]["total_amount"]["grounded"], "random weights read nothing that stands there"
    assert answer["text"] == "CORNER SHOP\nTOTAL 36.80"
    assert all(line["box"] and line["confidence"] > 0.5 for line in answer["lines"])
    assert answer["usage"]["completion_tokens"] > 0
    none = ask(served, receipt, instruction="extract total amount", evidence="none").json()
    assert (none["text"], none["lines"]) == ("", [])
    assert none["fields"] == answer["fields"], "greedy: the same picture and words, the same answer"
