"""What the local BigQuery stand-in gets wrong without a word, or so slowly that it counts as wrong: found in SQL and in Python.

BigQuery itself takes all of it, so its analyzer does not object. Each gap says what to write instead. A gap whose text is looked
for in SQL is looked for in what is written (``of_dbt``, ``of_python``) and in what is sent.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NAMES = r"(?:\bas\s+|\.|,\s*|\bselect\s+|\bwith\s+|\()`?"


@dataclass(frozen=True)
class Gap:
    """A way of writing that the stand-in gets wrong: ``pattern`` finds it in SQL, or in Python when ``in_code``."""

    name: str
    pattern: str
    instead: str
    in_code: bool = False

    def found(self, text: str) -> bool:
        """Whether a text without comments has it."""
        return re.search(self.pattern, text, re.IGNORECASE) is not None


GAPS = (
    Gap(
        "WEEK(weekday)",
        r"\bweek\s*\(",
        "it takes another day for the week's first: write date_sub(d, interval mod(extract(dayofweek from d) + 5, 7) day) for its Monday",
    ),
    Gap("APPROX_QUANTILES", r"\bapprox_quantiles\b", "its numbers are others: rank with row_number() and pick the row"),
    Gap("UNPIVOT", r"\bunpivot\b", "it orders the columns otherwise: write a select a column with union all"),
    Gap("transactions", r"\brollback\b|\bbegin\s+transaction\b|\bcommit\b", "they copy tables and survive no kill -9: write one MERGE"),
    Gap("MERGE ... ON FALSE", r"\bon\s+false\b", "it takes minutes: delete and insert by key, or MERGE on the key"),
    Gap("FARM_FINGERPRINT", r"\bfarm_fingerprint\b", "it is slow: write cast(concat('0x', substr(to_hex(md5(s)), 1, 15)) as int64)"),
    Gap(
        "NUMERIC without precision",
        r"\b(?:big)?(?:numeric|decimal)\b(?!\s*\()",
        "it keeps 3 places of it: name the precision and the scale, numeric(38, 9) for all that fits",
    ),
    Gap("a name AT", NAMES + r"at\b(?!\s+time\s+zone)", "its answer loses the column: call it what happened then, as in seen_at"),
    Gap("a table decorator", r"[\w`}\]]\$(?:\d|__|\{|jinja)", "it knows none: name the days in WHERE"),
    Gap("require_partition_filter", r"\brequire_partition_filter\b", "it does not hold anyone to it, so no test can: leave it out"),
    Gap("num_rows", r"\.num_rows\b", "it is not what DML left: select count(*)", in_code=True),
    Gap("a dry run", r"\bdry_run\b", "it runs what it is asked to try: read the statement with sqlglot", in_code=True),
    Gap("require_partition_filter", r"\brequire_partition_filter\b", "it does not hold anyone to it: leave it out", in_code=True),
)


def gaps(sql: str) -> list[str]:
    """What the stand-in would get wrong of a statement, a line each."""
    bare = without_comments(sql, strings="''")
    found = [f"{gap.name}: {gap.instead}" for gap in GAPS if not gap.in_code and gap.found(bare)]
    if any(not _is_one(argument) for call in _calls(bare, "div") for argument in call):
        found.append("DIV of a sum: it loses the argument's parentheses; write them twice, div((a + b), (c))")
    return found


def gaps_in_code(python: str) -> list[str]:
    """What Python code must not ask of the stand-in, a line each."""
    bare = ast.unparse(ast.parse(python))
    return [f"{gap.name}: {gap.instead}" for gap in GAPS if gap.in_code and gap.found(bare)]


def without_comments(sql: str, *, strings: str = r"\g<0>") -> str:
    """A statement without comments, Jinja's too; ``strings`` is what stands for a string."""
    string = r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\""
    comment = r"\{#.*?#\}|/\*.*?\*/|--[^\n]*|#[^\n]*"
    return re.sub(f"{comment}|{string}", lambda m: m.expand(strings) if m[0][0] in "'\"" else " ", sql, flags=re.DOTALL)


def of_dbt(project: Path) -> Iterator[tuple[str, str]]:
    """Each SQL file of a dbt project, with what Jinja makes as one word; and each type and column name of its YAML, as DDL."""
    for path in sorted(p for folder in ("models", "macros", "tests") for p in (project / folder).rglob("*.*")):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".sql":
            config = re.findall(r"\{\{\s*config\((.*?)\)\s*\}\}", text, flags=re.DOTALL)
            bare = re.sub(r"\{%.*?%\}", " ", re.sub(r"\{\{.*?\}\}", "jinja", without_comments(text), flags=re.DOTALL), flags=re.DOTALL)
            yield path.name, "\n".join([bare, *(c.replace("'", " ") for c in config)])
        else:
            types = re.findall(r"(?m)^\s*(?:- )?name: (\w+)\s*\n\s*data_type: (.+)$", text)
            yield path.name, "create table t (" + ", ".join(f"{name} {type_}" for name, type_ in types) + ")"


def of_python(code: str) -> Iterator[str]:
    """Each string of Python code that is SQL, with ``{}`` for what is put in."""
    tree = ast.parse(code)
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in inner | prose:
            continue
        if isinstance(node, ast.JoinedStr):
            text = "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)  # type: ignore[misc]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        if re.search(r"\b(?:select|create|insert|delete|update|merge|alter|begin|cast|div|not null)\b", text, re.IGNORECASE):
            yield text


def _calls(sql: str, function: str) -> Iterator[list[str]]:
    """The arguments of each call of a function."""
    for match in re.finditer(rf"\b{function}\s*\(", sql, re.IGNORECASE):
        depth, arguments = 1, [""]
        for letter in sql[match.end() :]:
            depth += {"(": 1, ")": -1}.get(letter, 0)
            if not depth:
                break
            if letter == "," and depth == 1:
                arguments.append("")
            else:
                arguments[-1] += letter
        yield [argument.strip() for argument in arguments]


def _is_one(argument: str) -> bool:
    """Whether an expression is a name, a number, or something in one pair of parentheses, so that nothing can come between."""
    if re.fullmatch(r"[\w.`{}]+", argument):
        return True
    opened = re.match(r"\w*\s*\(", argument)
    if not opened:
        return False
    depth = 0
    for place, letter in enumerate(argument):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth == 0 and place >= opened.end() - 1:
            return place == len(argument) - 1
    return False
