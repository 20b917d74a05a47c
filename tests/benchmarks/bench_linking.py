"""Entity linking against what was asked of it, on WebNLG and WordNet: one command, every figure with its 95 % interval.

    python tests/benchmarks/bench_linking.py [--quick] [--only dev,held_out] [--folds 5,6,7]

The sets, and what a linker may see of them, are described in link_data.py. Parts: `dev` is set (a), untrained and trained, with misspelt
mentions and with the memory of a fifth of the entities hidden; `held_out` is (b), `left_out` is (c), `nil` has a fifth of the entities
withheld; `few` shows how a few labels do. Others are modules of their own: `joint` (link_joint.py), `homonyms` (link_homonyms.py), `alone`
and `speed` (link_texts.py), `wordnet` (link_wordnet.py; it needs PGEMBED_URL). Data that is absent is named, and its part left out.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import link_data
import numpy as np
from link_data import Accuracy, Corpus, Share, Split
from report import Promise, promises, show

from pgembed.linking.contract import Ranking
from pgembed.linking.engine import Linker, Model, train

PARTS = ("dev", "held_out", "left_out", "nil", "few", "joint", "homonyms", "alone", "speed", "wordnet")
FEW = (5, 50, 500)
BANDS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99, 1.0001)


@dataclass
class Run:
    """What the parts share.

    Attributes:
        kept: what was asked beside what came of it, of all parts.
    """

    corpus: Corpus
    quick: bool
    folds: tuple[int, ...]
    kept: list[Promise]
    model: Model | None = None

    def some(self, split: Split) -> Split:
        return split.some(30) if self.quick else split

    def ask(self, what: str, asked: float, share: Share, note: str = "") -> None:
        self.kept.append(Promise(what, asked, share.value, note=f"{share.low:.4f}-{share.high:.4f}{note}"))


def ranked(split: Split, model: Model | None) -> list[list[Ranking]]:
    return Linker(split.knowledge, model=model).ranked(split.contents, split.spans)


def lines(label: str, measured: dict[str, Accuracy]) -> list[tuple[str | float, ...]]:
    """Of all mentions, then of each kind."""
    made: list[tuple[str | float, ...]] = []
    for kind, of in measured.items():
        first, ten = of.at(1), of.at(10)
        made.append((f"{label}: {kind}", len(of.rank), first.value, f"{first.low:.4f}-{first.high:.4f}", ten.value))
    return made


HEADER = ("accuracy", "mentions", "@1", "95 %", "@10")


def trained_on_dev(run: Run) -> tuple[Split, Model]:
    """Set (a) and its model, which several parts need; training it is timed."""
    split = run.some(run.corpus.on_dev())
    if run.model is None:
        began = time.process_time()
        run.model = train(split.knowledge, split.examples)
        seconds = time.process_time() - began
        run.kept.append(Promise("training, processor minutes", 5, seconds / 60, at_most=True))
        print(f"  training: {seconds:.0f} s of processor time, {len(run.model.to_bytes()) / 1e6:.1f} MB")
    return split, run.model


def dev(run: Run) -> None:
    """Set (a): all training texts, development texts."""
    split, model = trained_on_dev(run)
    untrained = link_data.accuracy(split, ranked(split, None))
    plain = ranked(split, model)
    trained = link_data.accuracy(split, plain)
    rows = [*lines("untrained", untrained), *lines("trained", trained)]
    run.ask("(a) untrained, accuracy@1", 0.95, untrained["all"].at(1))
    run.ask("(a) trained, accuracy@1", 0.991, trained["all"].at(1))
    run.ask("(a) trained, candidates@10", 0.998, trained["all"].at(10))
    right = link_data.ranks(split, plain) == 0

    wrong, changed = link_data.misspelt(split)
    again = link_data.ranks(wrong, ranked(wrong, model)) == 0
    loss = link_data.share((right & changed).astype(float) - (again & changed), changed, split.text)
    run.kept.append(Promise("misspelt mentions, points lost", 4, 100 * loss.value, at_most=True, note=interval(loss, 100)))
    for label, correct in (("changed mentions as they were", right), ("misspelt", again)):
        share = link_data.share(correct & changed, changed, split.text)
        rows.append((label, int(changed.sum()), share.value, f"{share.low:.4f}-{share.high:.4f}", ""))

    hidden = run.corpus.drawn(0)
    silent = replace(model, memory=model.memory.forget(hidden))
    theirs = np.array([key in hidden for text in split.texts for key in text.keys])
    again = link_data.ranks(split, ranked(split, silent)) == 0
    loss = link_data.share((right & theirs).astype(float) - (again & theirs), theirs, split.text)
    run.kept.append(Promise("aliases of 20 % hidden, points lost", 1, 100 * loss.value, at_most=True, note=interval(loss, 100)))
    for label, correct in (("mentions of a fifth of the entities", right), ("without their aliases", again)):
        share = link_data.share(correct & theirs, theirs, split.text)
        rows.append((label, int(theirs.sum()), share.value, f"{share.low:.4f}-{share.high:.4f}", ""))
    show("linking_dev", "(a) development texts, gold spans given", HEADER, rows)


def interval(share: Share, times: float) -> str:
    return f"{times * share.low:.2f}-{times * share.high:.2f}"


def held_out(run: Run) -> None:
    """Set (b): mentions of entities that no label names."""
    before, after = [], []
    for fold in run.folds:
        split = run.some(run.corpus.held_out(fold))
        before.append(link_data.accuracy(split, ranked(split, None)))
        after.append(link_data.accuracy(split, ranked(split, train(split.knowledge, split.examples))))
        print(f"  fold {fold}: untrained {before[-1]['all'].at(1)}, trained {after[-1]['all'].at(1)}", flush=True)
    untrained, trained = link_data.together(before), link_data.together(after)
    run.ask("(b) trained, accuracy@1", 0.965, trained["all"].at(1))
    run.ask("(b) trained, candidates@10", 0.998, trained["all"].at(10))
    title = f"(b) entities without any label, folds {', '.join(map(str, run.folds))}"
    show("linking_held_out", title, HEADER, [*lines("untrained", untrained), *lines("trained", trained)])


def left_out(run: Run) -> None:
    """Set (c): texts of categories that no label is from."""
    before, parts, rows = [], [], []
    for part in range(1 if run.quick else len(link_data.PARTS)):
        split = run.some(run.corpus.left_out(part))
        before.append(link_data.accuracy(split, ranked(split, None)))
        parts.append(link_data.accuracy(split, ranked(split, train(split.knowledge, split.examples))))
        for label, of in (("untrained", before[-1]), ("trained", parts[-1])):
            rows += lines(f"{split.name}, {label}", {"all": of["all"]})
        print(f"  {split.name}: untrained {before[-1]['all'].at(1)}, trained {parts[-1]['all'].at(1)}", flush=True)
    trained = link_data.together(parts)
    run.ask("(c) trained, accuracy@1", 0.96, trained["all"].at(1))
    show(
        "linking_left_out",
        "(c) categories without any label",
        HEADER,
        [*lines("untrained", link_data.together(before)), *lines("trained", trained), *rows],
    )


def nil(run: Run) -> None:
    """A fifth of the entities withheld; decisions at the default setting and by the precision that is asked for; honest probabilities."""
    split = run.some(run.corpus.withheld())
    model = train(split.knowledge, split.examples)
    rows = []
    for label, learned, precision in (
        ("untrained", None, None),
        ("trained", model, None),
        *((f"trained, precision {asked:g}", model, asked) for asked in (0.9, 0.95, 0.98, 0.99)),
    ):
        found = Linker(split.knowledge, model=learned).link(split.contents, split.spans, precision=precision)
        flat = [link for links in found for link in links]
        said = np.array([link.decision for link in flat])
        row = np.array([-1 if link.row is None else link.row for link in flat])
        exists, links, none = split.row >= 0, said == "link", said == "nil"
        right = links & (row == split.row)
        f1 = link_data.share(2.0 * (none & ~exists), none.astype(float) + ~exists, split.text)
        exact = link_data.share(right, links, split.text)
        recall = link_data.share(right, exists, split.text)
        rows.append((label, f1.value, exact.value, interval(exact, 1), recall.value, float((said == "review").mean())))
        if label == "trained":
            run.ask("NIL, F1", 0.935, f1)
            run.ask("precision of links", 0.975, exact)
            run.ask("recall of links in the table", 0.97, recall)
            honest = reliability(flat, split, model)
    header = ("decisions", "F1 of NIL", "precision of links", "95 %", "recall of links", "review")
    show("linking_nil", "a fifth of the entities withheld, gold spans given", header, rows)
    show("linking_reliability", "are probabilities honest", ("score", "mentions", "mean score", "right"), honest)


def reliability(flat: Sequence[object], split: Split, model: Model) -> list[tuple[str | float, ...]]:
    """How often the best candidate is right, by its score."""
    found = [best for some in ranked(split, model) for best in some]
    score = np.array([best.probability[0] if best.probability else 0.0 for best in found])
    right = np.array([bool(best.rows) and best.rows[0] == row for best, row in zip(found, split.row.tolist(), strict=True)])
    rows: list[tuple[str | float, ...]] = []
    for low, high in itertools.pairwise(BANDS):
        here = (score >= low) & (score < high)
        if here.any():
            rows.append((f"{low:g} to {min(high, 1):g}", int(here.sum()), float(score[here].mean()), float(right[here].mean())))
    return rows


def few(run: Run) -> None:
    """A few labels: never worse than none."""
    split = run.some(run.corpus.on_dev())
    rows = lines("no labels", {"all": link_data.accuracy(split, ranked(split, None))["all"]})
    order = np.random.default_rng(0).permutation(len(split.examples))
    for texts in FEW[:2] if run.quick else FEW:
        model = train(split.knowledge, [split.examples[at] for at in order[:texts]])
        rows += lines(f"{texts} labelled texts", {"all": link_data.accuracy(split, ranked(split, model))["all"]})
    show("linking_few", "(a) with few labels", HEADER, rows)


def joint(run: Run) -> None:
    """The joint space alone."""
    import link_joint

    figures = link_joint.measured(run.corpus, run.folds, run.quick)
    rows = [line for name, of in figures.accuracy.items() for line in lines(name, of)]
    run.ask("(b) joint space alone, accuracy@1", 0.93, figures.accuracy["held out"]["all"].at(1))
    show("linking_joint", "the joint space alone: nearest row by cosine", HEADER, rows, f"one fit takes {figures.fitting:.0f} s")


def homonyms(run: Run) -> None:
    """WordNet's."""
    import link_homonyms

    asked = {"untrained, lemmas on which no weight was chosen": 0.57, "trained, lemmas held out": 0.63}
    for name, share in link_homonyms.measured(folds=1 if run.quick else link_homonyms.FOLDS, most=1_500 if run.quick else None).items():
        if name in asked:
            run.ask(f"homonyms, {name}", asked[name], share)


