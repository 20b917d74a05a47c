"""Groups of rows: duplicates, labels and topics on real texts, and columns that could be joined, each beside a plain way.

Duplicates are planted in Debian's package
descriptions and arXiv's titles: a twentieth of the rows a second time, and some a third, with one to three changes (letters wrong, words
in another order, other punctuation or case). A pair is right where it was planted, or has the same words. Labels are arXiv's archives and
its largest categories, described in a few words; the plain way takes the nearest description. Topics are compared with categories by
normalised mutual information, beside a plain k-means.
"""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import corpora
import join_data
import numpy as np
import numpy.typing as npt
import report

from pgembed import demo, lexical, models
from pgembed.codecs import kmeans
from pgembed.grouping import duplicates, labels, topics

SEEDS = (0, 1, 2)
SHARE = 0.05
PAPERS = 20_000
ARCHIVES = {
    "astro-ph": "astrophysics: stars, galaxies, planets, cosmology",
    "cond-mat": "condensed matter physics: superconductors, magnetism, materials, statistical mechanics",
    "cs": "computer science: algorithms, machine learning, networks, software, computer vision, language",
    "econ": "economics: markets, econometrics",
    "eess": "electrical engineering: signal processing, control systems, image and audio processing",
    "gr-qc": "general relativity: black holes, gravity, gravitational waves",
    "hep-ex": "high energy physics experiment: measurements at colliders and detectors",
    "hep-lat": "lattice gauge theory: lattice QCD simulations",
    "hep-ph": "high energy physics phenomenology: standard model, quarks, Higgs, neutrinos, dark matter",
    "hep-th": "high energy physics theory: string theory, supersymmetry, quantum field theory",
    "math": "mathematics: algebra, geometry, analysis, number theory, probability, combinatorics",
    "math-ph": "mathematical physics: rigorous methods for physical models",
    "nlin": "nonlinear sciences: chaos, solitons, integrable systems, pattern formation",
    "nucl-ex": "nuclear physics experiment: heavy ion collisions, nuclear reactions measured",
    "nucl-th": "nuclear theory: nuclear structure, nuclear forces, models of nuclei",
    "physics": "physics: optics, fluid dynamics, plasma, atoms, instruments, biological physics",
    "q-bio": "quantitative biology: genes, neurons, populations, proteins, evolution",
    "q-fin": "quantitative finance: option pricing, risk, trading, portfolios",
    "quant-ph": "quantum physics: quantum information, entanglement, quantum computing",
    "stat": "statistics: inference, regression, Bayesian methods, estimation",
}
CATEGORIES = {
    "cs.LG": "machine learning",
    "cs.CV": "computer vision and pattern recognition",
    "cs.CL": "computation and language: natural language processing",
    "cs.IT": "information theory",
    "cs.AI": "artificial intelligence",
    "cs.CR": "cryptography and security",
    "cs.DS": "data structures and algorithms",
    "cs.NI": "networking and internet architecture",
    "stat.ME": "statistical methodology",
    "cs.RO": "robotics",
    "cs.SE": "software engineering",
    "math.OC": "optimization and control",
    "cs.SI": "social and information networks",
    "cs.DC": "distributed, parallel and cluster computing",
    "cs.LO": "logic in computer science",
    "q-bio.PE": "populations and evolution",
    "q-bio.NC": "neurons and cognition",
    "cs.NE": "neural and evolutionary computing",
    "cs.IR": "information retrieval",
    "cs.HC": "human-computer interaction",
    "math.NA": "numerical analysis",
    "eess.SP": "signal processing",
    "cs.CY": "computers and society",
    "math.CO": "combinatorics",
    "q-bio.BM": "biomolecules",
    "cs.DB": "databases",
    "math.PR": "probability",
    "cs.GT": "computer science and game theory",
    "cs.PL": "programming languages",
    "cs.CG": "computational geometry",
    "eess.AS": "audio and speech processing",
    "quant-ph": "quantum physics",
    "q-bio.MN": "molecular networks",
    "cs.CC": "computational complexity",
    "cs.DL": "digital libraries",
    "q-bio.GN": "genomics",
    "q-fin.ST": "statistical finance",
    "q-fin.PR": "pricing of securities",
    "q-fin.RM": "risk management",
    "cs.FL": "formal languages and automata theory",
}


def slip(word: str, chance: random.Random) -> str:
    """A word with one letter wrong."""
    at, other = chance.randrange(len(word)), chance.choice("abcdefghijklmnopqrstuvwxyz")
    kind = chance.randrange(4)
    if kind == 0 and at + 1 < len(word) and word[at] != word[at + 1]:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == 1:
        return word[:at] + word[at + 1 :]
    return word[:at] + other + word[at + (kind == 3) :]


