"""install: reads ``sql/``, orders it, and builds from it what PostgreSQL and Alembic run.

``sql/`` is the only place where a database object is defined; nothing built here is kept in the repository. Folders say how often a
file runs: ``types``, ``tables`` and ``triggers`` once (PostgreSQL cannot replace them), ``functions``, ``views`` and ``privileges``
at every installation and update. ``updates/A--B.sql`` holds what ``CREATE OR REPLACE`` cannot say between two versions.

Standard library only: this module runs before anything else is installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pgembed import __version__, errors

SCHEMA = "pgembed"

# The order of the definitions: greppable here rather than spelled in file names. A file that stands in a folder and not here is an
# error, so that nothing is forgotten.
ONCE_FIRST = (
    "types/binvec.sql",
    "tables/setting.sql",
    "tables/model.sql",
    "tables/embedding.sql",
    "tables/work.sql",
    "tables/linker.sql",
    "tables/link_table.sql",
    "tables/codec.sql",
    "tables/code.sql",
    "tables/calibration.sql",
    "tables/filter_log.sql",
    "tables/freshness_log.sql",
    "tables/adapter.sql",
    "tables/model_change.sql",
)
# After the functions, for they name them.
ONCE_LAST = ("triggers/dropped.sql", "triggers/altered.sql", "triggers/registry.sql")
EVERY_TIME = (
    "functions/version.sql",
    "functions/help.sql",
    "functions/vector.sql",
    "functions/embed.sql",
    "functions/models.sql",
    "functions/chunk.sql",
    "functions/freshness.sql",
    "functions/following.sql",
    "functions/embeddings.sql",
    "functions/freshness_seen.sql",
    "functions/workers.sql",
    "functions/work.sql",
    "functions/codecs.sql",
    "functions/measures.sql",
    "functions/hubness.sql",
    "functions/codes.sql",
    "functions/distance.sql",
    "functions/dropped.sql",
    "functions/doctor.sql",
    "functions/calibrate.sql",
    "functions/search.sql",
    "functions/explain.sql",
    "functions/params.sql",
    "functions/scan.sql",
    "functions/check_query.sql",
    "functions/search_defaults.sql",
    "functions/advise.sql",
    "functions/masked.sql",
    "functions/join.sql",
    "functions/labelling.sql",
    "functions/linker.sql",
    "functions/link.sql",
    "functions/link_table.sql",
    "functions/train_linker.sql",
    "functions/joinable.sql",
    "functions/rowgroups.sql",
    "functions/spaces.sql",
    "functions/change_model.sql",
    "views/models.sql",
    "views/embeddings.sql",
    "views/failures.sql",
    "views/workers.sql",
    "views/linkers.sql",
    "views/link_tables.sql",
    "views/codecs.sql",
    "views/codes.sql",
    "views/calibrations.sql",
    "views/filters_used.sql",
    "views/freshness_log.sql",
    "views/adapters.sql",
    "views/model_changes.sql",
    "views/progress.sql",
    "views/queue.sql",
    "privileges.sql",
)


def sql_dir() -> Path:
    """The folder of definitions: inside the installed package, or beside it in a checkout.

    Raises:
        errors.FileMissing: neither exists; the package is damaged.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "sql", package.parent / "sql"):
        if (folder / "pgembed.control").is_file():
            return folder
    raise errors.FileMissing("the SQL definitions are not in the package", hint="Install pgembed-extension again.")


def definitions(*, replaceable_only: bool = False) -> list[tuple[str, str]]:
    """Every definition in the order in which it must run, as (path below ``sql/``, text with the version filled in).

    Args:
        replaceable_only: leave out what is created once; what is left is harmless to run again.
    Raises:
        errors.FileMissing: a file is listed and does not exist, or exists and is not listed.
    """
    root = sql_dir()
    listed = (*ONCE_FIRST, *EVERY_TIME, *ONCE_LAST)
    present = {path.relative_to(root).as_posix() for path in root.rglob("*.sql") if path.relative_to(root).parts[0] != "updates"}
    if present != set(listed):
        odd = ", ".join(sorted(present.symmetric_difference(listed)))
        raise errors.FileMissing(f"the SQL definitions and their order disagree about: {odd}")
    wanted = EVERY_TIME if replaceable_only else listed
    return [(path, (root / path).read_text("utf-8").replace("@pgembed_version@", __version__)) for path in wanted]


def extension_script() -> str:
    """The text of ``pgembed--<version>.sql``, which CREATE EXTENSION runs."""
    return _guard("CREATE EXTENSION pgembed CASCADE") + "".join(_section(*item) for item in definitions())


