"""Train the ranker, or measure it on real papers.

    python -m synthesis.ranker read FOLDER PAPERS.jsonl           read papers once, with the CPU backend
    python -m synthesis.ranker train OUT --papers PAPERS.jsonl    weights.npz, verifier.json and report.json in the folder OUT
    python -m synthesis.ranker measure PAPERS.jsonl               figures of the ranker that the product has

FOLDER has pictures or PDFs with `NAME.json` files as `hunyuanocr eval` reads them (docs/evaluation.md).
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hunyuanocr.fields.ranking.network import Weights
from hunyuanocr.fields.ranking.ranker import load_weights
from hunyuanocr.fields.ranking.verifier import Verifier
from synthesis.ranker.calibrate import Observation, fit, observe, report, to_json
from synthesis.ranker.real_papers import Paper, load_papers, read_folder
from synthesis.ranker.train import Plan, train

log = logging.getLogger(__name__)
_REAL = 0.3  # share of real papers in the second part of the training
_SLOW = 7e-4  # learning rate of the second part


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m synthesis.ranker", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    read = commands.add_parser("read")
    read.add_argument("folder", type=Path)
    read.add_argument("out", type=Path)
    build = commands.add_parser("train")
    build.add_argument("out", type=Path)
    build.add_argument("--papers", type=Path, nargs="*", default=[])
    build.add_argument("--minutes", type=float, default=15.0, help="on generated pages")
    build.add_argument("--tune", type=float, default=3.0, help="minutes with real papers, three times")
    build.add_argument("--seed", type=int, default=1)
    measure = commands.add_parser("measure")
    measure.add_argument("papers", type=Path, nargs="+")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if args.command == "read":
        asyncio.run(read_folder(args.folder, args.out))
    elif args.command == "train":
        _train(args)
    else:
        observed = observe(_papers(args.papers), lambda _: load_weights())
        _print(report(lambda _: Verifier.load(), observed))


def _papers(paths: Sequence[Path]) -> list[Paper]:
    return [paper for path in paths for paper in load_papers(path)]


def _train(args: argparse.Namespace) -> None:
    """Train on generated pages, then on papers too, and write the model and its figures.

    A model of each half of the papers gives the answers to the other half, to which the verifier is fitted; the final model is
    trained on all of them. Without papers there is only the first part, `generated.pt`.
    """
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    papers = _papers(args.papers)
    base = train(Plan(args.minutes * 60, args.seed)).state_dict()
    torch.save(base, args.out / "generated.pt")
    if not papers:
        return
    plan = Plan(args.tune * 60, args.seed, papers, _REAL, _SLOW)
    halves = [train(dataclasses.replace(plan, papers=papers[n::2]), base).export() for n in (0, 1)]
    half_of = {id(paper): n % 2 for n, paper in enumerate(papers)}
    observed = observe(papers, lambda paper: halves[1 - half_of[id(paper)]])
    _write(args.out, train(plan, base).export(), fit(observed))
    figures = _figures(observed)
    (args.out / "report.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    _print(figures)


def _write(out: Path, weights: Weights, verifier: Verifier) -> None:
    halved = {name: value.astype(np.float16) for name, value in weights.items()}
    np.savez_compressed(out / "weights.npz", allow_pickle=False, **halved)
    (out / "verifier.json").write_text(json.dumps(to_json(verifier)) + "\n", encoding="utf-8")


def _figures(observed: Sequence[Observation]) -> dict[str, dict[str, Any]]:
    """Return the figures, those of each set by a verifier that was fitted to the other sets, if there are several."""
    groups = list(dict.fromkeys(o.group for o in observed))
    if len(groups) < 2:
        verifier = fit(observed)
        return report(lambda _: verifier, observed)
    others = {name: fit([o for o in observed if o.group != name]) for name in groups}
    return report(lambda o: others[o.group], observed)


def _print(figures: dict[str, dict[str, Any]]) -> None:
    for name, row in figures.items():
        log.info("%-8s %s", name, "  ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