def rewritten(text: str, chance: random.Random) -> str:
    """The same text, written differently."""
    for change in chance.sample(["slip", "order", "marks", "slip"], chance.choice([1, 2, 3])):
        words = text.split(" ")
        if change == "slip":
            places = [place for place, word in enumerate(words) if len(word) >= 4 and word.isalpha()]
            if places:
                place = chance.choice(places)
                words[place] = slip(words[place], chance)
                text = " ".join(words)
        elif change == "order" and len(words) > 2:
            place = chance.randrange(len(words) - 1)
            if chance.random() < 0.5:
                words[place], words[place + 1] = words[place + 1], words[place]
            else:
                words.append(words.pop(place))
            text = " ".join(words)
        elif change == "marks":
            kind = chance.randrange(4)
            written = (re.sub(r"[,.:;]", "", text), text.replace("-", " "), text.replace(" ", ", ", 1) + ".", text.upper())
            text = written[kind]
    return text


def planted(texts: Sequence[str], rows: int, seed: int) -> tuple[list[str], list[int]]:
    """Rows, a twentieth of them twice or three times, in random order; and which is which."""
    chance = random.Random(seed)
    base = chance.sample(texts, rows)
    made = list(zip(base, range(rows), strict=True))
    for row in chance.sample(range(rows), int(rows * SHARE)):
        copies = 2 if chance.random() < 0.15 else 1
        made.extend((base[row] if chance.random() < 0.15 else rewritten(base[row], chance), row) for _ in range(copies))
    chance.shuffle(made)
    return [text for text, _ in made], [row for _, row in made]


