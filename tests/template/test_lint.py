"""The linters of CloudFormation and SAM over the templates. Nothing is ignored."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from tests.template.stack import DR_REGION, ROOT, TEMPLATE

REGION = "eu-central-1"


class Lint(unittest.TestCase):
    def clean(self, *command: str) -> None:
        with tempfile.TemporaryDirectory() as home:
            # The SAM CLI keeps a file at home, and would tell its makers of every call.
            environment = os.environ | {"SAM_CLI_TELEMETRY": "0", "HOME": home, "__SAM_CLI_APP_DIR": home}
            done = subprocess.run(
                command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
            )
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)

    def test_cfn_lint(self) -> None:
        for path in (TEMPLATE, DR_REGION):
            cfn_lint = Path(sys.executable).with_name("cfn-lint")
            self.clean(str(cfn_lint), "--regions", REGION, "--template", str(path))

    def test_sam_validate(self) -> None:
        sam = Path(sys.executable).with_name("sam")
        if not sam.is_file():
            if os.environ.get("CI") == "true":
                self.fail("the SAM CLI is not installed")
            self.skipTest("the SAM CLI is not installed")
        self.clean(str(sam), "validate", "--lint", "--region", REGION, "--template-file", str(TEMPLATE))


if __name__ == "__main__":
    unittest.main()
