"""The ranker: candidates, the network in NumPy and in PyTorch, and what the verifier makes of it."""

from __future__ import annotations

import random
from importlib.resources import files

import numpy as np
import pytest
import torch

from hunyuanocr.fields import extract_fields, ground_values
from hunyuanocr.fields.layout import Layout
from hunyuanocr.fields.ranking.candidates import MAX_CANDIDATES, find_candidates
from hunyuanocr.fields.ranking.line_parts import line_parts
from hunyuanocr.fields.ranking.network import scores
from hunyuanocr.fields.ranking.ngrams import ngrams
from hunyuanocr.fields.ranking.ranker import load_weights
from hunyuanocr.fields.rules.page_analysis import PageAnalysis
from hunyuanocr.fields.rules.plausible import is_plausible
from hunyuanocr.types import Line
from synthesis.ranker.model import Batch, RankerModel, loss_of
from synthesis.ranker.pages import generated
from synthesis.ranker.train import Plan, train
from tests.fields.pages import ask, page, spec

RECEIPT = [
    (("MARIGOLD CORNER"),),
    (("12 Hill Road"),),
    ("Date: 05/03/2025",),
    [(0, "Coffee"), (20, "3.50")],
    [(0, "Sandwich"), (20, "6.00")],
    [(0, "Subtotal"), (20, "9.50")],
    [(0, "Tax"), (20, "0.57")],
    [(0, "Total"), (20, "10.07")],
    [(0, "Cash"), (20, "20.00")],
    [(0, "Change"), (20, "9.93")],
]


def receipt(**changes: str) -> list[Line]:
    """The receipt with some of its texts replaced."""
    lines = page([row if isinstance(row, list) else row[0] for row in RECEIPT])
    return [Line(changes.get(n.text.split(":")[0].replace(" ", "_"), n.text), n.box, n.confidence, n.page) for n in lines]


@pytest.mark.parametrize(
    ("line", "inside", "outside"),
    [
        ("Total: 1,234.50", {"1,234.50"}, {"1,234", "234.50", "34.50"}),
        ("Rabatt -2,62 €", {"-2,62 €", "-2,62"}, {"2,62"}),
        ("2016-05-2309:22", {"2016-05-23", "09:22"}, {"2309:22"}),
        ("Date 27.09.2005,15:21", {"27.09.2005", "15:21"}, {"09.2005"}),
        ("VAT 232 153 895", {"232 153 895"}, {"153 895"}),
        ("Patient Anna Wong", {"Anna Wong"}, set()),
        ("就诊科室: 内科 医生: 王芳", {"内科", "王芳"}, set()),
        ("Tel 07 33 98 35 71", {"07 33 98 35 71"}, {"33 98 35 71"}),
        ("Ju119'14 12:36PM", {"Ju119'14", "12:36PM"}, {"36PM"}),
    ],
)
def test_candidates_are_whole_values(line: str, inside: set[str], outside: set[str]) -> None:
    parts = {line[start:end] for start, end in line_parts(line)}
    assert inside <= parts
    assert not outside & parts


def test_neighbours_are_the_label_left_and_the_header_above() -> None:
    around = find_candidates(Layout(page([[(0, "Qty"), (12, "Price")], [(0, "3"), (12, "4.50")], [(0, "Total"), (12, "13.50")]])))
    assert around is not None
    number = next(n for n, c in enumerate(around.candidates) if c.text == "13.50")
    texts = {slot: around.lines[found[number]].text for slot, found in around.neighbours.items() if found[number] >= 0}
    assert (texts["left"], texts["above"], texts["header"]) == ("Total", "4.50", "Price")
    assert "below" not in texts


def test_candidates_of_a_long_document_are_bounded() -> None:
    around = find_candidates(Layout(page([f"Item {n}: {n}.50 and 2025-01-{n % 28 + 1:02}" for n in range(900)])))
    assert around is not None
    assert len(around.candidates) <= MAX_CANDIDATES
    assert {around.lines[0].text, around.lines[-1].text} == {"Item 0: 0.50 and 2025-01-01", "Item 899: 899.50 and 2025-01-04"}
    assert find_candidates(Layout([])) is None
    assert find_candidates(Layout(page(["---"]))) is None


def test_ngrams_ignore_case_diacritics_script_variants_and_digits() -> None:
    assert ngrams("Rückgeld 12") == ngrams("RUCKGELD 99")
    assert ngrams("總金額") == ngrams("总金额")
    assert len(set(ngrams("Invoice number")) & set(ngrams("lnvoice numbcr"))) > 5
    assert not set(ngrams("total")) & set(ngrams("datum"))


