"""model: the commands ``pgembed model ...``. Results go to stdout, progress to stderr.

What is installed here is files, for every database of this machine's servers; with ``--url`` a command asks or changes what one
database knows. Nothing here needs a database that the command's own work does not.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pgembed import errors
from pgembed.cli import connecting
from pgembed.cli.parsing import Action, Group, Parser
from pgembed.cli.showing import done, show_json, table, tell

if TYPE_CHECKING:
    from types import ModuleType

    from pgembed.models import distill

_WEIGHTS = ("fp32", "int8")
# Of a hub: owner and name.
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def add_commands(commands: Group) -> None:
    """The verbs of ``pgembed model``."""
    verbs = commands.group("model", "models: list, show, add, remove, distill, bench")

    def verb(name: str, action: Action, text: str, database: str | None, example: str | list[str]) -> Parser:
        return verbs.verb(name, action, text, example=example, database=database, json=True)

    knows = "list what this database knows: installed and registered models"
    verb("list", _list, "list the installed models", knows, ["model list", "model list --url service=shop --json"])
    show = verb("show", _show, "say all about a model", "as this database knows it", "model show all-minilm-l6-v2 --json")
    show.add_argument("name", metavar="NAME")

    add = verb(
        "add",
        _add,
        "install a model from a folder or a hub, or register one in a database",
        "where to register it",
        ["model add my-bert ./my-bert --weights int8", "model add ada https://api.example.com/v1 --remote-model m --api-key env:KEY"],
    )
    add.add_argument("name", metavar="NAME", help="what it shall be called")
    add.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder, or OWNER/NAME on a hub; to register: a known model's name, or the URL of an endpoint",
    )
    add.add_argument("--weights", choices=_WEIGHTS, metavar="TYPE", help="precision of what is installed: %(choices)s (default: fp32)")
    add.add_argument("--dim", type=int, metavar="N", help="keep the first dimensions (Matryoshka)")
    add.add_argument("--layers", type=int, metavar="N", help="run the first layers (2D Matryoshka, Starbucks)")
    add.add_argument("--normalize", action=argparse.BooleanOptionalAction, help="scale vectors to length 1")
    add.add_argument("--query-prompt", metavar="TEXT", help="put before queries")
    add.add_argument("--document-prompt", metavar="TEXT", help="put before documents")
    add.add_argument("--sha256", metavar="DIGITS", help="what the checksum of the weights must be; nothing is installed if it is another")
    add.add_argument("--remote-model", metavar="NAME", help="what the endpoint calls the model")
    add.add_argument("--api-key", metavar="PLACE", help="where the server finds the key: env:NAME or file:/path; never the key")
    add.add_argument("--options", metavar="JSON", help='of the endpoint, such as {"timeout": 60}')

    replacing = "if the name is taken, make this its next revision; columns keep the one that they were made with"
    add.add_argument("--new-revision", action="store_true", help=replacing)

    remove = verb(
        "remove",
        _remove,
        "remove an installed model",
        "of its server all databases are asked what needs it",
        "model remove my-bert --url service=shop",
    )
    remove.add_argument("name", metavar="NAME")
    remove.add_argument("--force", action="store_true", help="remove it whatever needs it, and ask no server")

    distill = verb(
        "distill",
        _distill,
        "make a fast static model of an installed one",
        "where the corpus is",
        "model distill fast --from all-minilm-l6-v2 --corpus product.description",
    )
    distill.add_argument("name", metavar="NAME", help="what it shall be called")
    distill.add_argument("--from", dest="teacher", required=True, metavar="MODEL", help="the model to learn from")
    distill.add_argument("--dim", type=int, default=256, metavar="N", help="dimensions (default: %(default)s)")
    distill.add_argument("--corpus", metavar="COLUMN", help="schema.table.column of texts: their words and how often they are used")

    distill.add_argument("--new-revision", action="store_true", help=replacing)

    bench = verb("bench", _bench, "measure an installed model on this machine", None, "model bench all-minilm-l6-v2 --json")
    bench.add_argument("name", metavar="NAME")
    bench.add_argument("--texts", type=int, metavar="N", help="how many (default: for some seconds)")


def _list(options: argparse.Namespace) -> int:
    problems = []
    if options.url:
        lines = _database_room().listed(connecting.database(options))
        fields = ("name", "kind", "dim", "weights", "revision", "columns", "source")
        problems = [f"{line['name']}: {line['problem']}" for line in lines if line["problem"]]
    else:
        from pgembed import models
        from pgembed.models import store

        fields = ("name", "kind", "dim", "weights", "revision", "fingerprint", "source")
        lines = []
        for name in store.names():
            try:
                info = models.info(name)
            except errors.PgembedError as error:
                lines.append({"name": name} | dict.fromkeys(fields[1:]))
                problems.append(f"{name}: {error.message}")
                continue
            source = f"{info.source} {info.source_revision}".strip()
            facts = (name, info.kind, info.dim, info.precision, info.revision, info.fingerprint, source)
            lines.append(dict(zip(fields, facts, strict=True)))
    if options.json:
        show_json(lines)
    else:
        shown = [[_said(line[field])[: 12 if field == "fingerprint" else None] for field in fields] for line in lines]
        for line in table([[field.upper() for field in fields], *shown]):
            print(line)
    for problem in problems:
        tell(problem)
    return 1 if problems else 0


def _show(options: argparse.Namespace) -> None:
    if options.url:
        lines = _database_room().listed(connecting.database(options), options.name)
        if not lines:
            raise errors.UnknownObject(f'model "{options.name}" does not exist', hint="pgembed model list --url URL shows the models.")
        if options.json:
            show_json(lines)
            return
        for line in lines:
            _print_facts({key: value for key, value in line.items() if value is not None})
        return
    from pgembed import models
    from pgembed.models import store

    place = store.place_of(options.name)
    store.verify(place)
    info = models.info(options.name)
    facts: dict[str, Any] = {**vars(info), "max_tokens": info.max_tokens or "all", "folder": place}
    files = store.read_description(place)["files"]
    facts["checksums"] = "verified"
    facts["files"] = ", ".join(f"{name} ({said['size'] / 1e6:.1f} MB)" for name, said in sorted(files.items()))
    others = sorted(
        path.parent.name for path in place.parent.glob(f"*/{store.DESCRIPTION}") if path.parent.name not in (store.CURRENT, place.name)
    )
    facts["older revisions"] = ", ".join(others) or "none"
    if options.json:
        show_json([facts])
    else:
        _print_facts({name: value for name, value in facts.items() if value != "" or name.endswith("_prompt")})


def _add(options: argparse.Namespace) -> None:
    from pgembed import models
    from pgembed.models import store, threads
    from pgembed.registration import is_url

    models.check_name(options.name)
    source = str(options.source)
    folder = Path(source).expanduser()
    known = source in store.names()
    if is_url(source) or known or (options.url and "/" not in source):
        _register(options, source)
        return
    for option in ("remote_model", "api_key", "options"):
        if getattr(options, option) is not None:
            raise errors.InvalidParameter(f"--{option.replace('_', '-')} is of a remote model, whose source is a URL", hint="Leave it out.")
    if not folder.is_dir() and not _HUB_NAME.fullmatch(source):
        raise errors.FileMissing(
            f'"{source}" is no folder, no installed model and no name on a hub',
            hint=f"Installed models: {', '.join(store.names()) or 'none'}; a name on a hub is OWNER/NAME.",
        )
    _check_free(options)
    with threads.signals_blocked():
        from pgembed.models import adding
    revision = ""
    if not folder.is_dir():
        tell(f"fetching {source} from the hub")
        folder = adding.fetch_hub(source)
        revision = folder.name
    wanted = models.Options(options.dim, options.layers, options.normalize, options.query_prompt, options.document_prompt)
    with _written():
        info = adding.add_folder(
            folder,
            models.models_dir(),
            options.name,
            precision=options.weights or "fp32",
            options=wanted,
            source_label=f"hub:{source}" if revision else str(folder.resolve()),
            source_revision=revision,
            sha256=options.sha256,
            report=tell,
        )
    facts = {"kind": info.kind, "dim": info.dim, "weights": info.precision, "revision": info.revision, "fingerprint": info.fingerprint}
    said = f"{info.kind}, {info.dim} dimensions, {info.precision}, revision {info.revision}, fingerprint {info.fingerprint}"
    done(options, info.name, "installed", said, **facts)


def _check_free(options: argparse.Namespace) -> None:
    from pgembed.models import store

    if options.name in store.names() and not options.new_revision:
        raise errors.DuplicateObject(
            f'model "{options.name}" is installed already',
            hint="Choose another name; or say --new-revision, and the name points to the new model from then on.",
        )


def _register(options: argparse.Namespace, source: str) -> None:
    from pgembed.registration import is_url

    if options.sha256 is not None:
        raise errors.InvalidParameter("--sha256 is of weights that are installed", hint="Leave it out, or name a folder as source.")
    if options.weights is not None:
        raise errors.InvalidParameter("--weights are chosen when a folder is installed", hint="Leave it out, or name a folder as source.")
    if is_url(source):
        from pgembed.models.endpoints.endpoint import Endpoint

        if options.remote_model is None:
            raise errors.NullNotAllowed(
                "a URL needs --remote-model", hint="It is what the endpoint calls the model, such as text-embedding-3-small."
            )
        # Before anything is sent: a key in place of its name must not get into the server's log.
        Endpoint.parse(source, options.remote_model, options.api_key, _without_probe(options.options))
    arguments = {
        "name": options.name,
        "source": source,
        "dim": options.dim,
        "layers": options.layers,
        "normalized": options.normalize,
        "query_prompt": options.query_prompt,
        "document_prompt": options.document_prompt,
        "remote_model": options.remote_model,
        "api_key": options.api_key,
        "options": options.options,
    }
    room = _database_room()
    url = connecting.database(options)
    fingerprint = room.register(url, arguments, tell)
    done(options, options.name, "registered", f"registered, fingerprint {fingerprint}", fingerprint=fingerprint)


def _without_probe(said: str | None) -> str | None:
    """Options of the endpoint itself; ``probe`` is one of the registration."""
    if said is None:
        return None
    try:
        read = json.loads(said)
    except ValueError as error:
        raise errors.InvalidParameter(f"--options is no JSON: {error}", hint="Such as '{\"timeout\": 60}'.") from None
    return json.dumps({key: value for key, value in read.items() if key != "probe"}) if isinstance(read, dict) else said


def _remove(options: argparse.Namespace) -> None:
    from pgembed import models
    from pgembed.models import store

    models.check_name(options.name)
    if options.name not in store.names():
        raise errors.UnknownObject(
            f'model "{options.name}" is not installed',
            hint=f"Installed models: {', '.join(store.names()) or 'none'}. pgembed.drop_model() in SQL drops a registered one.",
        )
    if not options.force:
        url = connecting.said(options)
        if url is None:
            url = connecting.private_url()
        if url is None:
            raise errors.NotReady(
                "which databases need the model is not known, for there is no private server here",
                hint="Name a database of the server, --url URL, whose databases are then all asked; or say --force.",
            )
        needing = _database_room().uses(url, options.name)
        if needing:
            raise errors.DependentObjects(
                f'model "{options.name}" is needed {len(needing)} time{"s" if len(needing) > 1 else ""}',
                detail="\n".join(needing),
                hint="pgembed.alter_embedding(..., model => ...) gives a column another model; --force removes it nevertheless.",
            )
    with _written():
        store.remove(store.models_dir(), options.name)
    done(options, options.name, "removed")


def _distill(options: argparse.Namespace) -> None:
    from pgembed import models
    from pgembed.models import store, threads

    models.check_name(options.name)
    if options.teacher not in store.names():
        raise errors.UnknownObject(
            f'model "{options.teacher}" is not installed', hint=f"Installed models: {', '.join(store.names()) or 'none'}."
        )
    _check_free(options)
    info = models.info(options.teacher)
    if info.kind != "transformer":
        raise errors.NotSupported(
            f'model "{options.teacher}" is of kind {info.kind}, expected transformer', hint="A static model is made of a transformer."
        )
    with threads.signals_blocked():
        from pgembed.models import distill
    corpus = None
    if options.corpus is not None:
        room = _database_room()
        corpus = room.texts(connecting.database(options), options.corpus, distill.CORPUS_TEXTS)
        tell(f"read {len(corpus)} texts of {options.corpus}")
    teacher = cast("distill.Teacher", models.load(options.teacher, prompts=False))
    with _written():
        made = distill.distill(teacher, name=options.name, target=models.models_dir(), dim=options.dim, corpus=corpus, report=tell)
    if options.json:
        show_json(
            {**vars(made.info), "seconds": made.seconds, "chosen": made.chosen, "agreements": [vars(each) for each in made.agreements]}
        )
        return
    if made.agreements:
        rows = [
            [each.name, f"{each.recall:.3f}", f"{each.spearman:.3f}", "installed" if each.name == made.chosen else ""]
            for each in made.agreements
        ]
        print(f"agreement with {options.teacher} on texts of {options.corpus} that were held out:")
        for line in table([["MADE WITH", "RECALL AT 10", "SPEARMAN", ""], *rows]):
            print(line)
    print(
        f"{made.info.name}: {made.info.kind}, {made.info.dim} dimensions, fingerprint {made.info.fingerprint}, made in {made.seconds:.0f} s"
    )


def _bench(options: argparse.Namespace) -> None:
    from pgembed import modelbench

    found = modelbench.measure(options.name, options.texts, tell)
    if options.json:
        show_json([dict(zip(("what", "model", "direct", "ratio"), map(_number, line), strict=True)) for line in found])
        return
    for line in table([["", "MODEL", "DIRECT", "RATIO"], *found]):
        print(line)


def _number(word: str) -> float | str:
    try:
        return float(word)
    except ValueError:
        return word


def _database_room() -> ModuleType:
    return connecting.room("modeldb")


@contextmanager
def _written() -> Iterator[None]:
    """Around what writes the installed models."""
    try:
        yield
    except PermissionError as error:
        raise errors.InsufficientPrivilege(
            f'"{error.filename}" may not be written by this user',
            hint="Run this as the environment's owner: with sudo, as a rule.",
        ) from None
    except ModuleNotFoundError as error:
        raise errors.NotReady(
            f"package {error.name} is not installed", hint="Install it: pip install 'pgembed-extension[convert]'."
        ) from None


def _said(value: object) -> str:
    return "" if value is None else str(value)


def _print_facts(facts: dict[str, Any]) -> None:
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:{width}}  {json.dumps(value) if name.endswith('_prompt') else value}")
