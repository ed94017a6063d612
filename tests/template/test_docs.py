"""The documents against what they tell of: links, commands, codes, parameters."""

from __future__ import annotations

import re
import unittest
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.template.stack import DR_REGION, ROOT, read, stack

PAGES = sorted([ROOT / "README.md", ROOT / "events/README.md", *ROOT.glob("docs/*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")


@cache
def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """What a link may name in a page, as GitHub makes it of its headings."""
    headings = re.findall(r"^#+ (.+)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def code() -> Iterator[tuple[Path, str]]:
    """The pieces of all pages that are code, in lines of their own or within a text."""
    for page in PAGES:
        for block in re.findall(r"```\w*\n(.*?)```", text(page), re.DOTALL):
            for line in block.splitlines():
                yield page, line
        for piece in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text(page), flags=re.DOTALL)):
            yield page, piece


class Docs(unittest.TestCase):
    def test_links_lead_somewhere(self) -> None:
        for page in PAGES:
            for link in LINK.findall(text(page)):
                if "://" in link:
                    continue
                path, _, anchor = link.partition("#")
                to = (page.parent / path).resolve() if path else page
                with self.subTest(page.name, link=link):
                    self.assertTrue(to.exists())
                    if anchor:
                        self.assertIn(anchor, anchors(to))

    def test_every_page_is_reached(self) -> None:
        linked = {
            (page.parent / link.partition("#")[0]).resolve()
            for page in PAGES
            for link in LINK.findall(text(page))
            if "://" not in link and not link.startswith("#")
        }
        self.assertEqual(set(), set(ROOT.glob("docs/*.md")) - linked)

    def test_commands_exist(self) -> None:
        options = text(ROOT / "cli/src/options.rs")
        listed = options[options.index("pub(crate) enum Command {") :]
        known = {name.lower() for name in re.findall(r"^    (\w+)\(", listed[: listed.index("\n}")], re.MULTILINE)}
        self.assertIn("backup", known)
        for page, piece in code():
            for command in re.findall(r"(?:^|[;&|] )holdfast (?:--(?:home|stack|region) \S+ |--json )*([a-z]+)\b", piece):
                with self.subTest(page.name, piece=piece):
                    self.assertIn(command, known | {"help"})

    def test_options_exist(self) -> None:
        for page, piece in code():
            found = re.match(r"holdfast (?:--(?:home|stack|region) \S+ |--json )*([a-z]+)\b([^#|]*)", piece)
            if found is None or found[1] == "help":
                continue
            source = "".join(text(file) for file in self.sources(found[1]))
            for option in re.findall(r"(?<=\s)--([a-z][a-z-]*)", found[2]):
                with self.subTest(page.name, piece=piece, option=option):
                    field = option.replace("-", "_")
                    self.assertTrue(re.search(rf'long = "{option}"|\b{field}:', source))

    @staticmethod
    def sources(command: str) -> list[Path]:
        """Where the options of a command stand: its own file, and those that it shares."""
        commands = ROOT / "cli/src/commands"
        shared = [ROOT / "cli/src/options.rs", *commands.glob("window.rs"), *commands.glob("delta.rs")]
        own = [file for file in commands.rglob("*.rs") if command in (file.stem, file.parent.name)]
        demo = [ROOT / "cli/src/demo.rs"] if command == "demo" else []
        return [*shared, *own, *demo]

    def test_every_error_is_listed(self) -> None:
        source = text(ROOT / "shared/vault/src/error.rs")
        table = source[source.index("codes! {") :]
        codes = set(re.findall(r"^    (\w+): \w+, (?:true|false);", table, re.MULTILINE))
        told = text(ROOT / "docs/operations.md")
        self.assertEqual(set(), {each for each in codes if f"`{each}`" not in told})

    def test_routes_are_those_of_the_code(self) -> None:
        source = text(ROOT / "functions/api/src/routes.rs")
        routes = set(re.findall(r'^        "((?:GET|POST) /[^"]*)" =>', source, re.MULTILINE))
        self.assertIn("GET /backups", routes)
        deployed = {route["RouteKey"] for route in stack().of_type("AWS::ApiGatewayV2::Route").values()}
        self.assertEqual(routes, deployed)
        told = re.findall(r"^\| `((?:GET|POST) /[^`?]*)", text(ROOT / "docs/api.md"), re.MULTILINE)
        self.assertEqual(routes, set(told))

    def test_margins_are_those_of_the_code(self) -> None:
        source = text(ROOT / "shared/workflow/src/margins.rs")
        told = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]+?) \|", text(ROOT / "docs/retention.md"), re.MULTILINE))
        known = {}
        for name, value in re.findall(r"^pub const (\w+): \w+ = ([^;]+);", source, re.MULTILINE):
            unit, numbers = re.fullmatch(r"(?:SignedDuration::from_(\w+)\()?([0-9 *]+)\)?", value).groups()
            amount = 1
            for number in numbers.split("*"):
                amount *= int(number)
            if unit == "hours" and amount % 24 == 0 and amount > 24:
                known[name] = f"{amount // 24} days"
            else:
                known[name] = f"{amount} {({'hours': 'hours', 'mins': 'minutes', None: 'days'})[unit]}"
        self.assertIn("CONDEMNED_FOR", known)
        self.assertEqual(known, told)

    def test_parameters_that_are_told_exist(self) -> None:
        known = set(read()["Parameters"]) | set(read(DR_REGION)["Parameters"])
        for page, piece in code():
            for name in re.findall(r"(?:^|\s)([A-Z]\w+)=", piece):
                if "_" not in name and not name.isupper():
                    with self.subTest(page.name, piece=piece):
                        self.assertIn(name, known)


if __name__ == "__main__":
    unittest.main()
