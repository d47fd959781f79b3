"""Projects: folders of one user each, named by us."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.projects import Projects, checked_name
from data.errors import InputError
from data.sniff import safe_name


def test_projects_are_made_listed_renamed_deleted(tmp_path: Path) -> None:
    projects = Projects(tmp_path)
    first, second = projects.create("ann", "First"), projects.create("ann", " Second \n one ")
    assert [p.id for p in projects.of("ann")] in ([second.id, first.id], [first.id, second.id])
    assert second.name == "Second one"
    projects.rename(first, "Other")
    assert projects.open("ann", first.id).name == "Other"
    (first.folder / "results").mkdir()
    (first.folder / "results" / "big").write_bytes(b"x" * 1000)
    assert first.size() >= 1000
    projects.delete(first)
    assert not first.folder.exists()
    assert [p.id for p in projects.of("ann")] == [second.id]


def test_nobody_opens_anothers_project(tmp_path: Path) -> None:
    projects = Projects(tmp_path)
    project = projects.create("ann", "Secret")
    with pytest.raises(InputError, match="no such project"):
        projects.open("bob", project.id)
    assert projects.of("bob") == []


@pytest.mark.parametrize("name", ["", "..", "../ann", "/", "a/b", ".", "20260101-000000-00000000/../x", "x\0", None, 7])
def test_ids_that_are_no_ids(tmp_path: Path, name: object) -> None:
    projects = Projects(tmp_path)
    projects.create("ann", "One")
    with pytest.raises(InputError, match="no such project"):
        projects.open("ann", name)  # type: ignore[arg-type]


@pytest.mark.parametrize("user", ["", "..", "../x", "Ann", "a b", "a/b", ".uploads", "ä", "x" * 33])
def test_users_that_are_no_users(tmp_path: Path, user: str) -> None:
    with pytest.raises(InputError, match="no user's name"):
        Projects(tmp_path).create(user, "One")


def test_old_projects_go_busy_ones_stay(tmp_path: Path) -> None:
    projects = Projects(tmp_path)
    old, busy, new = (projects.create("ann", n) for n in ("old", "busy", "new"))
    for project in (old, busy):
        os.utime(project.folder / "project.json", (time.time() - 10 * 86_400,) * 2)
    assert projects.sweep(0, set()) == []
    assert projects.sweep(7, {busy.key}) == [old.key]
    assert {p.id for p in projects.of("ann")} == {busy.id, new.id}


@given(st.text())
def test_safe_names_are_safe(text: str) -> None:
    name = safe_name(text)
    assert name
    assert not name.startswith(".")
    assert "/" not in name
    assert "\\" not in name
    assert not set(name) & set("<>&\"'`${};|*?:\0\n\r\t")
    assert len(name.encode()) <= 255
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("given", "kept"),
    [("IMG_0001.JPG", "IMG_0001.JPG"), ("../../etc/passwd", "passwd"), ("..\\..\\x.png", "x.png"), ("Küche 3.jpg", "Küche 3.jpg"), (".hidden", "hidden"),
     ("<script>.jpg", "_script_.jpg"), ("写真.jpeg", "写真.jpeg"), ("a" * 300 + ".jpg", "a" * 76 + ".jpg"), ("", "file"), ("...", "file")],
)  # fmt: skip
def test_names_that_people_have(given: str, kept: str) -> None:
    assert safe_name(given) == kept


def test_a_project_without_a_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs a name"):
        checked_name(" \n\t ")
