"""What an account holds before the stack comes: tables and buckets of a shop, and the grants that the stack is given."""

from __future__ import annotations

import json
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
    stack.client("s3").put_object_lock_configuration(
        Bucket=stack.outputs["VaultBucketName"],
        ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": retention}},
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
    stack.apply({"name": "tested", "source": {"kind": "dynamodb", "table": TESTED}, "policy": {}})
    return TESTED


def products(stack: Deployment) -> dict[str, Any]:
    return {"name": "products", "source": {"kind": "dynamodb", "table": stack.outputs["ProductsTableName"]}, "policy": {}}


def site() -> dict[str, Any]:
    return {"name": "site", "source": {"kind": "s3", "bucket": SITE, "prefix": "www/"}, "policy": {}}


def orders() -> dict[str, Any]:
    return {"name": "orders", "source": {"kind": "dynamodb", "table": ORDERS}, "policy": {"capture": True}}


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
    iam = stack.client("iam")
    trusts = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(
        RoleName="administrator", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trusts]})
    )["Role"]
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    iam.put_role_policy(
        RoleName="administrator",
        PolicyName="everything",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [everything]}),
    )
    return role["Arn"]
