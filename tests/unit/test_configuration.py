import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stillpoint.configuration import check

OWN_REGION, OWN_ACCOUNT = "eu-west-1", "123456789012"
GOOD = {
    "TimeZone": "UTC",
    "DefaultTime": "03:00",
    "DefaultRetain": "14",
    "FinalRetention": "365d",
    "SnapshotLockDays": "0",
    "CopyRegions": "",
    "CopyKmsKeyArns": "",
    "ShareWithAccounts": "",
    "EncryptCopies": "false",
}
KEY = "arn:aws:kms:eu-central-1:123456789012:key/1b2c3d4e-0000-1111-2222-333344445555"
OTHER_KEY = "arn:aws:kms:eu-central-1:123456789012:key/mrk-0123456789abcdef"


def problems(**changes: str) -> tuple[str, ...]:
    return check(GOOD | changes, region=OWN_REGION, account=OWN_ACCOUNT)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"TimeZone": "asia/seoul"},
        {"FinalRetention": "forever"},
        {"FinalRetention": "2y"},
        {"SnapshotLockDays": "14"},
        {"SnapshotLockDays": "2"},
        {"SnapshotLockDays": "30", "DefaultRetain": "30d"},
        {"SnapshotLockDays": "7", "DefaultRetain": "7d 4w 12m 1y"},
        {"SnapshotLockDays": "1000", "DefaultRetain": "1000", "FinalRetention": "forever"},
        {"CopyRegions": "eu-central-1, us-gov-west-1,ap-southeast-1,mx-central-1,cn-north-1"},
        {"CopyRegions": "eu-central-1", "CopyKmsKeyArns": KEY, "EncryptCopies": "true"},
        {"CopyRegions": "eu-central-1", "CopyKmsKeyArns": OTHER_KEY},
        {"CopyRegions": "eu-central-1", "EncryptCopies": "true"},
        {"ShareWithAccounts": "111111111111, 222222222222"},
        {"ShareWithAccounts": "111111111111", "EncryptCopies": "true"},
        {
            "ShareWithAccounts": "111111111111",
            "EncryptCopies": "true",
            "CopyRegions": "eu-central-1",
            "CopyKmsKeyArns": KEY,
        },
    ],
)
def test_what_can_work_has_no_problem(changes: dict[str, str]) -> None:
    assert problems(**changes) == ()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"TimeZone": "Mars/Olympus"}, "TimeZone: 'Mars/Olympus' is not a time zone"),
        ({"DefaultTime": "24:00"}, "DefaultTime: '24:00' is not a time of day"),
        ({"DefaultRetain": "lots"}, "DefaultRetain: 'lots' is not a retention rule"),
        ({"FinalRetention": "14"}, "FinalRetention: '14' is not one age, write for example 365d"),
        ({"FinalRetention": "7d 4w"}, "FinalRetention: '7d 4w' is not one age"),
        ({"FinalRetention": "11y"}, "FinalRetention: '11y' is outside 1y to 10y"),
        ({"FinalRetention": ""}, "FinalRetention: it is empty"),
        ({"SnapshotLockDays": "1"}, "SnapshotLockDays: '1' is not a number of days from 2"),
        ({"SnapshotLockDays": "-3"}, "SnapshotLockDays: '-3' is not a number of days from 2"),
        ({"SnapshotLockDays": "36501"}, "SnapshotLockDays: '36501' is not a number of days"),
        (
            {"SnapshotLockDays": "15"},
            "with a daily schedule DefaultRetain 14 keeps some recovery points for 14 days only",
        ),
        (
            {"SnapshotLockDays": "31", "DefaultRetain": "30d"},
            "30d keeps some recovery points for 30 days only",
        ),
        (
            {"SnapshotLockDays": "29", "DefaultRetain": "1m"},
            "1m keeps some recovery points for 28 days only",
        ),
        (
            {"SnapshotLockDays": "8", "DefaultRetain": "7d 4w 12m 1y"},
            "7d 4w 12m 1y keeps some recovery points for 7 days only",
        ),
        (
            {"SnapshotLockDays": "2", "DefaultRetain": "4w 12m"},
            "4w 12m keeps some recovery points for 1 day only",
        ),
        (
            {"SnapshotLockDays": "14", "FinalRetention": "13d"},
            "FinalRetention: the last recovery point goes after 13 days and SnapshotLockDays locks",
        ),
        ({"CopyRegions": "frankfurt"}, "CopyRegions: 'frankfurt' is not the name of a Region"),
        ({"CopyRegions": "eu-central-1a"}, "'eu-central-1a' is not the name of a Region"),
        ({"CopyRegions": OWN_REGION}, "CopyRegions: eu-west-1 is the stack's own Region"),
        ({"CopyRegions": "us-west-2,us-west-2"}, "CopyRegions: 'us-west-2' is named 2 times"),
        (
            {"CopyRegions": ",".join(f"us-west-{number}" for number in range(1, 7))},
            "CopyRegions: 6 Regions are named, at most 5 are possible",
        ),
        ({"CopyKmsKeyArns": KEY}, "is in no Region of CopyRegions"),
        (
            {"CopyKmsKeyArns": f"{KEY},{OTHER_KEY}", "CopyRegions": "eu-central-1"},
            "CopyKmsKeyArns: more than one key is in eu-central-1",
        ),
        (
            {
                "CopyKmsKeyArns": "arn:aws:kms:eu-central-1:123456789012:alias/copies",
                "CopyRegions": "eu-central-1",
            },
            "an alias is none",
        ),
        ({"ShareWithAccounts": "1111-1111-1111"}, "is not the id of an account"),
        ({"ShareWithAccounts": OWN_ACCOUNT}, "123456789012 is the stack's own account"),
        (
            {
                "ShareWithAccounts": "111111111111",
                "EncryptCopies": "true",
                "CopyRegions": "eu-central-1,us-west-2",
                "CopyKmsKeyArns": KEY,
            },
            "EncryptCopies is true and CopyKmsKeyArns names no key for us-west-2: what is",
        ),
    ],
)
def test_every_problem_is_explained(changes: dict[str, str], problem: str) -> None:
    (found,) = problems(**changes)
    assert problem in found


