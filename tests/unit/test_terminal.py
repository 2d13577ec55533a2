"""rainbow/terminal.py: text from the data does nothing to a terminal, and reads as it did otherwise."""

from __future__ import annotations

import io

import pytest
from rich.table import Table

from rainbow import terminal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Cà phê sữa đá, 250 g", "Cà phê sữa đá, 250 g"),
        ("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),
        ("\u202egnirts\u202c", "\\u202egnirts\\u202c"),
        ("a\rb\x9bc\x7f", "a\\x0db\\x9bc\\x7f"),
        ("a\nb\tc", "a\nb\tc"),
        ("half \udc80", "half \\udc80"),
        ("می\u200cخواهم", "می\u200cخواهم"),
    ],
)
def test_what_would_act_is_shown_as_its_escape(text: str, shown: str) -> None:
    assert terminal.harmless(text) == shown


def test_a_console_colours_what_is_ours_and_escapes_what_is_theirs() -> None:
    out = io.StringIO()
    console = terminal.console(file=out, force_terminal=True, color_system="standard", width=80)
    console.print("failed: \x1b[2Jgone", style="red", markup=False)
    table = Table("name")
    table.add_row("\x1b[2J\u202eevil")
    console.print(table)
    said = out.getvalue()
    assert "\x1b[31mfailed: \\x1b[2Jgone" in said
    assert "\x1b[2J" not in said
    assert "\u202e" not in said
