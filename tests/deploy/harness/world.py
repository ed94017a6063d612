"""What an account holds before the stack comes: tables and buckets of a shop, and the grants that the stack is given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from tests.deploy.harness import shop
from tests.deploy.harness.emulator import ACCOUNT, REGION, Emulator

if TYPE_CHECKING:
    from tests.deploy.harness.deployment import Deployment

SITE = "shop-site"
RESTORED = "shop-restored"
ORDERS = "shop-orders"
TESTED = "shop-tested"
TESTED_ITEMS = 40
MISSING = "no-such-table"


def prepare(emulator: Emulator) -> dict[str, str]:
    """Makes what is there before the stack; gives the parameters that grant it."""
    s3 = emulator.client("s3")
    for bucket in (SITE, RESTORED):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    tables = emulator.client("dynamodb")
    new_table(tables, ORDERS, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"})
    orders = tables.describe_table(TableName=ORDERS)["Table"]
    tested = new_table(tables, TESTED)
    tables.update_continuous_backups(
        TableName=tested, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    table = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table"
    return {
        "Architecture": "x86_64",
        "DemoTable": "true",
        "AwsBackup": "false",
        "SourceTables": f"{table}/{ORDERS},{table}/{TESTED},{table}/{MISSING}",
        "SourceBuckets": f"arn:aws:s3:::{SITE}",
        "TargetTables": f"{table}/restored-*,{table}/{ORDERS}",
        "TargetBuckets": f"arn:aws:s3:::{RESTORED}",
        "CapturedStream1": orders["LatestStreamArn"],
    }


def lock(stack: Deployment) -> None:
    """Sets the lock of the vault bucket, which the emulator's CloudFormation leaves out: as the template says it."""
    retention = {"Mode": stack.parameters["ObjectLockMode"], "Days": int(stack.parameters["ObjectLockDays"])}
    _lock(stack, {"Rule": {"DefaultRetention": retention}})


@contextmanager
def unlocked(stack: Deployment) -> Iterator[None]:
    """What is written meanwhile is as if its lock had ended."""
    _lock(stack, {})
    try:
        yield
    finally:
        lock(stack)


def _lock(stack: Deployment, rule: dict[str, Any]) -> None:
    stack.client("s3").put_object_lock_configuration(
        Bucket=stack.outputs["VaultBucketName"], ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"} | rule
    )


def new_table(tables: Any, name: str, **more: Any) -> str:
    """A new, empty table of the products' key."""
    tables.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        **more,
    )
    return name


def target_table(stack: Deployment, name: str) -> Any:
    return stack.table(new_table(stack.client("dynamodb"), name))


def tested(stack: Deployment) -> str:
    """A table under protection that no test changes; gives its name."""
    shop.put_all(stack.table(TESTED), shop.products(TESTED_ITEMS - 1))
    stack.apply(tested_resource())
    return TESTED


def tested_resource() -> dict[str, Any]:
    return {"name": "tested", "source": {"kind": "dynamodb", "table": TESTED}, "policy": {"drill": "off"}}


def products(stack: Deployment) -> dict[str, Any]:
    source = {"kind": "dynamodb", "table": stack.outputs["ProductsTableName"]}
    return {"name": "products", "source": source, "policy": {"drill": "off"}}


def site() -> dict[str, Any]:
    return {"name": "site", "source": {"kind": "s3", "bucket": SITE, "prefix": "www/"}, "policy": {"drill": "off"}}


def orders() -> dict[str, Any]:
    return {"name": "orders", "source": {"kind": "dynamodb", "table": ORDERS}, "policy": {"capture": True, "drill": "off"}}


class Queue:
    """What a queue got."""

    def __init__(self, sqs: Any, url: str) -> None:
        self._sqs, self._url, self._got = sqs, url, []

    def messages(self) -> list[dict[str, Any]]:
        """All notifications so far."""
        while batch := self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages"):
            for message in batch:
                self._got.append(json.loads(json.loads(message["Body"])["Message"]))
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return self._got


def subscribed(stack: Deployment, name: str) -> Queue:
    """A queue that gets the stack's notifications from now on."""
    sqs = stack.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = stack.outputs["NotificationTopicArn"]
    allow = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn}
    policy = {"Version": "2012-10-17", "Statement": [allow | {"Condition": {"ArnEquals": {"aws:SourceArn": topic}}}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    stack.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return Queue(sqs, url)


@cache
def administrator(stack: Deployment) -> str:
    """The ARN of a role that is granted everything."""
    return _role(stack, "administrator", [("*", "*")])


@cache
def operator(stack: Deployment) -> str:
    """The ARN of a role that is granted what docs/deploying.md says of an operator."""
    table = stack.client("dynamodb").describe_table(TableName=stack.outputs["JobTableName"])["Table"]["TableArn"]
    states = f"arn:aws:states:{REGION}:{ACCOUNT}"
    rows = [f"dynamodb:{action}" for action in ("GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query")]
    return _role(
        stack,
        "operator",
        [
            ("cloudformation:DescribeStacks", f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{stack.name}/*"),
            ("states:StartExecution", f"{states}:stateMachine:{stack.name}-*"),
            (["states:DescribeExecution", "states:GetExecutionHistory"], f"{states}:execution:{stack.name}-*"),
            (rows, [table, f"{table}/index/*"]),
            ("dynamodb:ListTagsOfResource", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{TESTED}"),
        ],
    )


def _role(stack: Deployment, name: str, grants: list[tuple[Any, Any]]) -> str:
    """A role that anybody may take, with grants of actions on resources; gives its ARN."""
    iam = stack.client("iam")

    def policy(*statements: dict[str, Any]) -> str:
        return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow"} | each for each in statements]})

    trusts = policy({"Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"})
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trusts)["Role"]
    granted = policy(*({"Action": actions, "Resource": resources} for actions, resources in grants))
    iam.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=granted)
    return role["Arn"]