def test_the_two_networks_are_the_same() -> None:
    torch.manual_seed(3)
    model = RankerModel().eval()
    rng = random.Random(5)
    for _ in range(4):
        example = generated(rng)
        with torch.no_grad():
            expected = model(Batch([example]))[0].softmax(-1).numpy()
        assert np.abs(scores(model.export(), example.features) - expected).max() < 1e-5


def test_training_learns() -> None:
    torch.manual_seed(3)
    rng = random.Random(9)
    model, batch = RankerModel(), Batch([generated(rng) for _ in range(6)])
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    losses = []
    for _ in range(12):
        loss = loss_of(model(batch), batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert all(torch.isfinite(w).all() for w in train(Plan(0.5, seed=2), workers=0).state_dict().values())


def test_the_ranker_is_small() -> None:
    assert sum(w.nbytes for w in load_weights().values()) < 4e6
    folder = files("hunyuanocr.fields.ranking")
    assert len(folder.joinpath("weights.npz").read_bytes()) < 2e6


def test_a_certain_value_has_no_doubt_and_a_missing_one_a_reason() -> None:
    found = ask(receipt(), "total", "date", "merchant", "tax", "IBAN")
    assert [found[key].value for key in ("total", "date", "merchant", "tax")] == [
        "10.07",
        "05/03/2025",
        "MARIGOLD CORNER",
        "0.57",
    ]
    assert all(found[key].doubts == () and found[key].confidence > 0.8 for key in ("total", "date", "tax"))
    assert (found["IBAN"].value, found["IBAN"].reason, found["IBAN"].doubts) == (None, "not_printed", ())
    assert found["IBAN"].confidence > 0.8


def test_a_label_without_a_value_is_said() -> None:
    lines = page(["PEAK CLINIC", "Patient: Ana Silva", "Doctor:", "Date: 05/03/2025"])
    doctor = ask(lines, "doctor")["doctor"]
    assert (doctor.value, doctor.reason) == (None, "label_without_value")


def test_a_value_that_cannot_be_read_is_said() -> None:
    lines = page(["PEAK CLINIC", "Patient: Ana Silva", [(0, "Date:"), (8, "0S/O3/2O2S")]])
    smudged = [Line(n.text, n.box, 0.5, n.page, letters=(0.2,) * len(n.text)) if n.text.startswith("0S") else n for n in lines]
    found = ask(smudged, "date", "IBAN")
    assert found["date"].value is None or "weak_letters" in {doubt.code for doubt in found["date"].doubts}
    assert found["IBAN"].reason == "not_printed"


def test_a_value_that_the_rules_do_not_find_is_filled_in() -> None:
    lines = page(
        ["ELM DINER", "44 Oak Street, Salem, OR 97301", "(503) 555-0142", "05/03/2025 18:20", [(0, "TOTAL"), (20, "$12.80")]]
    )
    assert ask(lines, "phone")["phone"].value == "(503) 555-0142"
    assert ask(lines, "fax")["fax"].value is None


def test_a_title_is_not_filled_in_as_the_merchant() -> None:
    assert ask(page(["消费清单", "2025-03-05 18:20", [(0, "合计"), (20, "12.80")]]), "merchant")["merchant"].value is None


@pytest.mark.parametrize(
    ("field", "plausible", "implausible"),
    [
        ("id_number", "11010519491231002X", "629319******4222"),
        ("cashier", "王芳", "美诚银行"),
        ("merchant", "ELM DINER", "RECEIPT"),
        ("email", "a@example.com", "(503) 555-0142"),
        ("phone", "(503) 555-0142", ""),
    ],
)
def test_a_filled_value_has_the_form_of_its_field(field: str, plausible: str, implausible: str) -> None:
    analysis = PageAnalysis(receipt(), [spec(field)])
    assert is_plausible(analysis, field, plausible)
    assert not (implausible and is_plausible(analysis, field, implausible))


def test_weak_letters_and_values_of_another_label_are_doubted() -> None:
    weak = [Line(n.text, n.box, 0.62, n.page, letters=(0.3,) * len(n.text)) for n in receipt()]
    total = ask(weak, "total")["total"]
    assert total.value == "10.07"
    assert "weak_letters" in {doubt.code for doubt in total.doubts}
    change = ground_values({"total": "9.93"}, [spec("total")], receipt(), {})[0]
    assert change.grounded, "its letters are on the page"
    assert change.confidence is not None
    assert change.confidence < 0.5
    assert change.doubts
    assert change.alternatives[0].value == "10.07"
    assert change.alternatives[0].box is not None


def test_alternatives_are_few_and_not_the_answer() -> None:
    for field in extract_fields(receipt(Total="Amount"), [spec(k) for k in ("total", "date", "tip", "phone")], [(900, 900)]):
        assert len(field.alternatives) <= 3
        assert field.value not in {a.value for a in field.alternatives}
        assert sum(a.confidence for a in field.alternatives) <= 1.01