def alone(run: Run) -> None:
    """Nothing but the text."""
    import link_texts

    split, model = trained_on_dev(run)
    for label, made in link_texts.text_alone(split, model):
        if label == "trained":
            run.ask("text alone, F1 of entity sets", 0.95, made.micro)


def speed(run: Run) -> None:
    """Texts a second."""
    import link_texts

    _, model = trained_on_dev(run)
    for what, least, measured in link_texts.speed(run.corpus, model, link_data.DATA, run.quick):
        run.kept.append(Promise(what, least, measured))


def wordnet(run: Run) -> None:
    """A large table by SQL."""
    import link_wordnet

    run.kept.extend(link_wordnet.wordnet(quick=run.quick))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs; nothing is kept for README.md")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between (default: %(default)s)")
    parser.add_argument("--folds", default="0,1,2,3,4", help="of (b); others than these draw other entities (default: %(default)s)")
    options = parser.parse_args()
    parts = options.only.split(",")
    if not set(parts) <= set(PARTS):
        parser.error(f"--only names parts of {', '.join(PARTS)}, not {', '.join(sorted(set(parts) - set(PARTS)))}")
    if options.quick:
        os.environ.pop("PGEMBED_BENCH", None)  # small numbers take no place of large ones
    folds = tuple(int(fold) for fold in options.folds.split(","))
    corpus = link_data.read()
    if options.quick:
        corpus = corpus.some(100, 40)
    run = Run(corpus, options.quick, folds[:1] if options.quick else folds, [])
    runs: dict[str, Callable[[Run], None]] = {
        "dev": dev, "held_out": held_out, "left_out": left_out, "nil": nil, "few": few,
        "joint": joint, "homonyms": homonyms, "alone": alone, "speed": speed, "wordnet": wordnet,
    }  # fmt: skip
    for part in parts:
        print(f"\n-- {part}", flush=True)
        began, before = time.perf_counter(), len(run.kept)
        try:
            runs[part](run)
        except SystemExit as end:  # data that is absent was named
            if end.code:
                raise
        except ImportError as missing:
            print(f"skipped: {missing}")
        said = "Asked beside measured" if part in ("speed", "wordnet") else "Asked beside measured, with the 95 % interval"
        promises(f"linking_asked_{part}", said, run.kept[before:])
        print(f"-- {part}: {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
