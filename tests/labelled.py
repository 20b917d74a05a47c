"""A linker with labels: towns and people of equal names, told apart by what is said of them."""

from __future__ import annotations

from support import Connection

# Names that a town and a person share, and some that only one of them has.
SHARED = ("Paris", "Florence", "Austin", "Sydney", "Jackson", "Lincoln")
OF_TOWN = ("We drove to {} and back.", "The streets of {} are narrow.", "It rained in {} all night.", "{} lies on a river.")
OF_PERSON = ("{} ate an apple.", "She gave {} a book to read.", "{} laughed and sat down.", "Her brother {} sings well.")


def make(db: Connection) -> None:
    """The table ``thing`` with its linker ``things``, and the labels in ``label``: 48 of rows and 8 of none."""
    db.execute("CREATE TABLE thing (id int PRIMARY KEY, name text NOT NULL, kind text NOT NULL)")
    for number, name in enumerate(SHARED):
        db.execute("INSERT INTO thing VALUES (%s, %s, 'town'), (%s, %s, 'person')", [number, name, 100 + number, name])
    db.execute("SELECT pgembed.create_linker('things', 'thing', names => 'name', types => 'kind')")
    db.execute("SELECT pgembed.create_link_labels('label', 'things')")
    for patterns, base in ((OF_TOWN, 0), (OF_PERSON, 100)):
        for pattern in patterns:
            for number, name in enumerate(SHARED):
                label(db, pattern.format(name), name, str(base + number))
            label(db, pattern.format("Fabrikam"), "Fabrikam", None)


def label(db: Connection, content: str, mention: str, key: str | None) -> None:
    start = content.index(mention) + 1
    db.execute(
        "INSERT INTO label (content, start_char, end_char, entity_key) VALUES (%s, %s, %s, %s)", [content, start, start + len(mention), key]
    )