def test_all_problems_are_named_at_once() -> None:
    bad = dict.fromkeys(GOOD, "x y")
    found = problems(**bad)
    named = {problem.split(":")[0] for problem in found}
    assert named == GOOD.keys() - {"EncryptCopies"}


def test_a_parameter_that_is_missing_is_a_problem_and_no_error() -> None:
    found = check({}, region=OWN_REGION, account=OWN_ACCOUNT)
    assert [problem.split(":")[0] for problem in found] == [
        "TimeZone",
        "DefaultTime",
        "DefaultRetain",
        "SnapshotLockDays",
        "FinalRetention",
    ]


HALF_RIGHT = st.sampled_from(
    ["", "7d ", "3650d", "10y", "1000", "eu-west-1,", KEY, KEY + ",", "123456789012,", "36500"]
)
TEXTS = st.builds("".join, st.tuples(HALF_RIGHT, st.text(max_size=60)))


@given(st.dictionaries(st.sampled_from(sorted(GOOD)) | st.text(max_size=5), TEXTS))
@example({"SnapshotLockDays": "\N{SUPERSCRIPT TWO}"})
@example({"SnapshotLockDays": "\N{ARABIC-INDIC DIGIT THREE}"})
@example({"TimeZone": "a/" * 5000, "DefaultRetain": "9" * 5000})
def test_no_text_whatever_makes_it_raise(parameters: dict[str, str]) -> None:
    for changed in (parameters, GOOD | parameters):
        for problem in check(changed, region=OWN_REGION, account=OWN_ACCOUNT):
            assert problem.isprintable()
            assert len(problem) < 400
