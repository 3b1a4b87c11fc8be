"""The unit `meshconsole` in a container: what systemd and the journal say of it, and what is done to it."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scripts.container import Container

HOME = "/var/lib/meshconsole/node"
AS_NODE = f"runuser -u meshconsole -- env MESHCONSOLE_HOME={HOME} meshconsole"
CONFIG = f"{HOME}/config.toml"


class Service:
    def __init__(self, container: Container) -> None:
        self.container = container

    def show(self, name: str, unit: str = "meshconsole") -> str:
        return self.container.says(f"systemctl show --value -p {name} {unit}")

    def serves(self) -> bool:
        return self.show("SubState") == "running" and not self.show("StatusText").startswith("locked")

    def until_serving(self) -> float:
        return self.container.until("a node that serves", self.serves)

    def status(self) -> dict[str, object]:
        return dict(json.loads(self.container.says(f"{AS_NODE} status --json") or "{}"))

    def entries(self, since: str = "") -> list[dict[str, str]]:
        """Of the node in the journal; `since` is a cursor of it."""
        after = f"--after-cursor={shlex.quote(since)}" if since else ""
        lines = self.container.says(f"journalctl -u meshconsole -o json --no-pager {after}").splitlines()
        return [json.loads(line) for line in lines]

    def cursor(self) -> str:
        return self.entries()[-1]["__CURSOR"]

    def said_since(self, cursor: str, words: str) -> str:
        """The node's line with `words`, once there is one."""
        found: list[str] = []

        def look() -> bool:
            found.extend(
                str(entry["MESSAGE"]) for entry in self.entries(cursor) if words in str(entry["MESSAGE"])
            )
            return bool(found)

        self.container.until(f"a line with {words!r}", look)
        return found[-1]

    def restart(self) -> float:
        self.container.run("systemctl reset-failed meshconsole; systemctl restart meshconsole")
        return self.until_serving()

    def change(self, section: str, setting: str) -> None:
        """A line of config.toml, by hand."""
        key = setting.partition(" =")[0]
        script = (
            f"import pathlib; p = pathlib.Path({CONFIG!r}); lines = p.read_text().splitlines();"
            f"lines = [line for line in lines if not line.startswith({key + ' ='!r})];"
            f"lines = lines if {section!r} in lines else [*lines, {section!r}];"
            f"lines.insert(lines.index({section!r}) + 1, {setting!r});"
            "p.write_text('\\n'.join(lines) + '\\n')"
        )
        self.container.run(f"python3 -c {shlex.quote(script)}")

    def back_after(self, signal: str) -> float:
        before = self.show("MainPID")
        self.container.run(f"kill -{signal} {before}")
        return self.container.until(
            "another process", lambda: self.show("MainPID") not in (before, "0") and self.serves()
        )

    def reboot(self) -> None:
        self.container.off()
        self.container.boot()
        self.until_serving()
