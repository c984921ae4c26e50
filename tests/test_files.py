import pytest

from keras_ae import InputError
from keras_ae.errors import printable
from keras_ae.files import atomic, safe_name
from tests.helpers import once

NAMES = ["..", ".", ". .", "x/../../y", "/etc/passwd", "C:\\x", "a\\..\\b", "", " ", "CON", "nul.png", "a\x00b", "a\nb"]
NAMES += ["\udcff", "x" * 300, "\u00e9" * 300, "-rf", "~", ".ssh", "a:b", "\u202egnp"]
ANYWHERE = once("names and texts are the same everywhere")


@ANYWHERE
@pytest.mark.parametrize("text", NAMES)
def test_a_safe_name_is_one_file_in_its_folder(tmp_path, text):
    path = tmp_path / f"{safe_name(text)}.png"
    assert path.resolve().parent == tmp_path.resolve()
    path.write_bytes(b"x")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert not path.name.startswith((".", " "))
    assert len(safe_name(text).encode()) <= 100


@ANYWHERE
def test_a_harmless_name_stays():
    assert [safe_name(name) for name in ("cat", "\u00e9t\u00e9 2", "a.b-c_d")] == ["cat", "\u00e9t\u00e9 2", "a.b-c_d"]


@ANYWHERE
def test_messages_are_one_line_that_a_terminal_does_not_obey():
    text = str(InputError("red \x1b[31m\r\n\u202e\udcff \u00e9"))
    assert text == r"red \x1b[31m\r\n\u202e\udcff \u00e9".replace(r"\u00e9", "\u00e9")
    assert printable(text) == text


@ANYWHERE
def test_a_message_is_cut_where_nobody_reads_on():
    text = str(InputError("x" * 10**6))
    assert text == "x" * 10_000 + "..."


@ANYWHERE
def test_a_temporary_name_cannot_be_guessed(tmp_path):
    names = set()
    for _ in range(3):
        with atomic(tmp_path / "a.txt") as path:
            names.add(path.name)
            path.write_text("x")
    assert len(names) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
