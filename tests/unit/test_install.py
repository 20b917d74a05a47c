"""install: the order of the definitions, and the scripts that are built from them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pgembed import __version__, errors, install


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small sql/ at version 0.3.0 with a table, a function and two updates."""
    texts = {
        "pgembed.control": "default_version = '@pgembed_version@'\nschema = 'pgembed'\n",
        "tables/thing.sql": "CREATE TABLE pgembed._thing ();\nSELECT pg_catalog.pg_extension_config_dump('pgembed._thing', '');\n",
        "functions/version.sql": "CREATE OR REPLACE FUNCTION pgembed.version() RETURNS text LANGUAGE sql RETURN '@pgembed_version@';\n",
        "triggers/last.sql": "CREATE EVENT TRIGGER last ON sql_drop EXECUTE FUNCTION pgembed.version();\n",
        "updates/0.1.0--0.2.0.sql": "ALTER TABLE pgembed._thing ADD a int;\n",
        "updates/0.2.0--0.3.0.sql": "ALTER TABLE pgembed._thing ADD b int;\n",
    }
    for name, text in texts.items():
        path = tmp_path / "sql" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(install, "sql_dir", lambda: tmp_path / "sql")
    monkeypatch.setattr(install, "__version__", "0.3.0")
    monkeypatch.setattr(install, "ONCE_FIRST", ("tables/thing.sql",))
    monkeypatch.setattr(install, "EVERY_TIME", ("functions/version.sql",))
    monkeypatch.setattr(install, "ONCE_LAST", ("triggers/last.sql",))
    return tmp_path / "sql"


def test_every_definition_of_the_package_is_in_the_order() -> None:
    paths = [path for path, _ in install.definitions()]
    assert len(paths) == len(set(paths))
    assert paths[0].startswith("types/")


def test_the_version_is_filled_in_everywhere() -> None:
    assert "@pgembed" not in install.extension_script()
    assert f"'{__version__}'" in install.extension_script()


def test_what_runs_at_every_update_can_be_run_again() -> None:
    created = re.compile(r"^CREATE (?!OR REPLACE)", re.MULTILINE)
    for path, text in install.definitions(replaceable_only=True):
        assert not created.search(text), path


def test_objects_are_schema_qualified_when_they_are_made() -> None:
    named = re.compile(
        r"^(?:CREATE(?: OR REPLACE)? (?:TABLE|VIEW|FUNCTION|PROCEDURE)|COMMENT ON (?:TABLE|VIEW|FUNCTION|PROCEDURE)) (\S+)", re.M
    )
    for path, text in install.definitions():
        for name in named.findall(text):
            assert name.startswith("pgembed."), (path, name)


def test_a_file_that_is_not_in_the_order_is_an_error(sources: Path) -> None:
    (sources / "functions" / "forgotten.sql").write_text("")
    with pytest.raises(errors.FileMissing, match=r"disagree about: functions/forgotten\.sql"):
        install.definitions()


def test_a_file_of_the_order_that_is_not_there_is_an_error(sources: Path) -> None:
    (sources / "tables" / "thing.sql").unlink()
    with pytest.raises(errors.FileMissing, match=r"disagree about: tables/thing\.sql"):
        install.definitions()


def test_the_extension_script_has_everything_in_order_and_refuses_psql(sources: Path) -> None:
    script = install.extension_script()
    assert script.startswith('\\echo Use "CREATE EXTENSION pgembed CASCADE" to load this file. \\quit\n')
    sections = re.findall(r"^-- (\S+\.sql)$", script, re.MULTILINE)
    assert sections == ["tables/thing.sql", "functions/version.sql", "triggers/last.sql"]


def test_an_update_script_has_all_steps_and_then_what_can_be_replaced(sources: Path) -> None:
    sections = re.findall(r"^-- (\S+\.sql)$", install.update_script("0.1.0"), re.MULTILINE)
    assert sections == ["updates/0.1.0--0.2.0.sql", "updates/0.2.0--0.3.0.sql", "functions/version.sql"]
    assert "RETURN '0.3.0'" in install.update_script("0.2.0")


def test_versions_are_in_order_of_number(sources: Path) -> None:
    (sources / "updates" / "0.10.0--0.11.0.sql").write_text("")
    assert install.versions() == ["0.1.0", "0.2.0", "0.10.0"]


def test_an_update_from_an_unknown_version_is_refused_with_the_known_ones(sources: Path) -> None:
    with pytest.raises(errors.NotSupported) as caught:
        install.update_script("0.0.9")
    assert caught.value.sqlstate == "0A000"
    assert caught.value.hint == "Updates start from: 0.1.0, 0.2.0."


def test_the_files_are_written_with_the_control_file_last(sources: Path, tmp_path: Path) -> None:
    target = tmp_path / "extension"
    target.mkdir()
    written = install.write_extension(target)
    assert [path.name for path in written] == [
        "pgembed--0.3.0.sql",
        "pgembed--0.1.0--0.3.0.sql",
        "pgembed--0.2.0--0.3.0.sql",
        "pgembed.control",
    ]
    assert sorted(path.name for path in target.iterdir()) == sorted(path.name for path in written)
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in written)
    assert "default_version = '0.3.0'" in (target / "pgembed.control").read_text()


def test_writing_again_replaces_what_was_there(sources: Path, tmp_path: Path) -> None:
    target = tmp_path / "extension"
    target.mkdir()
    (target / "pgembed--0.3.0.sql").write_text("old")
    install.write_extension(target)
    assert "CREATE TABLE" in (target / "pgembed--0.3.0.sql").read_text()


def test_the_text_for_migrations_has_no_statement_that_only_an_extension_may_run(sources: Path) -> None:
    text = install.schema_script(vector_schema='"Ext"')
    assert "pg_extension_config_dump" not in text
    assert re.search(r"CREATE SCHEMA (IF NOT EXISTS )?pgembed;", text)
    assert '"Ext"' in text
    assert "CREATE TABLE pgembed._thing" in text


def test_the_text_for_migrations_from_an_older_version_creates_nothing_anew(sources: Path) -> None:
    text = install.schema_script("0.2.0", vector_schema="public")
    assert "CREATE TABLE" not in text
    assert "ADD b int" in text
    assert "ADD a int" not in text


def test_the_control_file_asks_for_what_the_objects_need() -> None:
    control = (install.sql_dir() / "pgembed.control").read_text()
    assert "requires = 'vector, plpython3u'" in control
    assert "superuser = true" in control
    assert "trusted = false" in control
    assert "relocatable = false" in control
