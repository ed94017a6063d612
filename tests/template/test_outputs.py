"""What the command line and the operators read of a stack, and what they set."""

from __future__ import annotations

import unittest

from tests.template.stack import ROOT, logical, function_names, read, stack

OUTPUTS = {
    "AccessTagKey",
    "AccessTagValue",
    "ApiUrl",
    "BackupMachineArn",
    "DashboardUrl",
    "DrillMachineArn",
    "FailMachineArn",
    "JobTableName",
    "KeyArn",
    "NotificationTopicArn",
    "ProductsTableName",
    "PruneMachineArn",
    "RestoreMachineArn",
    "RestoreTestFunctionArn",
    "RestoreTestMachineArn",
    "SourceBucketArns",
    "SourceTableArns",
    "StagingBucketName",
    "TargetBucketArns",
    "TargetTableArns",
    "UndoMachineArn",
    "ValidateRecoveryPointsMachineArn",
    "VaultBucketName",
    "VerifyMachineArn",
}


class Outputs(unittest.TestCase):
    def test_what_is_read_is_there(self) -> None:
        self.assertLessEqual(OUTPUTS, set(stack().outputs))

    def test_grants_are_told_as_they_were_given(self) -> None:
        self.assertEqual("arn:aws:s3:::media,arn:aws:s3:::exports", stack().outputs["SourceBucketArns"])
        self.assertEqual("", stack(False).outputs["SourceBucketArns"])

    def test_the_tag_is_the_one_that_roles_ask_for(self) -> None:
        key = f"aws:ResourceTag/{stack().outputs['AccessTagKey']}"
        asked = [
            statement["Condition"]["StringEquals"][key]
            for statement in stack().statements("ExportChunkRole")
            if key in statement.get("Condition", {}).get("StringEquals", {})
        ]
        self.assertEqual([stack().outputs["AccessTagValue"]], asked)

    def test_no_output_is_named_like_a_parameter(self) -> None:
        # The SAM CLI takes such a name for the parameter's value, and fails on a list.
        self.assertFalse(set(read()["Outputs"]) & set(read()["Parameters"]))


class Parameters(unittest.TestCase):
    def test_every_parameter_is_told_in_the_console(self) -> None:
        for path in (ROOT / "template.yaml", ROOT / "infra" / "dr-region.yaml"):
            template = read(path)
            interface = template["Metadata"]["AWS::CloudFormation::Interface"]
            grouped = [name for group in interface["ParameterGroups"] for name in group["Parameters"]]
            self.assertEqual(sorted(template["Parameters"]), sorted(grouped))
            self.assertLessEqual(set(interface["ParameterLabels"]), set(grouped))
            for name, parameter in template["Parameters"].items():
                with self.subTest(path.name, parameter=name):
                    self.assertTrue(parameter["Description"])
                    # `sam deploy --guided` takes every default.
                    self.assertIn("Default", parameter)

    def test_values_are_bounded(self) -> None:
        for name, parameter in read()["Parameters"].items():
            with self.subTest(name):
                bounds = {"AllowedValues", "AllowedPattern", "MinValue"} & set(parameter)
                self.assertTrue(bounds or parameter["Type"] == "CommaDelimitedList")


class Functions(unittest.TestCase):
    def test_every_function_is_deployed_from_its_crate(self) -> None:
        deployed = {}
        for name, resource in read()["Resources"].items():
            if resource["Type"] == "AWS::Serverless::Function":
                deployed[resource["Properties"]["CodeUri"].removeprefix("functions/")] = (name, resource)
        self.assertEqual(function_names(), set(deployed))
        for crate, (name, resource) in deployed.items():
            with self.subTest(crate):
                self.assertEqual(f"{logical(crate)}Function", name)
                self.assertEqual(f"holdfast-{crate}", resource["Metadata"]["BuildProperties"]["Binary"])
                self.assertIn(f'name = "holdfast-{crate}"', (ROOT / f"functions/{crate}/Cargo.toml").read_text())
                self.assertEqual({"Fn::Sub": f"${{AWS::StackName}}-{crate}"}, resource["Properties"]["FunctionName"])

    def test_no_two_share_a_role_or_a_log(self) -> None:
        functions = stack().of_type("AWS::Lambda::Function").values()
        self.assertEqual(len(functions), len({function["Role"] for function in functions}))
        self.assertEqual(len(functions), len({function["LoggingConfig"]["LogGroup"] for function in functions}))

    def test_what_is_called_asynchronously_has_a_dead_letter_queue(self) -> None:
        # Schedules and rules call dispatch and validate-restore, CloudFormation the custom resources.
        for name in {"dispatch", "setup", "restore-test", "validate-restore"} & function_names():
            with self.subTest(name):
                function = stack().properties(f"{logical(name)}Function")
                self.assertEqual({"TargetArn": "<DeadLetterQueue.Arn>"}, function["DeadLetterConfig"])

    def test_exports_are_bounded_by_a_parameter(self) -> None:
        self.assertEqual("80", stack().properties("ExportChunkFunction")["ReservedConcurrentExecutions"])

    def test_a_role_decrypts_what_its_function_is_given(self) -> None:
        for name in function_names():
            variables = stack().properties(f"{logical(name)}Function")["Environment"]["Variables"]
            granted = str(stack().statements(f"{logical(name)}Role"))
            with self.subTest(name):
                self.assertEqual("HOLDFAST_JOB_TABLE" in variables, "<JobTable.Arn>" in granted)
                self.assertEqual("HOLDFAST_VAULT_BUCKET" in variables, "<VaultBucket.Arn>" in granted)


if __name__ == "__main__":
    unittest.main()