def pairwise(texts: Sequence[str], rows: Sequence[int], found: duplicates.Clusters) -> tuple[float, float]:
    """Precision and recall of pairs."""
    members: dict[int, list[int]] = {}
    for row, cluster in zip(found.row.tolist(), found.cluster.tolist(), strict=True):
        members.setdefault(cluster, []).append(row)
    right = wrong = 0
    for cluster in members.values():
        for place, one in enumerate(cluster):
            for other in cluster[:place]:
                if rows[one] == rows[other]:
                    right += 1
                elif sorted(lexical.words(lexical.fold(texts[one]))) != sorted(lexical.words(lexical.fold(texts[other]))):
                    wrong += 1
    planted_pairs = sum(count * (count - 1) // 2 for count in Counter(rows).values())
    return right / max(1, right + wrong), right / max(1, planted_pairs)


def show_duplicates(sources: dict[str, list[str]], sizes: Sequence[int]) -> None:
    """Pairwise F1 of one setting, without labels."""
    lines: list[list[report.Cell]] = []
    worst: dict[int, tuple[float, str]] = {}
    for rows in sizes:
        for name, texts in sources.items():
            for seed in SEEDS if rows == sizes[0] else SEEDS[:1]:
                if rows > len(texts):
                    continue
                made, which = planted(texts, rows, seed)
                growth, start = join_data.Growth(), time.perf_counter()
                found = duplicates.deduplicate(made)
                took = time.perf_counter() - start
                precision, recall = pairwise(made, which, found)
                f1 = 2 * precision * recall / max(1e-9, precision + recall)
                what = f"{name}, {len(made):,} rows, seed {seed}"
                lines.append([what, precision, found.line.precision, recall, f1, took, growth.megabytes])
                worst[rows] = min(worst.get(rows, (2.0, "")), (f1, f"{what}: {took:.0f} s"))
    report.show(
        "joins_duplicates",
        f"planted duplicates ({SHARE:.0%} of the rows), without labels",
        ["", "precision", "expected of itself", "recall", "F1", "seconds", "MB more at most"],
        lines,
        "0.95 is asked for; arrays only",
    )
    kept = [
        report.Promise(f"{rows:,} rows and their duplicates", 0.95, f1, note=f"the lowest: {note}") for rows, (f1, note) in worst.items()
    ]
    report.promises("joins_duplicates_asked", "pairwise F1 of duplicates, one setting for all", kept)


def shown(label: npt.NDArray[Any], truth: npt.NDArray[Any], n: int) -> str:
    """Accuracy, and its mean over the labels."""
    right = label == truth
    return f"{right.mean():.3f} / {np.mean([right[truth == one].mean() for one in range(n) if (truth == one).any()]):.3f}"


def show_labels(papers: Sequence[dict[str, str]], vectors: npt.NDArray[np.float32]) -> None:
    """Accuracy of classify beside the nearest description's."""
    model = models.load(corpora.MODEL)
    lines: list[list[report.Cell]] = []
    for column, known in (("archive", ARCHIVES), ("primary_category", CATEGORIES)):
        names = list(known)
        place = {name: position for position, name in enumerate(names)}
        rows = [position for position, paper in enumerate(papers) if paper[column] in place]
        truth = np.array([place[papers[position][column]] for position in rows])
        mine = vectors[rows]
        for how in ("sentence", "words"):
            parts = [[said] if how == "sentence" else re.split(r"[:,] ?", said) for said in known.values()]
            words = [model.encode(several).vectors for several in parts]
            described = labels.unit(np.stack([labels.unit(several).mean(axis=0) for several in words]))
            plain = (mine @ described.T).argmax(axis=1)
            found = labels.classify(mine, words)
            sure = found.is_confident
            lines.append(
                [
                    f"{len(names)} {column}, {how}",
                    shown(plain, truth, len(names)),
                    shown(found.label, truth, len(names)),
                    float(sure.mean()),
                    float((found.label[sure] == truth[sure]).mean()),
                ]
            )
    report.show(
        "joins_classify",
        f"labels by their description, {len(papers):,} papers: accuracy / its mean over the labels",
        ["", "nearest description", "classify", "confident", "of these right"],
        lines,
        "described in a sentence, or by words (cut at commas)",
    )


def nmi(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> float:
    """Normalised mutual information of two labellings."""
    counts = np.zeros((one.max() + 1, other.max() + 1))
    np.add.at(counts, (one, other), 1)
    share = counts / counts.sum()

    def entropy(part: npt.NDArray[np.float64]) -> float:
        return -float((part[part > 0] * np.log(part[part > 0])).sum())

    apart = entropy(share.sum(axis=0)) + entropy(share.sum(axis=1))
    return 2 * (apart - entropy(share.ravel())) / apart


def show_topics(papers: Sequence[dict[str, str]], vectors: npt.NDArray[np.float32]) -> None:
    """Mutual information with categories, and time, beside plain k-means of all dimensions."""
    truth = np.unique([paper["primary_category"] for paper in papers], return_inverse=True)[1]
    lines: list[list[report.Cell]] = []
    for n in (None, 10, 20, 40):
        start = time.perf_counter()
        found = topics.find(vectors, n)
        took = time.perf_counter() - start
        start = time.perf_counter()
        count = len(found.centres)
        plain = kmeans.assign(vectors, kmeans.kmeans(vectors, count, np.random.default_rng(1), 30))[0].astype(np.int64)
        plainly = time.perf_counter() - start
        lines.append([f"{count}, chosen" if n is None else str(n), nmi(found.topic, truth), took, nmi(plain, truth), plainly])
    report.show(
        "joins_topics",
        f"topics of {len(papers):,} papers: mutual information with {truth.max() + 1} categories, normalised",
        ["topics", "pgembed", "seconds", "plain k-means", "seconds"],
        lines,
    )
    found = topics.find(vectors, 12)
    named = topics.words([paper["abstract"] for paper in papers], found.topic, 12, 6)
    sized = [[", ".join(words), size] for size, words in zip(found.sizes.tolist(), named, strict=True)]
    report.show("joins_topic_words", "twelve topics by their words", ["words", "papers"], sized)


def run(*, quick: bool = False) -> None:
    """The part of bench_joins.py."""
    packages = [(name, description) for name, _, _, _, description in demo.debian_packages()]
    sources = {}
    if packages:
        sources = {
            "packages": [f"{name}: {description}" for name, description in packages],
            "descriptions": list(dict.fromkeys(description for _, description in packages)),
        }
    has_papers = (corpora.DATA / "tables" / "arxiv").is_dir()
    if has_papers and not quick:
        sources["titles"] = [re.sub(r"\s+", " ", paper["title"]) for paper in corpora.arxiv_rows(132_000)[0]]
    if not sources:
        print("skipped: needs Debian's package catalogue or the arXiv tables, and there is neither")
        raise SystemExit(0)
    show_duplicates(sources, [1_000] if quick else [20_000, 100_000])
    if quick or not has_papers:
        return
    papers = corpora.arxiv_rows(corpora.ROWS)[0][:PAPERS]
    vectors = corpora.papers().documents[:PAPERS]
    show_labels(papers, vectors)
    show_topics(papers, vectors)
