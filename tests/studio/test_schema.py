"""Odd requests from the API's own schema, a few of each; `python -m bench.studio fuzz` sends ten thousand."""

from collections.abc import Callable

from studio.served import Served

from bench.studio import odd

CASES = 150


def test_no_request_of_the_schema_is_a_fault(start_studio: Callable[..., Served]) -> None:
    studio = start_studio(**odd.ENVIRONMENT)
    odd.furnish(studio)
    statuses, wrong = odd.try_all(studio.address, CASES, first=0)
    assert not wrong, "\n".join(wrong)
    assert statuses.total() > CASES / 2
    assert statuses[200] + statuses[201] > 10  # that it is more than refusals that are tried


def test_every_operation_says_what_it_is(studio: Served) -> None:
    """Names that generated clients can use, and a tag by which they are found."""
    operations = [each.definition.raw for each in odd.operations(studio.address)]
    names = [each["operationId"] for each in operations]
    assert len(names) == len(set(names)) > 10
    assert all(each.get("tags") for each in operations)
