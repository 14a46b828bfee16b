"""Files and folders that may not be read are called that, and nothing else."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crvae.data.accounts import describe
from crvae.data.images import Form
from crvae.data.sources.archive import archive
from crvae.data.sources.folder import folder
from crvae.errors import UserError

FORM = Form(sizes=(8,))


@contextmanager
def as_anyone() -> Iterator[None]:
    """Root may read everything: meanwhile this process is another user's.

    It may not reach Python's own files either: what is called meanwhile must have been called before.
    """
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everyone may enter, in which modes can be changed at will."""
    made = Path(tempfile.mkdtemp(prefix="crvae-test-"))
    made.chmod(0o755)
    yield made
    for base, folders, _ in os.walk(made):
        for name in folders:
            os.chmod(os.path.join(base, name), 0o755)
    shutil.rmtree(made)


def test_files_of_a_folder_that_may_not_be_entered_are_no_pipes(place, fill):
    fill(place / "open", 2)
    (place / "open" / "far.png").symlink_to("../closed/000.png")
    (place / "open" / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(place / "open" / "pipe.png")
    fill(place / "closed", 3, 10).chmod(0o644)
    folder(place, FORM)
    with as_anyone():
        found = folder(place, FORM)
    assert found.count == 2
    assert set(describe(found.not_looked_at)) == {
        "4 not looked at: file in a folder that may not be entered (closed/000.png, closed/001.png, closed/002.png, "
        "open/far.png)",
        "1 not looked at: link that leads nowhere (open/gone.png)",
        "1 not looked at: pipe or device (open/pipe.png)",
    }


def test_a_source_that_may_not_be_read_is_called_that(place, fill):
    fill(place / "set", 2)
    shutil.make_archive(str(place / "set"), "zip", place / "set")
    shutil.make_archive(str(place / "set"), "gztar", place / "set")
    for name, make in (("set", folder), ("set.zip", archive), ("set.tar.gz", archive)):
        assert make(place / name, FORM).count == 2
        (place / name).chmod(0)
        with as_anyone(), pytest.raises(UserError) as caught:
            make(place / name, FORM)
        said = str(caught.value)
        assert said.startswith(f"SOURCE {place / name} cannot be read (Permission denied): give yourself permission")