def update_script(old: str) -> str:
    """The text of ``pgembed--<old>--<version>.sql``, which ALTER EXTENSION ... UPDATE runs.

    Args:
        old: the version to update from; must be one of `versions`.
    """
    return (
        _guard("ALTER EXTENSION pgembed UPDATE")
        + "".join(_section(f"updates/{step.name}", step.read_text("utf-8")) for step in _steps(old))
        + "".join(_section(*item) for item in definitions(replaceable_only=True))
    )


def versions() -> list[str]:
    """Versions from which an update to this one exists, oldest first; [] at the first release."""
    found = {path.name.split("--")[0] for path in (sql_dir() / "updates").glob("*--*.sql")}
    return sorted(found, key=version_key)


def schema_script(old: str | None = None, *, vector_schema: str) -> str:
    """The same objects for a database where no extension can be created (migrations run this text).

    Args:
        old: the version found in the database; None installs afresh.
        vector_schema: the schema in which pgvector lives, as an SQL identifier already quoted where needed.
    Returns:
        Statements that expect to run in one transaction; settings are at the end what they were before.
    """
    # CREATE EXTENSION puts the schemas of required extensions on the path; here that is said by hand, so that one text serves both.
    begin = f"{_REMEMBER}SET LOCAL search_path = {SCHEMA}, {vector_schema}, pg_temp;\nSET LOCAL check_function_bodies = off;\n"
    # a function of a type that is only declared yet is no news
    begin += "SET LOCAL client_min_messages = warning;\n"
    if old is None:
        body = f"CREATE SCHEMA {SCHEMA};\n" + begin + "".join(_section(*item) for item in definitions())
    else:
        steps = "".join(_section(f"updates/{step.name}", step.read_text("utf-8")) for step in _steps(old))
        body = begin + steps + "".join(_section(*item) for item in definitions(replaceable_only=True))
    return "\n".join(line for line in body.split("\n") if not _EXTENSION_ONLY.match(line)) + "\n" + _PUT_BACK


# pg_extension_config_dump is an error outside of an extension's script; a plain table is dumped anyway.
_EXTENSION_ONLY = re.compile(r"^SELECT pg_catalog\.pg_extension_config_dump\(")

# SET LOCAL lasts to the end of the transaction, in which later statements of other migrations may run. A setting of one's own is the only
# memory that a script has; DO returns no row, which psql would print.
_REMEMBER = """DO $pgembed$ BEGIN
    PERFORM pg_catalog.set_config('pgembed_script.search_path', pg_catalog.current_setting('search_path'), true),
        pg_catalog.set_config('pgembed_script.check_function_bodies', pg_catalog.current_setting('check_function_bodies'), true),
        pg_catalog.set_config('pgembed_script.client_min_messages', pg_catalog.current_setting('client_min_messages'), true);
END $pgembed$;
"""
_PUT_BACK = """
DO $pgembed$ BEGIN
    PERFORM pg_catalog.set_config('search_path', pg_catalog.current_setting('pgembed_script.search_path'), true),
        pg_catalog.set_config('check_function_bodies', pg_catalog.current_setting('pgembed_script.check_function_bodies'), true),
        pg_catalog.set_config('client_min_messages', pg_catalog.current_setting('pgembed_script.client_min_messages'), true);
END $pgembed$;
"""


def write_extension(directory: Path) -> list[Path]:
    """Write control file and scripts into a server's ``extension`` folder.

    Args:
        directory: ``<SHAREDIR>/extension`` of the server.
    Returns:
        The files written, control file last, so that PostgreSQL never offers a version whose script is missing.
    """
    scripts = {f"pgembed--{__version__}.sql": extension_script()}
    scripts |= {f"pgembed--{old}--{__version__}.sql": update_script(old) for old in versions()}
    control = (sql_dir() / "pgembed.control").read_text("utf-8").replace("@pgembed_version@", __version__)
    written = []
    for name, text in (*scripts.items(), ("pgembed.control", control)):
        path = directory / name
        part = path.with_name(name + ".part")
        part.write_text(text, "utf-8")
        part.chmod(0o644)
        part.replace(path)
        written.append(path)
    return written


def version_key(version: str) -> tuple[int, ...]:
    """Sort key of a version such as ``0.10.2``."""
    return tuple(int(part) for part in version.split("."))


def _steps(old: str) -> Iterator[Path]:
    """The update files that lead from a version to this one, in order."""
    at = old
    while at != __version__:
        found = sorted((sql_dir() / "updates").glob(f"{at}--*.sql"))
        if not found:
            raise errors.NotSupported(
                f"there is no update from version {old} to {__version__}",
                hint=f"Updates start from: {', '.join(versions()) or 'none, this is the first release'}.",
            )
        yield found[0]
        at = found[0].stem.split("--")[1]


def _guard(statement: str) -> str:
    return f'\\echo Use "{statement}" to load this file. \\quit\n'


def _section(path: str, text: str) -> str:
    return f"\n-- {path}\n\n{text.strip()}\n"
